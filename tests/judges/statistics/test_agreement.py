"""Agreement beyond chance: known answers of scikit-learn 1.9.1 and of Krippendorff (2011)."""

import pytest

from judges.statistics.agreement import alpha, confusion, detection, kappa, kappa_of


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
