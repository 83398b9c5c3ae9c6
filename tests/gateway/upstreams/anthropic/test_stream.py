"""Streams: what Anthropic's events become, in every order in which they may come."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from typing import Any

import pydantic
import pytest
from openai.lib.streaming.chat._completions import ChatCompletionStreamState
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from gateway.errors import UpstreamFailed
from gateway.exchanges.assemble import assemble
from gateway.streaming import END, error_of, one_by_one, prime, split
from gateway.upstreams.anthropic.reply import chat_completion
from gateway.upstreams.anthropic.stream import chunks
from tests.fakes.anthropic import OVERLOADED, STRANGE, answer, events_of, frame

HELLO = [{"role": "user", "content": "one two three"}]
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}}
FORMAT = {"format": {"type": "json_schema", "schema": SCHEMA}}
ANSWERS = ["echo", "tools", "thinking", "refusal", "length", "cached", "structured"]


def message(model: str) -> Any:
    return answer({"model": model, "messages": HELLO, "output_config": FORMAT})


def sent(model: str) -> list[bytes]:
    """The stream's events as bytes, each with its blank line."""
    return [frame(event) for event in events_of(message(model))]


def translated(
    frames: Iterable[bytes | pydantic.BaseModel | dict[str, Any]], *, functions: bool = False
) -> list[bytes]:
    """What the gateway makes of a body in these pieces."""
    pieces = [each if isinstance(each, bytes) else frame(each) for each in frames]

    async def body() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece

    async def collect() -> list[bytes]:
        return [event async for event in chunks(split(body()), functions=functions)]

    return asyncio.run(collect())


def read(events: list[bytes]) -> list[ChatCompletionChunk]:
    """The chunks, as OpenAI's client reads them; comments and [DONE] are skipped."""
    payloads = [event.removeprefix(b"data: ") for event in events if event.startswith(b"data: {")]
    return [ChatCompletionChunk.model_validate_json(payload) for payload in payloads]


def put_together(events: list[bytes]) -> ChatCompletion:
    """The reply that OpenAI's client makes of the stream; it raises on a chunk out of order."""
    state: Any = ChatCompletionStreamState()
    for chunk in read(events):
        state.handle_chunk(chunk)
    return state.current_completion_snapshot


def start(index: int, **block: Any) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": block}


def delta(index: int, kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": {"type": kind, **fields}}


def stop(index: int) -> dict[str, Any]:
    return {"type": "content_block_stop", "index": index}


def around(*events: dict[str, Any], stop_reason: str = "end_turn") -> list[Any]:
    """A whole stream with these events in its middle."""
    whole = list(events_of(message("echo")))
    ended = {"type": "message_delta", "delta": {"stop_reason": stop_reason}, "usage": {"output_tokens": 5}}
    return [whole[0], *events, ended, whole[-1]]


def tool(index: int, id: str) -> dict[str, Any]:
    return start(index, type="tool_use", id=id, name=f"f{id}", input={})


class TestWhole:
    @pytest.mark.parametrize("model", ANSWERS)
    def test_says_the_same_as_the_reply_that_is_not_streamed(self, model: str) -> None:
        whole = json.loads(chat_completion(message(model).to_json().encode()))
        streamed = json.loads(assemble(END.join(translated(sent(model)))))
        for call in [*whole["choices"][0]["message"].get("tool_calls", [])]:
            call["function"]["arguments"] = json.loads(call["function"]["arguments"])
        for call in [*streamed["choices"][0]["message"].get("tool_calls", [])]:
            call["function"]["arguments"] = json.loads(call["function"]["arguments"])
        streamed["choices"][0]["message"]["content"] = streamed["choices"][0]["message"]["content"] or ""
        assert streamed == whole | {"created": streamed["created"]}

    @pytest.mark.parametrize("model", ANSWERS)
    def test_wherever_its_bytes_are_cut(self, model: str) -> None:
        body = b"".join(sent(model))
        expected = [_timeless(event) for event in translated([body])]
        for size in (1, 2, 3, 7, 64):
            pieces = [body[at : at + size] for at in range(0, len(body), size)]
            assert [_timeless(event) for event in translated(pieces)] == expected

    def test_openais_client_reads_it(self) -> None:
        reply = put_together(translated(sent("tools")))
        choice = reply.choices[0]
        assert (choice.finish_reason, choice.message.content) == ("tool_calls", "Let me look.")
        assert [json.loads(call.function.arguments) for call in choice.message.tool_calls] == [
            {"city": "Zürich", "days": 2},
            {},
        ]

    def test_the_order_of_chunks(self) -> None:
        events = translated(sent("echo"))
        assert events[-1] == b"data: [DONE]"
        first, *middle, finish, usage = read(events)
        assert first.choices[0].delta.model_dump(exclude_unset=True) == {
            "role": "assistant",
            "content": "",
            "refusal": None,
        }
        assert [chunk.choices[0].delta.content for chunk in middle] == ["one ", "two ", "three"]
        assert finish.choices[0].finish_reason == "stop"
        assert finish.choices[0].delta.model_dump(exclude_unset=True) == {}
        assert usage.choices == []
        assert {(chunk.id, chunk.model, chunk.object) for chunk in read(events)} == {
            ("msg_fake", "echo", "chat.completion.chunk")
        }
        assert len({chunk.created for chunk in read(events)}) == 1

    def test_usage_of_the_input_comes_first_and_all_of_it_last(self) -> None:
        """What comes first is for a stream that is cut; clients get it where they asked for continuous usage."""
        read_chunks = read(translated(sent("cached")))
        first, *middle, _ = [chunk.usage for chunk in read_chunks]
        assert (first.prompt_tokens, first.completion_tokens, first.total_tokens) == (24, 0, 24)
        assert first.prompt_tokens_details.cached_tokens == 8
        assert middle == [None] * len(middle)
        usage = read_chunks[-1].usage
        assert (usage.prompt_tokens, usage.completion_tokens) == (24, 9)
        assert usage.prompt_tokens_details.cached_tokens == 8


def _timeless(event: bytes) -> Any:
    if not event.startswith(b"data: {"):
        return event
    return json.loads(event[6:]) | {"created": 0}


class TestTools:
    def test_calls_at_once_are_told_apart(self) -> None:
        frames = around(
            tool(1, "a"),
            tool(4, "b"),
            delta(4, "input_json_delta", partial_json='{"x"'),
            delta(1, "input_json_delta", partial_json=""),
            delta(1, "input_json_delta", partial_json='{"y": 1'),
            delta(4, "input_json_delta", partial_json=": 2}"),
            delta(1, "input_json_delta", partial_json="}"),
            stop(4),
            stop(1),
            stop_reason="tool_use",
        )
        calls = put_together(translated(frames)).choices[0].message.tool_calls
        assert [(call.id, call.function.name, call.function.arguments) for call in calls] == [
            ("a", "fa", '{"y": 1}'),
            ("b", "fb", '{"x": 2}'),
        ]

    @pytest.mark.parametrize("empty", [(), ("",), ("", "")])
    def test_a_call_without_arguments_has_an_empty_object(self, empty: tuple[str, ...]) -> None:
        deltas = [delta(0, "input_json_delta", partial_json=piece) for piece in empty]
        events = translated(around(tool(0, "a"), *deltas, stop(0), stop_reason="tool_use"))
        assert put_together(events).choices[0].message.tool_calls[0].function.arguments == "{}"

    def test_arguments_that_come_with_the_start(self) -> None:
        whole = start(0, type="tool_use", id="a", name="f", input={"x": 1})
        events = translated(around(whole, stop(0), stop_reason="tool_use"))
        assert json.loads(put_together(events).choices[0].message.tool_calls[0].function.arguments) == {"x": 1}

    def test_a_block_that_never_stops_is_ended_by_the_message(self) -> None:
        events = translated(around(tool(0, "a"), stop_reason="tool_use"))
        assert put_together(events).choices[0].message.tool_calls[0].function.arguments == "{}"

    def test_a_second_call_after_text(self) -> None:
        frames = around(
            tool(0, "a"),
            stop(0),
            start(1, type="text", text=""),
            delta(1, "text_delta", text="and"),
            stop(1),
            tool(2, "b"),
            stop(2),
        )
        indices = [
            call.index
            for chunk in read(translated(frames))
            for each in chunk.choices
            for call in each.delta.tool_calls or ()
        ]
        assert indices == [0, 0, 1, 1]

    def test_a_call_of_a_function(self) -> None:
        choices = [each for chunk in read(translated(sent("tools"), functions=True)) for each in chunk.choices]
        calls = [each.delta.function_call for each in choices if each.delta.function_call]
        assert [call.name for call in calls if call.name] == ["weather"]
        assert json.loads("".join(call.arguments for call in calls)) == {"city": "Zürich", "days": 2}
        assert choices[-1].finish_reason == "function_call"
        assert not any(each.delta.tool_calls for each in choices)


class TestOddOrders:
    def test_text_that_comes_with_the_start(self) -> None:
        frames = around(start(0, type="text", text="one "), delta(0, "text_delta", text="two"), stop(0))
        assert put_together(translated(frames)).choices[0].message.content == "one two"

    def test_deltas_of_a_block_that_never_started(self) -> None:
        frames = around(
            delta(3, "text_delta", text="hi"),
            delta(4, "input_json_delta", partial_json="{}"),
            delta(5, "signature_delta", signature="x"),
            stop(6),
        )
        message = put_together(translated(frames)).choices[0].message
        assert (message.content, message.tool_calls) == ("hi", None)

    def test_unknown_events_deltas_and_blocks_are_skipped(self) -> None:
        whole = list(events_of(message("echo")))
        assert [_timeless(each) for each in translated([whole[0], *STRANGE, *whole[1:]])] == [
            _timeless(each) for each in translated(whole)
        ]

    def test_a_ping_is_a_comment(self) -> None:
        whole = list(events_of(message("echo")))
        events = translated([whole[0], {"type": "ping"}, *whole[1:4], {"type": "ping"}, *whole[4:]])
        assert events[0] == b": ping"
        assert events.count(b": ping") == 2

    def test_sums_that_come_later_replace_those_of_the_start(self) -> None:
        whole = list(events_of(message("cached")))
        sums = {
            "input_tokens": 100,
            "cache_read_input_tokens": 50,
            "cache_creation_input_tokens": None,
            "output_tokens": 7,
        }
        ended = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": sums}
        usage = read(translated([*whole[:-2], ended, whole[-1]]))[-1].usage
        assert (usage.prompt_tokens, usage.completion_tokens) == (154, 7)

    def test_several_message_deltas_finish_once(self) -> None:
        whole = list(events_of(message("echo")))
        early = {"type": "message_delta", "delta": {"stop_reason": None}, "usage": {"output_tokens": 3}}
        late = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 11}}
        events = read(translated([*whole[:-2], early, whole[-2], late, whole[-1]]))
        assert [each.finish_reason for chunk in events for each in chunk.choices if each.finish_reason] == ["stop"]
        assert events[-1].usage.completion_tokens == 11

    def test_without_a_message_stop_it_is_done_at_the_end(self) -> None:
        events = translated(list(events_of(message("echo")))[:-1])
        assert events[-1] == b"data: [DONE]"
        assert read(events)[-1].usage.completion_tokens == 9

    def test_nothing_but_an_end(self) -> None:
        reply = put_together(translated(around()))
        assert (reply.choices[0].message.content, reply.choices[0].finish_reason) == ("", "stop")

    def test_a_refusal_tells_why(self) -> None:
        assert put_together(translated(sent("refusal"))).choices[0].message.refusal == "It could do harm."


class TestThinking:
    def test_thoughts_are_reasoning_and_come_whole_at_the_end_of_their_block(self) -> None:
        deltas = [each.choices[0].delta for each in read(translated(sent("thinking"))) if each.choices]
        extras = [each.model_extra or {} for each in deltas]
        assert "".join(each.get("reasoning_content", "") for each in extras) == "First this, then that."
        assert [each["thinking_blocks"] for each in extras if "thinking_blocks" in each] == [
            [{"type": "thinking", "thinking": "First this, then that.", "signature": "c2lnbmVk"}],
            [{"type": "redacted_thinking", "data": "aGlkZGVu"}],
        ]
        assert "".join(each.content or "" for each in deltas) == "Done."


class TestFailures:
    def test_an_error_before_any_content_is_the_first_event(self) -> None:
        whole = list(events_of(message("echo")))
        events = translated([whole[0], {"type": "ping"}, whole[1], OVERLOADED])
        assert len(events) == 2

        async def primed() -> None:
            async def stream() -> AsyncIterator[bytes]:
                for event in events:
                    yield event

            await prime(one_by_one(stream()))

        with pytest.raises(UpstreamFailed, match="Overloaded") as raised:
            asyncio.run(primed())
        assert raised.value.code == "server_is_overloaded"

    def test_an_error_midway_ends_the_stream(self) -> None:
        whole = list(events_of(message("echo")))
        events = translated([*whole[:4], OVERLOADED, *whole[4:]])
        error = error_of(events[-1])
        assert error is not None
        assert "Overloaded" in str(error)
        assert json.loads(events[-1][6:]) == {
            "error": {"message": "Overloaded", "type": "server_error", "param": None, "code": "server_is_overloaded"}
        }
        assert b"data: [DONE]" not in events

    def test_an_error_without_a_reason(self) -> None:
        [event] = translated([{"type": "error"}])
        assert error_of(event) is not None

    @pytest.mark.parametrize("length", range(1, 7))
    def test_a_stream_that_is_cut_has_no_end(self, length: int) -> None:
        events = translated(sent("echo")[:length])
        assert b"data: [DONE]" not in events
        assert not any(each.finish_reason for chunk in read(events) for each in chunk.choices)

    @pytest.mark.parametrize("body", [b"data: {\n\n", b"data: []\n\n", b'data: {"a": 1}\n\n', b"data: <html>\n\n"])
    def test_what_is_no_event_of_anthropics_fails(self, body: bytes) -> None:
        with pytest.raises(UpstreamFailed, match="Messages API"):
            translated([body])

    def test_comments_and_empty_data_are_nothing(self) -> None:
        assert translated([b": hi\n\n", b"event: x\n\n", b"data:\n\n"]) == []
