"""Rows that are left out because there are too many of their kind.

What stays is decided by the strength of its signal, then by a hash of the row: the same rows stay when others are added.
"""

from collections.abc import Iterable
from math import floor

from gateway.datasets.building.selection import Ground

BEST_FIRST = "rank, chance, number"
LONGER_SHARE = 0.6
"""Share of pairs whose longer answer is chosen, above which a model learns that longer is better (arXiv 2403.19159)."""


def settle_caps(ground: Ground) -> None:
    """After duplicates are gone and clusters are known."""
    caps = ground.recipe.caps
    for column, most, reason in (
        ("end_user", caps.per_user, "user_cap"),
        ("cluster", caps.per_topic, "topic_cap"),
    ):
        if most is not None:
            leave_out(ground, _beyond(ground, column, most), reason)
    _keep_shares(ground)
    if caps.total is not None:
        leave_out(ground, _beyond_total(ground, caps.total), "total_cap")
        _keep_shares(ground)


def _keep_shares(ground: Ground) -> None:
    """Until both hold: what one leaves out may be what the other counted on."""
    while _bound_self_training(ground) + _balance_length(ground):
        pass


def leave_out(ground: Ground, numbers: Iterable[int], reason: str) -> None:
    """Drop candidates and count them, with their first exchanges as examples."""
    dropped = sorted(numbers)
    for place, number in enumerate(dropped):
        candidate = ground.work.candidate(number) if place < 5 else None
        where = (candidate.exchange_id, candidate.other_exchange_id, candidate.example_id) if candidate else (None,) * 3
        ground.tally.drop(reason, exchange_id=where[0], other_exchange_id=where[1], example_id=where[2])
    ground.work.drop(dropped, reason)


def _beyond(ground: Ground, column: str, most: int) -> list[int]:
    """Of each value of a column, all but the best."""
    places = (
        f"SELECT number, row_number() OVER (PARTITION BY {column} ORDER BY {BEST_FIRST}) AS place "  # noqa: S608
        f"FROM kept WHERE {column} IS NOT NULL"
    )
    return [number for (number,) in ground.work.db.execute(f"SELECT number FROM ({places}) WHERE place > ?", (most,))]  # noqa: S608


def _behind(ground: Ground, condition: str, most: int) -> list[int]:
    """Of those that meet a condition, all but the best."""
    query = f"SELECT number FROM kept WHERE {condition} ORDER BY {BEST_FIRST} LIMIT -1 OFFSET ?"  # noqa: S608
    return [number for (number,) in ground.work.db.execute(query, (most,))]


def _beyond_total(ground: Ground, total: int) -> list[int]:
    """All but the best that are within the shares of so many; few enough of one kind make room for the other's next best."""
    rest = [floor(total * share + 1e-9) for share in (ground.recipe.self_training.max_share, _longer_share(ground))]
    left, dropped = total, list[int]()
    query = f"SELECT number, depth > 0, longer > 0 FROM kept ORDER BY {BEST_FIRST}"  # noqa: S608
    for number, *is_bounded in ground.work.db.execute(query):
        if left and all(more >= each for more, each in zip(rest, is_bounded, strict=True)):
            left -= 1
            rest = [more - each for more, each in zip(rest, is_bounded, strict=True)]
        else:
            dropped.append(number)
    return dropped


def _longer_share(ground: Ground) -> float:
    return LONGER_SHARE if ground.recipe.pairs.balance_length else 1


def _balance_length(ground: Ground) -> int:
    return _bound(ground, "longer > 0", _longer_share(ground), "length_balance")


def _bound_self_training(ground: Ground) -> int:
    return _bound(ground, "depth > 0", ground.recipe.self_training.max_share, "self_training_share")


def _bound(ground: Ground, condition: str, share: float, reason: str) -> int:
    """Leave out what goes beyond a share of all; how many."""
    if share >= 1:
        return 0
    others = ground.work.count(f"NOT ({condition})")
    beyond = _behind(ground, condition, floor(others * share / (1 - share) + 1e-9))
    leave_out(ground, beyond, reason)
    return len(beyond)
