"""SQL of fine-tuning jobs, events, checkpoints and the models they make."""

from datetime import timedelta
from typing import Any

from sqlalchemy import Select, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.mirror import touch
from gateway.db.tables import FineTuningCheckpointRow, FineTuningEventRow, FineTuningJobRow, ModelRow
from gateway.errors import NotFound
from gateway.fine_tuning.transitions import ENDED, FROM, Status
from gateway.kit.clock import now
from gateway.kit.ids import new_id

Job = FineTuningJobRow


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


async def move(session: AsyncSession, job_id: str, status: Status, **values: Any) -> bool:
    """Move a job to `status` if it is where it may come from; False when something else happened first."""
    if status in ENDED:
        values |= {"finished_at": func.now(), "leased_until": None, "lease_holder": None, "estimated_finish": None}
    query = update(Job).where(Job.id == job_id, Job.status.in_(FROM[status])).values(status=status, **values)
    return await session.scalar(query.returning(Job.id)) is not None


async def set_values(session: AsyncSession, job_id: str, **values: Any) -> None:
    """Change what is not the status, while the job has not ended."""
    await session.execute(update(Job).where(Job.id == job_id, Job.status.not_in(ENDED)).values(**values))


async def claim(session: AsyncSession, holder: str, lease_seconds: float) -> str | None:
    """The id of the oldest job that waits or whose worker is gone, now leased to `holder`."""
    waiting = (
        select(Job.id)
        .where(Job.status.in_(("queued", "running")), or_(Job.leased_until.is_(None), Job.leased_until < func.now()))
        .order_by(Job.created_at)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    lease = {"lease_holder": holder, "leased_until": func.now() + timedelta(seconds=lease_seconds)}
    return await session.scalar(
        update(Job).where(Job.id == waiting.scalar_subquery()).values(**lease).returning(Job.id)
    )


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
    query = select(Job.id).where(Job.status == "validating_files", Job.created_at < edge)
    return list(await session.scalars(query.order_by(Job.created_at)))


async def anything_waits(session: AsyncSession) -> bool:
    """Whether `claim` would find a job."""
    free = or_(Job.leased_until.is_(None), Job.leased_until < func.now())
    return await session.scalar(select(Job.id).where(Job.status.in_(("queued", "running")), free).limit(1)) is not None


async def add_event(
    session: AsyncSession,
    job_id: str,
    key: str,
    message: str,
    *,
    level: str = "info",
    values: dict[str, Any] | None = None,
) -> None:
    """Tell something, once: the same key told again is ignored."""
    row = {
        "id": new_id("ftevent-"),
        "job_id": job_id,
        "key": key,
        "created_at": now(),
        "level": level,
        "type": "metrics" if values else "message",
        "message": message.replace("\x00", "\ufffd"),
        "values": values,
    }
    await session.execute(insert(FineTuningEventRow).values(row).on_conflict_do_nothing())


async def add_checkpoint(session: AsyncSession, job_id: str, step: int, metrics: dict[str, Any]) -> None:
    row = {"id": new_id("ftckpt_"), "job_id": job_id, "created_at": now(), "step": step, "metrics": metrics}
    await session.execute(insert(FineTuningCheckpointRow).values(row).on_conflict_do_nothing())


async def add_model(session: AsyncSession, row: ModelRow) -> None:
    """The model exists for every gateway process within a second of the commit."""
    session.add(row)
    await touch(session, "models")


async def model_of_job(session: AsyncSession, job_id: str) -> ModelRow | None:
    return await session.scalar(select(ModelRow).where(ModelRow.job_id == job_id))


async def live_models(session: AsyncSession) -> list[ModelRow]:
    return list(await session.scalars(select(ModelRow).where(ModelRow.deleted_at.is_(None))))


async def live_model(session: AsyncSession, project_id: str, model_id: str) -> ModelRow | None:
    query = select(ModelRow).where(ModelRow.id == model_id, ModelRow.project_id == project_id)
    return await session.scalar(query.where(ModelRow.deleted_at.is_(None)))
