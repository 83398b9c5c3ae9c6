"""How the traffic of a route is shared: weights as shares of a hundred, and what two targets' answers come to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any

ENOUGH = 30
"""Calls of each target, before a difference is spoken of."""

Targets = Sequence[Mapping[str, Any]]


def shares(targets: Targets) -> list[float]:
    """Of the traffic, in percent."""
    total = sum(each["weight"] for each in targets)
    return [100 * each["weight"] / total if total else 0.0 for each in targets]


def with_share(targets: Targets, model: str, share: float) -> list[dict[str, Any]]:
    """The candidate gets `share` percent; the others share the rest as they do now, or equally where they had nothing.

    A candidate that is no target yet becomes one. Alone, it has everything.
    """
    others = [dict(each) for each in targets if each["model"] != model]
    if not others:
        return [{"model": model, "weight": 100}]
    total = sum(each["weight"] for each in others)
    for each in others:
        part = each["weight"] / total if total else 1 / len(others)
        each["weight"] = round((100 - share) * part, 6)
    candidate = {"model": model, "weight": share}
    place = next((at for at, each in enumerate(targets) if each["model"] == model), len(others))
    return [*others[:place], candidate, *others[place:]]


@dataclass(frozen=True, slots=True)
class Difference:
    """The candidate's share of successes minus the other's, in points from -1 to 1; 95% (Newcombe 1998, method 10)."""

    value: float
    low: float
    high: float
    enough: bool

    @property
    def verdict(self) -> str:
        if not self.enough:
            return f"Too few calls yet: at least {ENOUGH} of each."
        if self.low > 0:
            return "The candidate succeeds more often."
        if self.high < 0:
            return "The candidate fails more often."
        return "No difference in success that is sure."


def difference(candidate: Mapping[str, Any] | None, other: Mapping[str, Any] | None) -> Difference | None:
    """Args: rows of GET /v1/model_traffic; None without calls."""
    if not candidate or not other or not candidate["success"] or not other["success"]:
        return None
    a, b = candidate["success"], other["success"]
    value = a["value"] - b["value"]
    low = value - sqrt((a["value"] - a["low"]) ** 2 + (b["high"] - b["value"]) ** 2)
    high = value + sqrt((a["high"] - a["value"]) ** 2 + (b["value"] - b["low"]) ** 2)
    calls = [each["succeeded"] + each["failed"] for each in (candidate, other)]
    return Difference(value, low, high, enough=min(calls) >= ENOUGH)
