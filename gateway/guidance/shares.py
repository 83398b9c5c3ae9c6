"""Shares with their intervals, and differences of two. Without scipy, whose import takes longer than all of it."""

from math import sqrt
from statistics import NormalDist

from gateway.protocol.guidance import Change, Proportion

CONFIDENCE = 0.95


def proportion(n: int, of: int, confidence: float = CONFIDENCE) -> Proportion:
    """Wilson (1927), as judges/statistics/intervals.py; of nothing all that can be said is [0, 1]."""
    if not of:
        return Proportion(n=0, of=0, value=0.0, low=0.0, high=1.0)
    z, share = NormalDist().inv_cdf((1 + confidence) / 2), n / of
    centre, scale = share + z * z / (2 * of), 1 + z * z / of
    margin = z * sqrt(share * (1 - share) / of + z * z / (4 * of * of))
    low = 0.0 if n == 0 else max(0.0, (centre - margin) / scale)
    high = 1.0 if n == of else min(1.0, (centre + margin) / scale)
    return Proportion(n=n, of=of, value=share, low=low, high=high)


def change(at: float, before: tuple[int, int], after: tuple[int, int], confidence: float = CONFIDENCE) -> Change:
    """From one share to another: Newcombe's interval of the difference (1998, method 10), made of Wilson's of both.

    Args:
        before: how many of how many.
        confidence: of the difference; the shares themselves are shown at 95%.
    """
    one, two = proportion(*before, confidence), proportion(*after, confidence)
    difference = two.value - one.value
    return Change(
        at=int(at),
        before=proportion(*before),
        after=proportion(*after),
        difference=difference,
        low=difference - sqrt((two.value - two.low) ** 2 + (one.high - one.value) ** 2),
        high=difference + sqrt((two.high - two.value) ** 2 + (one.value - one.low) ** 2),
    )


def among(tests: int) -> float:
    """The confidence of one of several looks, so that all of them together keep CONFIDENCE (Bonferroni)."""
    return 1 - (1 - CONFIDENCE) / max(tests, 1)
