import json
from pathlib import Path
from typing import Any

import pytest

from trainer.contract import Failed
from trainer.data import Example, count_examples, read_examples, require_enough
from trainer.failures import TrainingFailed

CALL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Paris"}'}}
FUNCTION = {"name": "weather", "parameters": {"type": "object"}}


def write(path: Path, *lines: Any) -> Path:
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return path


@pytest.fixture
def read(tmp_path: Path):
    def read_one(*messages: Any, **fields: Any) -> Example:
        path = write(tmp_path / "training.jsonl", {"messages": list(messages), **fields})
        return next(read_examples(path, "training_file"))

    return read_one


@pytest.fixture
def refusal(tmp_path: Path):
    def refuse(*lines: Any) -> Failed:
        with pytest.raises(TrainingFailed) as failure:
            list(read_examples(write(tmp_path / "training.jsonl", *lines), "training_file"))
        return failure.value.failed

    return refuse


class TestMessages:
    def test_all_assistant_messages_are_trained(self, read):
        turns = [{"role": role, "content": "x"} for role in ("system", "user", "assistant", "user", "assistant")]
        assert read(*turns).trained == (2, 4)

    def test_weight_zero_is_not_trained_and_weight_is_not_templated(self, read):
        example = read(
            {"role": "user", "content": "x"},
            {"role": "assistant", "content": "bad", "weight": 0},
            {"role": "assistant", "content": "good", "weight": 1},
        )
        assert example.trained == (2,)
        assert all("weight" not in message for message in example.messages)

    def test_missing_content_is_empty_text(self, read):
        assert read({"role": "assistant", "content": None}).messages[0]["content"] == ""

    def test_text_parts_are_joined(self, read):
        parts = [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]
        assert read({"role": "user", "content": parts}).messages[0]["content"] == "one\ntwo"

    def test_arguments_become_an_object(self, read):
        message = read({"role": "assistant", "content": None, "tool_calls": [CALL]}).messages[0]
        assert message["tool_calls"][0]["function"]["arguments"] == {"city": "Paris"}
        assert message["tool_calls"][0]["id"] == "call_1"

    @pytest.mark.parametrize("arguments", ["", None, "{}"])
    def test_no_arguments_are_an_empty_object(self, read, arguments: str | None):
        call = {"type": "function", "function": {"name": "now", "arguments": arguments}}
        message = read({"role": "assistant", "tool_calls": [call]}).messages[0]
        assert message["tool_calls"][0]["function"]["arguments"] == {}

    def test_a_legacy_function_call_becomes_a_tool_call(self, read):
        example = read(
            {"role": "assistant", "function_call": {"name": "weather", "arguments": '{"city": "Rome"}'}},
            {"role": "function", "name": "weather", "content": "sunny"},
            functions=[FUNCTION],
        )
        call, answer = example.messages
        expected = {"type": "function", "function": {"name": "weather", "arguments": {"city": "Rome"}}}
        assert call == {"role": "assistant", "content": "", "tool_calls": [expected]}
        assert answer == {"role": "tool", "name": "weather", "content": "sunny"}
        assert example.tools == [{"type": "function", "function": FUNCTION}]


class TestTools:
    def test_are_the_examples_own(self, read):
        tools = [{"type": "function", "function": FUNCTION}]
        assert read({"role": "user", "content": "x"}, tools=tools).tools == tools

    def test_none_and_empty_are_none(self, read):
        assert read({"role": "user", "content": "x"}, tools=[]).tools is None


class TestProblems:
    GOOD = {"messages": [{"role": "user", "content": "x"}]}

    @pytest.mark.parametrize(
        ("line", "words"),
        [
            ("{oops", "not valid JSON"),
            ('{"prompt": "x", "completion": "y"}', "list of messages"),
            ('{"messages": []}', "list of messages"),
            ('{"messages": [{"role": "user", "content": 3}]}', "message 1 has content"),
            ('{"messages": [{"role": "robot", "content": "x"}]}', "message 1 has no known role"),
            ('{"messages": [{"role": "assistant", "content": "x", "weight": 0.5}]}', "message 1 has a weight"),
            ('{"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}', "'image_url'"),
            ('{"messages": [{"role": "assistant", "tool_calls": [{"function": {}}]}]}', "function name"),
            (
                '{"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{"}}]}]}',
                "arguments that are not valid JSON",
            ),
            ('{"messages": [{"role": "user", "content": "x"}], "tools": ["f"]}', "tools must be"),
        ],
    )
    def test_name_the_line(self, refusal, line: str, words: str):
        failed = refusal(self.GOOD, "", line)
        assert failed.code == "invalid_training_file"
        assert failed.param == "training_file"
        assert failed.message.startswith("Line 3: ")
        assert words in failed.message

    def test_a_missing_file_is_a_refusal(self, tmp_path: Path):
        with pytest.raises(TrainingFailed) as failure:
            count_examples(tmp_path / "no.jsonl", "validation_file")
        assert failure.value.failed.code == "invalid_validation_file"
        assert str(tmp_path) not in failure.value.failed.message


class TestRequireEnough:
    def test_is_openais_refusal(self, tmp_path: Path):
        count = count_examples(write(tmp_path / "t.jsonl", *[TestProblems.GOOD] * 3, ""), "training_file")
        with pytest.raises(TrainingFailed) as failure:
            require_enough(count, 10)
        failed = failure.value.failed
        assert failed.code == "invalid_n_examples"
        assert failed.message == "Training file has 3 example(s), but must have at least 10 examples"
