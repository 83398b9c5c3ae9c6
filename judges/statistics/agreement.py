"""How far two judges agree beyond chance: percent agreement flatters whoever always says the common answer."""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from judges.statistics.intervals import CONFIDENCE, check_confidence

RESAMPLES = 2000
Weights = Literal["linear", "quadratic"]
"""For ordered labels: what a disagreement by one step counts beside one by many."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """A coefficient with its interval."""

    value: float | None
    """1: always; 0: as by chance; below: less. None where it is not defined."""
    reason: str | None
    """Why it is not defined."""
    low: float | None
    high: float | None
    n: int
    """Items that both judged."""
    observed: float | None
    """Share of items on which they said the same."""


def kappa(
    first: Sequence[Hashable],
    second: Sequence[Hashable],
    *,
    labels: Sequence[Hashable] | None = None,
    weights: Weights | None = None,
    confidence: float = CONFIDENCE,
    seed: int = 0,
) -> Agreement:
    """Cohen's kappa of two judges' labels of the same items; the interval is a percentile bootstrap over items.

    Args:
        labels: in their order, which `weights` need; else those that occur, sorted.

    Raises:
        ValueError: not one label of each a item; a label that is not in `labels`.
    """
    check_confidence(confidence)
    if len(first) != len(second):
        raise ValueError(f"{len(first)} labels against {len(second)}")
    known = list(labels) if labels is not None else _sorted({*first, *second})
    return kappa_of(confusion(first, second, known), weights=weights, confidence=confidence, seed=seed)


def confusion(first: Sequence[Hashable], second: Sequence[Hashable], labels: Sequence[Hashable]) -> np.ndarray:
    """How often each pair of labels occurs, the first judge's down, the second's across. Raises ValueError."""
    places = {label: place for place, label in enumerate(labels)}
    if unknown := {*first, *second} - set(places):
        raise ValueError(f"{sorted(map(repr, unknown))[0]} is none of the labels")
    table = np.zeros((len(labels), len(labels)), dtype=int)
    for one, other in zip(first, second, strict=True):
        table[places[one], places[other]] += 1
    return table


def kappa_of(table: Any, *, weights: Weights | None = None, confidence: float = CONFIDENCE, seed: int = 0) -> Agreement:
    """The same out of a square table of counts."""
    counts = np.asarray(table, dtype=float)
    n = int(counts.sum())
    if n == 0:
        return Agreement(None, "nothing was judged by both", None, None, 0, None)
    penalty = _penalty(len(counts), weights)
    observed = float(np.trace(counts)) / n
    value = float(_kappas(counts[None], penalty)[0])
    if math.isnan(value):
        return Agreement(None, "both gave one and the same label to every item", None, None, n, observed)
    drawn = np.random.default_rng(seed).multinomial(n, (counts / n).ravel(), size=RESAMPLES)
    resampled = _kappas(drawn.reshape(-1, *counts.shape).astype(float), penalty)
    tail = 50 * (1 - confidence)
    low, high = np.nanpercentile(resampled, [tail, 100 - tail])
    return Agreement(value, None, float(low), float(high), n, observed)


def _kappas(tables: np.ndarray, penalty: np.ndarray) -> np.ndarray:
    """Of many tables at once; NaN where chance alone would agree always."""
    n = tables.sum(axis=(1, 2))
    expected = tables.sum(axis=2)[:, :, None] * tables.sum(axis=1)[:, None, :] / n[:, None, None]
    by_chance = (expected * penalty).sum(axis=(1, 2))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(by_chance > 0, 1 - (tables * penalty).sum(axis=(1, 2)) / by_chance, np.nan)


def _penalty(size: int, weights: Weights | None) -> np.ndarray:
    steps = np.abs(np.subtract.outer(np.arange(size), np.arange(size))).astype(float)
    if weights is None:
        return (steps > 0).astype(float)
    return steps if weights == "linear" else steps**2


Level = Literal["nominal", "ordinal", "interval"]


def alpha(ratings: Sequence[Sequence[float | None]], level: Level = "nominal") -> float | None:
    """Krippendorff's alpha: any number of judges, with gaps; None where nothing could disagree.

    Args:
        ratings: a row a judge, a column an item; None where a judge did not judge.
    """
    items = [[value for value in column if value is not None] for column in zip(*ratings, strict=True)]
    items = [item for item in items if len(item) > 1]
    values = sorted({value for item in items for value in item})
    places = {value: place for place, value in enumerate(values)}
    coincidences = np.zeros((len(values), len(values)))
    for item in items:
        counts = np.bincount([places[value] for value in item], minlength=len(values)).astype(float)
        coincidences += (np.outer(counts, counts) - np.diag(counts)) / (len(item) - 1)
    totals = coincidences.sum(axis=1)
    n = totals.sum()
    if n == 0:
        return None
    distance = _distance(np.asarray(values, dtype=float), totals, level)
    expected = float((np.outer(totals, totals) * distance).sum()) / (n - 1)
    return 1 - float((coincidences * distance).sum()) / expected if expected else None


def _distance(values: np.ndarray, totals: np.ndarray, level: Level) -> np.ndarray:
    """Squared, between each two values."""
    if level == "nominal":
        return (values[:, None] != values[None, :]).astype(float)
    if level == "interval":
        return (values[:, None] - values[None, :]) ** 2
    middles = np.cumsum(totals) - totals / 2
    return (middles[:, None] - middles[None, :]) ** 2


@dataclass(frozen=True, slots=True)
class Detection:
    """How a judge that says pass or fail compares with the truth. None where there was nothing to find."""

    sensitivity: float | None
    """Share of the good answers that it passed."""
    specificity: float | None
    """Share of the bad ones that it failed."""
    good: int
    bad: int

    @property
    def balanced_accuracy(self) -> float | None:
        if self.sensitivity is None or self.specificity is None:
            return None
        return (self.sensitivity + self.specificity) / 2


def detection(truth: Sequence[bool], said: Sequence[bool]) -> Detection:
    """Raises ValueError when there is not one verdict an item."""
    pairs = list(zip(truth, said, strict=True))
    good = [passed for right, passed in pairs if right]
    bad = [passed for right, passed in pairs if not right]
    return Detection(
        sensitivity=sum(good) / len(good) if good else None,
        specificity=1 - sum(bad) / len(bad) if bad else None,
        good=len(good),
        bad=len(bad),
    )


def _sorted(labels: set[Hashable]) -> list[Hashable]:
    try:
        return sorted(labels)  # type: ignore[type-var]
    except TypeError:
        return sorted(labels, key=repr)
