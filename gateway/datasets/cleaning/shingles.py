"""Texts as sets of character 5-grams: what near-duplicates share, whatever the language.

Words do not do: of two 30-word prompts with one word changed, word 3-grams at a similarity of 0.8 find half
(docs/dataset-cleaning.md has the table).
"""

import re
from collections.abc import Sequence

import numpy as np

from judges.normal_form import nfkc

SIZE = 5
"""Characters."""
_GAPS = re.compile(r"[\W_]+")
_STEP = np.uint64(0x9E3779B97F4A7C15)
_MIX = np.uint64(0xFF51AFD7ED558CCD)
_FACTORS = np.array([pow(0x100000001B3, power, 2**64) for power in range(SIZE)], dtype=np.uint64)


def folded(text: str) -> str:
    """Without what makes no difference: capitals, white space, punctuation."""
    lower = nfkc(text).casefold()
    return _GAPS.sub(" ", lower).strip()


def shingles(text: str) -> np.ndarray:
    """Sorted hashes of its 5-grams, each once (uint64). A text shorter than that is one shingle; an empty one has none."""
    plain = folded(text)
    if not plain:
        return np.empty(0, np.uint64)
    codes = np.frombuffer(plain.ljust(SIZE, "\0").encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.uint64)
    count = len(codes) - SIZE + 1
    sums = np.zeros(count, np.uint64)
    for place in range(SIZE):
        sums += (codes[place : place + count] + _STEP) * _FACTORS[place]
    sums ^= sums >> np.uint64(33)
    sums *= _MIX
    sums ^= sums >> np.uint64(33)
    sums.sort()
    return sums[np.r_[True, sums[1:] != sums[:-1]]]


def similarity(one: np.ndarray, other: np.ndarray) -> float:
    """Jaccard's: what two sets share of what either has. Two empty ones are alike."""
    if not len(one) or not len(other):
        return float(len(one) == len(other))
    places = np.searchsorted(one, other)
    places[places == len(one)] = 0
    shared = int(np.count_nonzero(one[places] == other))
    return shared / (len(one) + len(other) - shared)


def flat(sets: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """All of them in one array, and where each begins and the last one ends."""
    ends = np.cumsum([0, *(len(each) for each in sets)]).astype(np.uint64)
    return (np.concatenate(sets) if sets else np.empty(0, np.uint64)), ends
