"""Where others lack money: a mirror that is polled like any other, so that no process sits on what it does not need."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from gateway.budgets.leases import WANTS

Place = tuple[str, datetime]
"""A window: the id of its budget, and when it starts."""
WANTED = """
SELECT w.budget_id, w.starts_at FROM budget_windows w
JOIN unnest($1::text[], $2::timestamptz[]) AS held (budget_id, starts_at)
  ON w.budget_id = held.budget_id AND w.starts_at = held.starts_at
WHERE w.wanted_at > now() - interval '5 seconds'
"""


class Wants:
    """A mirror of `budget_windows.wanted_at` (gateway/db/mirror.py), as far as this process holds leases.

    Args:
        held: where it does.
        wanted: told of the windows that others lack money in.
    """

    name = WANTS

    def __init__(self, held: Callable[[], Sequence[Place]], wanted: Callable[[Sequence[Place]], object]) -> None:
        self._held = held
        self._wanted = wanted

    async def load(self, connection: Any) -> None:
        if held := self._held():
            budgets, starts = map(list, zip(*held, strict=True))
            self._wanted([(budget, start) for budget, start in await connection.fetch(WANTED, budgets, starts)])
