"""What an exchange says."""

import json
from typing import Any

import pytest

from gateway.db.tables import ExchangeRow
from gateway.reviewing.bodies import answers_of, question_of, text_of

CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def row(request: Any = None, reply: Any = None) -> ExchangeRow:
    return ExchangeRow(request=json.dumps(request).encode(), reply=json.dumps(reply).encode())


def asked(*messages: dict[str, Any]) -> str:
    question = question_of(row({"messages": list(messages)}))
    assert question is not None
    return question.key


def said(message: dict[str, Any]) -> str:
    return answers_of(row(reply={"choices": [{"index": 0, "message": message}]}))[0].key


class TestQuestion:
    def test_is_the_same_whatever_the_system_prompt(self) -> None:
        user = {"role": "user", "content": "Why?"}
        assert asked(user) == asked({"role": "system", "content": "Be kind."}, user)
        assert asked(user) == asked({"role": "developer", "content": "Be brief."}, user)
        assert asked(user) != asked({"role": "user", "content": "How?"})

    @pytest.mark.parametrize("body", [None, [], 1, "x", {}, {"messages": []}, {"messages": "x"}, {"prompt": 1}])
    def test_of_something_else_is_none(self, body: Any) -> None:
        assert question_of(row(body)) is None

    def test_of_what_is_no_json_is_none(self) -> None:
        assert question_of(ExchangeRow(request=b"{", reply=None)) is None
        assert question_of(ExchangeRow(request=b"[" * 100_000, reply=None)) is None


class TestAnswers:
    def test_are_told_apart_by_what_they_say_not_by_ids_of_calls(self) -> None:
        other = CALL | {"id": "call_2"}
        assert said({"content": None, "tool_calls": [CALL]}) == said({"content": None, "tool_calls": [other]})
        assert said({"content": "a"}) != said({"content": "b"})
        assert said({"content": "a"}) != said({"content": "a", "tool_calls": [CALL]})

    def test_that_say_nothing_are_left_out(self) -> None:
        choices = [
            {"index": 0, "message": {"content": ""}},
            {"index": 1, "message": {"content": None, "tool_calls": [CALL]}},
            {"index": 2, "message": None},
            "x",
            {"message": {"refusal": "No."}},
            {"index": 5, "text": "upon a time", "finish_reason": "stop"},
        ]
        found = answers_of(row(reply={"choices": choices}))
        assert {index: text_of(each.message) for index, each in found.items()} == {1: "", 3: "No.", 5: "upon a time"}
        assert found[5].finish_reason == "stop"

    def test_in_parts_are_one_text(self) -> None:
        parts = [{"type": "text", "text": "a"}, {"type": "image_url"}, {"type": "text", "text": "b"}]
        assert text_of({"content": parts}) == "a\nb"
