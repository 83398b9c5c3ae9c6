"""The same item answered several times: how steady is what came out?"""

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Steadiness:
    """Over items that were each answered k times. None without items."""

    k: int
    pass_at_k: float | None
    """Share of items that one of k answers passes, without bias (Chen et al. 2021, arXiv 2107.03374)."""
    pass_all_k: float | None
    """pass^k: share that all k answers pass (Yao et al. 2024, arXiv 2406.12045)."""
    flip_rate: float | None
    """Share of items whose answers do not all agree."""
    items: int


def steadiness(passed: Sequence[Sequence[bool]], k: int) -> Steadiness:
    """Args:
        passed: the verdicts of each item's answers, `k` or more of them; an item with fewer is left out.

    Raises:
        ValueError: k is less than 1.
    """
    if k < 1:
        raise ValueError(f"k is 1 or more, not {k}")
    enough = [item for item in passed if len(item) >= k]
    if not enough:
        return Steadiness(k, None, None, None, 0)
    n = len(enough)
    return Steadiness(
        k=k,
        pass_at_k=sum(1 - _none_of(len(item), sum(item), k) for item in enough) / n,
        pass_all_k=sum(math.comb(sum(item), k) / math.comb(len(item), k) for item in enough) / n,
        flip_rate=sum(0 < sum(item) < len(item) for item in enough) / n,
        items=n,
    )


def _none_of(n: int, passing: int, k: int) -> float:
    """That none of k answers, drawn out of n, passes."""
    return math.comb(n - passing, k) / math.comb(n, k)
