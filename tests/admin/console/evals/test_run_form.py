"""Runs as a form has them. What the API says of it all: tests/admin/console/pages/test_eval_start.py."""

from typing import Any

import pytest

from admin.console.api import ApiRefused
from admin.console.evals import run_form

SUITE = {"data_source_config": {"type": "custom", "schema": {"properties": {"item": {
    "properties": {"input": {"type": "array"}, "expected": {"type": "string"}}, "required": ["input", "expected"],
}}}}}  # fmt: skip


def run(content: list[Any] | None, total: int, repeats: int = 1) -> dict[str, Any]:
    source = {"type": "file_content", "content": content} if content is not None else {"type": "file_id", "id": "f"}
    return {"data_source": {"source": source}, "repeats": repeats, "result_counts": {"total": total}, "model": "a"}


class TestModels:
    def test_each_once(self) -> None:
        assert run_form.models_of({"model_1": "a", "model_2": " b ", "model_3": "a", "model_4": ""}) == ["a", "b"]

    def test_answers_that_are_there_need_none(self) -> None:
        assert run_form.models_of({"model_1": "a", "asked": "answered"}) == [""]


class TestInlineItems:
    def test_all_of_them_or_none(self) -> None:
        assert run_form.inline_items(run([1, 2], 4, 2)) == [1, 2]
        assert run_form.inline_items(run([1, 2], 300)) is None  # the API shows the first ones alone
        assert run_form.inline_items(run(None, 2)) is None
        assert run_form.inline_items(None) is None


class TestGuesses:
    def test_a_conversation_is_asked_as_it_is(self) -> None:
        fields = run_form.fields_of(SUITE, None, "file-1")
        assert (fields["asked"], fields["reference"], fields["data"]) == ("reference", "input", "file-1")
        body = run_form.body_of(fields | {"repeats": "1"}, SUITE, "m", None)
        assert body["data_source"]["input_messages"] == {"type": "item_reference", "item_reference": "item.input"}


class TestAsInTheLastRun:
    def of(self, **source: Any) -> dict[str, Any]:
        last = run(None, 1) | {
            "data_source": {"type": "completions", "source": {"type": "stored_completions"}, **source}
        }
        return run_form.fields_of(SUITE, last, "")

    def test_a_temperature_that_was_taken_out_stays_out(self) -> None:
        assert run_form.fields_of(SUITE, None, "")["temperature"] == 0
        assert "temperature" not in self.of(model="a")
        assert self.of(model="a", sampling_params={"top_p": 0.5})["top_p"] == 0.5

    def test_stored_answers_are_graded_as_they_are(self) -> None:
        assert self.of()["asked"] == "answered"
        assert self.of(model="a")["asked"] == "reference"


class TestErrors:
    @pytest.mark.parametrize(
        ("param", "field"),
        [
            ("model", "model_2"),
            ("data_source.sampling_params.top_p", "top_p"),
            ("data_source.sampling_params.response_format", "more"),
            ("data_source.input_messages.template[1].content", "user"),
            ("data_source.source.id", "data"),
            ("data_source.source.limit", "limit"),
            ("repeats", "repeats"),
        ],
    )
    def test_the_field_that_was_filled_in(self, param: str, field: str) -> None:
        refused = ApiRefused(400, {"message": "no", "param": param})
        assert run_form.of_field(refused, {"model_1": "a", "model_2": "b"}, "b").param == field
