from pathlib import Path
from typing import Any

import pytest

from tests.trainer.jobs import pair, write_jsonl
from trainer.contract import Failed
from trainer.failures import TrainingFailed
from trainer.preferences import Preference, read_preferences

CALL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Paris"}'}}
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}


@pytest.fixture
def read(tmp_path: Path):
    def read_one(fields: Any) -> Preference:
        return next(read_preferences(write_jsonl(tmp_path / "training.jsonl", [fields]), "training_file"))

    return read_one


@pytest.fixture
def refusal(tmp_path: Path):
    """A line after a good one -> why it is refused."""

    def refuse(fields: Any) -> Failed:
        path = write_jsonl(tmp_path / "training.jsonl", [pair("red?", "yes", "no"), fields])
        with pytest.raises(TrainingFailed) as failure:
            list(read_preferences(path, "training_file"))
        assert failure.value.failed.code == "invalid_training_file"
        assert failure.value.failed.message.startswith("Line 2: ")
        return failure.value.failed

    return refuse


def with_(**fields: Any) -> dict[str, Any]:
    """A good pair with other fields; None takes one away."""
    changed = {**pair("red?", "yes", "no"), **fields}
    return {name: value for name, value in changed.items() if value is not None}


def answer(**fields: Any) -> list[dict[str, Any]]:
    return [{"role": "assistant", "content": "yes", **fields}]


class TestPairs:
    def test_are_two_conversations_that_differ_in_the_answer(self, read):
        preference = read(pair("red?", "yes", "no"))
        assert [message["content"] for message in preference.preferred.messages] == ["red?", "yes"]
        assert [message["content"] for message in preference.rejected.messages] == ["red?", "no"]
        assert preference.preferred.line == preference.rejected.line == 1

    def test_only_the_answer_is_trained(self, read):
        turns = [{"role": role, "content": "x"} for role in ("system", "user", "assistant", "user")]
        preference = read(with_(input={"messages": turns}))
        assert preference.preferred.trained == preference.rejected.trained == (4,)

    def test_have_the_tools_of_their_input(self, read):
        preference = read(with_(input={"messages": [{"role": "user", "content": "x"}], "tools": [TOOL]}))
        assert preference.preferred.tools == preference.rejected.tools
        assert preference.preferred.tools is not None
        assert preference.preferred.tools[0]["function"]["name"] == "weather"

    def test_answers_may_call_tools(self, read):
        preference = read(with_(preferred_output=answer(content=None, tool_calls=[CALL])))
        (call,) = preference.preferred.messages[-1]["tool_calls"]
        assert call["function"]["arguments"] == {"city": "Paris"}

    def test_older_names_are_read(self, read):
        older = with_(
            preferred_output=None,
            non_preferred_output=None,
            preferred_completion=answer(content="old yes"),
            non_preferred_completion=answer(content="old no"),
        )
        preference = read(older)
        assert preference.preferred.messages[-1]["content"] == "old yes"
        assert preference.rejected.messages[-1]["content"] == "old no"

    def test_a_broken_call_in_the_prompt_is_read_as_in_serving(self, read):
        broken = {**CALL, "function": {"name": "weather", "arguments": "{broken"}}
        turns = [
            {"role": "user", "content": "x"},
            {"role": "assistant", "tool_calls": [broken]},
            {"role": "tool", "content": "what?", "tool_call_id": "call_1"},
        ]
        preference = read(with_(input={"messages": turns}))
        assert preference.preferred.messages[1]["tool_calls"][0]["function"]["arguments"] == {}


class TestRefusals:
    """Each names what is wrong and what to do about it."""

    def test_no_object(self, refusal):
        assert "an object with input, preferred_output and non_preferred_output is expected" in refusal([1]).message

    def test_the_chat_format(self, refusal):
        message = refusal({"messages": [{"role": "user", "content": "x"}]}).message
        assert "chat format" in message
        assert 'use the method "supervised"' in message

    def test_no_input(self, refusal):
        assert "input is missing: give an object" in refusal(with_(input=None)).message

    def test_no_messages(self, refusal):
        assert "input: " in refusal(with_(input={"messages": []})).message

    def test_a_bad_message(self, refusal):
        message = refusal(with_(input={"messages": [{"role": "robot", "content": "x"}]})).message
        assert "input: messages[0].role" in message

    def test_a_bad_tool(self, refusal):
        message = refusal(with_(input={"messages": [{"role": "user", "content": "x"}], "tools": "weather"})).message
        assert "tools: expected a list" in message

    def test_tools_beside_the_input(self, refusal):
        assert "tools belong inside input" in refusal(with_(tools=[TOOL])).message

    def test_an_input_that_ends_with_an_answer(self, refusal):
        turns = [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]
        assert (
            "End input with the message that both answers reply to" in refusal(with_(input={"messages": turns})).message
        )

    @pytest.mark.parametrize("field", ["preferred_output", "non_preferred_output"])
    def test_a_missing_answer(self, refusal, field: str):
        assert f"{field} is missing" in refusal(with_(**{field: None})).message

    def test_both_names_of_an_answer(self, refusal):
        message = refusal(with_(preferred_completion=answer())).message
        assert "preferred_output and preferred_completion are two names of the same field: keep the first" in message

    @pytest.mark.parametrize("given", ["yes", [], [*answer(), *answer()]])
    def test_not_exactly_one_message(self, refusal, given: Any):
        message = refusal(with_(preferred_output=given)).message
        assert "preferred_output must be a list with exactly one assistant message" in message

    def test_an_answer_of_the_user(self, refusal):
        message = refusal(with_(non_preferred_output=answer(role="user"))).message
        assert "non_preferred_output has the role user, but only an answer of the assistant" in message

    def test_an_answer_that_is_no_text(self, refusal):
        assert "preferred_output: messages[0].content" in refusal(with_(preferred_output=answer(content=3))).message

    def test_an_answer_without_weight(self, refusal):
        message = refusal(with_(preferred_output=answer(weight=0))).message
        assert "preferred_output has weight 0, which would leave nothing to compare: remove the weight" in message

    def test_a_broken_call_in_an_answer(self, refusal):
        broken = {**CALL, "function": {"name": "weather", "arguments": "{broken"}}
        message = refusal(with_(preferred_output=answer(tool_calls=[broken]))).message
        assert "preferred_output: messages[0].tool_calls[0].function.arguments" in message
