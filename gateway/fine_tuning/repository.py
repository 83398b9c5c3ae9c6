"""SQL of fine-tuning jobs, events and checkpoints."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, func, or_, select, update
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


async def move(session: AsyncSession, job_id: str, status: Status, *, holder: str | None = None, **values: Any) -> bool:
    """Move a job to `status` if it is where it may come from; False when something else happened first.

    With `holder`, only while that lease is the job's: a worker that lost it may not decide anything any more.
    """
    if status in ENDED:
        values |= {"finished_at": func.now(), "estimated_finish": None}
    if status != "running":
        values |= {"leased_until": None, "lease_holder": None}
    query = update(Job).where(Job.id == job_id, Job.status.in_(FROM[status])).values(status=status, **values)
    if holder is not None:
        query = query.where(Job.lease_holder == holder)
    return await session.scalar(query.returning(Job.id)) is not None


async def set_values(session: AsyncSession, job_id: str, **values: Any) -> None:
    """Change what is not the status, while the job has not ended."""
    await session.execute(update(Job).where(Job.id == job_id, Job.status.not_in(ENDED)).values(**values))


async def claim(session: AsyncSession, holder: str, lease_seconds: float) -> str | None:
    """The id of the oldest job that waits or whose worker is gone, now leased to `holder`."""
    waiting = (
        select(Job.id)
        .where(Job.status.in_(("queued", "running")), _free())
        .order_by(Job.created_at)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    query = update(Job).where(Job.id == waiting.scalar_subquery()).values(**_lease(holder, lease_seconds))
    return await session.scalar(query.returning(Job.id))


async def claim_validation(session: AsyncSession, job_id: str, holder: str, lease_seconds: float) -> bool:
    """Lease a job that is to be validated; False when it has moved on or another worker validates it."""
    query = update(Job).where(Job.id == job_id, Job.status == "validating_files", _free())
    return await session.scalar(query.values(**_lease(holder, lease_seconds)).returning(Job.id)) is not None


async def extend_lease(session: AsyncSession, job_id: str, holder: str, lease_seconds: float) -> bool:
    """Keep a lease; False when the job has ended (a cancel) or another worker has it."""
    query = update(Job).where(Job.id == job_id, Job.lease_holder == holder, Job.status.not_in(ENDED))
    query = query.values(leased_until=func.now() + timedelta(seconds=lease_seconds))
    return await session.scalar(query.returning(Job.id)) is not None


async def release(session: AsyncSession, job_id: str, holder: str) -> None:
    """Give a job back, so that the next worker need not wait for the lease to run out."""
    query = update(Job).where(Job.id == job_id, Job.lease_holder == holder)
    await session.execute(query.values(leased_until=None, lease_holder=None))


async def unvalidated(session: AsyncSession, older_than_seconds: float) -> list[str]:
    """Jobs whose validation was lost with a worker or a queue."""
    edge = func.now() - timedelta(seconds=older_than_seconds)
    query = select(Job.id).where(Job.status == "validating_files", Job.created_at < edge, _free())
    return list(await session.scalars(query.order_by(Job.created_at)))


def _free() -> ColumnElement[bool]:
    return or_(Job.leased_until.is_(None), Job.leased_until < func.now())


def _lease(holder: str, seconds: float) -> dict[str, Any]:
    return {"lease_holder": holder, "leased_until": func.now() + timedelta(seconds=seconds)}


async def is_archived(session: AsyncSession, project_id: str) -> bool:
    query = select(ProjectRow.id).where(ProjectRow.id == project_id, ProjectRow.archived_at.is_not(None))
    return await session.scalar(query) is not None


async def add_event(
    session: AsyncSession,
    job_id: str,
    key: str,
    message: str,
    *,
    level: str = "info",
    created_at: datetime | None = None,
) -> None:
    """Tell something, once: the same key told again is ignored."""
    row = _event(job_id, key, message, created_at or now()) | {"level": level, "type": "message"}
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
