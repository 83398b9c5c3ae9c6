"""METEOR with its exact and stem matches.

Lavie and Agarwal 2007 (https://www.cs.cmu.edu/~alavie/METEOR/pdf/Lavie-Agarwal-2007-METEOR.pdf) with the parameters and
the greedy alignment of nltk's meteor_score, which this agrees with where no synonym is involved. The synonym stage needs
WordNet, data that would have to be downloaded; it is left out, so a paraphrase scores lower than with it.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable

ALPHA, BETA, GAMMA = 0.9, 3.0, 0.5

_Numbered = dict[int, str]
"""A word by its position."""


def meteor(hypothesis: list[str], reference: list[str]) -> float:
    """Score of one hypothesis against one reference, both as lower-case words; 0 to just below 1."""
    pairs: list[tuple[int, int]] = []
    left, right = dict(enumerate(hypothesis)), dict(enumerate(reference))
    for form in (str, _stem()):
        stage = _matches({at: form(word) for at, word in left.items()}, {at: form(word) for at, word in right.items()})
        pairs += stage
        for in_left, in_right in stage:
            del left[in_left], right[in_right]
    if not pairs:
        return 0.0
    precision, recall = len(pairs) / len(hypothesis), len(pairs) / len(reference)
    mean = precision * recall / (ALPHA * precision + (1 - ALPHA) * recall)
    return mean * (1 - GAMMA * (_chunks(sorted(pairs)) / len(pairs)) ** BETA)


def _stem() -> Callable[[str], str]:
    """Porter's stem of an English word; any other word is itself. Each caller's own: the stemmer has a state."""
    import snowballstemmer  # stemmers of 30 languages: not where graders are only stored

    porter = snowballstemmer.stemmer("porter")
    return lambda word: porter.stemWord(word) if word.isascii() else word


def _matches(left: _Numbered, right: _Numbered) -> list[tuple[int, int]]:
    """Equal words, each used once, aligned from the end."""
    places: defaultdict[str, list[int]] = defaultdict(list)
    for at, word in right.items():
        places[word].append(at)
    return [(at, places[word].pop()) for at, word in reversed(left.items()) if places[word]]


def _chunks(pairs: Iterable[tuple[int, int]]) -> int:
    """Runs of pairs that stand side by side in both texts."""
    count, before = 0, (-2, -2)
    for pair in pairs:
        count += pair != (before[0] + 1, before[1] + 1)
        before = pair
    return count
