"""Intervals of one figure. None of them is Wald's, which is wrong for few samples and near 0 and 1."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Interval:
    """Where the true value lies, at the confidence that was asked for."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its interval and what it rests on."""

    value: float | None
    """None where nothing was measured."""
    low: float | None
    high: float | None
    n: int
    """Samples."""
    clusters: int
    """Independent ones among them: the turns of one conversation, the repeats of one case count as one."""


NOTHING = Estimate(None, None, None, 0, 0)


def check_confidence(confidence: float) -> None:
    """Raises ValueError."""
    if not 0 < confidence < 1:
        raise ValueError(f"a confidence is between 0 and 1, not {confidence}")


def wilson(successes: int, n: int, confidence: float = CONFIDENCE) -> Interval:
    """Of a proportion (Wilson 1927); all that can be said without a sample is [0, 1].

    Raises:
        ValueError: more successes than trials, or a negative number of either.
    """
    check_confidence(confidence)
    if not 0 <= successes <= n:
        raise ValueError(f"{successes} successes in {n} trials")
    if n == 0:
        return Interval(0.0, 1.0)
    return _wilson_of_share(successes / n, n, confidence)


def mean(values: Sequence[float], clusters: Sequence[str] | None = None, confidence: float = CONFIDENCE) -> Estimate:
    """The mean, with Student's interval over clusters (Miller 2024, arXiv 2411.00640: standard errors by cluster).

    Each sample counts alike in the mean; the variance is that of the clusters' sums about it, so that copies of a sample
    in its own cluster narrow nothing. With one cluster there is no interval.

    Raises:
        ValueError: a value is not finite, or there is not one cluster a value.
    """
    check_confidence(confidence)
    if not len(values):
        return NOTHING
    x = finite(values)
    sums, sizes = by_cluster(x, clusters)
    count = len(sums)
    value = float(x.mean())
    if count < 2:
        return Estimate(value, None, None, len(x), count)
    residuals = sums - value * sizes
    error = math.sqrt(count / (count - 1) * float((residuals**2).sum())) / len(x)
    margin = float(stats.t.ppf((1 + confidence) / 2, count - 1)) * error
    return Estimate(value, value - margin, value + margin, len(x), count)


def proportion(
    passed: Sequence[bool], clusters: Sequence[str] | None = None, confidence: float = CONFIDENCE
) -> Estimate:
    """The share that passed. Wilson's interval; of clustered samples for as many as they are worth.

    What they are worth is n over the design effect: the clustered variance against that of independent samples
    (Kish 1965), and never more than n nor more than is known of them.
    """
    if not len(passed):
        return NOTHING
    x = finite([float(each) for each in passed])
    sums, sizes = by_cluster(x, clusters)
    n, count, share = len(x), len(sums), float(x.mean())
    worth = float(n)
    if count < n:
        worth = float(count)
        spread = share * (1 - share)
        if count > 1 and spread > 0:
            variance = count / (count - 1) * float(((sums - share * sizes) ** 2).sum()) / n**2
            worth = min(float(n), spread / variance) if variance > 0 else float(n)
    interval = _wilson_of_share(share, max(worth, 1.0), confidence)
    return Estimate(share, interval.low, interval.high, n, count)


def _wilson_of_share(share: float, n: float, confidence: float) -> Interval:
    check_confidence(confidence)
    z = float(stats.norm.ppf((1 + confidence) / 2))
    centre, scale = share + z * z / (2 * n), 1 + z * z / n
    margin = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    low = 0.0 if share == 0 else max(0.0, (centre - margin) / scale)
    high = 1.0 if share == 1 else min(1.0, (centre + margin) / scale)
    return Interval(low, high)


def finite(values: Sequence[float]) -> np.ndarray:
    """As an array. Raises ValueError when one is not a finite number: it would make every figure one."""
    x = np.asarray(values, dtype=float)
    if not np.isfinite(x).all():
        raise ValueError("a value is not a finite number: leave out what was not measured, and count it")
    return x


def by_cluster(x: np.ndarray, clusters: Sequence[str] | None) -> tuple[np.ndarray, np.ndarray]:
    """Sum and size of each cluster; without clusters every value is its own. Raises ValueError."""
    if clusters is None:
        return x, np.ones(len(x))
    if len(clusters) != len(x):
        raise ValueError(f"{len(clusters)} clusters for {len(x)} values")
    _, places = np.unique(np.asarray(clusters), return_inverse=True)
    return np.bincount(places, weights=x), np.bincount(places).astype(float)
