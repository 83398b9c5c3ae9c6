"""One number for "may it go live?" (requirements V8 and V9): 0.4 accuracy + 0.4 judge + 0.2 length fit."""

from dataclasses import dataclass
from typing import Literal

ACCURACY, JUDGE, LENGTH = 0.4, 0.4, 0.2
READY_ABOVE, REVIEW_FROM = 70.0, 50.0
IDEAL = (0.9, 1.1)
ALERT = (0.7, 1.3)
"""Length ratios outside are reported."""
LOW = 0.6
"""A part below this is named as a reason."""

Verdict = Literal["ready", "review", "retrain"]
STEPS: dict[Verdict, str] = {
    "ready": "Give it a share of the traffic and watch it.",
    "review": "Read the examples that failed before it gets traffic.",
    "retrain": "Mend the data, then train again.",
}


@dataclass(frozen=True, slots=True)
class Quality:
    score: float | None
    """0 to 100; None where neither accuracy nor a judge was measured."""
    verdict: Verdict | None
    reasons: list[str]
    """What is low, and what was not measured."""
    next_step: str | None


def quality(accuracy: float | None, judge: float | None, length_ratio: float | None) -> Quality:
    """The score, out of what was measured: the weights of the other parts grow to take the place of one that was not.

    Args:
        accuracy: 0 to 1: exact match or token F1 against references.
        judge: 0 to 1: the mean of the judges' scores.
        length_ratio: the median, tokens of the answer for each of the reference.
    """
    parts = {"accuracy": (accuracy, ACCURACY), "judge": (judge, JUDGE)}
    parts["length"] = (length_fit(length_ratio) if length_ratio is not None else None, LENGTH)
    reasons = [reason for name, (value, _) in parts.items() if (reason := _reason(name, value, length_ratio))]
    if accuracy is None and judge is None:
        return Quality(None, None, reasons, "Give the test items references, or let a judge score them.")
    measured = [(value, weight) for value, weight in parts.values() if value is not None]
    score = 100 * sum(value * weight for value, weight in measured) / sum(weight for _, weight in measured)
    verdict: Verdict = "ready" if score > READY_ABOVE else "review" if score >= REVIEW_FROM else "retrain"
    return Quality(score, verdict, reasons, STEPS[verdict])


def length_fit(ratio: float) -> float:
    """1 within 0.9 to 1.1, falling to 0 at no length and at twice the length. Raises ValueError on what is no ratio."""
    if not 0 <= ratio < float("inf"):
        raise ValueError(f"{ratio} is no ratio of lengths")
    low, high = IDEAL
    if ratio < low:
        return ratio / low
    return 1.0 if ratio <= high else max(0.0, (2 - ratio) / (2 - high))


def _reason(name: str, value: float | None, ratio: float | None) -> str | None:
    if value is None:
        return f"{name} was not measured"
    if name == "length":
        assert ratio is not None
        too = "long" if ratio > 1 else "short"
        return None if ALERT[0] <= ratio <= ALERT[1] else f"answers are too {too}: {ratio:.2f} times their references"
    return f"{name} is low: {value:.2f}" if value < LOW else None
