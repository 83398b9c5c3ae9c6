"""Definitions of tools, and the choice among them."""

from typing import Any

import pytest

from tests.gateway.upstreams.anthropic.translated import HELLO, WEATHER, asked, call, refused, told, translated

NAMED = {"type": "function", "function": {"name": "weather"}}


def choice(**fields: Any) -> dict[str, Any] | None:
    return translated(tools=[WEATHER], **fields).get("tool_choice")


class TestDefinitions:
    def test_a_function(self) -> None:
        assert translated(tools=[WEATHER])["tools"] == [
            {
                "name": "weather",
                "description": "Tells the weather.",
                "input_schema": {
                    "type": "object",
                    "properties": {"city": {"type": "string"}},
                    "required": ["city"],
                },
            }
        ]

    @pytest.mark.parametrize("parameters", [None, {}])
    def test_without_parameters(self, parameters: Any) -> None:
        tool = {"type": "function", "function": {"name": "now", "parameters": parameters}}
        sent = translated(tools=[tool])["tools"]
        assert sent == [{"name": "now", "input_schema": {"type": "object", "properties": {}}}]

    def test_a_strict_one_has_its_schema_made_fit(self) -> None:
        parameters = {"type": "object", "properties": {"days": {"type": "integer", "minimum": 1}}, "required": ["days"]}
        tool = {"type": "function", "function": {"name": "f", "parameters": parameters, "strict": True}}
        sent = translated(tools=[tool])["tools"][0]
        assert sent["strict"] is True
        assert sent["input_schema"]["additionalProperties"] is False
        assert sent["input_schema"]["properties"]["days"] == {"type": "integer", "description": "{minimum: 1}"}

    def test_one_that_is_not_strict_keeps_its_schema(self) -> None:
        parameters = {"type": "object", "properties": {"days": {"type": "integer", "minimum": 1}}}
        tool = {"type": "function", "function": {"name": "f", "parameters": parameters}}
        assert translated(tools=[tool])["tools"][0]["input_schema"] == parameters

    def test_custom_tools_are_refused(self) -> None:
        assert refused(tools=[WEATHER, {"type": "custom", "custom": {"name": "x"}}]).param == "tools[1].type"

    def test_tools_called_earlier_are_defined_when_the_call_defines_none(self) -> None:
        sent = translated(HELLO, asked(call("a"), call("b")), told("a"), told("b"))
        assert sent["tools"] == [{"name": "weather", "input_schema": {"type": "object"}}]
        assert sent["tool_choice"] == {"type": "none"}


class TestFunctions:
    """The form before tools."""

    FUNCTION = WEATHER["function"]

    def test_are_tools_of_which_one_is_called(self) -> None:
        sent = translated(functions=[self.FUNCTION])
        assert sent["tools"] == translated(tools=[WEATHER])["tools"]
        assert sent["tool_choice"] == {"type": "auto", "disable_parallel_tool_use": True}

    @pytest.mark.parametrize(
        ("asked_for", "sent"),
        [
            ("none", {"type": "none"}),
            ("auto", {"type": "auto"}),
            ({"name": "weather"}, {"type": "tool", "name": "weather"}),
        ],
    )
    def test_and_how_they_are_chosen(self, asked_for: Any, sent: dict[str, Any]) -> None:
        limit = {} if asked_for == "none" else {"disable_parallel_tool_use": True}
        assert translated(functions=[self.FUNCTION], function_call=asked_for)["tool_choice"] == sent | limit

    def test_an_unknown_choice_is_refused(self) -> None:
        assert refused(functions=[self.FUNCTION], function_call="maybe").param == "function_call"


class TestChoice:
    @pytest.mark.parametrize(
        ("asked_for", "sent"),
        [
            (None, None),
            ("auto", {"type": "auto"}),
            ("none", {"type": "none"}),
            ("required", {"type": "any"}),
            (NAMED, {"type": "tool", "name": "weather"}),
        ],
    )
    def test_each_way(self, asked_for: Any, sent: dict[str, Any] | None) -> None:
        assert choice(tool_choice=asked_for) == sent

    @pytest.mark.parametrize(
        ("asked_for", "sent"),
        [
            (None, {"type": "auto"}),
            ("auto", {"type": "auto"}),
            ("required", {"type": "any"}),
            (NAMED, {"type": "tool", "name": "weather"}),
        ],
    )
    def test_one_call_at_a_time(self, asked_for: Any, sent: dict[str, Any]) -> None:
        wanted = sent | {"disable_parallel_tool_use": True}
        assert choice(tool_choice=asked_for, parallel_tool_calls=False) == wanted

    def test_no_call_needs_no_limit(self) -> None:
        assert choice(tool_choice="none", parallel_tool_calls=False) == {"type": "none"}
        assert choice(parallel_tool_calls=True) is None

    @pytest.mark.parametrize(
        "wanted",
        ["sometimes", {"type": "custom", "custom": {"name": "x"}}, {"type": "allowed_tools"}, {"type": "function"}],
    )
    def test_others_are_refused(self, wanted: Any) -> None:
        assert refused(tools=[WEATHER], tool_choice=wanted).param == "tool_choice"

    @pytest.mark.parametrize("wanted", ["auto", "none", None])
    def test_without_tools_there_is_none(self, wanted: Any) -> None:
        assert translated(tool_choice=wanted, parallel_tool_calls=False) == translated()

    @pytest.mark.parametrize("wanted", ["required", NAMED])
    def test_without_tools_none_can_be_demanded(self, wanted: Any) -> None:
        assert refused(tool_choice=wanted).param == "tool_choice"
