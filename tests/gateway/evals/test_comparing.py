from typing import Any

import pytest

from gateway.evals.comparing import compare
from gateway.evals.figures import ComparedRuns, Comparison, RunComparison, RunFigures
from tests.gateway.evals.graded import JUDGE, SAME, figures, graded, run_of


def against(run: RunFigures, base: RunFigures) -> RunComparison:
    return whole(run, base).comparison


def whole(run: RunFigures, base: RunFigures) -> ComparedRuns:
    return compare(Comparison(run=run, base=base))


class TestPrimary:
    def test_of_single_answers_is_mcnemars(self) -> None:
        """9 against 2 discordant items: 0.06543, the vector of the statistics' own tests."""
        run = run_of(*[True] * 9, *[False] * 2, *[True] * 5)
        base = run_of(*[False] * 9, *[True] * 2, *[True] * 5)
        found = against(run, base).primary
        assert (found.name, found.test, found.n) == ("pass_rate", "mcnemar", 16)
        assert found.p == pytest.approx(0.06543, abs=1e-5)
        assert found.difference == pytest.approx(7 / 16)
        assert not found.significant

    def test_a_real_difference_is_called_one(self) -> None:
        found = against(run_of(*[True] * 6, *[True] * 30), run_of(*[False] * 6, *[True] * 30))
        assert found.primary.p == pytest.approx(0.03125)
        assert found.primary.significant
        assert "better" in found.summary

    def test_repeats_do_not_make_a_difference_out_of_luck(self) -> None:
        """Three items that flipped are three, however often each was asked."""
        first = [graded(n, True, repeat=r) for n in range(10) for r in range(10)]
        second = [graded(n, n >= 3, repeat=r) for n in range(10) for r in range(10)]
        found = against(figures(first, repeats=10), figures(second, repeats=10)).primary
        assert (found.n, found.clusters, found.test) == (10, 10, "paired_t_by_cluster")
        assert found.p is not None
        assert found.p > 0.05

    def test_items_of_one_conversation_count_as_one(self) -> None:
        first = [graded(n, True, cluster="one") for n in range(20)]
        second = [graded(n, False, cluster="one") for n in range(20)]
        found = against(figures(first), figures(second)).primary
        assert (found.clusters, found.p, found.significant) == (1, None, False)

    def test_is_the_criterion_that_the_eval_names(self) -> None:
        first = [graded(n, False, scores={"same-1": (0, False), "judge-1": (0.9, True)}) for n in range(8)]
        second = [graded(n, False, scores={"same-1": (0, False), "judge-1": (0.1, False)}) for n in range(8)]
        known: dict[str, Any] = {"criteria": [SAME, JUDGE], "primary": "judge-1"}
        found = against(figures(first, **known), figures(second, **known))
        assert (found.primary.name, found.primary.difference) == ("judge", 1.0)
        assert found.primary.significant
        assert "judge (score)" in [each.name for each in found.secondary]

    def test_the_same_run_twice_differs_in_nothing(self) -> None:
        run = run_of(True, False, True)
        found = against(run, run)
        assert (found.primary.difference, found.primary.low, found.primary.high, found.primary.p) == (
            0.0,
            0.0,
            0.0,
            1.0,
        )
        assert found.flips == []


class TestSecondary:
    def test_are_corrected_for_being_many(self) -> None:
        first = [graded(n, True, metrics={"numbers": {"token_f1": 0.5 + 0.01 * n, "rouge_l": 0.4}}) for n in range(9)]
        second = [graded(n, True, metrics={"numbers": {"token_f1": 0.45, "rouge_l": 0.4}}) for n in range(9)]
        found = {each.name: each for each in against(figures(first), figures(second)).secondary}
        assert set(found) == {"same (score)", "token_f1", "rouge_l"}
        f1 = found["token_f1"]
        assert f1.p is not None
        assert f1.p_adjusted == pytest.approx(3 * f1.p)
        assert found["rouge_l"].p_adjusted == 1.0


class TestPairing:
    def test_is_by_what_items_say(self) -> None:
        first = [graded(0, True, key="a"), graded(1, True, key="b"), graded(2, True, key="c")]
        second = [graded(0, False, key="b"), graded(1, True, key="a"), graded(2, True, key="d")]
        found = against(figures(first), figures(second))
        assert (found.paired, found.left_out) == (2, 1)
        assert [(flip.datasource_item_id, flip.base_datasource_item_id, flip.change) for flip in found.flips] == [
            (1, 0, "fail_to_pass")
        ]

    def test_items_that_are_alike_are_paired_in_their_order(self) -> None:
        first = [graded(0, True, key="a"), graded(1, False, key="a")]
        second = [graded(5, True, key="a"), graded(6, True, key="a")]
        found = against(figures(first), figures(second))
        assert found.paired == 2
        assert (found.flips[0].datasource_item_id, found.flips[0].base_datasource_item_id) == (1, 6)

    def test_what_was_not_graded_is_left_out_and_told(self) -> None:
        found = against(run_of(True, None, True), run_of(True, True, None))
        assert (found.paired, found.left_out) == (1, 2)

    def test_nothing_in_common(self) -> None:
        found = against(figures([graded(0, True, key="a")]), figures([graded(0, True, key="b")]))
        assert (found.primary.difference, found.paired) == (None, 0)
        assert "no item in common" in found.summary


class TestFlips:
    def test_what_got_worse_comes_first(self) -> None:
        found = against(run_of(True, False, True, False), run_of(False, True, True, True))
        assert [flip.change for flip in found.flips] == ["pass_to_fail", "pass_to_fail", "fail_to_pass"]
        assert [flip.datasource_item_id for flip in found.flips] == [1, 3, 0]
        assert (found.pass_to_fail, found.fail_to_pass) == (2, 1)

    def test_all_of_them_are_kept_though_few_are_shown(self) -> None:
        found = whole(run_of(*[False] * 300, True), run_of(*[True] * 300, False))
        assert (len(found.comparison.flips), found.comparison.pass_to_fail) == (200, 300)
        assert (len(found.flips), found.flips[0], found.flips[-1]) == (301, (0, 0, True), (300, 300, False))


class TestElsewhere:
    def test_items_that_the_base_has_at_another_place_or_not_at_all(self) -> None:
        first = [graded(n, True, key=key) for n, key in enumerate("abcd")]
        second = [graded(n, True, key=key) for n, key in enumerate("acb")]
        assert whole(figures(first), figures(second)).elsewhere == [(1, 2), (2, 1), (3, None)]

    def test_of_the_same_data_there_are_none(self) -> None:
        assert whole(run_of(True, False, None), run_of(False, True, True)).elsewhere == []


class TestWinRate:
    def test_counts_ties_apart(self) -> None:
        found = against(run_of(True, True, True, False, True), run_of(False, False, True, False, True)).win_rate
        assert (found.wins, found.losses, found.ties, found.rate) == (2, 0, 3, 0.7)
        assert found.decisive_rate.value == 1.0
