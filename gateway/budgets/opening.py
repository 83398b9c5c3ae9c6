"""A window begins: it is made when it is first needed, with what the ledger already has of its time."""

from datetime import datetime, timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.budgets.charges import TELL
from gateway.budgets.windows import Window
from gateway.db.locks import OWN_LEDGER

OPEN = """
WITH budget AS (SELECT * FROM budgets WHERE id = :id),
hours AS (
    SELECT coalesce(sum(h.cost_nano), 0) AS cost FROM usage_hours h, budget b
    WHERE h.hour >= CAST(:whole AS timestamptz) AND (CAST(:ends AS timestamptz) IS NULL OR h.hour < :ends)
      AND (b.project_id IS NULL OR h.project_id = b.project_id) AND (b.api_key_id IS NULL OR h.api_key_id = b.api_key_id)
), part AS (
    SELECT coalesce(sum(l.cost_nano), 0) AS cost FROM ledger l, budget b
    WHERE l.created_at >= CAST(:starts AS timestamptz) AND l.created_at < :whole
      AND (b.project_id IS NULL OR l.project_id = b.project_id) AND (b.api_key_id IS NULL OR l.api_key_id = b.api_key_id)
)
INSERT INTO budget_windows (budget_id, starts_at, ends_at, spent_nano)
SELECT b.id, :starts, :ends, hours.cost + part.cost FROM budget b, hours, part
ON CONFLICT (budget_id, starts_at) DO NOTHING
RETURNING spent_nano
"""
"""The rollups have all whole hours; only a total, which begins at any moment, has a part of one before `whole`."""
FIRST_LEASE = """
INSERT INTO budget_leases (budget_id, starts_at, holder, granted_nano, spent_nano) VALUES (:id, :starts, '', 0, :spent)
"""
TELL_OPENED = TELL.format(budgets="ARRAY[CAST(:id AS text)]", starts="ARRAY[CAST(:starts AS timestamptz)]")


async def open_window(session: AsyncSession, budget_id: str, window: Window) -> None:
    """Make a window unless it is there. It waits until no posting to the ledger is under way, and holds up new ones
    until the transaction ends: each posting is in the first sum, or finds the window.

    To be called before anything else in the transaction that the ledger's postings lock.
    """
    await session.execute(text(OWN_LEDGER))
    values = {"id": budget_id, "starts": window.starts_at, "ends": window.ends_at, "whole": _whole(window.starts_at)}
    spent = await session.scalar(text(OPEN), values)
    if spent is None:
        return
    await session.execute(text(FIRST_LEASE), {"id": budget_id, "starts": window.starts_at, "spent": spent})
    await session.execute(text(TELL_OPENED), {"id": budget_id, "starts": window.starts_at})


def _whole(moment: datetime) -> datetime:
    """The first hour that begins at `moment` or later."""
    hour = moment.replace(minute=0, second=0, microsecond=0)
    return hour if hour == moment else hour + timedelta(hours=1)
