"""Whole replies, built with Anthropic's own models and read with OpenAI's."""

import json
import time
from typing import Any

import pytest
from anthropic.types import Message
from anthropic.types.stop_reason import StopReason
from openai.types.chat import ChatCompletion

from gateway.errors import UpstreamFailed
from gateway.upstreams.anthropic.reply import FINISH_REASONS, chat_completion
from tests.fakes.anthropic import answer

HELLO = [{"role": "user", "content": "hello"}]


def translated(message: Message) -> ChatCompletion:
    body = chat_completion(message.to_json().encode())
    assert ChatCompletion.model_validate_json(body, strict=True)
    return ChatCompletion.model_validate_json(body)


def replied(model: str) -> ChatCompletion:
    return translated(answer({"model": model, "messages": HELLO}))


class TestMessage:
    def test_text(self) -> None:
        reply = replied("echo")
        assert (reply.id, reply.object, reply.model) == ("msg_fake", "chat.completion", "echo")
        assert abs(reply.created - time.time()) < 60
        [choice] = reply.choices
        assert (choice.message.role, choice.message.content, choice.message.refusal) == ("assistant", "hello", None)
        assert (choice.index, choice.finish_reason, choice.logprobs) == (0, "stop", None)
        assert choice.message.tool_calls is None
        assert "reasoning_content" not in choice.message.model_extra

    def test_several_texts_are_one(self) -> None:
        message = answer({"model": "echo", "messages": HELLO})
        message.content = message.content * 2
        assert translated(message).choices[0].message.content == "hellohello"

    def test_nothing_at_all(self) -> None:
        message = answer({"model": "echo", "messages": HELLO})
        message.content = []
        assert translated(message).choices[0].message.content == ""

    def test_calls_of_tools(self) -> None:
        choice = replied("tools").choices[0]
        assert (choice.finish_reason, choice.message.content) == ("tool_calls", "Let me look.")
        calls = [
            (call.id, call.type, call.function.name, call.function.arguments) for call in choice.message.tool_calls
        ]
        assert [call[:3] for call in calls] == [("toolu_1", "function", "weather"), ("toolu_2", "function", "now")]
        assert [json.loads(call[3]) for call in calls] == [{"city": "Zürich", "days": 2}, {}]

    def test_calls_alone_have_no_content(self) -> None:
        message = answer({"model": "tools", "messages": HELLO})
        message.content = message.content[1:]
        assert translated(message).choices[0].message.content is None

    def test_a_call_of_a_function(self) -> None:
        body = answer({"model": "tools", "messages": HELLO}).to_json().encode()
        [choice] = ChatCompletion.model_validate_json(chat_completion(body, functions=True)).choices
        assert choice.finish_reason == "function_call"
        assert choice.message.function_call.name == "weather"
        assert json.loads(choice.message.function_call.arguments) == {"city": "Zürich", "days": 2}
        assert choice.message.tool_calls is None

    def test_arguments_stay_as_written(self) -> None:
        tool = b'{"type":"tool_use","id":"t","name":"f","input":{"n": 12345678901234567890123, "x": 1.0}}'
        body = b'{"type":"message","id":"i","model":"m","content":[' + tool + b'],"stop_reason":"tool_use"}'
        [call] = json.loads(chat_completion(body))["choices"][0]["message"]["tool_calls"]
        assert call["function"]["arguments"] == '{"n": 12345678901234567890123, "x": 1.0}'

    def test_thoughts(self) -> None:
        message = replied("thinking").choices[0].message
        assert message.content == "Done."
        assert message.model_extra["reasoning_content"] == "First this, then that."
        assert message.model_extra["thinking_blocks"] == [
            {"type": "thinking", "thinking": "First this, then that.", "signature": "c2lnbmVk"},
            {"type": "redacted_thinking", "data": "aGlkZGVu"},
        ]

    def test_blocks_of_other_types_are_skipped(self) -> None:
        body = json.loads(answer({"model": "echo", "messages": HELLO}).to_json())
        body["content"].insert(0, {"type": "hologram", "shape": {"text": "x"}})
        assert json.loads(chat_completion(json.dumps(body).encode()))["choices"][0]["message"]["content"] == "hello"


class TestFinishReason:
    @pytest.mark.parametrize(
        ("stop", "finish"),
        [
            ("end_turn", "stop"),
            ("stop_sequence", "stop"),
            ("pause_turn", "stop"),
            ("max_tokens", "length"),
            ("model_context_window_exceeded", "length"),
            ("tool_use", "tool_calls"),
            ("refusal", "content_filter"),
            ("a_new_one", "stop"),
            (None, "stop"),
        ],
    )
    def test_each(self, stop: Any, finish: str) -> None:
        body = json.loads(answer({"model": "echo", "messages": HELLO}).to_json()) | {"stop_reason": stop}
        assert json.loads(chat_completion(json.dumps(body).encode()))["choices"][0]["finish_reason"] == finish

    def test_every_reason_of_the_package_is_known(self) -> None:
        assert set(StopReason.__args__) == set(FINISH_REASONS)

    def test_a_refusal_tells_why(self) -> None:
        choice = replied("refusal").choices[0]
        assert (choice.finish_reason, choice.message.refusal) == ("content_filter", "It could do harm.")


class TestUsage:
    def test_input_from_and_into_the_cache_is_input(self) -> None:
        usage = replied("cached").usage
        assert usage is not None
        assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (24, 9, 33)
        assert usage.prompt_tokens_details.cached_tokens == 8
        assert usage.prompt_tokens_details.cache_write_tokens == 4

    def test_thoughts_are_counted(self) -> None:
        assert replied("thinking").usage.completion_tokens_details.reasoning_tokens == 5

    def test_without_any_it_is_zero(self) -> None:
        body = b'{"type":"message","id":"i","model":"m","content":[],"usage":{"input_tokens":3}}'
        assert json.loads(chat_completion(body))["usage"]["total_tokens"] == 3


class TestNoMessage:
    @pytest.mark.parametrize(
        "body", [b"", b"<html>", b"[]", b"{}", b'{"type":"error","error":{}}', b'{"object":"chat.completion"}', b"\xff"]
    )
    def test_fails(self, body: bytes) -> None:
        with pytest.raises(UpstreamFailed, match="Messages API"):
            chat_completion(body)
