"""A judge whose word should not count yet."""

from typing import Any

from gateway.protocol.guidance import Suggestion
from tests.gateway.guidance.materials import judge, judged, report

LLM = {"source": "llm", "criterion_id": "crit_helpful", "judge_version_id": "v"}


def doubts(people: bool | None = None, **changes: Any) -> list[Suggestion]:
    """Of a judge that fails twenty answers, of which people say `people`."""
    said = [judged(n, **LLM, passed=False) for n in range(20)]
    said += [judged(n, passed=people) for n in range(20)] if people is not None else []
    clusters = report(judged=said, judges={"v": judge(**changes)}).clusters
    found = [each for cluster in clusters if cluster.subject.source == "llm" for each in cluster.suggestions]
    return [each for each in found if each.kind == "distrust_judge"]


class TestJudges:
    def test_whose_kappa_is_low(self) -> None:
        [found] = doubts(kappa=0.3, kappa_low=0.1, trusted=False)
        assert "0.30, at least 0.10 (n = 100); 0.40 is wanted" in found.why
        assert found.parameters == {"judge_id": "judge_1"}

    def test_whom_people_contradict_since(self) -> None:
        [found] = doubts(people=True)
        assert "People say otherwise in 100%" in found.why

    def test_that_was_never_held_against_people(self) -> None:
        [found] = doubts(kappa=None, kappa_low=None, n=0, trusted=False)
        assert "never held against people" in found.why

    def test_not_one_that_agrees_with_them(self) -> None:
        assert doubts(people=False) == []

    def test_not_one_that_was_shown_to_agree(self) -> None:
        assert doubts() == []

    def test_not_rules(self) -> None:
        rule = LLM | {"source": "rule"}
        said = [judged(n, **rule, passed=False) for n in range(5)]
        [cluster] = report(judged=said, judges={"v": judge(kind="rule", kappa=None, kappa_low=None)}).clusters
        assert "distrust_judge" not in [each.kind for each in cluster.suggestions]
