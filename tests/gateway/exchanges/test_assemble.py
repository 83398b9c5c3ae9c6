"""A stream becomes the body that it would have been."""

import json
from typing import Any

import pytest

from gateway.exchanges.assemble import answer_text, assemble, reply_text
from tests.contract import conforms


def stream(*chunks: Any) -> bytes:
    return b"\n\n".join(b"data: " + json.dumps(chunk).encode() for chunk in chunks)


def chunk(*choices: Any, **more: Any) -> dict[str, Any]:
    top = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": list(choices)}
    return top | more


def delta(index: int = 0, *, finish_reason: str | None = None, **parts: Any) -> dict[str, Any]:
    return {"index": index, "delta": parts, "finish_reason": finish_reason}


def body(*chunks: Any) -> dict[str, Any]:
    return json.loads(assemble(stream(*chunks)))


class TestChat:
    def test_is_a_completion(self) -> None:
        whole = body(
            chunk(delta(role="assistant", content="")),
            chunk(delta(content="Hel")),
            chunk(delta(content="lo é€𝄞")),
            chunk(delta(finish_reason="stop")),
            chunk(usage={"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}),
        )
        conforms("CreateChatCompletionResponse", whole)
        assert whole == {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1,
            "model": "m",
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": "Hello é€𝄞", "refusal": None},
                    "logprobs": None,
                    "finish_reason": "stop",
                }
            ],
            "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3},
        }

    def test_choices_are_kept_apart(self) -> None:
        whole = body(
            chunk(delta(1, content="b")), chunk(delta(0, content="a"), delta(1, content="b", finish_reason="length"))
        )
        assert [(each["index"], each["message"]["content"], each["finish_reason"]) for each in whole["choices"]] == [
            (0, "a", None),
            (1, "bb", "length"),
        ]

    def test_tool_calls_are_put_together(self) -> None:
        whole = body(
            chunk(delta(role="assistant", content=None)),
            chunk(delta(tool_calls=[{"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": ""}}])),
            chunk(delta(tool_calls=[{"index": 0, "function": {"arguments": '{"x"'}}])),
            chunk(delta(tool_calls=[{"index": 1, "id": "b", "type": "function", "function": {"name": "g", "arguments": "{}"}}])),
            chunk(delta(tool_calls=[{"index": 0, "function": {"arguments": ": 1}"}}], finish_reason="tool_calls")),
        )  # fmt: skip
        conforms("CreateChatCompletionResponse", whole)
        assert whole["choices"][0]["message"]["tool_calls"] == [
            {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}},
            {"id": "b", "type": "function", "function": {"name": "g", "arguments": "{}"}},
        ]

    def test_so_are_calls_of_custom_tools_and_what_providers_want_back(self) -> None:
        """Gemini's thought signature goes back with the call, or it is refused."""
        signed = {"extra_content": {"google": {"thought_signature": "x"}}}
        whole = body(
            chunk(
                delta(
                    tool_calls=[{"index": 0, "id": "a", "type": "custom", "custom": {"name": "sql", "input": "SELE"}}]
                )
            ),
            chunk(delta(tool_calls=[{"index": 0, "custom": {"input": "CT 1"}}])),
            chunk(delta(tool_calls=[{"index": 1, "id": "b", "function": {"name": "f", "arguments": "{}"}, **signed}])),
        )
        assert whole["choices"][0]["message"]["tool_calls"] == [
            {"id": "a", "type": "custom", "custom": {"name": "sql", "input": "SELECT 1"}},
            {"id": "b", "type": "function", "function": {"name": "f", "arguments": "{}"}, **signed},
        ]

    def test_a_function_call_of_old_is_put_together(self) -> None:
        whole = body(
            chunk(delta(function_call={"name": "f", "arguments": ""})), chunk(delta(function_call={"arguments": "{}"}))
        )
        assert whole["choices"][0]["message"]["function_call"] == {"name": "f", "arguments": "{}"}

    def test_logprobs_are_joined(self) -> None:
        token = {"token": "x", "logprob": -1.0, "bytes": [120], "top_logprobs": []}
        part = delta(content="x") | {"logprobs": {"content": [token], "refusal": None}}
        whole = body(chunk(part), chunk(part), chunk(delta(finish_reason="stop") | {"logprobs": None}))
        conforms("CreateChatCompletionResponse", whole)
        assert whole["choices"][0]["logprobs"] == {"content": [token, token], "refusal": None}

    def test_other_texts_and_fields_are_kept(self) -> None:
        whole = body(
            chunk(delta(reasoning_content="th"), system_fingerprint="fp_1"),
            chunk(delta(reasoning_content="ink", annotations=[{"a": 1}]), service_tier="default", x={"y": 1}),
        )
        assert whole["choices"][0]["message"]["reasoning_content"] == "think"
        assert whole["choices"][0]["message"]["annotations"] == [{"a": 1}]
        assert (whole["system_fingerprint"], whole["service_tier"], whole["x"]) == ("fp_1", "default", {"y": 1})

    def test_lists_are_joined(self) -> None:
        whole = body(chunk(delta(annotations=[{"a": 1}])), chunk(delta(annotations=[{"b": 2}, 3])))
        assert whole["choices"][0]["message"]["annotations"] == [{"a": 1}, {"b": 2}, 3]

    def test_a_stream_that_was_cut_gives_what_had_arrived(self) -> None:
        whole = body(chunk(delta(role="assistant", content="")), chunk(delta(content="Hel")))
        assert whole["choices"][0]["finish_reason"] is None
        assert whole["choices"][0]["message"]["content"] == "Hel"


class TestText:
    def test_is_a_completion(self) -> None:
        top = {"id": "cmpl-1", "object": "text_completion", "created": 1, "model": "m"}
        logprobs = {"tokens": ["a"], "token_logprobs": [-1.0], "text_offset": [0], "top_logprobs": None}
        whole = body(
            top | {"choices": [{"index": 0, "text": "a", "logprobs": logprobs, "finish_reason": None}]},
            top | {"choices": [{"index": 0, "text": "b", "logprobs": None, "finish_reason": "stop"}]},
        )
        assert whole["object"] == "text_completion"
        choice = whole["choices"][0]
        assert (choice["text"], choice["finish_reason"], choice["logprobs"]["tokens"]) == ("ab", "stop", ["a"])


ODD: list[Any] = [
    3, None, [], "x", {"choices": None}, {"choices": [None, 3, "x", []]}, chunk({"index": "0", "delta": {"content": "y"}}),
    chunk({"index": None, "delta": {"content": "y"}}), chunk(delta(content=5)), chunk(delta(content=["y"])),
    chunk({"delta": None}), chunk({"delta": "x"}), chunk({"text": 5}), chunk(delta(tool_calls=3)),
    chunk(delta(tool_calls=[None, 3, {"index": "x"}, {"index": -1}, {"function": "f"}, {"function": {"name": 3, "arguments": 4}}])),
    chunk(delta(tool_calls=[{"index": 10**12, "id": "far"}])), chunk(delta() | {"logprobs": {"content": 3}}),
    chunk(delta() | {"logprobs": "x"}), chunk(delta(), object=["x"]), chunk(delta(finish_reason=3)), chunk(delta(role=3)),
]  # fmt: skip
"""What no upstream should send."""


class TestOdd:
    @pytest.mark.parametrize("odd", ODD, ids=[json.dumps(each)[:60] for each in ODD])
    def test_chunks_break_nothing_and_hide_nothing(self, odd: Any) -> None:
        before, after = chunk(delta(content="Hel")), chunk(delta(content="lo"))
        assert "Hel" in reply_text(stream(before, odd, after))
        message = body(before, odd, after)["choices"][0]["message"]
        assert message["content"].startswith("Hel")
        assert message["content"].endswith("lo")

    @pytest.mark.parametrize("raw", [b"", b"nonsense", b"data: {", b"data: \xff", b"event: x\n\n: y", b"data: [DONE]"])
    def test_bytes_are_an_empty_reply(self, raw: bytes) -> None:
        assert json.loads(assemble(raw))["choices"] == []
        assert reply_text(raw) == ""

    def test_line_separators_inside_a_text_are_text(self) -> None:
        text = "a\u2028b\x0bc\x85d"
        raw = b"data: " + json.dumps(chunk(delta(content=text)), ensure_ascii=False).encode()
        assert json.loads(assemble(raw))["choices"][0]["message"]["content"] == text


class TestReplyText:
    def test_is_everything_that_was_generated(self) -> None:
        call = {"index": 0, "id": "a", "function": {"name": "f", "arguments": "{}"}}
        assert (
            reply_text(stream(chunk(delta(content="ab"), delta(1, content="c")), chunk(delta(tool_calls=[call]))))
            == "ab{}c"
        )

    def test_of_a_whole_reply_too_without_what_stands_around_it(self) -> None:
        calls = [{"function": {"name": "f", "arguments": "{}"}}, {"type": "custom", "custom": {"input": "SQL"}}, None]
        message = {"role": "assistant", "content": "ab", "refusal": None, "tool_calls": calls, "annotations": [1]}
        choice = {
            "index": 0,
            "message": message,
            "logprobs": {"content": [{"token": "ab", "top_logprobs": ["x"] * 99}]},
        }
        whole = {"id": "chatcmpl-" + "x" * 99, "choices": [choice, {"text": "c"}, None, {"message": 5}]}
        assert answer_text(json.dumps(whole).encode()) == "ab{}SQLc"

    def test_of_a_function_call_of_old(self) -> None:
        called = {"name": "f", "arguments": "{}"}
        assert reply_text(stream(chunk(delta(function_call=called)))) == "{}"
        whole = {"choices": [{"message": {"content": None, "function_call": called}}]}
        assert answer_text(json.dumps(whole).encode()) == "{}"

    @pytest.mark.parametrize("raw", [b'{"choices": 5}', b'{"choices": [null]}', b"nonsense", b"[]", b"{}"])
    def test_odd_replies_break_nothing(self, raw: bytes) -> None:
        assert answer_text(raw) in ("", raw.decode())

    def test_counts_what_a_model_thought(self) -> None:
        assert reply_text(stream(chunk(delta(reasoning_content="think", content="x")))) == "xthink"
