"""Budgets' rows: who may spend what, and how much of it is spent. The engine's own SQL lies beside it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, String, func, literal, or_, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.budgets.book import MIRROR
from gateway.budgets.opening import open_window, tell_reached
from gateway.budgets.windows import Window, window_of
from gateway.db.changes import touch
from gateway.db.driver import driver_of
from gateway.db.tables import BudgetEventRow, BudgetLeaseRow, BudgetRow, BudgetWindowRow, UsageHourRow
from gateway.errors import Conflict, NotFound
from gateway.kit.clock import now

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
    row = await session.scalar(query.with_for_update(key_share=True) if lock else query)
    if row is None:
        raise NotFound(f"No budget with id '{budget_id}'.", param="budget_id")
    return row


async def add(session: AsyncSession, row: BudgetRow) -> None:
    """In force in every process within a second of the commit.

    Raises:
        Conflict: it has the scope and the period of another that the same API made.
    """
    await lock(session)
    if row.source != "spend_alert" and (other := await session.scalar(_same_place(row))):
        each = "in total" if row.period == "total" else f"for each {row.period}"
        raise Conflict(
            f"There is a budget {each} of this {row.scope.replace('_', ' ')} already: {other.id}. Change that one (POST"
            f" /v1/budgets/{other.id}) or delete it.",
            headers=FINAL,
        )
    session.add(row)
    await open_window(await driver_of(session), row.id, window_at(row, now()))
    await touch(session, MIRROR)


async def changed(session: AsyncSession, row: BudgetRow) -> None:
    """Its limit, its thresholds or its kind, in force everywhere within a second; a threshold may be reached by that."""
    await tell_reached(await driver_of(session), row.id, window_at(row, now()).starts_at)
    await touch(session, MIRROR)


async def delete(session: AsyncSession, row: BudgetRow) -> None:
    """It binds nobody any more; what it told stays."""
    row.deleted_at = now()
    await touch(session, MIRROR)


async def lock(session: AsyncSession) -> None:
    """Nobody else makes a budget until the transaction ends."""
    await session.execute(select(func.pg_advisory_xact_lock(LOCK)))


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


async def states(session: AsyncSession, rows: Sequence[BudgetRow], moment: datetime) -> dict[str, State]:
    """What is spent and leased of each budget in the window that `moment` lies in."""
    windows = {row.id: window_at(row, moment) for row in rows}
    starts = {id: window.starts_at for id, window in windows.items()}
    spent, leased = await _spent(session, starts), await _leased(session, starts)
    spent |= await _sums_of_hours(session, {row: windows[row.id] for row in rows if row.id not in spent})
    return {id: State(window.starts_at, window.ends_at, spent[id], leased.get(id, 0)) for id, window in windows.items()}


def window_at(row: BudgetRow, moment: datetime) -> Window:
    """The window that `moment` lies in; a total's is the only one it has."""
    return window_of(row.period, row.created_at, moment) or Window(row.created_at, None)


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


async def _sums_of_hours(session: AsyncSession, windows: Mapping[BudgetRow, Window]) -> dict[str, int]:
    """Nothing was called in these windows yet, and they were not made: what they will begin with. A total's always was.

    A statement for each kind of owner and window, however many budgets there are.
    """
    alike: dict[tuple[str, Window], list[BudgetRow]] = {}
    for row, window in windows.items():
        alike.setdefault((row.scope, window), []).append(row)
    found: dict[str, int] = {}
    for (scope, window), rows in alike.items():
        sums = await _by_owner(session, scope, window, [_owner(row) for row in rows])
        found |= {row.id: sums.get(_owner(row), 0) for row in rows}
    return found


def _owner(row: BudgetRow) -> str:
    """Empty: everybody."""
    return row.api_key_id or row.project_id or ""


async def _by_owner(session: AsyncSession, scope: str, window: Window, owners: Sequence[str]) -> dict[str, int]:
    hour = UsageHourRow
    columns: dict[str, Any] = {"api_key": hour.api_key_id, "project": hour.project_id}
    owner = columns.get(scope, literal("", String))
    query = select(owner, func.sum(hour.cost_nano)).where(hour.hour >= window.starts_at).group_by(owner)
    if window.ends_at is not None:
        query = query.where(hour.hour < window.ends_at)
    if scope in columns:
        query = query.where(owner.in_(owners))
    return {name: int(nano) for name, nano in await session.execute(query)}
