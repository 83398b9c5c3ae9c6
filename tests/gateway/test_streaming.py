"""Server-sent events: cut anywhere, passed on as they came."""

import json
from collections.abc import AsyncIterator, Iterable
from itertools import pairwise
from typing import Any

import pytest

from gateway import streaming
from gateway.errors import InvalidRequest, Refusal, UpstreamFailed, UpstreamTimeout
from gateway.metering.usage import Usage
from gateway.streaming import (
    DONE,
    Batch,
    Relay,
    Splitter,
    batches,
    error_frame,
    error_of,
    payload_of,
    prime,
    split,
)

pytestmark = pytest.mark.anyio

STREAM = 'data: {"a": "é€𝄞"}\n\n: keep-alive\n\nevent: x\ndata: {"b": 1}\n\ndata: [DONE]\n\n'.encode()
EVENTS = ['data: {"a": "é€𝄞"}'.encode(), b": keep-alive", b'event: x\ndata: {"b": 1}', b"data: [DONE]"]


def feed(pieces: Iterable[bytes]) -> list[bytes]:
    splitter = Splitter()
    return [event for piece in pieces for event in splitter.feed(piece)] + splitter.flush()


async def each(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


async def alone(*events: bytes) -> AsyncIterator[Batch]:
    for event in events:
        yield (event,)


def chunk(delta: Any = None, finish_reason: str | None = None, **more: Any) -> bytes:
    choice = {"index": 0, "delta": delta or {}, "finish_reason": finish_reason}
    return b"data: " + json.dumps({"id": "chatcmpl-1", "choices": [choice]} | more).encode()


class TestSplitter:
    @pytest.mark.parametrize("newline", [b"\n", b"\r\n"])
    def test_a_cut_anywhere_changes_nothing(self, newline: bytes) -> None:
        stream = STREAM.replace(b"\n", newline)
        for place in range(len(stream) + 1):
            assert feed([stream[:place], stream[place:]]) == EVENTS, place

    @pytest.mark.parametrize("newline", [b"\n", b"\r\n"])
    def test_byte_by_byte_too(self, newline: bytes) -> None:
        stream = STREAM.replace(b"\n", newline)
        assert feed(stream[place : place + 1] for place in range(len(stream))) == EVENTS

    def test_a_last_event_may_lack_its_blank_line(self) -> None:
        assert feed([STREAM.rstrip()]) == EVENTS
        assert feed([STREAM[:-1]]) == EVENTS

    def test_extra_blank_lines_are_no_events(self) -> None:
        assert feed([b"\n\n\n" + STREAM.replace(b"\n\n", b"\n\n\n\n\n")]) == EVENTS

    def test_a_carriage_return_inside_stays(self) -> None:
        assert feed([b"data: a\rb\n\n"]) == [b"data: a\rb"]

    def test_what_never_ends_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(streaming, "BUFFER_LIMIT", 100)
        with pytest.raises(UpstreamFailed, match="not a stream of server-sent events"):
            feed([b"x" * 60, b"x" * 60])

    async def test_split_reads_a_body(self) -> None:
        assert [event async for event in split(each(STREAM[:10], STREAM[10:]))] == EVENTS


class TestPayload:
    @pytest.mark.parametrize(
        ("event", "payload"),
        [
            (b"data: x", b"x"),
            (b"data:x", b"x"),
            (b"event: y\ndata: x\nid: 1", b"x"),
            (b"data: x\ndata: y", b"x\ny"),
            (b": note\ndata: x", b"x"),
            (b": note", b""),
        ],
    )
    def test_is_the_data_of_all_lines(self, event: bytes, payload: bytes) -> None:
        assert payload_of(event) == payload


class TestErrorOf:
    def test_an_error_event_is_a_failed_upstream(self) -> None:
        error = error_of(b'data: {"error": {"message": "it broke", "type": "x", "code": "y"}}')
        assert isinstance(error, UpstreamFailed)
        assert (str(error), error.code) == ("The upstream failed: it broke", "y")

    def test_so_is_one_whose_error_is_a_text(self) -> None:
        error = error_of(b'data: {"error": "Model is overloaded", "error_type": "overloaded"}')
        assert str(error) == "The upstream failed: Model is overloaded"

    @pytest.mark.parametrize(
        "event", [chunk({"content": '"error"'}), chunk(error=None), b'data: "error"', b"data: [DONE]"]
    )
    def test_everything_else_is_not(self, event: bytes) -> None:
        assert error_of(event) is None


class TestPrime:
    async def test_skips_comments(self) -> None:
        assert await prime(alone(b": hello", b": again", b"data: x", b"data: y")) == [b"data: x"]

    async def test_an_event_behind_a_comment_line_is_an_event(self) -> None:
        assert await prime(alone(b": hello\ndata: x")) == [b": hello\ndata: x"]

    async def test_waits_for_a_piece_of_the_answer(self) -> None:
        role, empty, word = (
            chunk({"role": "assistant", "content": ""}),
            chunk({"content": None}),
            chunk({"content": "a"}),
        )
        events = alone(role, b": alive", empty, word, chunk({"content": "b"}))
        assert await prime(events) == [role, b": alive", empty, word]
        assert await anext(events) == (chunk({"content": "b"}),)

    async def test_a_role_is_none_also_where_usage_comes_with_every_chunk(self) -> None:
        role, word = chunk({"role": "assistant"}, usage={"prompt_tokens": 5}), chunk({"content": "a"})
        assert await prime(alone(role, word)) == [role, word]

    async def test_what_filters_say_of_the_prompt_is_none(self) -> None:
        """Azure's first event: whoever fails behind it has not begun to answer."""
        filtered, word = b'data: {"choices": [], "prompt_filter_results": [], "usage": null}', chunk({"content": "a"})
        assert await prime(alone(filtered, word)) == [filtered, word]
        with pytest.raises(UpstreamFailed, match="it broke"):
            await prime(alone(filtered, b'data: {"error": {"message": "it broke"}}'))

    @pytest.mark.parametrize(
        "event",
        [
            chunk({"tool_calls": [{"index": 0, "id": "call_1"}]}),
            chunk({"role": "assistant", "reasoning_content": "hm"}),
            chunk({"refusal": "no"}),
            chunk({}, "stop"),
            b'data: {"choices": [{"index": 0, "text": "a"}]}',
            b'data: {"choices": [], "usage": {}}',
            b"data: [DONE]",
        ],
    )
    async def test_a_piece_may_be_anything_but_a_role(self, event: bytes) -> None:
        assert await prime(alone(event, event)) == [event]

    async def test_a_stream_that_ends_before_it_is_a_failure(self) -> None:
        with pytest.raises(UpstreamFailed, match="before the first piece"):
            await prime(alone(chunk({"role": "assistant", "content": ""})))

    async def test_what_came_with_it_stays_together(self) -> None:
        async def came(*events: bytes) -> AsyncIterator[Batch]:
            yield events

        done = b"data: [DONE]"
        assert await prime(came(WORD, WORD, LAST, done)) == [WORD, WORD + b"\n\n" + LAST, done]
        assert await prime(came(WORD, WORD, LAST)) == [WORD, WORD + b"\n\n" + LAST]
        assert await prime(came(WORD, done)) == [WORD, done]
        assert await prime(came(WORD, WORD, b": alive", done)) == [WORD, WORD, b": alive", done]

    async def test_an_error_first_is_raised(self) -> None:
        with pytest.raises(UpstreamFailed, match="it broke"):
            await prime(alone(b'event: error\ndata: {"error": {"message": "it broke"}}'))

    async def test_nothing_at_all_is_a_failure(self) -> None:
        with pytest.raises(UpstreamFailed, match="before the first piece"):
            await prime(alone(b": hello"))


def test_an_error_frame_has_the_error_object() -> None:
    frame = error_frame(UpstreamTimeout("too late"))
    assert frame.endswith(b"\n\n")
    assert json.loads(frame.removeprefix(b"data: "))["error"] == {
        "message": "too late", "type": "server_error", "param": None, "code": "upstream_timeout"
    }  # fmt: skip


LAST = chunk({}, "stop")
WIRE = {"prompt_tokens": 12, "completion_tokens": 4}
USAGE = b"data: " + json.dumps({"id": "chatcmpl-1", "choices": [], "usage": WIRE}).encode()


async def relayed(
    *events: bytes, show_usage: bool = False, strip_running: bool = True
) -> tuple[Relay, list[bytes], Refusal | None]:
    """What a relay passed on, and what it raised at the end."""
    relay = Relay(show_usage=show_usage, strip_running=strip_running)
    frames: list[bytes] = []
    try:
        async for frame in relay.frames(events[:1], alone(*events[1:])):
            frames.append(frame)  # noqa: PERF401 what came before an error counts
    except Refusal as refusal:
        return relay, frames, refusal
    return relay, frames, None


class TestRelay:
    async def test_passes_events_on_to_the_byte(self) -> None:
        events = (chunk({"content": "x"}, unknown={"kept": 1.00}), b": keep-alive", b"event: e\ndata: {}", LAST)
        _, frames, error = await relayed(*events, b"data: [DONE]")
        assert frames == [event + b"\n\n" for event in events]
        assert error is None

    async def test_notes_id_and_usage(self) -> None:
        relay, _, _ = await relayed(chunk({"content": "x"}), LAST, USAGE, b"data: [DONE]")
        assert (relay.reply_id, relay.usage, relay.finished) == ("chatcmpl-1", Usage(12, 0, 4), True)

    async def test_keeps_what_the_upstream_sent_but_comments(self) -> None:
        relay, _, _ = await relayed(chunk(), b": note", LAST, USAGE, b"data: [DONE]")
        assert relay.raw() == b"\n\n".join([chunk(), LAST, USAGE])

    async def test_nothing_behind_done_is_read(self) -> None:
        _, frames, _ = await relayed(LAST, b"data: [DONE]", chunk({"content": "more"}))
        assert frames == [LAST + b"\n\n"]

    async def test_an_error_event_ends_it(self) -> None:
        _, frames, error = await relayed(chunk(), b'data: {"error": {"message": "it broke"}}', LAST)
        assert frames == [chunk() + b"\n\n"]
        assert isinstance(error, UpstreamFailed)

    async def test_an_upstream_that_stops_early_failed(self) -> None:
        _, _, error = await relayed(chunk({"content": "x"}))
        assert isinstance(error, UpstreamFailed)
        assert "before the reply was complete" in str(error)

    async def test_a_reason_to_finish_without_done_is_an_end(self) -> None:
        assert (await relayed(chunk({"content": "x"}), LAST, USAGE))[2] is None

    async def test_a_refusal_of_the_body_goes_through(self) -> None:
        async def breaks() -> AsyncIterator[Batch]:
            yield (chunk(),)
            raise UpstreamTimeout("too late")

        relay = Relay(show_usage=False, strip_running=True)
        with pytest.raises(UpstreamTimeout):
            _ = [frame async for frame in relay.frames([chunk()], breaks())]


WORD = chunk({"content": "a word"})
ANONYMOUS = b'data: {"choices": [{"index": 0, "delta": {"content": "x"}}]}'
STREAMS = {
    "text": [WORD] * 5 + [LAST, USAGE, b"data: [DONE]"],
    "no id at first": [ANONYMOUS, ANONYMOUS, WORD, WORD, LAST, b"data: [DONE]"],
    "no id": [ANONYMOUS] * 4 + [b"data: [DONE]"],
    "usage amid it": [WORD, chunk({"content": "b"}, usage=WIRE), WORD, chunk(usage=None), LAST, b"data: [DONE]"],
    "comments": [WORD, b": alive", WORD, b": alive\n: still", WORD, LAST, b"data: [DONE]"],
    "other lines": [
        WORD,
        b"event: e\n" + WORD,
        WORD + b"\nid: 5",
        b"data:" + WORD[6:],
        b'data: {\ndata: "a": 1}',
        LAST,
    ],
    "blank lines": [WORD, b"\n" + WORD, b"\n\n\n" + WORD, LAST, b"data: [DONE]"],
    "an error": [WORD, WORD, b'data: {"error": {"message": "it broke"}}', WORD],
    "done before its end": [WORD, WORD, b"data: [DONE]", WORD, b"data: {}"],
    "cut": [WORD] * 6,
    "cut behind a choice that ended": [WORD, LAST, WORD, WORD, WORD],
    "ended without done": [WORD, WORD, LAST, WORD, WORD],
    "no end of the last": [WORD, WORD, LAST + b"\n"],
    "a text in two lines": [WORD, chunk({"content": "a\n\nb"}), LAST, b"data: [DONE]"],
}


async def sent_on(stream: bytes, places: tuple[int, ...], *, in_runs: bool, show_usage: bool) -> list[object]:
    """All that can be seen of a stream that comes in pieces, cut at these places."""
    splitter, relay, frames = Splitter(), Relay(show_usage=show_usage, strip_running=True), list[bytes]()
    splitter.in_runs, error = in_runs, None
    pieces = (stream[start:end] for start, end in pairwise((0, *places, len(stream))))
    try:
        async for frame in relay.frames((), batches(each(*pieces), splitter)):
            frames.append(frame)
    except Refusal as refusal:
        error = str(refusal)
    return [b"".join(frames), relay.raw(), relay.reply_id, relay.usage, relay.finished, error]


class TestRuns:
    @pytest.mark.parametrize("newline", [b"\n", b"\r\n"])
    @pytest.mark.parametrize("show_usage", [False, True])
    @pytest.mark.parametrize("name", STREAMS)
    async def test_change_nothing_of_a_stream_wherever_it_is_cut(
        self, name: str, show_usage: bool, newline: bytes
    ) -> None:
        stream = b"".join(event + b"\n\n" for event in STREAMS[name]).replace(b"\n", newline)
        known = await sent_on(stream, (), in_runs=False, show_usage=show_usage)
        for place in range(1, len(stream)):
            cut = place, min(place + 150, len(stream))
            assert await sent_on(stream, cut, in_runs=True, show_usage=show_usage) == known, place

    def test_are_made_of_what_comes_together(self) -> None:
        splitter = Splitter()
        splitter.in_runs = True
        assert splitter.feed(b"\n\n".join([WORD, WORD, WORD, b"data: {"])) == [b"\n\n".join([WORD, WORD, WORD])]
        assert splitter.feed(b"}\n\n: alive\n\n") == [b"data: {}", b": alive"]
        assert splitter.feed(b"\n\n".join([WORD, b"data: [DONE]", b""])) == [WORD, b"data: [DONE]"]


class TestUsageChunks:
    async def test_the_usage_chunk_is_taken_out_unless_asked_for(self) -> None:
        assert (await relayed(LAST, USAGE, b"data: [DONE]"))[1] == [LAST + b"\n\n"]
        assert (await relayed(LAST, USAGE, b"data: [DONE]", show_usage=True))[1] == [LAST + b"\n\n", USAGE + b"\n\n"]

    async def test_null_usage_stays_only_if_asked_for(self) -> None:
        event = chunk({"content": "x"}, usage=None)
        assert (await relayed(event, LAST, show_usage=True))[1][0] == event + b"\n\n"
        shown = json.loads((await relayed(event, LAST))[1][0].removeprefix(b"data: "))
        assert "usage" not in shown
        assert shown["choices"][0]["delta"] == {"content": "x"}

    async def test_running_usage_of_our_engine_becomes_null(self) -> None:
        event = chunk({"content": "x"}, usage=WIRE)
        relay, frames, _ = await relayed(event, LAST, show_usage=True)
        assert json.loads(frames[0].removeprefix(b"data: "))["usage"] is None
        assert relay.usage == Usage(12, 0, 4)

    async def test_running_usage_stays_for_who_asked_for_it(self) -> None:
        event = chunk({"content": "x"}, usage=WIRE)
        assert (await relayed(event, LAST, show_usage=True, strip_running=False))[1][0] == event + b"\n\n"

    async def test_the_last_usage_counts(self) -> None:
        later = chunk({}, "stop", usage=WIRE | {"completion_tokens": 9})
        assert (await relayed(chunk({}, usage=WIRE), later))[0].usage == Usage(12, 0, 9)

    async def test_a_chunk_without_choices_and_without_usage_is_not_the_usage_chunk(self) -> None:
        event = b'data: {"id": "", "choices": [], "prompt_filter_results": [{"a": 1}], "usage": null}'
        shown = json.loads((await relayed(event, LAST))[1][0].removeprefix(b"data: "))
        assert shown == {"id": "", "choices": [], "prompt_filter_results": [{"a": 1}]}

    async def test_a_text_that_speaks_of_usage_is_no_usage(self) -> None:
        event = chunk({"content": 'the "usage": 3'})
        relay, frames, _ = await relayed(event, LAST)
        assert frames[0] == event + b"\n\n"
        assert relay.usage is None

    async def test_usage_behind_a_comment_line_is_metered(self) -> None:
        relay, frames, _ = await relayed(LAST, b": note\n" + USAGE, b"data: [DONE]")
        assert (len(frames), relay.usage) == (1, Usage(12, 0, 4))


def test_done_is_openais() -> None:
    assert DONE == b"data: [DONE]\n\n"


def test_other_refusals_can_be_frames_too() -> None:
    assert b'"param":"model"' in error_frame(InvalidRequest("x", param="model"))
