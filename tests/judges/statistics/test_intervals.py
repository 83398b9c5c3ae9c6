"""Intervals: known answers, and what repeats must not do to them."""

import math

import numpy as np
import pytest
from scipy import stats

from judges.statistics.intervals import Interval, mean, proportion, wilson

TEN = [str(number) for number in range(10)]


class TestWilson:
    @pytest.mark.parametrize(
        ("successes", "n", "low", "high"),
        [(8, 10, 0.49016, 0.94332), (0, 20, 0.0, 0.16113), (60, 100, 0.50200, 0.69060), (20, 20, 0.83887, 1.0)],
    )
    def test_known_answers(self, successes: int, n: int, low: float, high: float) -> None:
        interval = wilson(successes, n)
        assert interval.low == pytest.approx(low, abs=1e-5)
        assert interval.high == pytest.approx(high, abs=1e-5)

    def test_nothing_is_known_without_a_trial(self) -> None:
        assert wilson(0, 0) == Interval(0.0, 1.0)

    def test_is_as_scipy_has_it(self) -> None:
        theirs = stats.binomtest(13, 37).proportion_ci(0.9, "wilson")
        ours = wilson(13, 37, 0.9)
        assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high))

    @pytest.mark.parametrize(("successes", "n"), [(3, 2), (-1, 5), (0, -1)])
    def test_impossible_counts_are_refused(self, successes: int, n: int) -> None:
        with pytest.raises(ValueError, match="successes"):
            wilson(successes, n)

    def test_a_confidence_of_one_is_refused(self) -> None:
        with pytest.raises(ValueError, match="confidence"):
            wilson(1, 2, 1.0)


class TestMean:
    def test_independent_samples_have_the_t_interval(self) -> None:
        x = [0.1, 0.9, 0.4, 0.7, 0.3]
        theirs = stats.t.interval(0.95, 4, loc=np.mean(x), scale=stats.sem(x))
        found = mean(x)
        assert (found.low, found.high) == pytest.approx(theirs)
        assert (found.n, found.clusters) == (5, 5)

    def test_ten_copies_of_each_case_narrow_nothing(self) -> None:
        x = [1.0, 1, 0, 0, 1, 0, 1, 1, 0, 1]
        once, copied = mean(x), mean(x * 10, TEN * 10)
        assert (copied.low, copied.high) == pytest.approx((once.low, once.high))
        assert (copied.n, copied.clusters) == (100, 10)
        pretended = mean(x * 10)
        assert pretended.low is not None
        assert once.low is not None
        assert pretended.low > once.low

    def test_one_cluster_has_no_interval(self) -> None:
        found = mean([1.0, 0.0], ["a", "a"])
        assert (found.value, found.low, found.high) == (0.5, None, None)

    def test_nothing_is_none_and_not_zero(self) -> None:
        assert mean([]).value is None

    @pytest.mark.parametrize("value", [math.nan, math.inf])
    def test_what_is_no_number_is_refused(self, value: float) -> None:
        with pytest.raises(ValueError, match="finite"):
            mean([1.0, value])

    def test_a_missing_cluster_is_refused(self) -> None:
        with pytest.raises(ValueError, match="1 clusters for 2"):
            mean([1.0, 2.0], ["a"])


class TestProportion:
    def test_of_independent_samples_is_wilsons(self) -> None:
        found = proportion([True] * 8 + [False] * 2)
        assert (found.low, found.high) == pytest.approx((0.49016, 0.94332), abs=1e-5)

    def test_ten_copies_of_each_case_narrow_nothing(self) -> None:
        passed = [True] * 6 + [False] * 4
        once, copied = proportion(passed), proportion(passed * 10, TEN * 10)
        assert once.low is not None
        assert copied.low is not None
        assert copied.low <= once.low
        assert copied.high is not None
        assert once.high is not None
        assert copied.high >= once.high

    def test_clusters_that_all_pass_count_as_so_many(self) -> None:
        found = proportion([True] * 40, ["a", "b"] * 20)
        assert found.low == pytest.approx(wilson(2, 2).low)

    def test_clusters_that_differ_within_are_worth_more_than_their_number(self) -> None:
        mixed = [True, False] * 20
        found = proportion(mixed, [str(place // 2) for place in range(40)])
        by_cluster_alone = wilson(10, 20)
        assert found.low is not None
        assert found.low > by_cluster_alone.low
