"""Money set aside for long work that is no call of a gateway process: fine-tuning jobs, under their own id as holder."""

from datetime import datetime

from sqlalchemy import ColumnElement, and_, or_, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.budgets.book import budget_of
from gateway.budgets.endings import end_leases
from gateway.budgets.opening import open_window
from gateway.budgets.refusals import busy, exhausted
from gateway.budgets.windows import window_of
from gateway.db.tables import BudgetRow
from gateway.kit.clock import now

LOCK = "SELECT FROM budget_windows WHERE budget_id = :id AND starts_at = :starts FOR UPDATE"
SUMS = """
SELECT coalesce(sum(greatest(granted_nano, spent_nano)), 0)::bigint AS committed,
       coalesce(sum(spent_nano), 0)::bigint AS spent
FROM budget_leases WHERE budget_id = :id AND starts_at = :starts
"""
HOLD = """
INSERT INTO budget_leases AS kept (budget_id, starts_at, holder, granted_nano, spent_nano)
VALUES (:id, :starts, :holder, :amount, 0)
ON CONFLICT (budget_id, starts_at, holder)
DO UPDATE SET granted_nano = greatest(kept.granted_nano, kept.spent_nano) + excluded.granted_nano
"""


async def hold(
    session: AsyncSession,
    project_id: str,
    api_key_id: str,
    holder: str,
    amount_nano: int,
    moment: datetime | None = None,
) -> None:
    """Set `amount_nano` aside in every hard budget that covers the key, or in none; more than once adds up. What the
    holder posts to the ledger is charged to it. The windows of soft budgets are made too.

    Args:
        moment: whose windows are meant: what is posted later is dated then. The present when left out.

    It waits for nothing. To be called before anything else in the transaction that postings to the ledger lock.

    Raises:
        BudgetExhausted: what is left does not pay for it.
        BudgetBusy: what is left is leased to gateway processes or held by others, and may come back.
    """
    moment = moment or now()
    rows = await session.scalars(select(BudgetRow).where(_covers(project_id, api_key_id)).order_by(BudgetRow.id))
    budgets = [budget_of(row) for row in rows]
    windows = [(each, found) for each in budgets if (found := window_of(each.period, each.created_at, moment))]
    for budget, window in windows:
        await open_window(session, budget.id, window)
    for budget, window in windows:
        if not budget.hard:
            continue
        place = {"id": budget.id, "starts": window.starts_at}
        await session.execute(text(LOCK), place)
        sums = (await session.execute(text(SUMS), place)).one()
        if budget.limit - sums.spent < amount_nano:
            raise exhausted(budget, window, budget.limit, sums.spent)
        if budget.limit - sums.committed < amount_nano:
            raise busy(budget)
        await session.execute(text(HOLD), place | {"holder": holder, "amount": amount_nano})


async def release(session: AsyncSession, holder: str) -> None:
    """The work has ended and what it cost is in the ledger: give back the rest. More than once is once."""
    await end_leases(session, holder)


def _covers(project_id: str, api_key_id: str) -> ColumnElement[bool]:
    return and_(
        BudgetRow.deleted_at.is_(None),
        or_(
            BudgetRow.scope == "organization",
            and_(BudgetRow.scope == "project", BudgetRow.project_id == project_id),
            and_(BudgetRow.scope == "api_key", BudgetRow.api_key_id == api_key_id),
        ),
    )
