"""Every budget, in memory: a call finds those that apply to it without a query.

Whoever makes, changes or deletes a budget touches the mirror `budgets` in the same transaction. What may change is its
name, limit, thresholds and whether it is hard; another scope or period is another budget.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from gateway.db.reading import read
from gateway.errors import Unavailable

if TYPE_CHECKING:
    from gateway.db.tables import BudgetRow

MIRROR = "budgets"
BUDGETS = """
SELECT id, created_at, scope, period, limit_nano, hard, project_id, api_key_id FROM budgets
WHERE deleted_at IS NULL ORDER BY id
"""


@dataclass(frozen=True, slots=True)
class Budget:
    """What may be spent in each window of a period; money in nano-dollars."""

    id: str
    created_at: datetime
    scope: str
    """organization, project or api_key."""
    period: str
    """total, day, week or month."""
    limit: int
    hard: bool
    """False: it only tells of its thresholds."""


@dataclass(frozen=True, slots=True)
class Cover:
    """The budgets that a call draws on: the key's, its project's, the organisation's."""

    hard: tuple[Budget, ...]
    soft: tuple[Budget, ...]


class BudgetBook:
    """A mirror of `budgets` (gateway/db/mirror.py)."""

    name = MIRROR

    def __init__(self) -> None:
        self._budgets: dict[str, Budget] = {}
        self._by_key: dict[str, list[Budget]] = {}
        self._by_project: dict[str, list[Budget]] = {}
        self._of_all: list[Budget] = []
        self._covers: dict[tuple[str, str], Cover | None] = {}
        """As far as somebody asked."""
        self._read = False

    def of(self, project_id: str, api_key_id: str) -> Cover | None:
        """What a call of this key draws on; None: no budget at all.

        Raises:
            Unavailable: this process has not been able to read the budgets yet.
        """
        pair = project_id, api_key_id
        try:
            return self._covers[pair]
        except KeyError:
            if not self._read:
                raise Unavailable(
                    "This gateway has just started and cannot reach its database yet; please retry."
                ) from None
            self._covers[pair] = cover = self._cover(project_id, api_key_id)
            return cover

    async def load(self, connection: Any) -> None:
        self._swap(await read(connection, BUDGETS))
        self._read = True

    def _swap(self, rows: "Iterable[BudgetRow]") -> None:
        """Show these. One that is as it was stays the same object: so others see whether it changed."""
        before, self._budgets = self._budgets, {}
        self._by_key, self._by_project, self._of_all, self._covers = {}, {}, [], {}
        for row in rows:
            budget = budget_of(row)
            same = before.get(budget.id)
            if same is not None and same == budget:
                budget = same
            self._budgets[budget.id] = budget
            self._place(row).append(budget)

    def _place(self, row: "BudgetRow") -> list[Budget]:
        if row.api_key_id is not None:
            return self._by_key.setdefault(row.api_key_id, [])
        return self._of_all if row.project_id is None else self._by_project.setdefault(row.project_id, [])

    def _cover(self, project_id: str, api_key_id: str) -> Cover | None:
        """The narrowest scope first: who waits for money there holds up nobody else."""
        every = (*self._by_key.get(api_key_id, ()), *self._by_project.get(project_id, ()), *self._of_all)
        if not every:
            return None
        return Cover(tuple(each for each in every if each.hard), tuple(each for each in every if not each.hard))


def budget_of(row: "BudgetRow") -> Budget:
    return Budget(
        id=row.id,
        created_at=row.created_at,
        scope=row.scope,
        period=row.period,
        limit=row.limit_nano,
        hard=row.hard,
    )
