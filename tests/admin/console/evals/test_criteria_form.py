"""Criteria as a form has them."""

from typing import Any

import pytest

from admin.console.api import ApiRefused
from admin.console.evals import criteria_form
from judges.validation import lint, parse

SCHEMA = {"properties": {"ticket": {"type": "string"}, "label": {"type": "string"}}, "required": ["ticket", "label"]}


def form_of(*slots: dict[str, str]) -> dict[str, str]:
    return {f"c{place}_{name}": value for place, each in enumerate(slots) for name, value in each.items()}


def preset(kind: str) -> dict[str, str]:
    return criteria_form.preset(kind, SCHEMA, "judge", set())


class TestPresets:
    @pytest.mark.parametrize("kind", criteria_form.FIELDS)
    def test_each_is_a_grader_that_the_api_takes(self, kind: str) -> None:
        grader = parse(criteria_form.grader_of(preset(kind)))
        assert lint(grader) == []

    @pytest.mark.parametrize("kind", criteria_form.FIELDS)
    def test_there_and_back(self, kind: str) -> None:
        assert criteria_form.slots_of(form_of(preset(kind))) == [preset(kind)]

    def test_without_an_answer_in_the_data_nothing_is_compared(self) -> None:
        asked = criteria_form.preset("score_model", {"properties": {"q": {"type": "string"}}}, "", set())["prompt"]
        assert "{{ item.q }}" in asked
        assert "Right answer" not in asked

    def test_names_are_free(self) -> None:
        slots = criteria_form.changed([preset("string_check")], "add:string_check", SCHEMA, "")
        slots = criteria_form.changed(slots, "add:string_check", SCHEMA, "")
        assert [each["name"] for each in slots] == ["exact", "exact 2", "exact 3"]


class TestChanges:
    def test_no_more_than_there_is_room_for(self) -> None:
        full = [preset("string_check")] * criteria_form.MOST
        assert criteria_form.changed(full, "add:python", SCHEMA, "") == full

    @pytest.mark.parametrize("do", ["", "add:", "add:multi", "remove:", "remove:x", "remove:9"])
    def test_what_means_nothing_changes_nothing(self, do: str) -> None:
        slots = [preset("string_check")]
        assert criteria_form.changed(slots, do, SCHEMA, "") == slots


class TestErrors:
    @pytest.mark.parametrize(
        ("param", "field"),
        [
            ("testing_criteria[0].reference", "c0_reference"),
            ("testing_criteria[1].input[0].content", "c1_prompt"),
            ("testing_criteria[0].input", "c0_input"),
            ("testing_criteria[1].range", "c1_low"),
            ("testing_criteria[1]", "c1_name"),
            ("testing_criteria[2].model", "criteria_json"),
            ("metrics.primary", "metrics_primary"),
            ("name", "name"),
            (None, None),
        ],
    )
    def test_the_field_that_was_filled_in(self, param: str | None, field: str | None) -> None:
        slots = [preset("string_check"), preset("score_model")]
        refused = ApiRefused(400, {"message": "no", "param": param})
        assert criteria_form.of_field(refused, slots).param == field


class TestJson:
    def test_one_grader_or_a_list_beside_the_fields(self) -> None:
        form: dict[str, Any] = form_of(preset("string_check")) | {"criteria_json": '{"type": "python"}'}
        assert [each["type"] for each in criteria_form.criteria_of(form)] == ["string_check", "python"]
        form["criteria_json"] = '[{"type": "a"}, {"type": "b"}]'
        assert len(criteria_form.criteria_of(form)) == 3

    @pytest.mark.parametrize("text", ["{", "[" * 10000])
    def test_what_cannot_be_read(self, text: str) -> None:
        with pytest.raises(ApiRefused) as refused:
            criteria_form.criteria_of({"criteria_json": text})
        assert refused.value.param == "criteria_json"
