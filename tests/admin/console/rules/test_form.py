"""Rules as a form has them."""

from typing import Any

import pytest
from litestar.datastructures import FormMultiDict

from admin.console.api import ApiRefused
from admin.console.rules.form import edited, fields_for, rows_for, rows_of, rules_of
from admin.console.rules.kinds import KINDS

RULES: list[dict[str, Any]] = [
    {"type": "json"},
    {"type": "json", "fenced": True, "object": True},
    {"type": "json_schema", "schema": {"type": "object", "required": ["a"]}},
    {"type": "json_schema", "fenced": True},
    {"type": "regex", "pattern": 'ü"', "must": "not_match"},
    {"type": "length", "unit": "words", "least": 2, "most": 200},
    {"type": "language", "languages": ["de", "en"], "least_words": 0},
    {"type": "must_cite_if_claims", "least": 0.5, "claim": "x", "citation": "y"},
    {"type": "citations_in_context", "quotes": False, "similarity": 1, "context": ["tool", "system"]},
    {"type": "groundedness", "overlap": 0.25},
    {"type": "refusal"},
    {"type": "repetition", "size": 3},
    {"type": "personal_data", "kinds": ["card", "email"], "echo": False, "region": "DE"},
    {"type": "secrets", "kinds": []},
    {"type": "tool_calls", "required": True},
    {"type": "grader", "grader": {"type": "string_check", "input": "{{sample.output_text}}", "reference": "please", "operation": "ilike"}},
    {"type": "grader", "grader": {"type": "text_similarity", "name": "n", "input": "a", "reference": "b", "evaluation_metric": "rouge_l", "pass_threshold": 0.5}},
]  # fmt: skip
UNSAID: list[dict[str, Any]] = [
    {"type": "grader", "pass_score": 0.5, "grader": {"type": "string_check", "input": "a", "reference": "b", "operation": "eq"}},
    {"type": "of tomorrow", "grade": 1},
    {"type": "length", "more": 1},
]  # fmt: skip


def unordered(rule: dict[str, Any]) -> dict[str, Any]:
    return {name: sorted(value) if isinstance(value, list) else value for name, value in rule.items()}


class TestThereAndBack:
    @pytest.mark.parametrize("rule", RULES)
    def test_by_fields(self, rule: dict[str, Any]) -> None:
        [row] = rows_for([rule])
        assert row.kind in KINDS
        assert [unordered(each) for each in rules_of(fields_for([row]))] == [unordered(rule)]

    @pytest.mark.parametrize("rule", UNSAID)
    def test_by_json_where_fields_cannot_say_it(self, rule: dict[str, Any]) -> None:
        [row] = rows_for([rule])
        assert row.kind == ""
        assert rules_of(fields_for([row])) == [rule]

    def test_in_their_order_also_of_twelve(self) -> None:
        rules = [{"type": "length", "most": count} for count in range(12)]
        assert rules_of(fields_for(rows_for(rules))) == rules

    def test_the_boxes_of_a_real_form(self) -> None:
        form = FormMultiDict([("rule_3_kind", "secrets"), ("rule_3_kinds", "jwt"), ("rule_3_kinds", "password")])
        assert rules_of(form) == [{"type": "secrets", "kinds": ["jwt", "password"]}]


class TestEdits:
    def test_more_and_less(self) -> None:
        form = fields_for(rows_for([{"type": "json"}, {"type": "length", "most": 3}])) | {"name": "kept"}
        more = edited(form | {"new_rule": "refusal"}, "add")
        assert [row.kind for row in rows_of(more)] == ["json", "length", "refusal"]
        less = edited(form, "remove:0")
        assert (less["name"], rules_of(less)) == ("kept", [{"type": "length", "most": 3}])

    def test_what_is_added_begins_as_it_would_be_anyway(self) -> None:
        [row] = rows_of(edited({"new_rule": "personal_data"}, "add"))
        assert row.values["echo"]
        assert row.values["kinds"] == ["email", "phone", "iban", "card", "ssn", "ip_address"]
        assert rules_of(edited({"new_rule": "personal_data"}, "add")) == [{"type": "personal_data"}]

    def test_as_json_and_as_fields(self) -> None:
        form = fields_for(rows_for(RULES))
        as_json = edited(form, "json")
        assert rows_of(as_json) == []
        assert rows_of(edited(as_json, "fields")) == rows_of(form)
        assert rules_of(as_json) == rules_of(form)


@pytest.mark.parametrize(
    ("form", "param"),
    [
        ({"rules_json": "["}, "rules_json"),
        ({"rules_json": "[1]"}, "rules_json"),
        ({"rule_0_kind": "json", "rule_1_json": "{"}, "spec.rules[1]"),
        ({"rule_0_kind": "json_schema", "rule_0_schema": "[]"}, "spec.rules[0].schema"),
    ],
)
def test_what_cannot_be_read_is_named(form: dict[str, Any], param: str) -> None:
    with pytest.raises(ApiRefused) as caught:
        rules_of(form)
    assert caught.value.param == param


@pytest.mark.parametrize("text", ["many", "nan", "inf"])
def test_what_is_no_number_is_for_the_api_to_refuse(text: str) -> None:
    assert rules_of({"rule_0_kind": "length", "rule_0_most": text}) == [{"type": "length", "most": text}]
