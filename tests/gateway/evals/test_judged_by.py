from typing import Any

import pytest

from gateway.evals.criteria import read, with_id
from gateway.evals.judged_by import judged_by, name_of
from gateway.judgments.criteria import checked
from gateway.protocol.criteria import CriterionSpec
from judges.validation import parse
from tests.fakes.evals import ALIKE, LABEL, SAME, SCORE

PYTHON = {"type": "python", "name": "p", "source": "def grade(sample, item): return 1"}


def spec_of(raw: dict[str, Any], **more: Any) -> CriterionSpec:
    [criterion] = read([with_id(parse(raw | more))])
    return judged_by(criterion, "eval_1")


class TestJudgedBy:
    @pytest.mark.parametrize(
        ("grader", "scale"),
        [
            (ALIKE, (0, 1, 0.5)),
            (PYTHON, (0, 1, 0.5)),
            (PYTHON | {"pass_threshold": 2}, (0, 1, None)),
            (SCORE, (0, 10, 0.5)),
            (SCORE | {"range": [-1, 1], "pass_threshold": 0.5}, (-1, 1, 0.75)),
        ],
    )
    def test_a_score_has_its_scale_and_from_where_it_passes(self, grader: Any, scale: Any) -> None:
        found = spec_of(grader)
        assert (found.kind, (found.lowest, found.highest, found.pass_score)) == ("numeric", scale)

    def test_labels_that_pass_come_first(self) -> None:
        found = spec_of(LABEL, labels=["bad", "so-so", "good"], passing_labels=["good", "good"])
        assert (found.kind, found.labels, found.passing_labels) == ("categorical", ["good", "bad", "so-so"], ["good"])

    @pytest.mark.parametrize("labels", [["one"], ["x" * 201, "y"], [str(n) for n in range(101)]])
    def test_labels_that_a_criterion_cannot_list_are_a_yes_or_no(self, labels: list[str]) -> None:
        assert spec_of(LABEL, labels=labels, passing_labels=labels[:1]).kind == "boolean"

    @pytest.mark.parametrize("name", ["", "Ist das gut? äöü", "x" * 500, "..-", "a\nb"])
    def test_any_name_becomes_one_that_criteria_take(self, name: str) -> None:
        for grader in (SAME, ALIKE, SCORE, LABEL, PYTHON):
            found = spec_of(grader, name=name)
            assert checked(found) == found

    def test_graders_of_one_name_have_different_ones(self) -> None:
        one, other = read([with_id(parse(SAME)), with_id(parse(SAME))])
        assert name_of(one) != name_of(other)
        assert name_of(one) == f"eval.same.{one.id.removeprefix('same-')[:8]}"
