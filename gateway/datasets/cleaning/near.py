"""Near-duplicates among a million texts: MinHash signatures in bands on disk, and an exact look at whatever shares one.

126 hashes, in as many bands as the threshold wants: at 0.5 two texts whose 5-grams are half alike share one of 42 bands of
three with 99.6% (1 - (1 - 0.5^3)^42); at 0.8 bands of six find as much, and strangers share none. What shares a band is
compared by its 5-grams themselves. Memory holds one band (16 bytes a text) and a bounded cache of texts.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import rensa

from gateway.datasets.cleaning.shingles import flat, shingles, similarity
from gateway.datasets.cleaning.unions import Unions

HASHES = 126
RECALL = 0.995
"""Share of the pairs right at the threshold that share a band."""
SEED = 42
EVERY_PAIR = 32
"""Texts of one bucket that are compared each with each; in a larger one, each with its neighbour and with the first of
groups found so far."""
GROUPS = 4
CACHED = 16_000_000
"""5-grams that are kept in memory while buckets are looked through: 128 MB."""
BATCH = 1_000_000
"""5-grams of texts that wait for their signatures."""

Texts = Callable[[int], Sequence[str]]
"""Of a number what is compared, part by part; asked for again and again."""

_rensa: Any = rensa
"""It has no types."""
_mix = np.array([pow(0x9E3779B97F4A7C15, power, 2**64) for power in range(1, 12)], dtype=np.uint64)


def rows_of_a_band(threshold: float) -> int:
    """As many hashes as find RECALL of the pairs at the threshold: the more, the fewer strangers are looked at."""
    sizes = (rows for rows in range(10, 1, -1) if 1 - (1 - threshold**rows) ** (HASHES // rows) >= RECALL)
    return next(sizes, 2)


class Bands:
    """Signatures of texts, written band by band below a directory. Texts are numbered from 0 as they are added."""

    def __init__(self, directory: Path, threshold: float) -> None:
        self._rows = rows_of_a_band(threshold)
        directory.mkdir(parents=True, exist_ok=True)
        self._paths = [directory / f"band-{band}" for band in range(HASHES // self._rows)]
        self._files: list[BinaryIO] = [path.open("wb") for path in self._paths]
        self._waiting: list[np.ndarray] = []
        self._size = 0
        self.count = 0

    def add(self, text: str) -> None:
        self._waiting.append(shingles(text))
        self._size += len(self._waiting[-1])
        self.count += 1
        if self._size >= BATCH:
            self._write()

    def close(self) -> None:
        """Nothing can be added any more."""
        self._write()
        for file in self._files:
            file.close()

    def remove(self) -> None:
        self.close()
        for path in self._paths:
            path.unlink(missing_ok=True)

    def buckets(self) -> Iterator[list[int]]:
        """Numbers of texts that share a band, in order; the same texts may share several. Call `close` before."""
        for path in self._paths:
            keys = np.fromfile(path, np.uint64)
            order = np.argsort(keys, kind="stable")
            keys = keys[order]
            edges = np.flatnonzero(np.r_[True, keys[1:] != keys[:-1], True])
            shared = np.flatnonzero((np.diff(edges) > 1) & (keys[edges[:-1]] > 0)) if len(keys) else edges[:0]
            for run in shared:
                yield order[edges[run] : edges[run + 1]].tolist()

    def _write(self) -> None:
        if not self._waiting:
            return
        for file, keys in zip(self._files, self._keys(), strict=True):
            file.write(keys.tobytes())
        self._waiting, self._size = [], 0

    def _keys(self) -> np.ndarray:
        """A row a band, a column a text; 0 for a text without any 5-gram, which is like no other."""
        bands, rows = len(self._paths), self._rows
        hashes, ends = flat(self._waiting)
        matrix = _rensa.RMinHash.digest_matrix_from_flat_token_hashes(hashes, ends, bands * rows, SEED)
        values = np.asarray(matrix.to_rows(), np.uint64).reshape(len(self._waiting), bands, rows)
        keys = (values * _mix[:rows]).sum(axis=2, dtype=np.uint64)
        keys ^= keys >> np.uint64(29)
        keys[keys == 0] = 1
        keys[np.diff(ends) == 0] = 0
        return np.ascontiguousarray(keys.T)


def join(bands: Bands, unions: Unions, texts: Texts, threshold: float) -> None:
    """Put texts together that are alike in every part, directly or through others.

    Args:
        unions: of as many members as there are texts.
        threshold: the least share of common 5-grams.
    """
    sets = _Sets(texts)
    for bucket in bands.buckets():
        for one, other in _pairs(bucket, unions):
            if unions.root(one) != unions.root(other) and sets.alike(one, other, threshold):
                unions.join(one, other)


def across(bands: Bands, border: int, texts: Texts, threshold: float) -> set[int]:
    """Numbers from `border` on that are alike to any below it."""
    sets = _Sets(texts)
    found: set[int] = set()
    for bucket in bands.buckets():
        known = [number for number in bucket if number < border][:EVERY_PAIR]
        for number in bucket[len(known) :] if known else ():
            if number >= border and number not in found and any(sets.alike(one, number, threshold) for one in known):
                found.add(number)
    return found


def _pairs(bucket: Sequence[int], unions: Unions) -> Iterator[tuple[int, int]]:
    if len(bucket) <= EVERY_PAIR:
        yield from ((one, other) for place, one in enumerate(bucket) for other in bucket[place + 1 :])
        return
    first = [bucket[0]]
    for before, number in pairwise(bucket):
        yield before, number
        for one in first:
            yield one, number
        if len(first) < GROUPS and all(unions.root(one) != unions.root(number) for one in first):
            first.append(number)


class _Sets:
    """5-grams of texts by their numbers; those that were asked for last stay in memory."""

    def __init__(self, texts: Texts) -> None:
        self._texts = texts
        self._kept: OrderedDict[int, list[np.ndarray]] = OrderedDict()
        self._size = 0

    def alike(self, one: int, other: int, threshold: float) -> bool:
        pairs = zip(self._of(one), self._of(other), strict=True)
        return all(similarity(*pair) >= threshold for pair in pairs)

    def _of(self, number: int) -> list[np.ndarray]:
        if number in self._kept:
            self._kept.move_to_end(number)
            return self._kept[number]
        sets = self._kept[number] = [shingles(text) for text in self._texts(number)]
        self._size += sum(map(len, sets))
        while self._size > CACHED and len(self._kept) > 1:
            self._size -= sum(map(len, self._kept.popitem(last=False)[1]))
        return sets
