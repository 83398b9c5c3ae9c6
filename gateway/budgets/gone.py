"""A holder is gone, and everything that it spent is in the ledger: nobody holds what it did not spend any more."""

from typing import Any

GONE = "DELETE FROM budget_holders WHERE id = $1"
LOCK = """
SELECT FROM budget_windows w
WHERE (w.budget_id, w.starts_at) IN (SELECT budget_id, starts_at FROM budget_leases WHERE holder = $1)
ORDER BY w.budget_id, w.starts_at FOR UPDATE
"""
FOLD = """
WITH gone AS (DELETE FROM budget_leases WHERE holder = $1 RETURNING budget_id, starts_at, spent_nano)
INSERT INTO budget_leases AS kept (budget_id, starts_at, holder, granted_nano, spent_nano)
SELECT budget_id, starts_at, '', 0, spent_nano FROM gone ORDER BY budget_id, starts_at
ON CONFLICT (budget_id, starts_at, holder) DO UPDATE SET spent_nano = kept.spent_nano + excluded.spent_nano
"""
STATEMENTS = (GONE, LOCK, FOLD)


async def fold_leases(connection: Any, holder: str) -> None:
    """Fold a holder's leases into those of all that are gone. More than once is once.

    Args:
        connection: asyncpg's, in a transaction.
    """
    if holder:
        for statement in STATEMENTS:
            await connection.execute(statement, holder)
