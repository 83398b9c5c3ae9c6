"""A holder is gone, and everything that it spent is in the ledger: nobody holds what it did not spend any more."""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

GONE = "DELETE FROM budget_holders WHERE id = :holder"
LOCK = """
SELECT FROM budget_windows w
WHERE (w.budget_id, w.starts_at) IN (SELECT budget_id, starts_at FROM budget_leases WHERE holder = :holder)
ORDER BY w.budget_id, w.starts_at FOR UPDATE
"""
FOLD = """
WITH gone AS (DELETE FROM budget_leases WHERE holder = :holder RETURNING budget_id, starts_at, spent_nano)
INSERT INTO budget_leases AS kept (budget_id, starts_at, holder, granted_nano, spent_nano)
SELECT budget_id, starts_at, '', 0, spent_nano FROM gone ORDER BY budget_id, starts_at
ON CONFLICT (budget_id, starts_at, holder) DO UPDATE SET spent_nano = kept.spent_nano + excluded.spent_nano
"""


async def end_leases(session: AsyncSession, holder: str) -> None:
    """Fold a holder's leases into those of all that are gone. More than once is once."""
    if not holder:
        return
    await session.execute(text(GONE), {"holder": holder})
    await session.execute(text(LOCK), {"holder": holder})
    await session.execute(text(FOLD), {"holder": holder})
