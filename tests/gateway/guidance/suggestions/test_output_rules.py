"""A rule that holds answers before they leave."""

import json
from typing import Any

from gateway.guidance.suggestions.output_rules import RULES
from gateway.protocol.guidance import Suggestion
from judges.rules.written import decode, problems
from tests.gateway.guidance.materials import judge, judged, only, route


def rules(**parts: Any) -> list[Suggestion]:
    return [each for each in only(**parts).suggestions if each.kind == "output_rule"]


def tagged(tag: str) -> list[Any]:
    return [judged(n, tags=[tag] if n < 5 else [], route="shop@1") for n in range(20)]


class TestOutputRules:
    def test_for_what_people_say(self) -> None:
        [found] = rules(judged=tagged("not JSON"), routes=[route()])
        assert found.snippet is not None
        assert json.loads(found.snippet) == [{"type": "json", "object": True}]
        assert found.parameters["route_id"] == "route_1"

    def test_a_language_is_that_of_the_question(self) -> None:
        """Which ones a project answers in is not known here."""
        [found] = rules(judged=tagged("wrong language"), routes=[route()])
        assert json.loads(found.snippet or "") == [{"type": "language"}]

    def test_not_where_the_route_has_it(self) -> None:
        assert rules(judged=tagged("not JSON"), routes=[route(rules=["json"])]) == []

    def test_not_without_a_route(self) -> None:
        assert rules(judged=tagged("not JSON")) == []

    def test_not_what_no_rule_can_tell(self) -> None:
        assert rules(judged=tagged("rude"), routes=[route()]) == []

    def test_a_judges_own_rule_with_its_parameters(self) -> None:
        own = {"type": "length", "unit": "words", "most": 7}
        changes = {"source": "rule", "criterion_id": "crit_rules", "judge_version_id": "v", "route": "shop@1"}
        said = [judged(n, **changes, passed=False, tags=["length"]) for n in range(5)]
        judges = {"v": judge(kind="rule", rules=[own])}
        [found] = rules(judged=said, routes=[route()], judges=judges)
        assert found.snippet is not None
        assert json.loads(found.snippet) == [own]
        assert found.parameters["rules_json"] == found.snippet

    def test_each_can_be_written_down(self) -> None:
        written = decode(json.dumps(list(RULES.values())))
        assert problems(written) == []
