"""Which worker has which job: the SQL of leases and of the queue.

A lease is also the right to write into the job's directory. So a cancel or a pause leaves it to the worker, who gives it
back once its trainer has ended; only then may the job be taken up again.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, case, func, or_, select, true, update
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.tables import FineTuningJobRow
from gateway.fine_tuning.transitions import ENDED
from gateway.fine_tuning.turns import Waiting, next_turn

Job = FineTuningJobRow

CLAIMS = 7_305_001
"""Advisory lock of whoever decides on the next job, so that two do not count the same running jobs."""


@dataclass(frozen=True, kw_only=True)
class Queue:
    """What waits and what runs, over all projects."""

    waiting: list[Waiting]
    running: list[str]
    """Project ids, the longest running job's first."""
    abandoned: list[str]
    """Ids of jobs that should run and whose worker is gone, oldest first."""
    last_start: dict[str, float]
    """Project id -> Unix seconds."""


async def claim(session: AsyncSession, holder: str, lease_seconds: float) -> str | None:
    """The id of the job whose turn it is, or whose worker is gone, now leased to `holder`.

    None when there is none, or while another worker decides at this very moment: then the next round asks again.
    """
    if not await session.scalar(select(func.pg_try_advisory_xact_lock(CLAIMS))):
        return None
    queue = await read_queue(session)
    waiting = list(queue.waiting)
    for job_id in queue.abandoned:
        if await _lease_to(session, job_id, holder, lease_seconds):
            return job_id
    while job := next_turn(waiting, queue.running, queue.last_start):
        if await _lease_to(session, job.job_id, holder, lease_seconds):
            return job.job_id
        waiting.remove(job)  # cancelled or paused in this moment
    return None


async def read_queue(session: AsyncSession) -> Queue:
    columns = (Job.id, Job.project_id, Job.created_at, Job.started_at, Job.status, _free().label("free"))
    query = select(*columns).where(Job.status.in_(("queued", "running")), Job.unvalidated.is_(False))
    rows = (await session.execute(query.order_by(Job.created_at, Job.id))).all()
    busy = [row for row in rows if row.status == "running" or not row.free]
    return Queue(
        waiting=[
            Waiting(job_id=row.id, project_id=row.project_id, created_at=row.created_at)
            for row in rows
            if row.status == "queued" and row.free
        ],
        running=[row.project_id for row in sorted(busy, key=lambda row: row.started_at or row.created_at)],
        abandoned=[row.id for row in rows if row.status == "running" and row.free],
        last_start=await _last_starts(session, {row.project_id for row in rows}),
    )


async def _last_starts(session: AsyncSession, projects: set[str]) -> dict[str, float]:
    query = select(Job.project_id, func.max(Job.started_at)).where(Job.project_id.in_(projects))
    rows = (await session.execute(query.where(Job.started_at.is_not(None)).group_by(Job.project_id))).all()
    return {project: started.timestamp() for project, started in rows if started}


async def _lease_to(session: AsyncSession, job_id: str, holder: str, seconds: float) -> bool:
    query = update(Job).where(Job.id == job_id, Job.status.in_(("queued", "running")), _free())
    return await session.scalar(query.values(**_lease(holder, seconds)).returning(Job.id)) is not None


async def begin(session: AsyncSession, job_id: str, holder: str) -> bool:
    """A leased job runs from now on; False when it was cancelled or paused since it was claimed."""
    query = update(Job).where(Job.id == job_id, Job.lease_holder == holder, Job.status.in_(("queued", "running")))
    started = case((Job.status == "queued", func.now()), else_=Job.started_at)
    return await session.scalar(query.values(status="running", started_at=started).returning(Job.id)) is not None


async def claim_validation(session: AsyncSession, job_id: str, holder: str, lease_seconds: float) -> bool:
    """Lease a job that is to be validated; False when it has moved on or another worker validates it."""
    query = update(Job).where(Job.id == job_id, _to_validate(), _free())
    values = {"status": "validating_files", "unvalidated": False, **_lease(holder, lease_seconds)}
    return await session.scalar(query.values(**values).returning(Job.id)) is not None


async def claim_ended(session: AsyncSession, job_id: str, holder: str, lease_seconds: float) -> bool:
    """Lease a job that has ended, to tidy up behind it; False while its worker still has it."""
    query = update(Job).where(Job.id == job_id, Job.status.in_(ENDED), _free())
    return await session.scalar(query.values(**_lease(holder, lease_seconds)).returning(Job.id)) is not None


async def extend(session: AsyncSession, job_id: str, holder: str, lease_seconds: float) -> str | None:
    """Keep a lease: the job's status, or None when another worker has it."""
    query = update(Job).where(Job.id == job_id, Job.lease_holder == holder)
    query = query.values(leased_until=func.now() + timedelta(seconds=lease_seconds))
    return await session.scalar(query.returning(Job.status))


async def release(session: AsyncSession, job_id: str, holder: str) -> None:
    """Give a job back, so that the next worker need not wait for the lease to run out."""
    query = update(Job).where(Job.id == job_id, Job.lease_holder == holder)
    await session.execute(query.values(leased_until=None, lease_holder=None))


async def any_training(session: AsyncSession, *, but: str | None = None) -> bool:
    """Whether a worker holds a job that it trains, or whose trainer it stops, other than `but`."""
    query = select(Job.id).where(~_free(), Job.status.not_in(("validating_files", "queued")))
    return await session.scalar(query.where(Job.id != but if but else true()).limit(1)) is not None


async def unvalidated(session: AsyncSession, older_than_seconds: float) -> list[str]:
    """Jobs whose validation was lost with a worker or a queue, or interrupted by a pause that is over."""
    edge = func.now() - timedelta(seconds=older_than_seconds)
    lost = and_(_to_validate(), or_(Job.unvalidated, Job.created_at < edge))
    return list(await session.scalars(select(Job.id).where(lost, _free()).order_by(Job.created_at)))


def _to_validate() -> ColumnElement[bool]:
    return or_(Job.status == "validating_files", and_(Job.status == "queued", Job.unvalidated))


def _free() -> ColumnElement[bool]:
    return or_(Job.leased_until.is_(None), Job.leased_until < func.now())


def _lease(holder: str, seconds: float) -> dict[str, Any]:
    return {"lease_holder": holder, "leased_until": func.now() + timedelta(seconds=seconds)}
