"""Budgets' rows: who may spend what, and how much of it is spent. The engine's own SQL lies beside it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Select, func, or_, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.mirror import touch
from gateway.db.tables import BudgetEventRow, BudgetLeaseRow, BudgetRow, BudgetWindowRow, UsageHourRow
from gateway.errors import Conflict, NotFound
from gateway.kit.clock import now

MIRROR = "budgets"
LOCK = 7_305_212_864_023
"""Any fixed number: PostgreSQL's advisory lock that lets one budget be made at a time."""
FINAL = {"x-should-retry": "false"}
"""SDKs send a call that got 409 again otherwise."""


@dataclass(frozen=True)
class State:
    """A budget's window that is on, in nano-dollars."""

    starts_at: datetime
    ends_at: datetime | None
    spent: int
    leased: int
    """Granted to holders and not spent."""


def live(sources: Sequence[str] = ()) -> Select[BudgetRow]:
    """Those that are in force, or those of them that one API made."""
    query = select(BudgetRow).where(BudgetRow.deleted_at.is_(None))
    return query.where(BudgetRow.source.in_(sources)) if sources else query


def binding(project_id: str, api_key_id: str) -> Select[BudgetRow]:
    """The hard ones that a key's calls count against, the widest first."""
    covers = or_(
        BudgetRow.scope == "organization",
        (BudgetRow.scope == "project") & (BudgetRow.project_id == project_id),
        BudgetRow.api_key_id == api_key_id,
    )
    order = func.array_position(["organization", "project", "api_key"], BudgetRow.scope)
    return live().where(BudgetRow.hard, covers).order_by(order, BudgetRow.created_at, BudgetRow.id)


async def budget(session: AsyncSession, budget_id: str, *, lock: bool = False) -> BudgetRow:
    """Raises NotFound."""
    query = live().where(BudgetRow.id == budget_id)
    row = await session.scalar(query.with_for_update() if lock else query)
    if row is None:
        raise NotFound(f"No budget with id '{budget_id}'.", param="budget_id")
    return row


async def add(session: AsyncSession, row: BudgetRow) -> None:
    """In force in every process within a second of the commit.

    Raises:
        Conflict: it has the scope and the period of another that the same API made.
    """
    await session.execute(select(func.pg_advisory_xact_lock(LOCK)))
    if row.source != "spend_alert" and (other := await session.scalar(_same_place(row))):
        raise Conflict(
            f"There is a budget of this scope for each {row.period} already: {other.id}. Change that one"
            f" (POST /v1/budgets/{other.id}) or delete it."
            if row.period != "total"
            else f"There is a budget of this scope in total already: {other.id}. Change that one"
            f" (POST /v1/budgets/{other.id}) or delete it.",
            headers=FINAL,
        )
    session.add(row)
    await session.flush()
    await touch(session, MIRROR)


async def changed(session: AsyncSession) -> None:
    """A budget's limit, thresholds or kind."""
    await touch(session, MIRROR)


async def delete(session: AsyncSession, row: BudgetRow) -> None:
    """It binds nobody any more; what it told stays."""
    row.deleted_at = now()
    await touch(session, MIRROR)


def _same_place(row: BudgetRow) -> Select[BudgetRow]:
    return live([row.source]).where(
        BudgetRow.scope == row.scope,
        BudgetRow.project_id.is_not_distinct_from(row.project_id),
        BudgetRow.api_key_id.is_not_distinct_from(row.api_key_id),
        BudgetRow.period == row.period,
    )


def events(budget_id: str) -> Select[BudgetEventRow]:
    return select(BudgetEventRow).where(BudgetEventRow.budget_id == budget_id)


async def unannounced(session: AsyncSession, limit: int) -> list[tuple[BudgetEventRow, BudgetRow]]:
    """Thresholds that nobody was told of yet, oldest first; locked, and without those that another tells of now."""
    query = select(BudgetEventRow, BudgetRow).join(BudgetRow).where(BudgetEventRow.announced_at.is_(None))
    query = query.order_by(BudgetEventRow.created_at, BudgetEventRow.id).limit(limit)
    found = await session.execute(query.with_for_update(of=BudgetEventRow, skip_locked=True))
    return [(event, row) for event, row in found]


async def states(session: AsyncSession, rows: Iterable[BudgetRow], moment: datetime) -> dict[str, State]:
    """What is spent and leased of each budget in the window that `moment` lies in."""
    starts = {row.id: start_of(row, moment) for row in rows}
    spent = await _spent(session, starts)
    leased = await _leased(session, starts)
    result: dict[str, State] = {}
    for row in rows:
        begin, end = starts[row.id], end_of(row, starts[row.id])
        known = spent[row.id] if row.id in spent else await _sum_of_hours(session, row, begin, end)
        result[row.id] = State(begin, end, known, leased.get(row.id, 0))
    return result


async def _spent(session: AsyncSession, starts: dict[str, datetime]) -> dict[str, int]:
    window = BudgetWindowRow
    place = tuple_(window.budget_id, window.starts_at).in_(list(starts.items()))
    found = await session.execute(select(window.budget_id, window.spent_nano).where(place))
    return {row.budget_id: row.spent_nano for row in found}


async def _leased(session: AsyncSession, starts: dict[str, datetime]) -> dict[str, int]:
    lease = BudgetLeaseRow
    unspent = func.sum(func.greatest(lease.granted_nano - lease.spent_nano, 0)).label("unspent")
    query = select(lease.budget_id, unspent).where(tuple_(lease.budget_id, lease.starts_at).in_(list(starts.items())))
    return {row.budget_id: int(row.unspent) for row in await session.execute(query.group_by(lease.budget_id))}


async def _sum_of_hours(session: AsyncSession, row: BudgetRow, begin: datetime, end: datetime | None) -> int:
    """Nothing was called under this budget yet, and it has no window: what the first one will begin with."""
    if row.period == "total":
        return 0
    hour = UsageHourRow
    query = select(func.coalesce(func.sum(hour.cost_nano), 0)).where(hour.hour >= begin, hour.hour < end)
    if row.api_key_id is not None:
        query = query.where(hour.api_key_id == row.api_key_id)
    elif row.project_id is not None:
        query = query.where(hour.project_id == row.project_id)
    return int(await session.scalar(query) or 0)


def start_of(row: BudgetRow, moment: datetime) -> datetime:
    day = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    match row.period:
        case "total":
            return row.created_at
        case "week":
            return day - timedelta(days=day.weekday())
        case "month":
            return day.replace(day=1)
        case _:
            return day


def end_of(row: BudgetRow, starts_at: datetime) -> datetime | None:
    match row.period:
        case "total":
            return None
        case "week":
            return starts_at + timedelta(days=7)
        case "month":
            return (starts_at.replace(day=1) + timedelta(days=32)).replace(day=1)
        case _:
            return starts_at + timedelta(days=1)
