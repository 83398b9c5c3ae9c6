"""Both orders, one verdict (pitfall 1)."""

import pytest

from judges.llm.opinion import Opinion, failed
from judges.llm.pairwise import ORDERS, consistency, reconcile, win_rate
from judges.llm.questions import Brief, about_two
from judges.llm.reading import read
from tests.judges.llm.asking import BETTER, said, subject, verdict


def judged(choose: str | None, a: str, b: str) -> Opinion:
    """By a judge that always takes the same place, or, with None, the answer that says `right`."""
    opinions: list[Opinion] = []
    for order in ORDERS:
        asked = about_two(Brief(criterion=BETTER), "judge", subject(a), subject(b), order)
        first = a if order == "ab" else b
        result = choose or ("first" if "right" in first else "second")
        opinions.append(read(asked, said(verdict(asked, result))))
    return reconcile(*opinions)


class TestReconcile:
    @pytest.mark.parametrize("place", ["first", "second"])
    def test_a_judge_that_looks_at_the_place_alone_comes_to_ties(self, place: str) -> None:
        opinions = [judged(place, f"right {number}", "wrong") for number in range(20)]
        assert {(each.status, each.preference, each.error_code) for each in opinions} == {
            ("ok", "tie", "position_inconsistent")
        }
        assert win_rate([each.preference for each in opinions]) == 0.5
        assert consistency(opinions) == 0

    def test_a_true_preference_survives_both_orders(self) -> None:
        assert judged(None, "right", "wrong").preference == "a"
        assert judged(None, "wrong", "right").preference == "b"
        assert consistency([judged(None, "right", "wrong"), judged(None, "wrong", "right")]) == 1

    @pytest.mark.parametrize("same", ["tie", "both_bad"])
    def test_the_same_in_both_is_no_inconsistency(self, same: str) -> None:
        opinion = judged(same, "x", "y")
        assert (opinion.preference, opinion.error_code) == (same, None)

    def test_an_order_that_failed_fails_the_comparison(self) -> None:
        fine, broken = Opinion(preference="a"), failed("parse", "nothing")
        assert reconcile(fine, broken).error_code == "parse"
        assert reconcile(broken, fine).status == "error"
        assert consistency([reconcile(fine, broken)]) is None


def test_ties_count_half() -> None:
    assert win_rate(["a", "a", "b", "tie", "both_bad", None]) == 0.6
    assert win_rate([]) is None
