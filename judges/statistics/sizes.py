"""How many samples a comparison needs: to be shown before it is run."""

import math

from scipy import stats

POWER = 0.8
ALPHA = 0.05


def two_rates(before: float, after: float, *, power: float = POWER, alpha: float = ALPHA) -> int:
    """Samples in each of two groups, to find a change of a rate (two-sided test of two
    proportions, their variances apart).

    Raises:
        ValueError: no change, or no rates.
    """
    if before == after or not (0 <= before <= 1 and 0 <= after <= 1):
        raise ValueError(f"there is no size for a change of a rate from {before} to {after}")
    spread = before * (1 - before) + after * (1 - after)
    return _whole(sum(_quantiles(power, alpha)) ** 2 * spread / (after - before) ** 2)


def win_rate(share: float, *, power: float = POWER, alpha: float = ALPHA) -> int:
    """Decisive comparisons, to tell a share of wins from a half. Raises ValueError."""
    if share == 0.5 or not 0 <= share <= 1:
        raise ValueError(f"there is no size for a share of wins of {share}")
    z_alpha, z_power = _quantiles(power, alpha)
    spread = z_alpha * 0.5 + z_power * math.sqrt(share * (1 - share))
    return _whole(spread**2 / (share - 0.5) ** 2)


def paired_mean(effect: float, deviation: float, *, power: float = POWER, alpha: float = ALPHA) -> int:
    """Items that both systems answer, to find a mean difference of `effect` whose deviation an item is `deviation`.

    Raises:
        ValueError: no effect.
    """
    if not effect or deviation < 0:
        raise ValueError(f"there is no size for an effect of {effect} at a deviation of {deviation}")
    return _whole((sum(_quantiles(power, alpha)) * deviation / effect) ** 2)


def _quantiles(power: float, alpha: float) -> tuple[float, float]:
    return float(stats.norm.ppf(1 - alpha / 2)), float(stats.norm.ppf(power))


def _whole(n: float) -> int:
    return max(2, math.ceil(n - 1e-9))
