"""A window begins: it is made when it is first needed, with what the ledger already has of its time."""

from datetime import datetime, timedelta
from typing import Any

from gateway.budgets.charges import TELL
from gateway.budgets.windows import Window
from gateway.db.locks import OWN_LEDGER

OPEN = """
WITH budget AS (SELECT * FROM budgets WHERE id = $1),
hours AS (
    SELECT coalesce(sum(h.cost_nano), 0) AS cost FROM usage_hours h, budget b
    WHERE h.hour >= $4::timestamptz AND ($3::timestamptz IS NULL OR h.hour < $3)
      AND (b.project_id IS NULL OR h.project_id = b.project_id) AND (b.api_key_id IS NULL OR h.api_key_id = b.api_key_id)
), part AS (
    SELECT coalesce(sum(l.cost_nano), 0) AS cost FROM ledger l, budget b
    WHERE l.created_at >= $2::timestamptz AND l.created_at < $4
      AND (b.project_id IS NULL OR l.project_id = b.project_id) AND (b.api_key_id IS NULL OR l.api_key_id = b.api_key_id)
)
INSERT INTO budget_windows (budget_id, starts_at, ends_at, spent_nano)
SELECT b.id, $2, $3, hours.cost + part.cost FROM budget b, hours, part
ON CONFLICT (budget_id, starts_at) DO NOTHING
RETURNING spent_nano
"""
"""The rollups have all whole hours; only a total, which begins at any moment, has a part of one before `whole`."""
FIRST_LEASE = """
INSERT INTO budget_leases (budget_id, starts_at, holder, granted_nano, spent_nano) VALUES ($1, $2, '', 0, $3)
"""
TELL_REACHED = TELL.format(budgets="ARRAY[$1::text]", starts="ARRAY[$2::timestamptz]")


async def open_window(connection: Any, budget_id: str, window: Window) -> None:
    """Make a window unless it is there. It waits until no posting to the ledger is under way, and holds up new ones
    until the transaction ends: each posting is in the first sum, or finds the window.

    To be called before anything else in the transaction that the ledger's postings lock.

    Args:
        connection: asyncpg's, in a transaction (a session's: gateway/db/driver.py).
    """
    starts = window.starts_at
    await connection.execute(OWN_LEDGER)
    spent = await connection.fetchval(OPEN, budget_id, starts, window.ends_at, _whole(starts))
    if spent is None:
        return
    await connection.execute(FIRST_LEASE, budget_id, starts, spent)
    await tell_reached(connection, budget_id, starts)


async def tell_reached(connection: Any, budget_id: str, starts_at: datetime) -> None:
    """Of the thresholds of a window that are reached, as a charge does (gateway/budgets/charges.py)."""
    await connection.execute(TELL_REACHED, budget_id, starts_at)


def _whole(moment: datetime) -> datetime:
    """The first hour that begins at `moment` or later."""
    hour = moment.replace(minute=0, second=0, microsecond=0)
    return hour if hour == moment else hour + timedelta(hours=1)
