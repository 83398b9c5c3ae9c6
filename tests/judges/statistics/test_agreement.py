"""Agreement beyond chance: known answers of scikit-learn 1.9.1 and of Krippendorff (2011)."""

import tracemalloc
from collections.abc import Callable, Sequence
from random import Random

import pytest

from judges.statistics.agreement import Agreement, alpha, confusion, detection, kappa, kappa_of, kappa_of_values


class TestKappa:
    @pytest.mark.parametrize(("table", "value"), [([[45, 5], [15, 35]], 0.6), ([[90, 5], [5, 0]], -0.05263)])
    def test_known_tables(self, table: list[list[int]], value: float) -> None:
        found = kappa_of(table)
        assert found.value == pytest.approx(value, abs=1e-5)
        assert found.n == 100

    @pytest.mark.parametrize(("weights", "value"), [(None, 0.680), ("linear", 0.8298), ("quadratic", 0.9279)])
    def test_ordered_labels(self, weights: object, value: float) -> None:
        found = kappa((1, 2, 3, 4, 5, 5, 4, 3), (1, 2, 3, 4, 4, 5, 5, 3), weights=weights)  # type: ignore[arg-type]
        assert found.value == pytest.approx(value, abs=1e-4)

    def test_a_judge_that_passes_everything_agrees_often_and_knows_nothing(self) -> None:
        truth = [True] * 904 + [False] * 96
        found = kappa(truth, [True] * 1000)
        assert found.observed == pytest.approx(0.904)
        assert found.value == 0.0
        assert detection(truth, [True] * 1000).balanced_accuracy == 0.5

    def test_is_not_defined_where_both_say_the_same_always(self) -> None:
        found = kappa([1, 1, 1], [1, 1, 1])
        assert found.value is None
        assert found.reason == "both gave one and the same label to every item"
        assert found.observed == 1.0

    def test_without_items_there_is_none(self) -> None:
        assert kappa([], []).reason == "nothing was judged by both"

    def test_the_interval_holds_the_value_and_narrows(self) -> None:
        few, many = kappa_of([[9, 1], [3, 7]]), kappa_of([[900, 100], [300, 700]])
        for found in (few, many):
            assert found.low is not None
            assert found.high is not None
            assert found.low < found.value < found.high  # type: ignore[operator]
        assert many.high - many.low < (few.high - few.low) / 3  # type: ignore[operator]

    def test_the_same_data_give_the_same_interval(self) -> None:
        assert kappa_of([[9, 1], [3, 7]]) == kappa_of([[9, 1], [3, 7]])

    def test_an_unknown_label_is_refused(self) -> None:
        with pytest.raises(ValueError, match="'c' is none of the labels"):
            confusion(["a", "c"], ["a", "b"], ["a", "b"])

    def test_a_missing_verdict_is_refused(self) -> None:
        with pytest.raises(ValueError, match="2 labels against 1"):
            kappa(["a", "b"], ["a"])

    def test_a_resample_without_one_of_the_labels_shows_no_agreement(self) -> None:
        """29 good ones and a bad one, all agreed on: a third of the resamples has no bad one at all."""
        found = kappa_of([[29, 0], [0, 1]])
        assert (found.value, found.low, found.high) == (1.0, 0.0, 1.0)
        assert kappa_of([[20, 0], [0, 10]]).low == 1.0

    def test_many_labels_take_no_more_room_than_they_are(self) -> None:
        """2,000 resampled tables of 400 by 400 were 2.5 GB."""
        random = Random(0)
        first = [random.randrange(400) for _ in range(2000)]
        second = [each if random.random() < 0.8 else random.randrange(400) for each in first]
        found = in_bounded_memory(lambda: kappa(first, second))
        assert found.value == pytest.approx(0.8, abs=0.03)
        assert found.low < found.value < found.high  # type: ignore[operator]


def in_bounded_memory(work: Callable[[], Agreement]) -> Agreement:
    """Raises AssertionError when it took more than 100 MB at a time."""
    tracemalloc.start()
    try:
        found = work()
        assert tracemalloc.get_traced_memory()[1] < 100_000_000
        return found
    finally:
        tracemalloc.stop()


class TestKappaOfValues:
    def test_where_steps_are_equal_it_is_that_of_ordered_labels(self) -> None:
        first, second = (1, 2, 3, 4, 5, 5, 4, 3), (1, 2, 3, 4, 4, 5, 5, 3)
        found = kappa_of_values(first, second)
        assert found.value == pytest.approx(0.9279, abs=1e-4)
        assert (found.n, found.observed) == (8, 0.75)

    @pytest.mark.parametrize(("wrong", "value"), [((10, 9), 0.9947), ((9, 1), 0.7108)])
    def test_how_far_apart_values_lie_counts(self, wrong: tuple[int, int], value: float) -> None:
        """A scale of 1 to 10 of which 1, 9 and 10 occur: an error of eight steps is no error of one."""
        people = [1] * 20 + [9] * 20 + [10] * 20
        judge = [*people]
        for place in [place for place, each in enumerate(people) if each == wrong[0]][:10]:
            judge[place] = wrong[1]
        assert kappa_of_values(people, judge).value == pytest.approx(value, abs=1e-4)
        assert value == pytest.approx(_by_hand(people, judge), abs=1e-4)

    def test_guessing_within_the_right_half_is_worth_less_than_knowing(self) -> None:
        random = Random(1)
        people = [random.random() for _ in range(500)]
        judge = [random.uniform(0, 0.5) if each < 0.5 else random.uniform(0.5, 1) for each in people]
        found = kappa_of_values(people, judge)
        assert found.value == pytest.approx(_by_hand(people, judge))
        assert 0.7 < found.value < 0.8  # type: ignore[operator]

    def test_a_point_beside_it_of_a_hundred_is_nearly_right(self) -> None:
        random = Random(2)
        people = [random.randrange(101) for _ in range(300)]
        judge = [min(100, max(0, each + random.randint(-2, 2))) for each in people]
        assert kappa_of_values(people, judge).value == pytest.approx(0.999, abs=0.001)

    def test_the_interval_holds_the_value_at_any_height(self) -> None:
        random = Random(3)
        people = [random.gauss(0, 1) for _ in range(100)]
        judge = [each + random.gauss(0, 0.5) for each in people]
        found = kappa_of_values(people, judge)
        assert found.low < found.value < found.high  # type: ignore[operator]
        high = kappa_of_values([1e9 + each for each in people], [1e9 + each for each in judge])
        assert (high.value, high.low) == (pytest.approx(found.value, abs=1e-5), pytest.approx(found.low, abs=1e-3))

    def test_takes_room_of_its_own_size(self) -> None:
        random = Random(4)
        people = [random.random() for _ in range(5000)]
        found = in_bounded_memory(lambda: kappa_of_values(people, [each / 2 for each in people]))
        assert found.n == 5000

    def test_is_not_defined_without_items_or_differences(self) -> None:
        assert kappa_of_values([], []).reason == "nothing was judged by both"
        same = kappa_of_values([0.5] * 3, [0.5] * 3)
        assert (same.value, same.low, same.observed) == (None, None, 1.0)
        assert same.reason == "both gave one and the same value to every item"
        assert kappa_of_values([0.1] * 3, [0.7] * 3).value == pytest.approx(0.0)

    def test_what_cannot_be_compared_is_refused(self) -> None:
        with pytest.raises(ValueError, match="2 values against 1"):
            kappa_of_values([1, 2], [1])
        with pytest.raises(ValueError, match="not a finite number"):
            kappa_of_values([1, float("nan")], [1, 2])


def _by_hand(first: Sequence[float], second: Sequence[float]) -> float:
    """1 - the mean squared difference over that of all pairs."""
    by_chance = sum((x - y) ** 2 for x in first for y in second) / len(first) ** 2
    return 1 - sum((x - y) ** 2 for x, y in zip(first, second, strict=True)) / len(first) / by_chance


class TestAlpha:
    RATINGS = (
        (None, None, None, None, None, 3, 4, 1, 2, 1, 1, 3, 3, None, 3),
        (1, None, 2, 1, 3, 3, 4, 3, None, None, None, None, None, None, None),
        (None, None, 2, 1, 3, 4, 4, None, 2, 1, 1, 3, 3, None, 4),
    )

    @pytest.mark.parametrize(("level", "value"), [("nominal", 0.691), ("interval", 0.811), ("ordinal", 0.807)])
    def test_known_answers(self, level: str, value: float) -> None:
        assert alpha(self.RATINGS, level) == pytest.approx(value, abs=1e-3)  # type: ignore[arg-type]

    def test_is_not_defined_where_nothing_could_disagree(self) -> None:
        assert alpha([[1, 1], [1, 1]]) is None
        assert alpha([[1, None], [None, 1]]) is None


class TestDetection:
    def test_counts_both_ways_of_being_right(self) -> None:
        found = detection([True, True, True, False, False], [True, True, False, False, True])
        assert (found.sensitivity, found.specificity) == pytest.approx((2 / 3, 1 / 2))
        assert (found.good, found.bad) == (3, 2)

    def test_without_bad_answers_specificity_is_unknown(self) -> None:
        found = detection([True], [True])
        assert found.specificity is None
        assert found.balanced_accuracy is None
