import codecs
import json
from pathlib import Path
from typing import Any

import pytest

from trainer.contract import Failed
from trainer.data import Example, count_examples, read_examples, require_enough
from trainer.failures import TrainingFailed
from trainer.messages import for_template, tools_for_template

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

    def test_are_read_by_the_rules_that_serving_has(self, read):
        message = {"role": "assistant", "content": None, "tool_calls": [CALL], "weight": 1}
        assert read(message).messages == for_template([message])


class TestTools:
    def test_are_the_examples_own(self, read):
        tools = [{"type": "function", "function": FUNCTION}]
        assert read({"role": "user", "content": "x"}, tools=tools).tools == tools_for_template(tools)

    def test_functions_are_tools(self, read):
        assert read({"role": "user", "content": "x"}, functions=[FUNCTION]).tools == tools_for_template(
            None, [FUNCTION]
        )

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
            ('{"messages": [{"role": "user", "content": 3}]}', "messages[0].content: expected text or a list of parts"),
            ('{"messages": [{"role": "robot", "content": "x"}]}', "messages[0].role: expected one of system, "),
            (
                '{"messages": [{"role": "assistant", "content": "x", "weight": 0.5}]}',
                "messages[0].weight: only 0 and 1 are allowed",
            ),
            (
                '{"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}',
                "messages[0].content[0]: content parts of type 'image_url' cannot be trained on",
            ),
            (
                '{"messages": [{"role": "assistant", "tool_calls": [{"function": {}}]}]}',
                "messages[0].tool_calls[0].function.name is missing",
            ),
            (
                '{"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{"}}]}]}',
                "messages[0].tool_calls[0].function.arguments: it is not valid JSON",
            ),
            ('{"messages": [{"role": "user", "content": "x"}], "tools": ["f"]}', "tools[0]: expected an object"),
            ('{"messages": ["x"]}', "messages[0]: expected an object"),
            ('{"messages": [{"role": "user", "content": "\\ud800"}]}', "not valid JSON"),
            ("[" * 100_000, "not valid JSON"),
        ],
    )
    def test_name_the_line(self, refusal, line: str, words: str):
        failed = refusal(self.GOOD, "", line)
        assert failed.code == "invalid_training_file"
        assert failed.param == "training_file"
        assert failed.message.startswith("Line 3: ")
        assert words in failed.message

    def test_an_answer_that_is_not_trained_may_have_called_wrongly(self, read):
        call = {"type": "function", "function": {"name": "f", "arguments": "{"}}
        message = read({"role": "assistant", "tool_calls": [call], "weight": 0}).messages[0]
        assert message["tool_calls"][0]["function"]["arguments"] == {}

    def test_bytes_that_are_no_text_name_the_line(self, tmp_path: Path):
        path = tmp_path / "training.jsonl"
        path.write_bytes(b'{"messages": [{"role": "user", "content": "\xe9t\xe9"}]}\n')
        with pytest.raises(TrainingFailed) as failure:
            list(read_examples(path, "training_file"))
        assert failure.value.failed.message.startswith("Line 1: not valid JSON")

    def test_a_missing_file_is_a_refusal(self, tmp_path: Path):
        with pytest.raises(TrainingFailed) as failure:
            count_examples(tmp_path / "no.jsonl", "validation_file")
        assert failure.value.failed.code == "invalid_validation_file"
        assert str(tmp_path) not in failure.value.failed.message


class TestLines:
    LINE = json.dumps(TestProblems.GOOD).encode()

    def read(self, path: Path, file: bytes) -> list[Example]:
        path.write_bytes(file)
        examples = list(read_examples(path, "training_file"))
        assert count_examples(path, "training_file") == len(examples)
        return examples

    def test_end_as_they_like(self, tmp_path: Path):
        file = codecs.BOM_UTF8 + self.LINE + b"\r\n\r\n  \n" + self.LINE + b"\n\n" + self.LINE
        assert [example.line for example in self.read(tmp_path / "t.jsonl", file)] == [1, 4, 6]

    def test_a_byte_order_mark_alone_is_no_example(self, tmp_path: Path):
        assert self.read(tmp_path / "t.jsonl", codecs.BOM_UTF8 + b"\n") == []

    def test_may_be_very_long(self, tmp_path: Path):
        text = "word " * 1_000_000
        line = json.dumps({"messages": [{"role": "user", "content": text}]}).encode()
        (example,) = self.read(tmp_path / "t.jsonl", line)
        assert example.messages[0]["content"] == text


class TestRequireEnough:
    def test_is_openais_refusal(self, tmp_path: Path):
        count = count_examples(write(tmp_path / "t.jsonl", *[TestProblems.GOOD] * 3, ""), "training_file")
        with pytest.raises(TrainingFailed) as failure:
            require_enough(count, 10)
        failed = failure.value.failed
        assert failed.code == "invalid_n_examples"
        assert failed.message == "Training file has 3 example(s), but must have at least 10 examples"
