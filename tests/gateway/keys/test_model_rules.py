"""Which models a key may call."""

from typing import Any

import pytest

from gateway.errors import InvalidRequest
from gateway.keys.model_rules import check_model_names, model_names, model_rules


def allow(*names: str) -> dict[str, Any]:
    return {"mode": "allow_list", "model_ids": list(names)}


def deny(*names: str) -> dict[str, Any]:
    return {"mode": "deny_list", "model_ids": list(names)}


class TestNames:
    def test_are_exact(self) -> None:
        names = model_names(["gpt-4o", "org/name"])
        assert all(each in names for each in ("gpt-4o", "org/name"))
        assert not any(each in names for each in ("gpt-4o-mini", "gpt-4", "GPT-4o", "", "name"))

    def test_a_star_at_the_end_stands_for_all_that_begin_so(self) -> None:
        names = model_names(["ft:starter:*", "m"])
        assert all(each in names for each in ("ft:starter:", "ft:starter:acme:shop:1", "m"))
        assert not any(each in names for each in ("ft:starter", "ft:other:acme:shop:1", "mm"))

    def test_a_star_alone_is_everything(self) -> None:
        assert "whatever" in model_names(["*"])

    def test_none_is_nothing(self) -> None:
        assert "m" not in model_names([])

    def test_a_star_elsewhere_is_refused(self) -> None:
        check_model_names("allowed_models", ["a*", "b", "*"])
        with pytest.raises(InvalidRequest, match="not at its end") as refused:
            check_model_names("allowed_models", ["ft:*:acme"])
        assert refused.value.param == "allowed_models"


class TestRules:
    def test_none_where_nothing_was_said(self) -> None:
        assert model_rules(None, None) is None

    @pytest.mark.parametrize(
        ("own", "projects", "called"),
        [
            (["a", "b"], None, {"a", "b"}),
            (None, allow("b", "c"), {"b", "c"}),
            (["a", "b"], allow("b", "c"), {"b"}),
            (None, deny("a"), {"b", "c"}),
            (["a", "b"], deny("a"), {"b"}),
            (None, allow(), set[str]()),
            (None, deny(), {"a", "b", "c"}),
        ],
    )
    def test_what_may_be_called(self, own: list[str] | None, projects: Any, called: set[str]) -> None:
        rules = model_rules(own, projects)
        assert rules is not None
        assert {name for name in ("a", "b", "c") if rules.may_call(name)} == called

    def test_what_is_denied_does_not_answer_by_another_name_either(self) -> None:
        rules = model_rules(None, deny("a"))
        assert rules is not None
        assert not rules.may_serve("a")
        assert rules.may_serve("b")

    def test_an_allowed_route_is_answered_by_whatever_it_names(self) -> None:
        rules = model_rules(["route"], allow("route"))
        assert rules is not None
        assert rules.may_serve("a")
