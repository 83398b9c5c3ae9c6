"""Near-duplicates among a million texts: MinHash signatures in bands on disk, and an exact look at whatever shares one.

126 hashes in 42 bands of three: two texts whose 5-grams are half alike share a band with 99.6% (1 - (1 - 0.5^3)^42), and
what shares a band is compared by its 5-grams themselves. Memory holds one band (16 bytes a text) and a cache of texts.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import rensa

from gateway.datasets.cleaning.shingles import flat, shingles, similarity
from gateway.datasets.cleaning.unions import Unions

BANDS, ROWS = 42, 3
SEED = 42
EVERY_PAIR = 32
"""Texts of one bucket that are compared each with each; in a larger one, each with the first and with its neighbour."""
CACHED = 20_000
"""Texts whose 5-grams are kept in memory while buckets are looked through."""
BATCH = 2000

_rensa: Any = rensa
"""It has no types."""
_mix = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9], dtype=np.uint64)


class Bands:
    """Signatures of texts, written band by band below a directory. Texts are numbered from 0 as they are added."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._paths = [directory / f"band-{band}" for band in range(BANDS)]
        self._files: list[BinaryIO] = [path.open("wb") for path in self._paths]
        self._waiting: list[np.ndarray] = []
        self.count = 0

    def add(self, text: str) -> None:
        self._waiting.append(shingles(text))
        self.count += 1
        if len(self._waiting) == BATCH:
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

    def buckets(self) -> Iterator[np.ndarray]:
        """Numbers of texts that share a band, in order; the same texts may share several. Call `close` before."""
        for path in self._paths:
            keys = np.fromfile(path, np.uint64)
            order = np.argsort(keys, kind="stable")
            keys = keys[order]
            edges = np.flatnonzero(np.diff(keys)) + 1
            for start, end in zip(np.r_[0, edges], np.r_[edges, len(keys)], strict=True):
                if end - start > 1 and keys[start]:
                    yield order[start:end]

    def _write(self) -> None:
        if not self._waiting:
            return
        for file, keys in zip(self._files, _keys(self._waiting), strict=True):
            file.write(keys.tobytes())
        self._waiting = []


def _keys(sets: Sequence[np.ndarray]) -> np.ndarray:
    """A row a band, a column a text; 0 for a text without any 5-gram, which is like no other."""
    hashes, ends = flat(sets)
    matrix = _rensa.RMinHash.digest_matrix_from_flat_token_hashes(hashes, ends, BANDS * ROWS, SEED)
    rows = np.asarray(matrix.to_rows(), np.uint64).reshape(len(sets), BANDS, ROWS)
    keys = (rows * _mix).sum(axis=2, dtype=np.uint64)
    keys ^= keys >> np.uint64(29)
    keys[keys == 0] = 1
    keys[np.diff(ends) == 0] = 0
    return np.ascontiguousarray(keys.T)


def join(bands: Bands, unions: Unions, text_of: Callable[[int], str], threshold: float) -> None:
    """Put texts together that are alike, directly or through others.

    Args:
        unions: of as many members as there are texts.
        text_of: a text by its number; asked for again and again.
        threshold: the least share of common 5-grams.
    """

    @lru_cache(CACHED)
    def parts(number: int) -> np.ndarray:
        return shingles(text_of(number))

    for bucket in bands.buckets():
        for one, other in _pairs(bucket):
            if unions.root(one) != unions.root(other) and similarity(parts(one), parts(other)) >= threshold:
                unions.join(one, other)


def _pairs(bucket: np.ndarray) -> Iterator[tuple[int, int]]:
    members = [int(number) for number in bucket]
    if len(members) <= EVERY_PAIR:
        yield from ((one, other) for place, one in enumerate(members) for other in members[place + 1 :])
        return
    for before, number in pairwise(members):
        yield members[0], number
        yield before, number
