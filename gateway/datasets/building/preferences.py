"""What was preferred to what among the answers of one prompt, and where that contradicts itself.

A model that learns from pairs takes for granted that every answer has one worth (Bradley-Terry; arXiv 2305.18290, section 4):
A over B and B over A, or A over B, B over C and C over A, teach it nothing but noise. Circles are opened as ranked pairs do
(Tideman 1987, "Independence of clones as a criterion for voting rules"): the stronger a preference, the earlier it holds, and
one that closes a circle with those that hold does not. Of equally strong ones that close it together none holds, so nothing
depends on an order.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import chain, groupby
from typing import Any, Literal

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

Contradiction = Literal["contradictory", "circular"]
Way = tuple[str, str]
"""The better answer, the other one."""
LEAST = 3
"""Ways that a circle takes: of two opposite ones only one is left before."""


@dataclass(frozen=True, slots=True)
class Preference:
    """One pair."""

    chosen: str
    """The same for the same answer."""
    rejected: str
    rank: int
    """Whose word it is: where somebody with a lower rank spoke of the same two answers, theirs alone decides."""
    votes: int = 1
    """How many more were for it than against it."""

    @property
    def way(self) -> Way:
        return self.chosen, self.rejected


def contradictions(preferences: Sequence[Preference]) -> dict[int, Contradiction]:
    """Places of those that must not be learnt. What is left has no circle.

    Args:
        preferences: all pairs of one prompt.
    """
    settled = _settled(preferences)
    circular = _circular(settled)
    found: dict[int, Contradiction] = {}
    for place, each in enumerate(preferences):
        if each.way in circular:
            found[place] = "circular"
        elif each.way not in settled and each.chosen != each.rejected:
            found[place] = "contradictory"
    return found


def _settled(preferences: Sequence[Preference]) -> dict[Way, tuple[int, int]]:
    """Of any two answers the better one, by majority, and how strong that is: the smaller, the stronger. Neither, where as
    many say one as the other."""
    balances: dict[Way, dict[int, int]] = {}
    for each in preferences:
        first, second = sorted(each.way)
        of_rank = balances.setdefault((first, second), {})
        of_rank[each.rank] = of_rank.get(each.rank, 0) + (each.votes if each.chosen == first else -each.votes)
    settled: dict[Way, tuple[int, int]] = {}
    for (first, second), of_rank in balances.items():
        rank = min(of_rank)
        if balance := of_rank[rank]:
            settled[(first, second) if balance > 0 else (second, first)] = rank, -abs(balance)
    return settled


def _circular(settled: dict[Way, tuple[int, int]]) -> set[Way]:
    """Those that do not hold."""
    if not any(_close_circles(list(settled))):
        return set()
    holding: list[Way] = []
    for _, equals in groupby(sorted(settled, key=settled.__getitem__), key=settled.__getitem__):
        added = list(equals)
        closes = _close_circles([*holding, *added])[len(holding) :]
        holding += [way for way, does in zip(added, closes, strict=True) if not does]
    return settled.keys() - set(holding)


def _close_circles(ways: Sequence[Way]) -> Sequence[bool]:
    """Whether each lies on a circle: both of its answers are in one strongly connected component."""
    if not _may_have_circles(ways):
        return [False] * len(ways)
    numbers = {answer: number for number, answer in enumerate(dict.fromkeys(chain.from_iterable(ways)))}
    ends = np.array([[numbers[better], numbers[worse]] for better, worse in ways]).T
    graph = coo_array((np.ones(len(ways), np.int8), (ends[0], ends[1])), shape=(len(numbers), len(numbers)))
    labels: Any = connected_components(graph, connection="strong")[1]
    return (labels[ends[0]] == labels[ends[1]]).tolist()


def _may_have_circles(ways: Collection[Way]) -> bool:
    """Nearly no prompt has so many; every answer of a circle is better than one and worse than one."""
    return len(ways) >= LEAST and len({better for better, _ in ways} & {worse for _, worse in ways}) >= LEAST
