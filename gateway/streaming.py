"""Server-sent events: split, metered and passed on.

1. `prime()` waits for the first token, so that a failure up to there is an HTTP error, or another model's turn, and not
   a broken 200.
2. `Relay.frames()` passes each event on as it came. Only two are touched: the usage that the client did not ask for is
   taken out, and an upstream's error becomes our error frame.
3. The last frame (`data: [DONE]`) is not part of `frames()`: the caller writes the exchange log first.

Most pieces come while 2. waits for them, and are text and nothing but: those take a shorter way (gateway/streamed_reply.py).

Framing per contract section 0: `data: <one-line JSON>`, a blank line, `: comment` lines passed through.
"""

import re
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import msgspec

from gateway.errors import Refusal, UpstreamFailed, decode_error_object, to_openai_error
from gateway.metering.usage import Usage, read_usage

DONE = b"data: [DONE]\n\n"
END = b"\n\n"
LAST = END + DONE.removesuffix(END)
OBJECT = b"data: {"
"""How nearly all events begin."""
SPECIAL = (b'"usage"', b'"error"')
"""What events that are no mere text may have."""
BUFFER_LIMIT = 16 * 1024 * 1024
"""Bytes of one event; past it the upstream is not speaking SSE."""

_running = re.compile(rb', ?"usage": ?(null|\{[^{}]*\})(?=(?:, ?"\w+": ?"[^"\\]*")*\}\Z)')
"""At the end of an object that is in no other, where only texts follow: as vLLM and OpenAI write it in every chunk. In a text there
is no quotation mark without a backslash before it."""
_no_choices = re.compile(rb'"choices"\s*:\s*\[\s*\]')
_finished = re.compile(rb'"finish_reason"\s*:\s*"')
_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encode = msgspec.json.Encoder().encode
_NULL = msgspec.Raw(b"null")
_EMPTY = (b"null", b'""', b"[]")


class _Choice(msgspec.Struct):
    delta: dict[str, msgspec.Raw] | None = None
    text: str | None = None
    finish_reason: str | None = None


class _Chunk(msgspec.Struct):
    choices: list[_Choice] | None = None
    usage: Any = None


class _Text(msgspec.Struct):
    """How Text Generation Inference and Ollama tell of an error."""

    error: str


_decode_chunk = msgspec.json.Decoder(_Chunk).decode
_decode_text = msgspec.json.Decoder(_Text).decode


class Splitter:
    """Bytes in any pieces -> whole events without their blank line. CRLF becomes LF."""

    def __init__(self) -> None:
        self.in_runs = False
        """Events that came together may stay together: in a run, with the blank lines between them, where each of them is one
        line `data: {...}`. Most of a stream are pieces of text, and nobody looks at each."""
        self._parts: list[bytes] = []
        self._size = 0

    def feed(self, piece: bytes) -> list[bytes]:
        """Events that `piece` completes. Raises UpstreamFailed on an event over BUFFER_LIMIT."""
        parts = self._parts
        if parts and not self._may_complete(piece):  # one large event: joined once, at its end
            self._keep([*parts, piece], self._size + len(piece))
            return []
        buffer = b"".join((*parts, piece)) if parts else piece
        if b"\r" in buffer:
            buffer, tail = (buffer[:-1], b"\r") if buffer.endswith(b"\r") else (buffer, b"")
            buffer = buffer.replace(b"\r\n", b"\n") + tail
        if self.in_runs:
            whole, blank, rest = buffer.rpartition(END)
            run, done = (whole[: -len(LAST)], [LAST[len(END) :]]) if whole.endswith(LAST) else (whole, [])
            if blank and is_run(run):
                self._keep([rest] if rest else [], len(rest))
                return [run, *done]
        *events, rest = buffer.split(END)
        self._keep([rest] if rest else [], len(rest))
        return [event.lstrip(b"\n") for event in events if event.strip()]

    @property
    def is_empty(self) -> bool:
        """Between two events."""
        return not self._parts

    def flush(self) -> list[bytes]:
        """A last event that came without its blank line."""
        rest = b"".join(self._parts).strip()
        self._parts = []
        return [rest] if rest else []

    def _may_complete(self, piece: bytes) -> bool:
        cut = piece[:1] == b"\n" and self._parts[-1][-1:] in (b"\n", b"\r")
        return cut or END in piece or b"\r" in piece

    def _keep(self, parts: list[bytes], size: int) -> None:
        if size > BUFFER_LIMIT:
            raise UpstreamFailed("The upstream's stream is not a stream of server-sent events.")
        self._parts, self._size = parts, size


def is_run(events: bytes) -> bool:
    """Whether there are no line breaks but those between events that are one object each."""
    return events.startswith(OBJECT) and events.count(b"\n") == 2 * events.count(END + OBJECT)


Batch = Sequence[bytes]
"""Events that came together, and are sent on together; some of them may be runs (Splitter)."""


async def batches(pieces: AsyncIterator[bytes], splitter: Splitter) -> AsyncIterator[Batch]:
    """Events of a body, as many at a time as are there."""
    async for piece in pieces:
        if events := splitter.feed(piece):
            yield events
    if events := splitter.flush():
        yield events


async def split(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Events of a body, one by one."""
    async for batch in batches(pieces, Splitter()):
        for event in batch:
            yield event


async def one_by_one(events: AsyncIterator[bytes]) -> AsyncIterator[Batch]:
    """Each a batch of its own."""
    async for event in events:
        yield (event,)


async def prime(rest: AsyncIterator[Batch]) -> list[bytes]:
    """The events up to the first one that holds a piece of the answer, and what came with it: nothing of them was sent yet,
    so whatever goes wrong before it can still be mended elsewhere. Comments before the first of them are left out.

    Raises:
        Refusal: the upstream failed before it, one of them is an error, or the body ends without any.
    """
    primed: list[bytes] = []
    async for batch in rest:
        for place, event in enumerate(batch):
            if not (payload := payload_of(event)):
                if primed:
                    primed.append(event)
                continue
            if (error := error_of(event)) is not None:
                raise error
            primed.append(event)
            if _holds_answer(payload):
                return [*primed, *_in_a_run(batch[place + 1 :])]
    raise UpstreamFailed("The upstream ended its stream before the first piece of its answer.")


def _in_a_run(events: Batch) -> Batch:
    """What the Splitter would have made of them in runs."""
    last = events[-1:] if events and events[-1] == LAST[len(END) :] else ()
    run = END.join(events[: len(events) - len(last)])
    return [run, *last] if is_run(run) else events


def _holds_answer(payload: bytes) -> bool:
    """Whether a chunk is more than the announcement of a role, or of what Azure's filters say of the prompt (it has no choices);
    what cannot be read counts as more."""
    try:
        chunk = _decode_chunk(payload)
    except (ValueError, RecursionError):
        return True
    if not chunk.choices:
        return chunk.choices is None or chunk.usage is not None
    return any(
        choice.text or choice.finish_reason or any(bytes(value) not in _EMPTY for value in _delta(choice).values())
        for choice in chunk.choices
    )


def _delta(choice: "_Choice") -> dict[str, msgspec.Raw]:
    return {name: value for name, value in (choice.delta or {}).items() if name != "role"}


def error_of(event: bytes) -> Refusal | None:
    """The refusal that an upstream's error event tells, if it is one."""
    return failure_in(payload_of(event))


def failure_in(payload: bytes) -> UpstreamFailed | None:
    """What an upstream tells that has said 200 before: in a chunk, or as a whole reply."""
    if b'"error"' not in payload[:200] or b'"choices"' in payload[:200]:
        return None
    if (error := decode_error_object(payload)) is not None:
        return UpstreamFailed(f"The upstream failed: {error.message}", code=error.code)
    try:
        return UpstreamFailed(f"The upstream failed: {_decode_text(payload).error}")
    except (ValueError, RecursionError):
        return None


def payload_of(event: bytes) -> bytes:
    """The data of an event; `event:` and other lines are skipped. Multi-line data is joined, as SSE says."""
    if event.startswith(b"data:") and b"\n" not in event:
        return event[5:].strip()
    return b"\n".join(line[5:].strip() for line in event.split(b"\n") if line.startswith(b"data:"))


def error_frame(refusal: Refusal) -> bytes:
    """An error after the first byte (contract section 0, "Mid-stream error")."""
    _, body, _ = to_openai_error(refusal)
    return b"data: " + body + END


class Relay:
    """One stream on its way from an upstream to a client, and what was learnt from it.

    Args:
        show_usage: the client asked for `stream_options.include_usage`.
        strip_running: usage comes with every chunk (our engine's `continuous_usage_stats`) and the client asked for no
            such thing.
    """

    def __init__(self, *, show_usage: bool, strip_running: bool) -> None:
        self._show_usage = show_usage
        self._strip_running = strip_running
        self.reply_id: str | None = None
        self.usage: Usage | None = None
        self.first_at: float | None = None
        self.ended_at: float | None = None
        """When the upstream said [DONE] (time.perf_counter)."""
        self.finished = False
        """The upstream said [DONE]."""
        self._error: Refusal | None = None
        self._events: list[bytes] = []

    def raw(self) -> bytes:
        """Everything the upstream sent, for the log."""
        return END.join(self._events)

    async def frames(self, primed: Batch, rest: AsyncIterator[Batch]) -> AsyncIterator[bytes]:
        """Frames for the client, those of a batch in one piece, up to but without [DONE].

        Raises:
            Refusal: the upstream broke, sent an error, or stopped before it was done.
        """
        if frames := self._passed_on(primed):
            yield frames
        if not self._ended:
            async for batch in rest:
                if frames := self._passed_on(batch):
                    yield frames
                if self._ended:
                    break
        if self._error is not None:
            raise self._error
        last = END.join(self._events[-3:]).split(END)[-3:]  # some may be runs
        if not self.finished and not any(map(_finished.search, last)):
            raise UpstreamFailed("The upstream ended its stream before the reply was complete.")

    @property
    def _ended(self) -> bool:
        return self.finished or self._error is not None

    def _passed_on(self, batch: Batch) -> bytes:
        """What the client gets of these events. Most are pieces of text, of which there is nothing to learn."""
        frames: list[bytes] = []
        for run in batch:
            if self.is_text(run):
                self.note(run)
                frames.append(run)
                continue
            if text := self._text_before(run):
                self.note(text)
                frames.append(text)
                run = run[len(text) + len(END) :]
            frames += self._looked_at(run.split(END))
            if self._ended:
                break
        return END.join((*frames, b"")) if frames else b""

    def _text_before(self, run: bytes) -> bytes:
        """Events before the first one that something may be learnt of: at the end of a stream, most of what came together."""
        special = [place for word in SPECIAL if (place := run.find(word)) >= 0]
        if not (special and self.reply_id and run.startswith(OBJECT)):
            return b""
        return run[: max(run.rfind(END, 0, min(special)), 0)]

    def note(self, run: bytes) -> None:
        """Events that are passed on, for the log."""
        self._events.append(run)

    def is_text(self, run: bytes) -> bool:
        """Of events in a row, too: nothing is to be learnt of any."""
        return bool(self.reply_id) and run.startswith(OBJECT) and not (SPECIAL[0] in run or SPECIAL[1] in run)

    def straight(self, run: bytes) -> bytes | None:
        """What the client gets of events of text; None: they have to be looked at, one by one."""
        if self.is_text(run):
            return run
        if not self.reply_id or END in run or b'"error"' in run:
            return None
        return self._without_running(run)

    def _looked_at(self, events: list[bytes]) -> Iterator[bytes]:
        """Those that are passed on, as they are."""
        for event in events:
            if len(events) > 1 and self.is_text(event):
                self.note(event)
                yield event
                continue
            if (error := error_of(event)) is not None:
                self._error = error
                return
            if (frame := self._take(event)) is not None:
                yield frame
            if self.finished:
                return

    def _take(self, event: bytes) -> bytes | None:
        """Note what an event tells; the event to pass on, or None for one that the client did not ask for."""
        payload = payload_of(event)
        if not payload:
            return event
        if payload == b"[DONE]":
            self.finished, self.ended_at = True, time.perf_counter()
            return None
        self.note(event)
        if self.first_at is None:
            self.first_at = time.perf_counter()
        if not self.reply_id:
            self.reply_id = read_usage(payload)[0]
        if b'"usage"' not in payload:
            return event
        shown = self._without_running(event)
        return shown if shown is not None else self._take_usage(event, payload)

    def _without_running(self, event: bytes) -> bytes | None:
        """What the client gets of a piece of text with a usage in its usual place; None: it is another event."""
        found = _running.search(event)
        if found is None or b"\n" in event or _no_choices.search(event):
            return None
        usage = read_usage(b'{"usage":%b}' % found[1])[1]
        self.usage = usage or self.usage
        if self._show_usage and not (usage and self._strip_running):
            return event
        return event[: found.start()] + (b',"usage":null' if self._show_usage else b"") + event[found.end() :]

    def _take_usage(self, event: bytes, payload: bytes) -> bytes | None:
        usage = read_usage(payload)[1]
        self.usage = usage or self.usage
        try:
            fields = _decode_fields(payload)
        except (ValueError, RecursionError):
            return event
        is_final = bytes(fields.get("choices", _NULL)).replace(b" ", b"") == b"[]"
        if is_final and usage:
            return event if self._show_usage else None
        if self._show_usage and not (usage and self._strip_running):
            return event
        if self._show_usage:
            fields["usage"] = _NULL
        else:
            fields.pop("usage", None)
        return b"data: " + _encode(fields)
