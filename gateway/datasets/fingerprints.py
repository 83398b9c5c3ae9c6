"""Duplicates among any number of examples in bounded memory."""

from array import array

import numpy as np

LIMIT = 1 << 21
"""Hashes kept: at most 48 MB. With more *distinct* contents than that, only hashes with more and more zero bits at the end
are kept, a fair sample of them, and what was counted is scaled up."""
SHOWN = 5


class Fingerprints:
    """64-bit hashes of contents, how often each came again, and the first lines where one did."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._mask = 0
        self._fresh, self._fresh_lines = array("q"), array("q")
        self._hashes, self._again = np.empty(0, np.int64), np.empty(0, np.int64)
        self._lines: list[int] = []

    def add(self, content: object, line: int) -> None:
        """`content` is anything hashable; equal contents are duplicates (of a billion, one or two may be mistaken)."""
        value = hash(content)
        if not value & self._mask:
            self._fresh.append(value)
            self._fresh_lines.append(line)
            if len(self._fresh) >= self._limit // 2:
                self._merge()

    @property
    def repeats(self) -> int:
        """Examples beyond the first of each content."""
        self._merge()
        return int(self._again.sum()) * (self._mask + 1)

    @property
    def lines(self) -> list[int]:
        """Of the first repeats."""
        self._merge()
        return self._lines

    def _merge(self) -> None:
        """Take the fresh hashes in, in the order of hash and line."""
        fresh, lines = np.frombuffer(self._fresh, np.int64), np.frombuffer(self._fresh_lines, np.int64)
        hashes = np.concatenate([self._hashes, fresh])
        places = np.concatenate([np.zeros(len(self._hashes), np.int64), lines])
        order = np.argsort(hashes, kind="stable")
        hashes, places = hashes[order], places[order]
        is_first = np.ones(len(hashes), bool)
        is_first[1:] = hashes[1:] != hashes[:-1]
        self._lines = sorted([*self._lines, *np.sort(places[~is_first])[:SHOWN].tolist()])[:SHOWN]
        again = np.bincount(np.cumsum(is_first) - 1, minlength=int(is_first.sum())) - 1
        # What was there before is the first of its kind, and in the same order as it is kept.
        again[(places == 0)[is_first]] += self._again
        self._hashes, self._again = hashes[is_first], again
        self._fresh, self._fresh_lines = array("q"), array("q")
        while len(self._hashes) > self._limit:
            self._thin_out()

    def _thin_out(self) -> None:
        self._mask = self._mask << 1 | 1
        stay = (self._hashes & self._mask) == 0
        self._hashes, self._again = self._hashes[stay], self._again[stay]
