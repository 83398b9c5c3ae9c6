"""Values on a scale, as people and judges say them: hardly ever the very same."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from gateway.db.tables import CriterionRow

PARTS = 10
"""Of a scale: values that lie within one of them of each other count as the same."""
SLACK = 1e-9


@dataclass(frozen=True, slots=True)
class Scale:
    """Of a numeric criterion."""

    lowest: float
    highest: float

    @classmethod
    def of(cls, criterion: CriterionRow) -> "Scale":
        return cls(criterion.lowest or 0.0, 1.0 if criterion.highest is None else criterion.highest)

    @property
    def part(self) -> float:
        return (self.highest - self.lowest) / PARTS

    def same(self, one: float, other: float) -> bool:
        return abs(one - other) <= self.part * (1 + SLACK)

    def middle(self, values: Sequence[float]) -> float | None:
        """The median; None where two in the middle are not the same: people are split."""
        ordered = sorted(values)
        half = len(ordered) // 2
        if len(ordered) % 2 == 0 and not self.same(ordered[half - 1], ordered[half]):
            return None
        return float(median(ordered))

    def part_of(self, value: float) -> int:
        """The place of the part that a value is in; its highest value is in the last."""
        return min(PARTS - 1, max(0, math.floor((value - self.lowest) / self.part + SLACK)))

    def name_of(self, part: int) -> str:
        low = self.lowest + part * self.part
        return f"{low:.6g} to {low + self.part:.6g}"


def value_of(said: Any) -> float | None:
    """A number that was said; None of anything else."""
    return float(said) if isinstance(said, int | float) and not isinstance(said, bool) else None
