"""Rows that a test suite contains: a model that learnt them is tested on what it knows by heart.

Found are messages that a suite has word for word, those that are nearly the same (character 5-grams, as for duplicates),
and rows that share twelve words in a row with a suite (the rule of datatrove and GPT-3). Twelve words that a tenth of a
suite's items have are its template and say nothing. Memory holds 12 bytes for each word of the suites.
"""

import zlib
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any, cast

import msgspec
import numpy as np

from gateway.datasets.cleaning.shingles import folded
from gateway.datasets.lines import MAX_LINE, read_lines
from gateway.errors import InvalidRequest
from judges.words import words

WORDS = 12
SHORTEST = 12
"""Characters: shorter texts are labels and words, which many messages are."""
TEMPLATE_SHARE, TEMPLATE_ITEMS = 0.1, 3
MERGED = 2_000_000
"""Runs of words that wait to be counted."""

_FACTORS = np.array([pow(0x100000001B3, power, 2**64) for power in range(WORDS)], dtype=np.uint64)
_decode = msgspec.json.Decoder().decode


class Suites:
    """What test suites hold. Add everything, then `close`, then ask."""

    def __init__(self) -> None:
        self._texts: set[bytes] = set()
        self._seen: set[bytes] = set()
        self._waiting: list[np.ndarray] = []
        self._size = self._items = 0
        self._runs = np.empty(0, np.uint64)
        self._counts = np.empty(0, np.int64)

    def add(self, texts: Sequence[str]) -> None:
        """The texts of one item. One that was added before, as by every run of an eval, is the same item."""
        keys = [_key(text) for text in texts]
        item = blake2b(b"".join(sorted(keys)), digest_size=16).digest()
        if item in self._seen:
            return
        self._seen.add(item)
        self._items += 1
        self._texts.update(keys)
        found = [runs(text) for text in texts]
        self._waiting.append(np.unique(np.concatenate(found)) if found else np.empty(0, np.uint64))
        self._size += len(self._waiting[-1])
        if self._size >= MERGED:
            self._merge()

    def close(self) -> None:
        self._merge()
        most = max(TEMPLATE_ITEMS, self._items * TEMPLATE_SHARE)
        self._runs = self._runs[self._counts < most]

    def has(self, messages: Sequence[str], others: Sequence[str]) -> bool:
        """Whether a suite has one of the messages, or a run of words of any text.

        Args:
            messages: what was asked.
            others: further texts of the row.
        """
        if any(_key(text) in self._texts for text in messages):
            return True
        return any(self._shares_run(text) for text in (*messages, *others))

    def _shares_run(self, text: str) -> bool:
        found = runs(text)
        if not len(found) or not len(self._runs):
            return False
        places = np.minimum(np.searchsorted(self._runs, found), len(self._runs) - 1)
        return bool((self._runs[places] == found).any())

    def _merge(self) -> None:
        every = np.concatenate([self._runs, *self._waiting])
        counts = np.concatenate([self._counts, np.ones(len(every) - len(self._runs), np.int64)])
        self._runs, places = np.unique(every, return_inverse=True)
        self._counts = np.bincount(places, counts, len(self._runs)).astype(np.int64)
        self._waiting, self._size = [], 0


def runs(text: str) -> np.ndarray:
    """Hashes of twelve words in a row, wherever they begin."""
    hashes = np.array([zlib.crc32(word.encode(errors="replace")) for word in words(text)], np.uint64)
    count = len(hashes) - WORDS + 1
    if count <= 0:
        return np.empty(0, np.uint64)
    sums = np.zeros(count, np.uint64)
    for place in range(WORDS):
        sums += (hashes[place : place + count] + np.uint64(1)) * _FACTORS[place]
    return sums ^ (sums >> np.uint64(31))


def items_of(paths: Sequence[Path]) -> Iterator[list[str]]:
    """The texts of each item. Raises InvalidRequest: a file that cannot be read must not pass for one without items."""
    for path in paths:
        with path.open("rb") as file:
            for number, raw in read_lines(file):
                if raw.strip():
                    yield list(_texts(_item(number, raw)))


def _item(number: int, raw: bytes) -> Any:
    try:
        item = _decode(raw) if len(raw) <= MAX_LINE else None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        item = None
    if isinstance(item, dict):
        return cast("dict[str, Any]", item)
    message = (
        f"Line {number} of a test suite of 'recipe.contamination' is no JSON object, so nobody can say what the suite holds. "
        "Name JSONL files."
    )
    raise InvalidRequest(message, param="recipe.contamination.files")


def _texts(item: Any) -> Iterator[str]:
    """All that are long enough, wherever they stand."""
    left = [item]
    while left:
        match left.pop():
            case str(text) if len(folded(text)) >= SHORTEST:
                yield text
            case list(values):
                left += cast("list[Any]", values)
            case dict(fields):
                left += cast("dict[str, Any]", fields).values()
            case _:
                pass


def _key(text: str) -> bytes:
    """The same for texts that differ in case, white space and punctuation alone."""
    return blake2b(folded(text).encode(errors="surrogatepass"), digest_size=16).digest()
