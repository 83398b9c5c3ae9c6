"""Pass rates behind a judge that errs."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from judges.statistics.agreement import Detection, detection
from judges.statistics.rates import corrected


class TestCorrected:
    def test_known_answer(self) -> None:
        assert corrected(800, 1000, Detection(0.9, 0.7, 100, 100)).value == pytest.approx(0.83333, abs=1e-5)

    def test_a_judge_no_better_than_a_coin_is_refused(self) -> None:
        found = corrected(50, 100, Detection(0.6, 0.5, 50, 50))
        assert found.value is None
        assert "coin" in (found.reason or "")

    def test_without_bad_answers_to_learn_from_there_is_none(self) -> None:
        assert corrected(50, 100, Detection(0.9, None, 50, 0)).value is None

    def test_impossible_counts_are_refused(self) -> None:
        with pytest.raises(ValueError, match="3 passed of 2"):
            corrected(3, 2, Detection(0.9, 0.9, 5, 5))

    @pytest.mark.parametrize(
        ("passed", "n", "judge"), [(5, 200, Detection(0.9, 0.8, 50, 50)), (1000, 1000, Detection(0.8, 0.9, 50, 50))]
    )
    def test_what_no_true_rate_explains_lies_at_the_end(self, passed: int, n: int, judge: Detection) -> None:
        found = corrected(passed, n, judge)
        assert found.low is not None
        assert found.high is not None
        assert found.value in (0.0, 1.0)
        assert 0 <= found.low <= found.value <= found.high <= 1

    @given(
        passed=st.integers(0, 300), failed=st.integers(0, 300), good=st.tuples(st.integers(0, 60), st.integers(0, 60)),
        bad=st.tuples(st.integers(0, 60), st.integers(0, 60)),
    )  # fmt: skip
    def test_the_interval_holds_the_rate_within_0_and_1(
        self, passed: int, failed: int, good: tuple[int, int], bad: tuple[int, int]
    ) -> None:
        truth = [True] * sum(good) + [False] * sum(bad)
        said = [True] * good[0] + [False] * good[1] + [True] * bad[0] + [False] * bad[1]
        found = corrected(passed, passed + failed, detection(truth, said))
        if found.value is None:
            assert (found.low, found.high) == (None, None)
            return
        assert found.low is not None
        assert found.high is not None
        assert 0 <= found.low <= found.value <= found.high <= 1

    @pytest.mark.parametrize(("truth", "sensitivity", "specificity"), [(0.7, 0.85, 0.8), (0.3, 0.95, 0.7)])
    def test_the_interval_covers_the_truth_where_the_naive_rate_does_not(
        self, truth: float, sensitivity: float, specificity: float
    ) -> None:
        random = np.random.default_rng(11)
        covered = naive = 0
        for _ in range(1000):
            good = random.random(200) < 0.6
            said = np.where(good, random.random(200) < sensitivity, random.random(200) >= specificity)
            passed = int(random.binomial(500, truth * sensitivity + (1 - truth) * (1 - specificity)))
            found = corrected(passed, 500, detection(good.tolist(), said.tolist()))
            assert found.low is not None
            assert found.high is not None
            covered += found.low <= truth <= found.high
            margin = 1.96 * (passed / 500 * (1 - passed / 500) / 500) ** 0.5
            naive += abs(passed / 500 - truth) <= margin
        assert covered >= 930
        assert naive < 800
