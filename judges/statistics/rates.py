"""Rates behind an imperfect judge: what share is good, when the judge errs both ways."""

import math
from dataclasses import dataclass

from scipy import stats

from judges.statistics.agreement import Detection
from judges.statistics.intervals import CONFIDENCE, check_confidence

LEAST_POWER = 1.1
"""Sensitivity and specificity together; at 1 a judge is a coin, and near it the corrected rate is anything."""


@dataclass(frozen=True, slots=True)
class CorrectedRate:
    """A pass rate without the judge's bias."""

    value: float | None
    reason: str | None
    """Why there is none."""
    low: float | None
    high: float | None


def corrected(passed: int, n: int, judge: Detection, confidence: float = CONFIDENCE) -> CorrectedRate:
    """The true rate out of the judge's (Rogan & Gladen 1978), with an interval that knows of both samples.

    The interval is that of Lang & Reiczigel (2014): one pseudo-observation more of each kind, then the delta method over
    the sample and the calibration; it covers where the plug-in interval does not.

    Args:
        passed: of `n` answers, as the judge said.
        judge: how it did against people, on answers of its own.
    """
    check_confidence(confidence)
    if not 0 <= passed <= n:
        raise ValueError(f"{passed} passed of {n}")
    if n == 0 or judge.sensitivity is None or judge.specificity is None:
        return CorrectedRate(None, "people have judged no good answer, or no bad one, beside this judge", None, None)
    power = judge.sensitivity + judge.specificity
    if power <= LEAST_POWER:
        reason = f"sensitivity and specificity are {power:.2f} together: the judge is little better than a coin"
        return CorrectedRate(None, reason, None, None)
    value = (passed / n + judge.specificity - 1) / (power - 1)
    value = _within(value)
    low, high = map(_within, _interval(passed, n, judge, confidence))
    return CorrectedRate(value, None, min(low, value), max(high, value))


def _interval(passed: int, n: int, judge: Detection, confidence: float) -> tuple[float, float]:
    assert judge.sensitivity is not None
    assert judge.specificity is not None
    z = float(stats.norm.ppf((1 + confidence) / 2))
    rate, n = (passed + z * z / 2) / (n + z * z), n + round(z * z)
    sensitivity = (judge.sensitivity * judge.good + 1) / (judge.good + 2)
    specificity = (judge.specificity * judge.bad + 1) / (judge.bad + 2)
    power = max(sensitivity + specificity - 1, 1e-9)
    value = (rate + specificity - 1) / power
    variance = rate * (1 - rate) / n
    variance += value**2 * sensitivity * (1 - sensitivity) / (judge.good + 2)
    variance += (1 - value) ** 2 * specificity * (1 - specificity) / (judge.bad + 2)
    shift = (
        2
        * z
        * z
        * (
            value * sensitivity * (1 - sensitivity) / (judge.good + 2)
            - (1 - value) * specificity * (1 - specificity) / (judge.bad + 2)
        )
    )
    margin = z * math.sqrt(variance) / power
    return value + shift - margin, value + shift + margin


def _within(rate: float) -> float:
    """Between 0 and 1: where the judge passes less than it would of bad answers alone, the estimate lies outside."""
    return min(1.0, max(0.0, rate))
