"""The short way of most pieces: nothing that can be seen of a stream depends on it."""

import asyncio
import json
import re
from itertools import pairwise
from typing import Any, cast

import pytest

from gateway import streaming
from gateway.errors import Refusal
from gateway.streamed_reply import Shortcut
from gateway.streaming import Relay, Splitter, batches
from gateway.upstreams.client import UpstreamReply
from gateway.upstreams.http.response import Response
from tests.gateway.test_streaming import LAST, STREAMS, USAGE, WIRE, WORD, chunk, sent_on

pytestmark = pytest.mark.anyio
DONE = b"data: [DONE]"


def compact(event: bytes) -> bytes:
    """As servers write JSON."""
    return b"data: " + json.dumps(json.loads(event[6:]), separators=(",", ":")).encode()


def running(tokens: int, **more: Any) -> bytes:
    """A chunk of our engine's."""
    return compact(
        chunk({"content": "a"}, usage={"prompt_tokens": 9, "completion_tokens": tokens, "total_tokens": 9}, **more)
    )


NULL = compact(chunk({"content": "a"}, usage=None))
OBFUSCATED = compact(chunk({"content": "a"}, usage=None, obfuscation="aB3"))
COMPACT = {
    "usage with each": [running(1), running(2), running(3), compact(LAST), compact(USAGE), DONE],
    "null usage": [NULL, OBFUSCATED, NULL, compact(LAST), compact(USAGE), DONE],
    "cut behind usage": [running(1), running(2)],
    "usage that is none": [
        running(1),
        compact(chunk({"content": "a"}, usage={"prompt_tokens": -1})),
        compact(chunk({"content": "a"}, usage={"prompt_tokens": "7", "completion_tokens": 8})),
        compact(chunk({"content": "a"}, usage={"prompt_tokens": 5, "prompt_tokens_details": {"cached_tokens": 2}})),
        compact(LAST),
        DONE,
    ],
    "usage elsewhere": [
        compact(chunk({"content": 'a","usage":null}'})),
        compact(chunk({"content": "a", "usage": None})),
        compact(chunk({"content": "a"}, usage=WIRE, more={"usage": None})),
        compact(chunk({"content": "a"}, usage=None, more={"a": 1})),
        compact(LAST),
        DONE,
    ],
    "no choices": [compact(WORD), b'data: {"id":"","choices":[],"usage":null}', compact(LAST), DONE],
}


class Silent:
    """A connection that nothing is asked of."""

    def pause(self) -> None: ...

    def resume(self) -> None: ...

    def allow_idle(self, seconds: float | None) -> None: ...

    def abort(self) -> None: ...


class Arriving:
    """A stream that comes in pieces while somebody waits for it."""

    def __init__(self, *, show_usage: bool, takes: bool = True) -> None:
        self.response = Response(Silent(), asyncio.get_running_loop())
        self.response.begin(200, [])
        self.upstream = UpstreamReply(self.response, "x")
        self.splitter, self.relay = Splitter(), Relay(show_usage=show_usage, strip_running=True)
        self.splitter.in_runs = True
        self.sent: list[bytes] = []
        self.straight: list[bytes] = []
        self.takes = takes
        shortcut = Shortcut(self.splitter, self.relay)
        shortcut.send = self._send
        self.upstream.offer_first(shortcut.take)

    def _send(self, piece: bytes) -> bool:
        if self.takes:
            self.straight.append(piece)
            self.sent.append(piece)
        return self.takes

    async def pass_on(self) -> str | None:
        try:
            async for frame in self.relay.frames((), batches(self.upstream.chunks(), self.splitter)):
                self.sent.append(frame)
        except Refusal as error:
            return str(error)
        return None

    async def come(self, *pieces: bytes, wait: bool = True) -> list[object]:
        task = asyncio.ensure_future(self.pass_on())
        await asyncio.sleep(0)
        for piece in pieces:
            self.response.add(piece)
            self.response.wake()
            if wait:
                await asyncio.sleep(0)
        self.response.end()
        self.response.wake()
        error = await task
        relay = self.relay
        return [data_of(b"".join(self.sent)), relay.raw(), relay.reply_id, relay.usage, relay.finished, error]


async def usual(monkeypatch: pytest.MonkeyPatch, stream: bytes, *, show_usage: bool) -> list[object]:
    """What it comes to event by event, each of them read."""
    with monkeypatch.context() as patched:
        patched.setattr(streaming, "_running", re.compile(rb"(?!)"))
        sent, *learnt = await sent_on(stream, (), in_runs=False, show_usage=show_usage)
    return [data_of(cast("bytes", sent)), *learnt]


def data_of(frames: bytes) -> list[object]:
    """Of each event; spaces in JSON say nothing."""
    return [json.loads(event[6:]) if is_json(event) else event for event in frames.split(b"\n\n")]


def is_json(event: bytes) -> bool:
    return event.startswith(b"data: {") and b"\n" not in event


class TestShortcut:
    @pytest.mark.parametrize("newline", [b"\n", b"\r\n"])
    @pytest.mark.parametrize("show_usage", [False, True])
    @pytest.mark.parametrize("name", [*STREAMS, *COMPACT])
    async def test_changes_nothing_of_a_stream_wherever_it_is_cut(
        self, name: str, show_usage: bool, newline: bytes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        events = [event + b"\n\n" for event in (STREAMS | COMPACT)[name]]
        stream = b"".join(events).replace(b"\n", newline)
        known = await usual(monkeypatch, stream, show_usage=show_usage)
        by_event = [event.replace(b"\n", newline) for event in events]
        for wait in (True, False):
            assert await Arriving(show_usage=show_usage).come(*by_event, wait=wait) == known
        for place in range(1, len(stream), 3):
            pieces = [stream[a:b] for a, b in pairwise((0, place, min(place + 150, len(stream)), len(stream)))]
            assert await Arriving(show_usage=show_usage).come(*pieces) == known, place

    @pytest.mark.parametrize("event", [WORD, running(2), NULL, OBFUSCATED], ids=["text", "usage", "null", "obfuscated"])
    async def test_takes_pieces_of_text(self, event: bytes) -> None:
        stream = Arriving(show_usage=False)
        await stream.come(WORD + b"\n\n", event + b"\n\n", event + b"\n\n", LAST + b"\n\n", DONE + b"\n\n")
        assert len(stream.straight) == 3, "the first one told the id"
        assert b"usage" not in b"".join(stream.sent)

    async def test_not_those_with_other_ends_of_lines(self, monkeypatch: pytest.MonkeyPatch) -> None:
        pieces = [WORD + b"\n\n", WORD + b"\r\n\n" + WORD + b"\n\n", LAST + b"\n\n"]
        known = await usual(monkeypatch, b"".join(pieces), show_usage=False)
        assert await Arriving(show_usage=False).come(*pieces) == known

    async def test_and_many_at_a_time(self) -> None:
        stream = Arriving(show_usage=False)
        many = (WORD + b"\n\n") * 5
        await stream.come(WORD + b"\n\n", many, LAST + b"\n\n", DONE + b"\n\n")
        assert stream.straight[0] == many

    async def test_what_cannot_be_sent_now_goes_the_usual_way(self, monkeypatch: pytest.MonkeyPatch) -> None:
        pieces = [WORD + b"\n\n", running(2) + b"\n\n", WORD + b"\n\n", LAST + b"\n\n", DONE + b"\n\n"]
        stream = Arriving(show_usage=False, takes=False)
        assert await stream.come(*pieces) == await usual(monkeypatch, b"".join(pieces), show_usage=False)
        assert stream.straight == []

    async def test_nothing_overtakes_what_came_before(self) -> None:
        stream = Arriving(show_usage=False)
        task = asyncio.ensure_future(stream.pass_on())
        await asyncio.sleep(0)
        first, second, third = (compact(chunk({"content": word})) + b"\n\n" for word in "abc")
        for piece in (first, second[:10], second[10:], third):
            stream.response.add(piece)
            stream.response.wake()
        await asyncio.sleep(0)
        stream.response.add(LAST + b"\n\n")
        stream.response.end()
        stream.response.wake()
        assert await task is None
        assert b"".join(stream.sent) == first + second + third + LAST + b"\n\n"

    async def test_not_even_what_came_in_the_same_moment(self) -> None:
        stream = Arriving(show_usage=False)
        task = asyncio.ensure_future(stream.pass_on())
        stream.response.add(WORD + b"\n\n")
        await asyncio.sleep(0)
        for piece in (b": alive\n\n", WORD + b"\n\n", LAST + b"\n\n"):
            stream.response.add(piece)  # and nobody was woken yet
        stream.response.end()
        stream.response.wake()
        assert await task is None
        assert b"".join(stream.sent) == b"\n\n".join((WORD, b": alive", WORD, LAST, b""))

    async def test_nor_the_first_line_of_its_own_event(self) -> None:
        stream = Arriving(show_usage=False)
        pieces = (WORD + b"\n\n", b"event: e\n", WORD + b"\n\n", LAST + b"\n\n")
        await stream.come(*pieces)
        assert b"".join(stream.sent) == b"".join(pieces)
