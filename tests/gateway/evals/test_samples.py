import json
from typing import Any

import pytest

from gateway.evals.samples import NoAnswer, of_completion, of_given, shown
from judges.sample import ABSENT
from tests.contract import conforms


def completion(message: dict[str, Any], **choice: Any) -> bytes:
    return json.dumps(
        {"model": "m", "choices": [{"index": 0, "message": message, "finish_reason": "stop", **choice}]}
    ).encode()


class TestOfCompletion:
    def test_text_and_json(self) -> None:
        found = of_completion(completion({"role": "assistant", "content": '{"a": 1}'}), [], (3, 2, 1))
        assert (found.sample.output_text, found.sample.output_json) == ('{"a": 1}', {"a": 1})
        assert (found.model, found.finish_reason, found.usage) == ("m", "stop", (3, 2, 1))

    def test_calls_of_tools(self) -> None:
        call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
        found = of_completion(completion({"role": "assistant", "content": None, "tool_calls": [call]}), [], (0, 0, 0))
        assert (found.sample.output_text, found.sample.output_tools) == ("", [call])
        assert found.sample.output_json is ABSENT
        item = shown(found, None, 42)
        assert item["output"] == [{"role": "assistant", "content": "", "tool_calls": [call]}]

    @pytest.mark.parametrize(
        "reply", [b"<html>", b"{}", b'{"choices": []}', b'{"choices": [{}]}', b'{"choices": [7]}', b"[]"]
    )
    def test_what_is_no_completion(self, reply: bytes) -> None:
        with pytest.raises(NoAnswer):
            of_completion(reply, [], (0, 0, 0))

    def test_log_probabilities_are_all_or_none(self) -> None:
        def of(*values: Any) -> tuple[float, ...] | None:
            content = [{"token": "x", "logprob": value} for value in values]
            message = {"role": "assistant", "content": "x"}
            return of_completion(completion(message, logprobs={"content": content}), [], (0, 0, 0)).log_probabilities

        assert of(-1, -0.5) == (-1, -0.5)
        assert of(-1, None) is None
        assert of(-1, 0.5) is None
        assert of() is None


class TestOfGiven:
    def test_text(self) -> None:
        found = of_given({"output_text": "yes"})
        assert found.sample.output_text == "yes"
        assert found.sample.choices[0]["message"]["content"] == "yes"

    def test_choices(self) -> None:
        raw = {
            "model": "m",
            "choices": [{"message": {"role": "assistant", "content": "yes"}, "finish_reason": "length"}],
        }
        found = of_given(raw)
        assert (found.sample.output_text, found.model, found.finish_reason) == ("yes", "m", "length")

    def test_json_that_is_given_is_taken(self) -> None:
        assert of_given({"output_text": "x", "output_json": {"a": 1}}).sample.output_json == {"a": 1}

    @pytest.mark.parametrize(
        "raw", [{}, {"choices": []}, {"choices": [7]}, {"choices": [{"message": "x"}]}, {"choices": 3}]
    )
    def test_nothing_is_an_empty_answer(self, raw: Any) -> None:
        assert of_given(raw).sample.output_text == ""


class TestShown:
    def test_is_openais_also_without_an_answer(self) -> None:
        item: dict[str, Any] = {
            "object": "eval.run.output_item", "id": "o", "run_id": "r", "eval_id": "e", "created_at": 1, "status": "error",
            "datasource_item_id": 0, "datasource_item": {}, "results": [],
        }  # fmt: skip
        conforms("EvalRunOutputItem", item | {"sample": shown(None, None, 42, {"code": "x", "message": "y"})})
        parts = [{"role": "user", "content": [{"type": "text", "text": "x"}]}, {"role": "assistant", "content": None}]
        found = of_completion(completion({"role": "assistant", "content": "x"}), parts, (0, 0, 0))
        conforms("EvalRunOutputItem", item | {"sample": shown(found, None, 42)})
