"""Who holds leases of budgets: jobs, and gateway processes. These say again and again that they run, so that it shows
which of them never will again.

What a process spent is in its spool; whoever adopts that ends its leases (gateway/budgets/endings.py). Where the spool is
lost with its disk nobody can, and an administrator has to: `release`.
"""

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.budgets.beats import MISSED
from gateway.budgets.endings import end_leases
from gateway.db.tables import BudgetHolderRow, BudgetLeaseRow, BudgetRow, BudgetWindowRow
from gateway.errors import Conflict

QUIET = timedelta(seconds=300)
"""So long after its last word a process may be taken for dead."""
FINAL = {"x-should-retry": "false"}


@dataclass(frozen=True, slots=True)
class Lease:
    """What a holder may spend of a window that is on, and what of it is spent in the ledger. Nano-dollars."""

    budget_id: str
    starts_at: datetime
    ends_at: datetime | None
    granted: int
    spent: int

    @property
    def unspent(self) -> int:
        return max(self.granted - self.spent, 0)


async def processes(session: AsyncSession, holder: str | None = None) -> dict[str, BudgetHolderRow]:
    """By id; of all holders, or of one."""
    query = select(BudgetHolderRow)
    rows = await session.scalars(query.where(BudgetHolderRow.id == holder) if holder is not None else query)
    return {row.id: row for row in rows}


async def leases(session: AsyncSession, holder: str | None = None) -> dict[str, list[Lease]]:
    """By holder, of windows that are on; of all holders, or of one."""
    lease, window = BudgetLeaseRow, BudgetWindowRow
    query = select(lease, window.ends_at).join(
        window, (window.budget_id == lease.budget_id) & (window.starts_at == lease.starts_at)
    )
    query = query.join(BudgetRow, BudgetRow.id == lease.budget_id).where(BudgetRow.deleted_at.is_(None))
    query = query.where(window.ends_at.is_(None) | (window.ends_at > func.now()))
    query = query.where(lease.holder == holder if holder is not None else lease.holder != "")
    found: dict[str, list[Lease]] = defaultdict(list)
    for row, ends_at in await session.execute(query.order_by(lease.budget_id, lease.starts_at)):
        found[row.holder].append(Lease(row.budget_id, row.starts_at, ends_at, row.granted_nano, row.spent_nano))
    return dict(found)


async def release(session: AsyncSession, holder: str) -> None:
    """End the leases of a process that is dead. What it spent and did not bring to the ledger stays unknown.

    While the database is away nobody can say that it runs. So somebody must have been able to, all the time that this
    process was silent.

    Raises Conflict: it may be alive.
    """
    row = BudgetHolderRow
    silent = await session.scalar(select(func.now() - row.seen_at).where(row.id == holder).with_for_update())
    if silent is not None and silent < QUIET:
        ago = max(int(silent.total_seconds()), 0)
        raise Conflict(
            f"{holder} runs: it said so {ago} s ago. It gives back what it does not need. If it has died since, try again"
            f" {int(QUIET.total_seconds())} s after its last word.",
            headers=FINAL,
        )
    heard = select(func.now() - func.min(row.since)).where(row.seen_at > func.now() - MISSED)
    witnessed = await session.scalar(heard) or timedelta()
    if witnessed < QUIET:
        wait = int((QUIET - witnessed).total_seconds())
        raise Conflict(
            "No gateway has been in touch with the database for long enough to know who else is; try again in"
            f" {wait} s.",
            headers=FINAL,
        )
    await end_leases(session, holder)
