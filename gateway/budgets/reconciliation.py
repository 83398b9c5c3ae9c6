"""What budgets say was spent, made anew from the ledger."""

from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.budgets.coverage import costs_of
from gateway.db.locks import OWN_LEDGER

CURRENT = "(SELECT * FROM budget_windows WHERE ends_at IS NULL OR ends_at > now())"
TRUTH = f"CREATE TEMP TABLE spent_truly ON COMMIT DROP AS {costs_of('ledger')}"
WINDOWS = f"""
UPDATE budget_windows w SET spent_nano = t.truly
FROM (
    SELECT c.budget_id, c.starts_at, c.spent_nano AS before, coalesce(sum(s.cost_nano), 0)::bigint AS truly
    FROM {CURRENT} c JOIN budgets b ON b.id = c.budget_id AND b.deleted_at IS NULL
    LEFT JOIN spent_truly s USING (budget_id, starts_at) GROUP BY 1, 2, 3
) t
WHERE w.budget_id = t.budget_id AND w.starts_at = t.starts_at AND t.before <> t.truly
RETURNING w.budget_id, w.starts_at, NULL AS holder, t.before, t.truly
"""  # noqa: S608 names of this module
LEASES = f"""
WITH gone AS (
    SELECT s.budget_id, s.starts_at, coalesce(l.holder, '') AS holder, sum(s.cost_nano)::bigint AS cost_nano
    FROM spent_truly s LEFT JOIN budget_leases l USING (budget_id, starts_at, holder) GROUP BY 1, 2, 3
)
UPDATE budget_leases kept SET spent_nano = t.truly
FROM (
    SELECT l.budget_id, l.starts_at, l.holder, l.spent_nano AS before, coalesce(g.cost_nano, 0) AS truly
    FROM budget_leases l JOIN {CURRENT} c USING (budget_id, starts_at)
    JOIN budgets b ON b.id = l.budget_id AND b.deleted_at IS NULL
    LEFT JOIN gone g USING (budget_id, starts_at, holder)
) t
WHERE kept.budget_id = t.budget_id AND kept.starts_at = t.starts_at AND kept.holder = t.holder AND t.before <> t.truly
RETURNING kept.budget_id, kept.starts_at, kept.holder, t.before, t.truly
"""  # noqa: S608
"""Whoever has no lease any more counts with the holder ''."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Something that was not as the ledger says, and now is. Nano-dollars."""

    budget_id: str
    starts_at: str
    holder: str | None
    """None: of the whole window."""
    before: int
    truly: int


async def reconcile(session: AsyncSession) -> list[Difference]:
    """Set what was spent of every window that is not over, and of its leases, to the ledger's sums; what was different.

    No posting to the ledger is under way meanwhile: to be called first in its transaction.
    """
    await session.execute(text(OWN_LEDGER))
    await session.execute(text(TRUTH))
    rows = [*await session.execute(text(WINDOWS)), *await session.execute(text(LEASES))]
    return [Difference(row.budget_id, row.starts_at.isoformat(), row.holder, row.before, row.truly) for row in rows]
