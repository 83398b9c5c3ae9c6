"""SQL of evals, their runs and what came out. Everything is a project's own; what was deleted is not there."""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, Select, delete, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.tables import EvalComparisonRow, EvalOutputItemRow, EvalRow, EvalRunRow
from gateway.errors import NotFound

Item = EvalOutputItemRow
Run = EvalRunRow

UNFINISHED = ("queued", "in_progress")
RUN_STATUSES = ("queued", "in_progress", "completed", "canceled", "failed")
GRADED = ("pass", "fail", "error")
"""Statuses of output items that have ended."""


def of_project(project_id: str) -> Select[EvalRow]:
    return select(EvalRow).where(EvalRow.project_id == project_id, EvalRow.deleted_at.is_(None))


async def find(session: AsyncSession, project_id: str, eval_id: str) -> EvalRow:
    """Raises NotFound, also for another project's."""
    row = await session.scalar(of_project(project_id).where(EvalRow.id == eval_id))
    if row is None:
        raise NotFound(f"No eval with id '{eval_id}'.", param="eval_id")
    return row


def runs_of(eval_id: str) -> Select[EvalRunRow]:
    return select(Run).where(Run.eval_id == eval_id, Run.deleted_at.is_(None))


async def find_run(
    session: AsyncSession, project_id: str, eval_id: str, run_id: str, *, param: str = "run_id"
) -> EvalRunRow:
    """Raises NotFound."""
    await find(session, project_id, eval_id)
    row = await session.scalar(runs_of(eval_id).where(Run.id == run_id))
    if row is None:
        raise NotFound(f"No run with id '{run_id}' in eval '{eval_id}'.", param=param)
    return row


def graded(run_id: str, statuses: Sequence[str] = GRADED) -> Select[EvalOutputItemRow]:
    """What has ended of a run."""
    return select(Item).where(Item.run_id == run_id, Item.status.in_(statuses))


def graded_at(run_id: str, numbers: Sequence[int]) -> Select[EvalOutputItemRow]:
    """What has ended of a run for the items at these places of its data."""
    return graded(run_id).where(Item.number.in_(numbers))


async def find_item(session: AsyncSession, run_id: str, item_id: str) -> EvalOutputItemRow:
    """Raises NotFound."""
    row = await session.scalar(graded(run_id).where(Item.id == item_id))
    if row is None:
        raise NotFound(f"No output item with id '{item_id}' in run '{run_id}'.", param="output_item_id")
    return row


async def cancel(session: AsyncSession, run: EvalRunRow) -> None:
    """A run that has ended stays what it is. Whoever works on it notices when the lease is extended next."""
    query = update(Run).where(Run.id == run.id, Run.status.in_(UNFINISHED))
    await session.execute(query.values(status="canceled", finished_at=func.now()))
    await session.refresh(run)


async def delete_run(session: AsyncSession, run: EvalRunRow) -> None:
    """What was asked and answered is gone for good; who works on it stops."""
    await _remove(session, Run.id == run.id)


async def delete_eval(session: AsyncSession, row: EvalRow) -> None:
    """With its runs."""
    await _remove(session, Run.eval_id == row.id)
    await session.execute(update(EvalRow).where(EvalRow.id == row.id).values(deleted_at=func.now()))


async def _remove(session: AsyncSession, which: ColumnElement[bool]) -> None:
    """The row of a run comes first: a worker that still adds items to it waits, and then finds it canceled."""
    ends = update(Run).where(which, Run.status.in_(UNFINISHED)).values(status="canceled", finished_at=func.now())
    await session.execute(ends)
    hidden = update(Run).where(which, Run.deleted_at.is_(None)).values(deleted_at=func.now(), data_source={})
    await session.execute(hidden)
    runs = select(Run.id).where(which)
    await session.execute(delete(Item).where(Item.run_id.in_(runs)))
    compared = or_(EvalComparisonRow.run_id.in_(runs), EvalComparisonRow.base_run_id.in_(runs))
    await session.execute(delete(EvalComparisonRow).where(compared))
