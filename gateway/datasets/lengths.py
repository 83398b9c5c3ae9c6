"""Lengths of any number of examples, kept as counts of geometric steps."""

from collections import Counter
from math import ceil, exp, log

from gateway.protocol.datasets import Bucket

STEPS = 32
"""Steps to a doubling: a length is known to about two percent."""


class Lengths:
    """Counts, with order statistics. Lengths are whole numbers in any unit; `scale` turns them into another one."""

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()
        self.count = 0
        self.shortest = 0
        self.longest = 0

    def add(self, length: int) -> None:
        self._counts[_step(length)] += 1
        self.shortest = length if not self.count or length < self.shortest else self.shortest
        self.longest = max(length, self.longest)
        self.count += 1

    def quantile(self, share: float, scale: float = 1.0) -> int:
        """The length that `share` of the examples (0 to 1) do not exceed."""
        wanted, seen = ceil(share * self.count), 0
        for step in sorted(self._counts):
            seen += self._counts[step]
            if seen >= wanted:
                middle = min(max(_length(step), self.shortest), self.longest)
                return round(middle * scale)
        return 0

    def above(self, limit: int, scale: float = 1.0) -> int:
        """Examples longer than `limit`."""
        if self.longest * scale <= limit:
            return 0
        return sum(count for step, count in self._counts.items() if round(_length(step) * scale) > limit)

    def histogram(self, scale: float = 1.0) -> list[Bucket]:
        """Buckets of doubling width, the last open end included in it; empty ones between filled ones stay."""
        filled: Counter[int] = Counter()
        for step, count in self._counts.items():
            filled[max(round(_length(step) * scale), 0).bit_length()] += count
        if not filled:
            return []
        return [
            Bucket(from_tokens=1 << bits >> 1, to_tokens=1 << bits, examples=filled[bits])
            for bits in range(min(filled), max(filled) + 1)
        ]


def _step(length: int) -> int:
    return length if length < STEPS else STEPS + int(log(length / STEPS) * STEPS / log(2))


def _length(step: int) -> int:
    """The middle of a step."""
    return step if step < STEPS else round(STEPS * exp((step - STEPS + 0.5) * log(2) / STEPS))
