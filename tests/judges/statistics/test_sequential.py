"""Looking at a running experiment after every sample."""

import math

import numpy as np
import pytest

from judges.statistics.sequential import ALPHA, BEST_AT, Arm, compare, mismatch, radius, tuned


def arm(values: list[float]) -> Arm:
    found = Arm()
    for value in values:
        found = found.with_value(value)
    return found


def looks(first: float, second: float, *, runs: int, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """At which looks the sequence, and a z-test, would stop experiments with these true rates."""
    random = np.random.default_rng(seed)
    t = np.arange(1, n + 1)
    a, b = ((random.random((runs, n)) < rate).cumsum(axis=1) / t for rate in (first, second))
    variance = np.maximum(a * (1 - a) + b * (1 - b), 1e-12)
    rho = tuned(BEST_AT)
    weighted = t * variance * rho**2 + 1
    margins = np.sqrt(weighted / (t**2 * rho**2) * np.log(weighted / ALPHA**2))
    return np.abs(a - b) > margins, np.abs(a - b) > 1.96 * np.sqrt(variance / t)


class TestPeeking:
    def test_no_difference_seldom_alarms_however_often_one_looks(self) -> None:
        sequence, z_test = looks(0.6, 0.6, runs=400, n=4000, seed=1)
        assert sequence[:, 20:].any(axis=1).mean() <= 0.07
        assert z_test[:, 20:].any(axis=1).mean() > 0.3
        assert z_test[:, -1].mean() < 0.1

    def test_a_difference_is_found(self) -> None:
        sequence, _ = looks(0.65, 0.6, runs=400, n=4000, seed=2)
        found = sequence[:, 20:].any(axis=1)
        assert found.mean() > 0.9
        assert 900 < np.median(sequence[found][:, 20:].argmax(axis=1)) < 1900

    def test_the_simulated_margin_is_ours(self) -> None:
        one, other = [1.0, 0, 1, 1] * 50, [0.0, 0, 1, 0] * 50
        verdict = compare(arm(one), arm(other))
        assert verdict.high - verdict.difference == pytest.approx(radius(200, 0.75 * 0.25 * 2, rho=tuned(BEST_AT)))
        assert verdict.difference == pytest.approx(0.5)
        assert verdict.decided


class TestCompare:
    def test_nothing_is_decided_before_there_are_samples(self) -> None:
        verdict = compare(Arm(), arm([1.0]))
        assert not verdict.decided
        assert verdict.high == math.inf

    def test_two_equal_samples_decide_nothing(self) -> None:
        assert not compare(arm([1.0, 1.0]), arm([0.0, 0.0])).decided

    def test_a_value_that_is_none_is_refused(self) -> None:
        with pytest.raises(ValueError, match="nan"):
            Arm().with_value(math.nan)

    def test_an_arm_knows_mean_and_variance(self) -> None:
        found = arm([1.0, 2.0, 4.0])
        assert (found.mean, found.variance) == pytest.approx((7 / 3, np.var([1, 2, 4])))


class TestMismatch:
    def test_an_even_split_is_fine_and_a_skewed_one_is_not(self) -> None:
        assert mismatch(501, 499) > 0.5
        assert mismatch(600, 400) < 1e-6
        assert mismatch(900, 100, share=0.9) == pytest.approx(1.0)
        assert mismatch(0, 0) == 1.0
