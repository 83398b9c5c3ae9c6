"""How many items a comparison needs. The formulas of judges/statistics/sizes.py at 80 % power and a level of 5 %, without
scipy: tests hold them against each other."""

import math
from statistics import NormalDist

POWER, LEVEL = 0.8, 0.05
_SUM = NormalDist().inv_cdf(POWER) + NormalDist().inv_cdf(1 - LEVEL / 2)


def unpaired(before: float, after: float) -> int:
    """Items in each of two runs on different items (two proportions, two-sided)."""
    spread = before * (1 - before) + after * (1 - after)
    return _whole(_SUM**2 * spread / (after - before) ** 2)


def paired(before: float, after: float, *, independent: bool) -> int:
    """Items that both runs answer.

    The difference of two verdicts on one item varies by how many of them change. At least as many change as the effect
    says; if the runs have nothing to do with each other, as many as chance says.
    """
    effect = after - before
    changed = before * (1 - after) + after * (1 - before) if independent else abs(effect)
    return _whole(_SUM**2 * max(changed - effect**2, 0.0) / effect**2)


def _whole(n: float) -> int:
    return max(2, math.ceil(n - 1e-9))
