"""Criteria in words."""

from typing import Any

import pytest

from admin.console.evals import words

ANSWER = "{{ sample.output_text }}"
CHECK = {"type": "string_check", "name": "n", "input": ANSWER, "reference": "{{ item.label }}", "operation": "ilike"}
SCORE = {"type": "score_model", "name": "n", "model": "judge", "input": [{"role": "user", "content": "Rate it."}]}


@pytest.mark.parametrize(
    ("criterion", "said"),
    [
        (CHECK, "the answer contains, in any case, label"),
        (CHECK | {"operation": "eq", "reference": "yes"}, "the answer is exactly \u201cyes\u201d"),
        (CHECK | {"operation": "ne", "input": "{{ item.a }}"}, "a is not label"),
        (CHECK | {"operation": "like", "reference": "{{ item.a }} {{ item.b }}"},
         "the answer contains \u201c{{ item.a }} {{ item.b }}\u201d"),
        ({"type": "text_similarity", "input": ANSWER, "reference": "{{ item.a }}", "evaluation_metric": "rouge_2",
          "pass_threshold": 0.25}, "the answer is like a: ROUGE-2 of 0.25 or more"),
        (SCORE, "judge gives it 0.5 or more, of 0 to 1"),
        (SCORE | {"range": [1, 5], "pass_threshold": 4}, "judge gives it 4 or more, of 1 to 5"),
        (SCORE | {"range": [1, 5]}, "judge gives it 3 or more, of 1 to 5"),
        ({"type": "label_model", "model": "judge", "labels": ["a", "b", "c"], "passing_labels": ["a", "b"]},
         "judge calls it a or b, out of a, b, c"),
        ({"type": "python", "source": "x"}, "the Python function returns 0.5 or more"),
    ],
)  # fmt: skip
def test_sentence(criterion: dict[str, Any], said: str) -> None:
    assert words.sentence(criterion) == said


def test_what_a_model_is_asked() -> None:
    parts = [{"role": "system", "content": {"type": "input_text", "text": "Be strict."}}, *SCORE["input"]]
    assert words.prompt_of(SCORE | {"input": parts}) == "Be strict.\n\nRate it."
    assert words.prompt_of(CHECK) == ""


def test_fields_stand_as_the_data_had_them() -> None:
    item = {
        "properties": {"a": {"type": "string"}, "b": {"type": ["integer", "string"]}, "q": {}},
        "required": ["q", "a"],
    }
    suite = {"data_source_config": {"type": "custom", "schema": {"properties": {"item": item}}}}
    assert words.fields_of(suite) == [("q", "anything", True), ("a", "string", True), ("b", "integer or string", False)]
