"""Which clusters are set aside for validation: decided by the cluster's own id, so that it stays where it is as data grows.

Nothing is shuffled. A cluster's id is a hash, and those with the smallest are set aside, about as many rows as are wanted.
"""

from collections.abc import Iterable, Iterator

LEAST_TRAINING = 10
"""Rows that a fine-tuning job wants."""
NEAR, FAR = 0.5, 1.5
"""Of the rows that are wanted: fewer are filled up, and more are not taken."""
DIGITS = 12


def aside(clusters: Iterable[tuple[str, int]], rows: int, share: float) -> Iterator[str]:
    """Ids of the clusters for validation. One that is too large to be part of it stays in training.

    Args:
        clusters: id (hexadecimal, a hash) and size of each, in the order of ids.
        rows: all of them together.
        share: of the rows, 0 to 1.
    """
    wanted = rows * share
    most = min(max(FAR * wanted, 1.0 if wanted >= NEAR else 0.0), float(rows - LEAST_TRAINING))
    taken = 0
    for id, size in clusters:
        if chance(id) >= share and taken >= NEAR * wanted:
            return
        if taken + size <= most:
            taken += size
            yield id


def chance(id: str) -> float:
    """0 to 1, the same for the same cluster."""
    return int(id[:DIGITS], 16) / 16**DIGITS
