"""Rules of routes: of the API and of the settings."""

from typing import Any

import pytest

from gateway.errors import InvalidRequest
from gateway.protocol.routes import Check
from gateway.routing.route_checks import check_rules, refuse_faulty
from gateway.settings import SettingsError
from tests.gateway.routing.plans import route


def check(*rules: dict[str, Any], **more: Any) -> Check:
    return Check(name="a", rules=rules, **more)


class TestCheckRules:
    def test_sound_ones(self) -> None:
        check_rules([check({"type": "json"}), check({"type": "regex", "pattern": "a"}, {"type": "refusal"})])
        check_rules([])

    @pytest.mark.parametrize(
        ("rule", "param"),
        [
            ({"type": "json", "fenced": 1}, "checks[1].rules[0].fenced"),
            ({"pattern": "a"}, "checks[1].rules[0]"),
            ({"type": "regex"}, "checks[1].rules[0]"),
            ({"type": "language", "languages": ["xx"]}, "checks[1].rules[0].languages"),
        ],
    )
    def test_the_fault_has_its_path(self, rule: dict[str, Any], param: str) -> None:
        with pytest.raises(InvalidRequest) as caught:
            check_rules([check({"type": "json"}), check(rule)])
        assert caught.value.param == param

    def test_those_of_a_judge_were_looked_at(self) -> None:
        check_rules([check({"type": "gone"}, judge="house", judge_version_id="judgever_1")])


class TestRefuseFaulty:
    def test_names_route_and_path(self) -> None:
        refuse_faulty([route("m", checks=(check({"type": "json"}),))])
        with pytest.raises(SettingsError, match=r"route `r`: checks\[0\].rules\[0\].pattern"):
            refuse_faulty([route("m", checks=(check({"type": "regex", "pattern": "("}),))])

    def test_a_judge_is_nothing_for_a_route_of_every_project(self) -> None:
        with pytest.raises(SettingsError, match=r"checks\[0\].judge"):
            refuse_faulty([route("m", checks=(check(judge="house"),))])
