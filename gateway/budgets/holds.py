"""Money set aside for long work that is no call of a gateway process: fine-tuning jobs, under their own id as holder."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, and_, or_, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.budgets.book import Budget, budget_of
from gateway.budgets.endings import end_leases
from gateway.budgets.opening import open_window
from gateway.budgets.refusals import busy, exhausted
from gateway.budgets.windows import Window, window_of
from gateway.db.driver import driver_of
from gateway.db.tables import BudgetLeaseRow, BudgetRow
from gateway.kit.clock import now

LOCK = "SELECT FROM budget_windows WHERE budget_id = :id AND starts_at = :starts FOR UPDATE"
SUMS = """
SELECT coalesce(sum(greatest(granted_nano, spent_nano)), 0)::bigint AS committed,
       coalesce(sum(spent_nano), 0)::bigint AS spent,
       coalesce(sum(greatest(granted_nano - spent_nano, 0)) FILTER (WHERE holder = :holder), 0)::bigint AS own
FROM budget_leases WHERE budget_id = :id AND starts_at = :starts
"""
HOLD = """
INSERT INTO budget_leases AS kept (budget_id, starts_at, holder, granted_nano, spent_nano)
VALUES (:id, :starts, :holder, :amount, 0)
ON CONFLICT (budget_id, starts_at, holder)
DO UPDATE SET granted_nano = greatest(kept.granted_nano, kept.spent_nano) + excluded.granted_nano
"""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a holder's work is to be charged."""

    budget: Budget
    window: Window


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
    for place in await _opened(session, project_id, api_key_id, moment or now()):
        await _set_aside(session, place, holder, amount_nano)


async def hold_at_least(
    session: AsyncSession, project_id: str, api_key_id: str, holder: str, amount_nano: int, moment: datetime
) -> None:
    """The same, but what the holder has of a budget already is a part of `amount_nano` there."""
    for place in await _opened(session, project_id, api_key_id, moment):
        await _set_aside(session, place, holder, amount_nano, with_own=True)


async def hold_more(session: AsyncSession, holder: str, amount_nano: int, moment: datetime) -> None:
    """Set that much more aside wherever the holder has some in the windows of `moment`, or nowhere. Raises like `hold`."""
    for place in await _places_of(session, holder, moment):
        await _set_aside(session, place, holder, amount_nano)


async def hold_in(session: AsyncSession, place: Place, holder: str, amount_nano: int) -> None:
    """Have that much set aside in one hard budget. Raises like `hold`."""
    await open_window(await driver_of(session), place.budget.id, place.window)
    await _set_aside(session, place, holder, amount_nano, with_own=True)


async def without_hold(
    session: AsyncSession, project_id: str, api_key_id: str, holder: str, moment: datetime
) -> list[Place]:
    """Hard budgets that cover the key, in whose windows of `moment` nothing was ever set aside for the holder: they were
    made, or made hard, after it began."""
    known = {place.budget.id for place in await _places_of(session, holder, moment)}
    places = await _places(session, project_id, api_key_id, moment)
    return [place for place in places if place.budget.hard and place.budget.id not in known]


async def release(session: AsyncSession, holder: str) -> None:
    """The work has ended and what it cost is in the ledger: give back the rest. More than once is once."""
    await end_leases(session, holder)


async def _opened(session: AsyncSession, project_id: str, api_key_id: str, moment: datetime) -> list[Place]:
    """Of the hard ones, in a fixed order; those of soft ones are made, too."""
    places = await _places(session, project_id, api_key_id, moment)
    for place in places:
        await open_window(await driver_of(session), place.budget.id, place.window)
    return [place for place in places if place.budget.hard]


async def _places(session: AsyncSession, project_id: str, api_key_id: str, moment: datetime) -> list[Place]:
    """Of every budget that covers the key, in a fixed order. A window that was over before its budget was made counts
    for nobody."""
    rows = await session.scalars(select(BudgetRow).where(_covers(project_id, api_key_id)).order_by(BudgetRow.id))
    budgets = [budget_of(row) for row in rows]
    places = [Place(each, found) for each in budgets if (found := window_of(each.period, each.created_at, moment))]
    return [place for place in places if place.window.ends_at is None or place.budget.created_at < place.window.ends_at]


async def _places_of(session: AsyncSession, holder: str, moment: datetime) -> list[Place]:
    """The hard budgets in whose windows of `moment` the holder has something, in a fixed order."""
    query = select(BudgetRow, BudgetLeaseRow.starts_at).join(BudgetLeaseRow).order_by(BudgetRow.id)
    query = query.where(BudgetRow.deleted_at.is_(None), BudgetRow.hard, BudgetLeaseRow.holder == holder)
    found: list[Place] = []
    for row, starts_at in await session.execute(query):
        budget, window = budget_of(row), window_of(row.period, row.created_at, moment)
        if window is not None and window.starts_at == starts_at:
            found.append(Place(budget, window))
    return found


async def _set_aside(
    session: AsyncSession, place: Place, holder: str, amount_nano: int, *, with_own: bool = False
) -> None:
    """Args: with_own: what the holder has there already is a part of `amount_nano`."""
    budget, window = place.budget, place.window
    values = {"id": budget.id, "starts": window.starts_at, "holder": holder}
    await session.execute(text(LOCK), {"id": budget.id, "starts": window.starts_at})
    sums = (await session.execute(text(SUMS), values)).one()
    own = sums.own if with_own else 0
    if amount_nano <= own:
        return
    if budget.limit - sums.spent < amount_nano:
        raise exhausted(budget, window, budget.limit, sums.spent)
    if budget.limit - sums.committed < amount_nano - own:
        raise busy(budget)
    await session.execute(text(HOLD), values | {"amount": amount_nano - own})


def _covers(project_id: str, api_key_id: str) -> ColumnElement[bool]:
    return and_(
        BudgetRow.deleted_at.is_(None),
        or_(
            BudgetRow.scope == "organization",
            and_(BudgetRow.scope == "project", BudgetRow.project_id == project_id),
            and_(BudgetRow.scope == "api_key", BudgetRow.api_key_id == api_key_id),
        ),
    )
