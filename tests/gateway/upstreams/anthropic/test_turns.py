"""Conversations: the system prompt, turns, calls of tools and their results."""

import json
from typing import Any

import pytest

from gateway.upstreams.anthropic.request import messages_request
from gateway.upstreams.anthropic.turns import CONTINUE, OPENING
from tests.gateway.upstreams.anthropic.translated import HELLO, WEATHER, asked, call, refused, text, told, translated


def turns(*messages: dict[str, Any], **fields: Any) -> list[tuple[str, Any]]:
    return [(turn["role"], turn["content"]) for turn in translated(*messages, **fields)["messages"]]


class TestSystem:
    def test_system_and_developer_messages_stand_in_front_wherever_they_were(self) -> None:
        sent = translated(
            {"role": "system", "content": "One."},
            HELLO,
            {"role": "developer", "content": [{"type": "text", "text": "Two."}]},
            {"role": "assistant", "content": "hi"},
            {"role": "system", "content": "Three."},
            {"role": "user", "content": "go on"},
        )
        assert sent["system"] == text("One.", "Two.", "Three.")
        assert [turn["role"] for turn in sent["messages"]] == ["user", "assistant", "user"]

    def test_an_empty_one_is_left_out(self) -> None:
        assert "system" not in translated({"role": "system", "content": "  "}, HELLO)

    def test_alone_it_becomes_the_users_turn(self) -> None:
        sent = translated({"role": "system", "content": "Tell a joke."})
        assert sent["messages"] == [{"role": "user", "content": text("Tell a joke.")}]
        assert "system" not in sent

    def test_holds_text_only(self) -> None:
        image = {"type": "image_url", "image_url": {"url": "https://x/y.png"}}
        assert refused({"role": "system", "content": [image]}, HELLO).param == "messages[0].content[0].type"


class TestTurns:
    def test_messages_of_one_side_become_one_turn(self) -> None:
        assert turns(
            HELLO,
            {"role": "user", "content": "again", "name": "anna"},
            {"role": "assistant", "content": "a"},
            {"role": "assistant", "content": "b"},
            {"role": "user", "content": "end"},
        ) == [("user", text("hello", "again")), ("assistant", text("a", "b")), ("user", text("end"))]

    @pytest.mark.parametrize("empty", ["", " \n", None, [], [{"type": "text", "text": ""}]])
    def test_empty_ones_are_left_out(self, empty: Any) -> None:
        said = [HELLO, {"role": "assistant", "content": empty}, {"role": "user", "content": empty}]
        assert turns(*said) == [("user", text("hello"))]

    @pytest.mark.parametrize("messages", [[], [{"role": "user", "content": ""}]])
    def test_with_nothing_left_it_is_refused(self, messages: list[Any]) -> None:
        refusal = refused(messages=messages)
        assert refusal.param == "messages"
        assert "content" in str(refusal)

    def test_an_assistant_that_begins_is_answered_for(self) -> None:
        assert turns({"role": "assistant", "content": "How can I help?"}, HELLO) == [
            ("user", text(OPENING)),
            ("assistant", text("How can I help?")),
            ("user", text("hello")),
        ]

    def test_an_assistant_that_ends_is_asked_to_go_on(self) -> None:
        assert turns(HELLO, {"role": "assistant", "content": "Well "})[-1] == ("user", text(CONTINUE))

    def test_a_refusal_is_what_the_assistant_said(self) -> None:
        for refusal in (
            {"role": "assistant", "content": None, "refusal": "No."},
            {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]},
        ):
            assert turns(HELLO, refusal, HELLO)[1] == ("assistant", text("No."))


class TestTools:
    def test_a_call_and_its_result(self) -> None:
        assert turns(HELLO, asked(call("call_1"), content="Let me see."), told("call_1"), tools=[WEATHER]) == [
            ("user", text("hello")),
            (
                "assistant",
                [
                    *text("Let me see."),
                    {"type": "tool_use", "id": "call_1", "name": "weather", "input": {"city": "Bern"}},
                ],
            ),
            ("user", [{"type": "tool_result", "tool_use_id": "call_1", "content": text("sunny")}]),
        ]

    def test_results_of_calls_at_once_are_one_turn_and_come_first(self) -> None:
        said = turns(
            HELLO,
            asked(call("a"), call("b")),
            told("b", [{"type": "text", "text": "rain"}]),
            {"role": "user", "content": "quick"},
            told("a"),
            tools=[WEATHER],
        )
        assert len(said) == 3
        kinds = [(block["type"], block.get("tool_use_id")) for block in said[2][1]]
        assert kinds == [("tool_result", "b"), ("tool_result", "a"), ("text", None)]

    @pytest.mark.parametrize("nothing", ["", None, []])
    def test_a_result_may_be_empty(self, nothing: Any) -> None:
        said = turns(HELLO, asked(call("a")), told("a", nothing), tools=[WEATHER])
        assert said[2] == ("user", [{"type": "tool_result", "tool_use_id": "a"}])

    def test_a_result_may_hold_an_image(self) -> None:
        image = {"type": "image_url", "image_url": {"url": "https://x/y.png"}}
        said = turns(HELLO, asked(call("a")), told("a", [image]), tools=[WEATHER])
        source = {"type": "url", "url": "https://x/y.png"}
        assert said[2][1][0]["content"] == [{"type": "image", "source": source}]

    def test_ids_of_other_models_are_made_fit_on_both_sides(self) -> None:
        said = turns(HELLO, asked(call("functions.weather:0")), told("functions.weather:0"), tools=[WEATHER])
        assert said[1][1][0]["id"] == said[2][1][0]["tool_use_id"] == "functions_weather_0"

    @pytest.mark.parametrize("arguments", ["", "  ", "{}"])
    def test_no_arguments_are_an_empty_object(self, arguments: str) -> None:
        said = turns(HELLO, asked(call("a", arguments=arguments)), told("a"), tools=[WEATHER])
        assert said[1][1][0]["input"] == {}

    @pytest.mark.parametrize("arguments", ["[1]", "city", '{"city": ', '"x"', "null", '{"a": 1} trailing'])
    def test_arguments_that_are_no_object_are_refused(self, arguments: str) -> None:
        refusal = refused(HELLO, asked(call("a"), call("b", arguments=arguments)), told("a"), told("b"))
        assert refusal.param == "messages[1].tool_calls[1].function.arguments"
        assert "JSON object" in str(refusal)

    def test_numbers_in_arguments_stay_as_written(self) -> None:
        message = asked(call("a", arguments='{"big": 12345678901234567890123, "small": 1.0, "b": {"z": 1, "a": 2}}'))
        sent = messages_request(json.dumps({"model": "m", "messages": [HELLO, message, told("a")]}).encode(), None)
        assert b'"big":12345678901234567890123,"small":1.0,"b":{"z": 1, "a": 2}' in sent

    def test_a_custom_tools_call_is_refused(self) -> None:
        custom = {"id": "a", "type": "custom", "custom": {"name": "x", "input": "y"}}
        assert refused(HELLO, asked(custom)).param == "messages[1].tool_calls[0]"

    def test_calls_of_functions_before_there_were_tools(self) -> None:
        said = turns(
            HELLO,
            {
                "role": "assistant",
                "content": None,
                "function_call": {"name": "weather", "arguments": '{"city": "Bern"}'},
            },
            {"role": "function", "name": "weather", "content": "sunny"},
            {"role": "assistant", "content": None, "function_call": {"name": "weather", "arguments": "{}"}},
            {"role": "function", "name": "weather", "content": "rain"},
        )
        ids = [(content[0].get("id") or content[0]["tool_use_id"]) for _, content in said[1:]]
        assert ids[0] == ids[1] != ids[2] == ids[3]
        assert said[4][1][0]["content"] == text("rain")


class TestThinking:
    def test_thoughts_go_back_first_and_unchanged(self) -> None:
        thoughts = [
            {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"},
            {"type": "redacted_thinking", "data": "aGlk"},
        ]
        message = asked(call("a"), content="Let me see.") | {"thinking_blocks": thoughts, "reasoning_content": "Hm."}
        said = turns(HELLO, message, told("a"), tools=[WEATHER])
        assert said[1][1][:2] == thoughts
        assert [block["type"] for block in said[1][1][2:]] == ["text", "tool_use"]
