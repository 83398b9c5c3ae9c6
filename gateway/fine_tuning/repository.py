"""SQL of fine-tuning jobs, events and checkpoints."""

from datetime import datetime
from typing import Any

from sqlalchemy import Select, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.tables import FineTuningCheckpointRow, FineTuningEventRow, FineTuningJobRow, ProjectRow
from gateway.errors import NotFound
from gateway.fine_tuning.transitions import ENDED, FROM, Status
from gateway.kit.clock import now
from gateway.kit.ids import new_id

Job = FineTuningJobRow

MESSAGE_LIMIT = 2000
"""Characters of one event or error."""


def of_project(project_id: str) -> Select[FineTuningJobRow]:
    return select(Job).where(Job.project_id == project_id)


async def find(session: AsyncSession, project_id: str, job_id: str) -> FineTuningJobRow:
    """Raises NotFound, also for another project's job."""
    row = await session.scalar(of_project(project_id).where(Job.id == job_id))
    if row is None:
        raise NotFound(f"Could not find fine tune: {job_id}", param="fine_tuning_job_id")
    return row


async def get(session: AsyncSession, job_id: str) -> FineTuningJobRow | None:
    return await session.get(Job, job_id)


async def move(
    session: AsyncSession,
    job_id: str,
    status: Status,
    *,
    holder: str | None = None,
    only_from: Status | None = None,
    **values: Any,
) -> bool:
    """Move a job to `status` if it is where it may come from; False when something else happened first.

    With `holder`, only while that lease is the job's: a worker that lost it may not decide anything any more; nor does
    a worker move a paused job. The lease stays until it is given back (gateway/fine_tuning/claims.py).
    """
    if status in ENDED:
        values |= {"finished_at": func.now()}
    if status != "running":
        values |= {"estimated_finish": None}
    starts = [start for start in FROM[status] if start == only_from or only_from is None]
    query = update(Job).where(Job.id == job_id).values(status=status, **values)
    if holder is not None:
        starts = [start for start in starts if start != "paused"]
        query = query.where(Job.lease_holder == holder)
    return await session.scalar(query.where(Job.status.in_(starts)).returning(Job.id)) is not None


async def without_estimate(session: AsyncSession) -> list[FineTuningJobRow]:
    """Jobs past their validation, not yet ended."""
    query = select(Job).where(Job.status.in_(("queued", "running")), Job.estimate.is_(None))
    return list(await session.scalars(query))


async def set_values(session: AsyncSession, job_id: str, **values: Any) -> None:
    """Change what is not the status, while the job has not ended."""
    await session.execute(update(Job).where(Job.id == job_id, Job.status.not_in(ENDED)).values(**values))


async def is_archived(session: AsyncSession, project_id: str) -> bool:
    query = select(ProjectRow.id).where(ProjectRow.id == project_id, ProjectRow.archived_at.is_not(None))
    return await session.scalar(query) is not None


async def add_event(session: AsyncSession, job_id: str, key: str, message: str, **columns: Any) -> None:
    """Tell something, once: the same key told again is ignored.

    Args:
        columns: `level` where it is not info, `created_at` where it is not now, `values` for programs to read.
    """
    row = _event(job_id, key, message, now()) | {"level": "info", "type": "message"} | columns
    await session.execute(insert(FineTuningEventRow).values(row).on_conflict_do_nothing())


async def add_metrics(
    session: AsyncSession, job_id: str, step: int, message: str, values: dict[str, Any], *, created_at: datetime
) -> None:
    """The metrics of one step. Told again they replace the earlier ones: a step that is trained again may know more
    (trainer/contract.py).
    """
    row = _event(job_id, f"step-{step}", message, created_at) | {"level": "info", "type": "metrics", "values": values}
    told = insert(FineTuningEventRow).values(row)
    newest = {"message": told.excluded.message, "values": told.excluded["values"]}
    await session.execute(told.on_conflict_do_update(index_elements=["job_id", "key"], set_=newest))


def _event(job_id: str, key: str, message: str, created_at: datetime) -> dict[str, Any]:
    return {
        "id": new_id("ftevent-"),
        "job_id": job_id,
        "key": key,
        "created_at": created_at,
        "message": storable(message),
    }


async def was_told(session: AsyncSession, job_id: str, message: str) -> bool:
    """Whether an event already says so."""
    query = select(FineTuningEventRow.id).where(FineTuningEventRow.job_id == job_id)
    return await session.scalar(query.where(FineTuningEventRow.message == message).limit(1)) is not None


def storable(text: str) -> str:
    """PostgreSQL's text holds no NUL, and nobody reads a message of megabytes."""
    text = text.replace("\x00", "\ufffd")
    return text if len(text) <= MESSAGE_LIMIT else text[:MESSAGE_LIMIT] + " ..."


async def add_checkpoint(session: AsyncSession, job_id: str, step: int, metrics: dict[str, Any]) -> None:
    row = {"id": new_id("ftckpt_"), "job_id": job_id, "created_at": now(), "step": step, "metrics": metrics}
    await session.execute(insert(FineTuningCheckpointRow).values(row).on_conflict_do_nothing())
