"""Two systems on the same items: was the difference more than luck?"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from judges.statistics.intervals import CONFIDENCE, by_cluster, check_confidence, finite

RESAMPLES = 10_000
EXACT_BELOW = 25
"""Discordant items: from here on McNemar's chi-squared with continuity correction is close enough."""


@dataclass(frozen=True, slots=True)
class McNemar:
    """How often one of two passed where the other failed."""

    first_only: int
    second_only: int
    p: float
    """Two-sided: how likely so lopsided a split is when neither is better."""
    exact: bool


def mcnemar(first_only: int, second_only: int, *, exact: bool | None = None) -> McNemar:
    """McNemar's test of the discordant counts: exact (binomial) below 25 of them, else chi-squared with continuity.

    Args:
        exact: decides it instead of the count.
    """
    n = first_only + second_only
    exact = n < EXACT_BELOW if exact is None else exact
    if n == 0:
        return McNemar(0, 0, 1.0, exact)
    if exact:
        p = float(stats.binomtest(first_only, n, 0.5).pvalue)
    else:
        statistic = max(0, abs(first_only - second_only) - 1) ** 2 / n
        p = float(stats.chi2.sf(statistic, 1))
    return McNemar(first_only, second_only, min(1.0, p), exact)


def mcnemar_of(first: Sequence[bool], second: Sequence[bool]) -> McNemar:
    """Of two systems' verdicts on the same items, in one order. Raises ValueError when they are not as many."""
    pairs = list(zip(first, second, strict=True))
    return mcnemar(sum(a and not b for a, b in pairs), sum(b and not a for a, b in pairs))


@dataclass(frozen=True, slots=True)
class Difference:
    """First minus second, on average."""

    value: float | None
    low: float | None
    """None where there are fewer than two clusters."""
    high: float | None
    n: int
    clusters: int


def bootstrap(
    first: Sequence[float],
    second: Sequence[float],
    clusters: Sequence[str] | None = None,
    *,
    confidence: float = CONFIDENCE,
    seed: int = 0,
) -> Difference:
    """The mean difference with a bias-corrected and accelerated bootstrap interval (Efron 1987), 10,000 resamples.

    Whole clusters are drawn, so that repeats of one case narrow nothing. Differences that are all alike are their own
    interval.

    Raises:
        ValueError: not as many of one as of the other, or one that is not finite.
    """
    check_confidence(confidence)
    if len(first) != len(second):
        raise ValueError(f"{len(first)} values against {len(second)}")
    if not len(first):
        return Difference(None, None, None, 0, 0)
    x = finite(first) - finite(second)
    sums, sizes = by_cluster(x, clusters)
    value, count = float(x.mean()), len(sums)
    if count < 2:
        return Difference(value, None, None, len(x), count)
    if np.allclose(sums / sizes, value, rtol=0, atol=1e-12):
        return Difference(value, value, value, len(x), count)
    low, high = _bca(sums, sizes, confidence, seed)
    return Difference(value, low, high, len(x), count)


def _bca(sums: np.ndarray, sizes: np.ndarray, confidence: float, seed: int) -> tuple[float, float]:
    estimate = sums.sum() / sizes.sum()
    drawn = _resampled(sums, sizes, np.random.default_rng(seed))
    below = (np.count_nonzero(drawn < estimate) + np.count_nonzero(drawn == estimate) / 2) / len(drawn)
    bias = stats.norm.ppf(np.clip(below, 1e-6, 1 - 1e-6))
    left_out = (sums.sum() - sums) / (sizes.sum() - sizes)
    spread = left_out.mean() - left_out
    scale = 6 * (spread**2).sum() ** 1.5
    acceleration = (spread**3).sum() / scale if scale else 0.0
    z = stats.norm.ppf([(1 - confidence) / 2, (1 + confidence) / 2])
    shares = stats.norm.cdf(bias + (bias + z) / (1 - acceleration * (bias + z)))
    low, high = np.quantile(drawn, shares)
    return float(low), float(high)


def _resampled(sums: np.ndarray, sizes: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Means of RESAMPLES draws of as many clusters, a block at a time: a big test suite does not fill the memory."""
    count, means = len(sums), []
    block = max(1, min(RESAMPLES, 4_000_000 // count))
    for start in range(0, RESAMPLES, block):
        places = random.integers(0, count, (min(block, RESAMPLES - start), count))
        means.append(sums[places].sum(axis=1) / sizes[places].sum(axis=1))
    return np.concatenate(means)
