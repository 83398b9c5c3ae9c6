"""How far two judges agree beyond chance: percent agreement flatters whoever always says the common answer."""

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from judges.statistics.intervals import CONFIDENCE, check_confidence, finite

RESAMPLES = 2000
NUMBERS = 1_000_000
"""Of resamples at a time."""
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

    A resample in which it is not defined counts as 0: it has nothing to agree on, and shows no agreement.

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
    rows, columns = np.nonzero(counts)
    occupied = counts[rows, columns]
    penalties = _penalties(rows, columns, weights)
    down, across = np.eye(len(counts))[rows], np.eye(len(counts))[columns]

    def coefficients(drawn: np.ndarray) -> np.ndarray:
        return _beyond_chance(drawn @ penalties, _by_chance(drawn @ down, drawn @ across, weights))

    found = _agreement(occupied, coefficients, seed, confidence)
    same = float(np.trace(counts)) / found.n if found.n else None
    return replace(found, observed=same, reason=found.reason and found.reason.format("label"))


def kappa_of_values(
    first: Sequence[float], second: Sequence[float], *, confidence: float = CONFIDENCE, seed: int = 0
) -> Agreement:
    """Quadratically weighted kappa of two judges' values on one scale, by how far apart they lie and not by their ranks.

    It is 1 less the mean squared difference over that of all pairs of values (Cohen 1968; Lin's concordance coefficient).
    The interval is that of `kappa`.

    Raises:
        ValueError: not one value of each an item, or one that is not finite.
    """
    check_confidence(confidence)
    if len(first) != len(second):
        raise ValueError(f"{len(first)} values against {len(second)}")
    pairs, counts = np.unique(np.column_stack([finite(first), finite(second)]), axis=0, return_counts=True)
    x, y = _from_0_to_1(pairs).T
    moments = np.column_stack([(x - y) ** 2, x, y, x * x + y * y])

    def coefficients(drawn: np.ndarray) -> np.ndarray:
        squared, all_x, all_y, squares = (drawn @ moments).T
        return _beyond_chance(squared, squares - 2 * all_x * all_y / drawn.sum(axis=1))

    found = _agreement(counts.astype(float), coefficients, seed, confidence)
    same = float(counts[x == y].sum()) / found.n if found.n else None
    return replace(found, observed=same, reason=found.reason and found.reason.format("value"))


def _from_0_to_1(values: np.ndarray) -> np.ndarray:
    """Kappa is the same on any scale; squares of large values that hardly differ are not."""
    if not values.size or values.min() == values.max():
        return values * 0.0
    return (values - values.min()) / (values.max() - values.min())


Coefficients = Callable[[np.ndarray], np.ndarray]
"""Of resamples: (resamples, cells) counts -> (resamples,) kappas, NaN where one is not defined."""


def _agreement(counts: np.ndarray, coefficients: Coefficients, seed: int, confidence: float) -> Agreement:
    """Args: counts: of each cell that is occupied."""
    n = int(counts.sum())
    if n == 0:
        return Agreement(None, "nothing was judged by both", None, None, 0, None)
    value = float(coefficients(counts[None])[0])
    if math.isnan(value):
        return Agreement(None, "both gave one and the same {} to every item", None, None, n, None)
    random, at_once = np.random.default_rng(seed), max(1, NUMBERS // len(counts))
    resampled = np.concatenate(
        [
            coefficients(random.multinomial(n, counts / n, size=min(at_once, RESAMPLES - done)).astype(float))
            for done in range(0, RESAMPLES, at_once)
        ]
    )
    tail = 50 * (1 - confidence)
    low, high = np.percentile(np.nan_to_num(resampled, nan=0.0), [tail, 100 - tail])
    return Agreement(value, None, float(low), float(high), n, None)


def _beyond_chance(penalty: np.ndarray, by_chance: np.ndarray) -> np.ndarray:
    """NaN where chance alone would agree always."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(by_chance > 1e-9, 1 - penalty / by_chance, np.nan)


def _penalties(rows: np.ndarray, columns: np.ndarray, weights: Weights | None) -> np.ndarray:
    """What each cell counts as a disagreement."""
    steps = np.abs(rows - columns).astype(float)
    if weights is None:
        return (steps > 0).astype(float)
    return steps if weights == "linear" else steps**2


def _by_chance(first: np.ndarray, second: np.ndarray, weights: Weights | None) -> np.ndarray:
    """What disagreements would count if nothing bound the two. Args: first, second: (resamples, labels) counts."""
    n = first.sum(axis=1)
    if weights is None:
        return n - (first * second).sum(axis=1) / n
    if weights == "linear":
        up, along = np.cumsum(first, axis=1), np.cumsum(second, axis=1)
        return (up + along - 2 * up * along / n[:, None]).sum(axis=1)
    places = np.arange(first.shape[1], dtype=float)
    return first @ places**2 + second @ places**2 - 2 * (first @ places) * (second @ places) / n


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
