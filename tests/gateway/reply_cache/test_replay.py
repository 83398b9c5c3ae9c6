"""A kept reply as a whole one and as a stream: what comes out is what went in."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.exchanges.assemble import assemble
from gateway.reply_cache.replay import frames, reply_id, whole

NAMES = st.text(st.characters(codec="ascii", categories=["L"]), min_size=1)
CALLS = st.builds(
    lambda number, name, arguments: {
        "id": f"call_{number}",
        "type": "function",
        "function": {"name": name, "arguments": arguments},
    },
    st.integers(0),
    NAMES,
    st.text(),
)
TEXT = st.text(st.characters(codec="utf-8"), max_size=900)
MESSAGES = st.fixed_dictionaries(
    {"role": st.just("assistant"), "content": st.none() | TEXT.filter(bool), "refusal": st.none() | TEXT.filter(bool)},
    optional={"reasoning_content": TEXT.filter(bool), "tool_calls": st.lists(CALLS, min_size=1, max_size=3)},
)
LOGPROBS = st.none() | st.just(
    {"content": [{"token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": []}], "refusal": None}
)
ENDS = st.sampled_from(["stop", "tool_calls", "length"])
USAGE = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}


def body(choices: list[dict[str, Any]], kind: str = "chat.completion") -> bytes:
    head = {"id": "chatcmpl-1", "object": kind, "created": 5, "model": "m", "system_fingerprint": "fp"}
    return json.dumps(head | {"choices": choices, "usage": USAGE}).encode()


def sent(kept: bytes, *, usage: bool = True) -> list[dict[str, Any]]:
    return [json.loads(each.removeprefix(b"data: ")) for each in frames(kept, usage=usage)]


class TestWhole:
    def test_all_but_the_id_stays_to_the_byte(self) -> None:
        kept = b'{"id":"chatcmpl-1","created":5,"choices":[{"x": 1.50}],"usage":{}}'
        assert whole(kept, "chatcmpl-2") == kept.replace(b"chatcmpl-1", b"chatcmpl-2")

    def test_padding_of_streams_is_left_out(self) -> None:
        assert whole(b'{"id":"a","obfuscation":"xyz"}', "b") == b'{"id":"b"}'


class TestReplyId:
    @pytest.mark.parametrize(
        ("first", "id"),
        [("chatcmpl-1", "chatcmpl-07"), ("cmpl-a-b", "cmpl-07"), ("gen123", "chatcmpl-07"), (None, "chatcmpl-07")],
    )
    def test_begins_like_the_first_and_ends_like_the_call(self, first: str | None, id: str) -> None:
        assert reply_id(json.dumps({"id": first}).encode(), "req_07") == id


class TestFrames:
    @given(choices=st.lists(st.tuples(MESSAGES, ENDS, LOGPROBS), min_size=1, max_size=3))
    def test_a_stream_says_what_the_reply_says(self, choices: list[tuple[Any, str, Any]]) -> None:
        kept = body(
            [
                {"index": at, "message": message, "logprobs": logprobs, "finish_reason": end}
                for at, (message, end, logprobs) in enumerate(choices)
            ]
        )
        assert json.loads(assemble(b"".join(frames(kept, usage=True)))) == json.loads(kept)

    @given(text=TEXT, end=ENDS)
    def test_of_text_completions_too(self, text: str, end: str) -> None:
        kept = body([{"index": 0, "text": text, "logprobs": None, "finish_reason": end}], "text_completion")
        assert json.loads(assemble(b"".join(frames(kept, usage=True)))) == json.loads(kept)

    def test_chunks_have_the_form_of_openai_s(self) -> None:
        kept = body(
            [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": "x" * 450},
                    "logprobs": None,
                    "finish_reason": "stop",
                }
            ]
        )
        found = sent(kept)
        assert [each["choices"][0]["delta"] for each in found[:-1]] == [
            {"role": "assistant", "content": ""},
            {"content": "x" * 200},
            {"content": "x" * 200},
            {"content": "x" * 50},
            {},
        ]
        assert [each["choices"][0]["finish_reason"] for each in found[:-1]] == [None, None, None, None, "stop"]
        assert {(each["id"], each["object"], each["created"]) for each in found} == {
            ("chatcmpl-1", "chat.completion.chunk", 5)
        }
        assert (found[-1]["choices"], found[-1]["usage"]) == ([], USAGE)
        assert all(each["usage"] is None for each in found[:-1])

    def test_usage_only_where_it_was_asked_for(self) -> None:
        kept = body([{"index": 0, "message": {"role": "assistant", "content": "x"}, "finish_reason": "stop"}])
        assert not any("usage" in each for each in sent(kept, usage=False))

    def test_tool_calls_have_their_place(self) -> None:
        call = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
        message = {"role": "assistant", "content": None, "tool_calls": [call, call | {"id": "call_2"}]}
        found = sent(body([{"index": 0, "message": message, "finish_reason": "tool_calls"}]))
        assert found[0]["choices"][0]["delta"] == {"role": "assistant", "content": None}
        assert [each["choices"][0]["delta"]["tool_calls"][0]["index"] for each in found[1:3]] == [0, 1]
