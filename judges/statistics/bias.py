"""What sways a judge of comparisons beside the answers: the first place, and length."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize, special

from judges.statistics.intervals import Interval, finite, wilson

SURE = 1.96


@dataclass(frozen=True, slots=True)
class FirstPosition:
    """How often what was shown first won."""

    rate: float | None
    interval: Interval
    decisive: int
    """Verdicts without ties."""
    consistency: float | None
    """Share of comparisons whose two orders named the same winner (or both a tie)."""
    comparisons: int
    """Judged in both orders."""

    @property
    def biased(self) -> bool:
        return not self.interval.low <= 0.5 <= self.interval.high


def first_position(orders: Sequence[tuple[str, str]]) -> FirstPosition:
    """Of comparisons judged in both orders.

    Args:
        orders: a pair a comparison: which place won ("first", "second" or "tie") when A came first, and when B did.
    """
    said = [place for pair in orders for place in pair if place != "tie"]
    first = said.count("first")
    consistent = sum(_consistent(*pair) for pair in orders)
    return FirstPosition(
        rate=first / len(said) if said else None,
        interval=wilson(first, len(said)),
        decisive=len(said),
        consistency=consistent / len(orders) if orders else None,
        comparisons=len(orders),
    )


def _consistent(ab: str, ba: str) -> bool:
    return ab == ba == "tie" or {ab, ba} == {"first", "second"}


@dataclass(frozen=True, slots=True)
class LengthBias:
    """Whether length explains who won."""

    slope: float | None
    """Of the log-odds of a win, a standard deviation of the relative length difference."""
    low: float | None
    high: float | None
    win_rate: float | None
    """As it is."""
    controlled: float | None
    """What it would be at equal lengths (Dubois et al. 2024, arXiv 2404.04475)."""
    n: int
    """Decisive comparisons."""

    @property
    def explains(self) -> bool:
        """The interval of the slope leaves 0 out: the longer (or the shorter) answer wins for its length."""
        return self.low is not None and self.high is not None and not self.low <= 0 <= self.high


def length_bias(won: Sequence[float], first: Sequence[int], second: Sequence[int]) -> LengthBias:
    """Logistic regression of wins on relative length difference, with a small ridge for what separates perfectly.

    Args:
        won: 1 where the first won, 0 where the second did, 0.5 for a tie (which counts in the win rate alone).
        first, second: lengths, in tokens or characters.

    Raises:
        ValueError: not as many of each.
    """
    rows = list(zip(finite(won), finite(first), finite(second), strict=True))
    rate = float(sum(row[0] for row in rows)) / len(rows) if rows else None
    decisive = [(win, (a - b) / max(a + b, 1.0)) for win, a, b in rows if win != 0.5]
    y = np.asarray([win for win, _ in decisive])
    x = np.asarray([difference for _, difference in decisive])
    if len(decisive) < 10 or x.std() == 0:
        return LengthBias(None, None, None, rate, None, len(decisive))
    weights, error = _logistic(y, x / x.std())
    slope = float(weights[1])
    low, high = slope - SURE * error, slope + SURE * error
    return LengthBias(slope, low, high, rate, float(special.expit(weights[0])), len(decisive))


RIDGE = 0.05


def _logistic(y: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, float]:
    """Intercept and slope, and the slope's standard error."""
    design = np.column_stack([np.ones_like(x), x])

    def loss(weights: np.ndarray) -> float:
        z = design @ weights
        return float(np.logaddexp(0, z).sum() - y @ z + RIDGE * weights @ weights / 2)

    weights = np.asarray(optimize.minimize(loss, np.zeros(2), method="BFGS").x)
    p = special.expit(design @ weights)
    information = design.T @ (design * (p * (1 - p))[:, None]) + RIDGE * np.eye(2)
    return weights, float(np.sqrt(np.linalg.inv(information)[1, 1]))
