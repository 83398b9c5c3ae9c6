"""Looking at a running experiment as often as one likes: intervals that hold at every look at once.

A fixed-sample p-value that is looked at after every call raises a false alarm in about half of all experiments without
any difference; these do in at most `alpha` of them (Waudby-Smith et al., Annals of Statistics 52(6), 2024,
DOI 10.1214/24-AOS2408, Theorem 2.2: asymptotic confidence sequences).
"""

import math
from dataclasses import dataclass

from scipy import stats

ALPHA = 0.05
BEST_AT = 500
"""Samples at which the sequence is narrowest."""


@dataclass(frozen=True, slots=True)
class Arm:
    """What is known of one side: enough to go on without its samples."""

    n: int = 0
    mean: float = 0.0
    squares: float = 0.0
    """Sum of squared deviations from the mean (Welford 1962)."""

    def with_value(self, value: float) -> "Arm":
        """Raises ValueError when it is not finite."""
        if not math.isfinite(value):
            raise ValueError(f"{value} is no measurement")
        n, step = self.n + 1, value - self.mean
        mean = self.mean + step / n
        return Arm(n, mean, self.squares + step * (value - mean))

    @property
    def variance(self) -> float:
        return self.squares / self.n if self.n else 0.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """First minus second, so far."""

    difference: float
    low: float
    high: float

    @property
    def decided(self) -> bool:
        """Whether one is better: it may be said at whatever moment it becomes true."""
        return not self.low <= 0 <= self.high


def compare(first: Arm, second: Arm, *, alpha: float = ALPHA, best_at: int = BEST_AT) -> Verdict:
    """The difference of two running means, with an interval that may be looked at after every sample."""
    margin = math.inf
    if first.n >= 2 and second.n >= 2:
        # each side errs in half of alpha; their margins add up in the worst case, so take the joint variance instead
        n = 2 / (1 / first.n + 1 / second.n)
        variance = first.variance * n / first.n + second.variance * n / second.n
        margin = radius(n, variance, alpha=alpha, rho=tuned(best_at, alpha))
    difference = first.mean - second.mean
    return Verdict(difference, difference - margin, difference + margin)


def radius(n: float, variance: float, *, alpha: float = ALPHA, rho: float) -> float:
    """Half the width of the sequence at `n` samples of that variance."""
    if variance == 0:
        variance = 1 / n  # nothing has varied yet: it may still
    weighted = n * variance * rho**2 + 1
    return math.sqrt(weighted / (n**2 * rho**2) * math.log(weighted / alpha**2))


def tuned(best_at: int, alpha: float = ALPHA) -> float:
    """The parameter that makes the sequence narrowest at so many samples of unit variance (same paper, Appendix B.2)."""
    log = -2 * math.log(alpha)
    return math.sqrt((log + math.log(log) + 1) / best_at)


def mismatch(first: int, second: int, share: float = 0.5) -> float:
    """The p-value of a split of traffic that should give the first `share`: below 0.001, assignment is broken."""

    n = first + second
    if not n:
        return 1.0
    return float(stats.chisquare([first, second], [n * share, n * (1 - share)]).pvalue)
