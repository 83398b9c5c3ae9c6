"""Rules on tool calls, and text graders as rules."""

from typing import Any

import pytest

from judges.graders import StringCheck, TextSimilarity
from judges.rules.rule import RuleFailed
from judges.rules.tools import TextGrader, ToolCalls
from tests.judges.rules.subjects import answered

PARAMETERS = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
TOOLS = [
    {"type": "function", "function": {"name": "weather", "parameters": PARAMETERS}},
    {"type": "custom", "custom": {"name": "shell"}},
]


def call(name: str, arguments: Any) -> dict[str, Any]:
    return {"id": "call_1", "type": "function", "function": {"name": name, "arguments": arguments}}


class TestToolCalls:
    @pytest.mark.parametrize(
        "made",
        [call("weather", '{"city": "Rome"}'), {"type": "custom", "custom": {"name": "shell", "input": "ls"}}],
    )
    def test_a_valid_call_passes(self, made: dict[str, Any]) -> None:
        assert ToolCalls().check(answered(None, tools=TOOLS, tool_calls=[made])).passed

    @pytest.mark.parametrize(
        ("made", "why"),
        [
            (call("whether", "{}"), "not declared"),
            (call("weather", "{"), "no JSON"),
            (call("weather", "[]"), "no object"),
            (call("weather", "{}"), "'city' is a required property"),
            (call("weather", '{"city": "Rome", "day": 1}'), "Additional properties"),
            (call("weather", None), "'city' is a required property"),
            ({"type": "function"}, "not declared"),
            ({"type": "function", "function": None}, "not declared"),
            ({"type": "function", "function": {"name": ["weather"]}}, "not declared"),
            ({"type": ["function"]}, "not declared"),
            ({"type": "custom", "custom": {"name": "weather"}}, "not declared"),
            (call("shell", "{}"), "not declared"),
            (call("weather", '{"city": "x", "day": 1e999}'), "no JSON"),
            (call("weather", 5), "no JSON"),
            ("x", "no tool call"),
            (None, "no tool call"),
        ],
    )
    def test_says_what_is_wrong(self, made: dict[str, Any], why: str) -> None:
        outcome = ToolCalls().check(answered(None, tools=TOOLS, tool_calls=[made, call("weather", '{"city": "x"}')]))
        assert (outcome.passed, outcome.score) == (False, 0.5)
        assert why in outcome.rationale

    @pytest.mark.parametrize("made", [{"a": 1}, "x", 5])
    def test_what_is_no_list_is_no_call(self, made: Any) -> None:
        outcome = ToolCalls().check(answered(None, tools=TOOLS, tool_calls=made))
        assert (outcome.passed, outcome.score) == (False, 0.0)

    @pytest.mark.parametrize(
        "tool", [{"type": "function", "function": None}, {"type": 5}, {"type": "custom"}, {}], ids=str
    )
    def test_what_is_no_tool_declares_none(self, tool: dict[str, Any]) -> None:
        assert not ToolCalls().check(answered(None, tools=[tool], tool_calls=[call("", "{}")])).passed

    def test_a_call_may_be_required(self) -> None:
        assert ToolCalls().check(answered("Hi")).passed
        assert not ToolCalls(required=True).check(answered("Hi")).passed

    def test_a_declared_schema_that_is_none_is_an_error(self) -> None:
        tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "thing"}}}]
        with pytest.raises(RuleFailed, match="the schema is none"):
            ToolCalls().check(answered(None, tools=tools, tool_calls=[call("f", "{}")]))


class TestTextGrader:
    def test_string_check(self) -> None:
        grader = StringCheck(input="{{sample.output_text}}", reference="{{item.question}}", operation="eq")
        assert TextGrader(grader=grader).check(answered("same", question="same")).passed
        assert not TextGrader(grader=grader).check(answered("other", question="same")).passed

    def test_similarity_has_a_threshold(self) -> None:
        grader = TextSimilarity(
            input="{{sample.output_text}}", reference="a b c d", evaluation_metric="rouge_1", pass_threshold=0.5
        )
        outcome = TextGrader(grader=grader).check(answered("a b x y"))
        assert (outcome.passed, outcome.score) == (True, 0.5)

    def test_a_template_without_a_value_is_an_error(self) -> None:
        grader = StringCheck(input="{{item.nothing}}", reference="x", operation="eq")
        with pytest.raises(RuleFailed):
            TextGrader(grader=grader).check(answered("x"))
