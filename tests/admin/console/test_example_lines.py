"""Lines of training files as a person reads and writes them."""

from typing import Any

import pytest

from admin.console import example_lines
from admin.console.api import ApiRefused
from tests.gateway.datasets.files import chat, pair

CONVERSATION = {"messages": [*chat("Hi", "Hello")["messages"], *chat("And?", "Bye.")["messages"]]}


class TestFields:
    @pytest.mark.parametrize("line", [chat(), pair(), CONVERSATION, chat() | {"tools": []}, {"messages": []}])
    def test_there_and_back(self, line: dict[str, Any]) -> None:
        assert example_lines.written(example_lines.fields(line)) == line

    def test_what_is_more_than_a_question_is_json(self) -> None:
        assert not example_lines.fields(chat())["line"]
        assert "Bye." in example_lines.fields(CONVERSATION)["line"]


class TestWritten:
    def test_a_worse_answer_makes_a_pair(self) -> None:
        fields = {"question": "Where is it?", "answer": "It is here.", "rejected": "No idea."}
        assert example_lines.written(fields) == pair()

    @pytest.mark.parametrize("text", ["{", "[1]", "[" * 100_000])
    def test_what_is_no_json_object_is_refused(self, text: str) -> None:
        with pytest.raises(ApiRefused) as refused:
            example_lines.written({"line": text})
        assert refused.value.param == "line"


class TestPassages:
    def test_of_a_pair_there_are_three(self) -> None:
        assert [each.title for each in example_lines.passages(pair())] == ["Asked", "Preferred", "Not preferred"]

    @pytest.mark.parametrize("line", [None, 1, [], {}, {"x": 1}, {"messages": None}])
    def test_of_anything_else_none(self, line: Any) -> None:
        assert example_lines.passages(line) == []
