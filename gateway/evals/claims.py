"""Which worker has which run: leases in PostgreSQL, so that a run whose worker died is taken up by another.

An output item is finished once: only by who holds the run's lease, and only while the item is queued.
"""

from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, exists, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from gateway.db.tables import EvalOutputItemRow, EvalRunRow
from gateway.evals.repository import UNFINISHED

Item = EvalOutputItemRow
Run = EvalRunRow


async def claim(session: AsyncSession, holder: str, seconds: float) -> str | None:
    """The id of a run that is to be done and that nobody does, now leased to `holder`.

    Projects take turns: first the run whose project has the fewest under way.
    """
    other = aliased(Run)
    under_way = (
        select(func.count())
        .where(other.project_id == Run.project_id, other.status.in_(UNFINISHED), other.leased_until > func.now())
        .scalar_subquery()
    )
    waiting = select(Run.id).where(Run.status.in_(UNFINISHED), Run.deleted_at.is_(None), _free())
    first = waiting.order_by(under_way, Run.created_at, Run.id).limit(1).with_for_update(skip_locked=True, of=Run)
    query = update(Run).where(Run.id == first.scalar_subquery()).values(status="in_progress", **_lease(holder, seconds))
    return await session.scalar(query.returning(Run.id).execution_options(synchronize_session=False))


async def extend(session: AsyncSession, run_id: str, holder: str, seconds: float) -> bool:
    """Whether the run is still to be done, by us: False when it was canceled or deleted, or another has it."""
    query = update(Run).where(_ours(run_id, holder), Run.deleted_at.is_(None)).values(**_lease(holder, seconds))
    return await session.scalar(query.returning(Run.id).execution_options(synchronize_session=False)) is not None


async def release(session: AsyncSession, run_id: str, holder: str) -> None:
    query = update(Run).where(Run.id == run_id, Run.lease_holder == holder)
    await session.execute(
        query.values(leased_until=None, lease_holder=None).execution_options(synchronize_session=False)
    )


async def finish(session: AsyncSession, run_id: str, holder: str, status: str, **values: Any) -> bool:
    """End a run; False when it is not ours any more."""
    query = update(Run).where(_ours(run_id, holder)).values(status=status, finished_at=func.now(), **values)
    return await session.scalar(query.returning(Run.id).execution_options(synchronize_session=False)) is not None


async def set_values(session: AsyncSession, run_id: str, holder: str, **values: Any) -> bool:
    """Change a run; False when it is not ours any more."""
    query = update(Run).where(_ours(run_id, holder)).values(**values)
    return await session.scalar(query.returning(Run.id).execution_options(synchronize_session=False)) is not None


async def finish_item(session: AsyncSession, item: EvalOutputItemRow, holder: str, **values: Any) -> bool:
    """What came out for one item; False when it has been done, or the run is not ours any more."""
    ours = exists().where(_ours(item.run_id, holder))
    query = update(Item).where(Item.id == item.id, Item.status == "queued", ours)
    query = query.values(finished_at=func.now(), **values).returning(Item.id)
    return await session.scalar(query.execution_options(synchronize_session=False)) is not None


async def waiting_items(
    session: AsyncSession, run_id: str, after: tuple[int, int], limit: int
) -> list[EvalOutputItemRow]:
    """Those that are to be done, behind (number, repeat) `after`, in order."""
    number, repeat = after
    behind = or_(Item.number > number, (Item.number == number) & (Item.repeat > repeat))
    query = select(Item).where(Item.run_id == run_id, Item.status == "queued", behind)
    return list(await session.scalars(query.order_by(Item.number, Item.repeat).limit(limit)))


def _ours(run_id: Any, holder: str) -> ColumnElement[bool]:
    return (Run.id == run_id) & (Run.lease_holder == holder) & (Run.status == "in_progress")


def _free() -> ColumnElement[bool]:
    return or_(Run.leased_until.is_(None), Run.leased_until < func.now())


def _lease(holder: str, seconds: float) -> dict[str, Any]:
    return {"lease_holder": holder, "leased_until": func.now() + timedelta(seconds=seconds)}
