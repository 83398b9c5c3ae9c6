"""Rules as people choose them say all that rules can."""

from typing import Any, get_args

import msgspec
import pytest

from admin.console.rules.form import rules_of
from admin.console.rules.kinds import KINDS, kind_of
from judges.graders import StringCheck, TextSimilarity
from judges.rules.written import AnyRule, problems, type_of

TYPES: dict[str, Any] = {type_of(kind): kind for kind in get_args(AnyRule)}
GRADERS = {"string_check": StringCheck, "text_similarity": TextSimilarity}
BY_JSON = {"grader.pass_score"}
"""A grader's own threshold says it better."""


def declared(name: str) -> dict[str, Any]:
    """Field of a rule -> its default; absent where there is none."""
    type, _, grader = name.partition(".")
    fields = {each.name: each for each in msgspec.structs.fields(TYPES[type])}
    if grader:
        fields = {f"grader.{each.name}": each for each in msgspec.structs.fields(GRADERS[grader])}
    return {name: each.default for name, each in fields.items()}


def test_every_rule_can_be_chosen() -> None:
    assert {name.partition(".")[0] for name in KINDS} == set(TYPES)
    assert {name.partition(".")[2] for name in KINDS if "." in name} == set(GRADERS)


@pytest.mark.parametrize("name", KINDS)
def test_it_has_a_field_for_each_parameter_with_its_default(name: str) -> None:
    fields = declared(name)
    assert {each.name for each in KINDS[name].fields} == set(fields)
    for each in KINDS[name].fields:
        default = fields[each.name]
        assert each.is_needed <= (default is msgspec.NODEFAULT)
        if each.default is not None:
            assert each.default == (list(default) if isinstance(default, tuple) else default), each.name


@pytest.mark.parametrize("name", KINDS)
def test_added_and_filled_in_where_it_must_be_it_is_a_rule(name: str) -> None:
    form = {"rule_0_kind": name}
    for each in KINDS[name].fields:
        value = each.options[0][0] if each.kind == "choice" else "x" if each.is_needed else None
        form |= {f"rule_0_{each.name}": value} if value else {}
        if each.kind == "several":
            form |= {f"rule_0_{each.name}": [option for option, _ in each.options]}
    [rule] = rules_of(form)
    assert kind_of(rule) == name
    assert problems([msgspec.convert(rule, AnyRule)]) == []
