"""Logged exchanges as what judges see."""

import json
from typing import Any

import pytest

from gateway.exchanges.subjects import MOST_CHOICES, choice_indexes, subject


def body(value: Any) -> bytes:
    return json.dumps(value).encode()


ASKED = {
    "model": "m",
    "messages": [
        {"role": "system", "content": "Be brief."},
        {
            "role": "user",
            "content": [{"type": "text", "text": "Two"}, {"type": "image_url"}, {"type": "text", "text": "parts"}],
        },
    ],
    "tools": [{"type": "function", "function": {"name": "f"}}],
    "response_format": {"type": "json_object"},
}


def answered(*contents: str) -> dict[str, Any]:
    choices = [
        {"index": place, "finish_reason": "stop", "message": {"role": "assistant", "content": content}}
        for place, content in enumerate(contents)
    ]
    return {"model": "m-1", "choices": choices}


class TestSubject:
    def test_has_what_was_asked_and_answered(self) -> None:
        found = subject(body(ASKED), body(answered("Yes.")))
        assert found is not None
        assert (found.text, found.question, found.model, found.finish_reason) == ("Yes.", "Two\nparts", "m-1", "stop")
        assert found.tools == ASKED["tools"]
        assert found.response_format == {"type": "json_object"}

    @pytest.mark.parametrize("tools", [5, True, "x", {"a": 1}, [5, "x", None], None])
    def test_tools_that_are_none_are_left_out(self, tools: Any) -> None:
        found = subject(body(ASKED | {"tools": tools}), body(answered("Yes.")))
        assert found is not None
        assert found.tools == []

    def test_picks_the_choice(self) -> None:
        found = subject(body(ASKED), body(answered("a", "b")), 1)
        assert found is not None
        assert found.text == "b"
        assert subject(body(ASKED), body(answered("a", "b")), 2) is None

    def test_a_text_completion_is_a_question_and_its_answer(self) -> None:
        found = subject(body({"prompt": "Say hi"}), body({"choices": [{"text": "hi"}]}))
        assert found is not None
        assert (found.question, found.text) == ("Say hi", "hi")

    def test_tool_calls_without_a_text(self) -> None:
        reply = answered("")
        reply["choices"][0]["message"] = {"role": "assistant", "content": None, "tool_calls": [{"id": "c"}]}
        found = subject(body(ASKED), body(reply))
        assert found is not None
        assert (found.text, found.tool_calls) == ("", [{"id": "c"}])

    @pytest.mark.parametrize(
        ("request_body", "reply"),
        [
            (b"", None),
            (body(ASKED), None),
            (body(ASKED), b"{"),
            (body(ASKED), body({"choices": []})),
            (body(ASKED), body({"choices": ["x"]})),
            (body({"messages": "x"}), body(answered("a"))),
            (body([]), body(answered("a"))),
            (body({"prompt": [1, 2]}), body(answered("a"))),
        ],
    )
    def test_what_is_not_kept_or_no_chat_is_none(self, request_body: bytes, reply: bytes | None) -> None:
        assert subject(request_body, reply) is None


class TestChoiceIndexes:
    @pytest.mark.parametrize("index", [MOST_CHOICES, 9999999999999, -1, True, "1", None, [1], 1.0])
    def test_are_those_that_a_reply_can_have(self, index: Any) -> None:
        """Others are no place in a reply, and not even the database takes them all."""
        choices = [{"index": 0}, {"index": index}, {"index": 2}, {}]
        assert choice_indexes(body({"choices": choices})) == [0, 2, 3]
