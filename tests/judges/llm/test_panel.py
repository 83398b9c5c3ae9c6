"""Several judges, one word."""

import pytest

from judges.llm.criterion import Criterion
from judges.llm.opinion import Opinion, failed
from judges.llm.panel import combined
from tests.judges.llm.asking import BETTER, HELPFUL

SAFE = Criterion(name="safe", kind="boolean")


def numeric(value: float) -> Opinion:
    return Opinion(score=HELPFUL.score(value), raw_value=value, passed=HELPFUL.passes(value))


def boolean(value: bool) -> Opinion:
    return Opinion(score=float(value), raw_value=value, passed=value)


class TestCombined:
    def test_mean_of_scores_decides_over_the_line(self) -> None:
        opinion = combined(HELPFUL, [numeric(5), numeric(5), numeric(2)], "mean")
        assert opinion.score == pytest.approx(0.75)
        assert opinion.passed is True

    def test_majority(self) -> None:
        opinion = combined(SAFE, [boolean(True), boolean(False), boolean(True)], "majority")
        assert (opinion.passed, opinion.score) == (True, 1.0)
        assert opinion.notes["agreement"] == pytest.approx(2 / 3)

    def test_no_majority_is_no_verdict(self) -> None:
        opinion = combined(SAFE, [boolean(True), boolean(False)], "majority")
        assert (opinion.status, opinion.score, opinion.passed) == ("abstained", None, None)

    def test_comparisons_without_a_majority_are_ties(self) -> None:
        members = [Opinion(preference="a"), Opinion(preference="b")]
        assert combined(BETTER, members, "majority").preference == "tie"
        assert combined(BETTER, [*members, Opinion(preference="b")], "mean").preference == "b"

    def test_a_member_that_failed_is_no_zero(self) -> None:
        opinion = combined(HELPFUL, [numeric(5), numeric(5), failed("parse", "nothing")], "mean")
        assert opinion.score == 1
        assert opinion.notes == {"members": 3, "members_ok": 2}

    def test_half_of_them_is_not_enough(self) -> None:
        opinion = combined(HELPFUL, [numeric(5), failed("refusal", "no")], "mean")
        assert (opinion.status, opinion.error_code, opinion.score) == ("error", "refusal", None)
