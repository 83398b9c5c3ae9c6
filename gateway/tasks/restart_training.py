"""A trainer died: it is started again where that helps, and the job's owner is told."""

from pathlib import Path

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.tables import FineTuningEventRow, FineTuningJobRow
from gateway.fine_tuning import claims, repository
from gateway.fine_tuning.lease import Lease
from gateway.fine_tuning.restarts import Again, Crashed, Restart, again
from gateway.fine_tuning.runner import Stopped
from gateway.fine_tuning.specification import specification
from gateway.services import WorkerServices
from trainer.contract import TrainingSpec

Event = FineTuningEventRow

RESTART = "restart-"
"""Keys of the events that tell of restarts."""


async def restart_training(wv: WorkerServices, lease: Lease, crashed: Crashed, spec: TrainingSpec) -> TrainingSpec:
    """With what the trainer is started again.

    Raises:
        Failure: it is not.
        Stopped: the job was cancelled or paused, or another worker has it.
        Unavailable: the database is away.
    """
    async with wv.database.session() as session:
        status = await claims.extend(session, lease.job_id, lease.holder, wv.settings.fine_tuning.lease_seconds)
        if status != "running":
            raise Stopped
        job = await repository.get(session, lease.job_id)
        assert job is not None, "a leased job is there"
        earlier, step = await _restarts(session, job.id), await _last_step(session, job.id)
        decision = again(crashed, step=step, earlier=earlier, micro_batch=crashed.micro_batch or _micro_batch(job))
        await _tell(session, job.id, len(earlier), decision, Restart(crashed.reason, step))
        if decision.largest_micro_batch is not None:
            job.largest_micro_batch = decision.largest_micro_batch
        # Not what it was started with before: the numbers that it chose then stay.
        continue_from = Path(spec.continue_from) if spec.continue_from else None
        return specification(job, base_model=spec.base_model, continue_from=continue_from)


def _micro_batch(job: FineTuningJobRow) -> int | None:
    """Examples at once of the process that died: what it chose, unless it died before it could choose anew."""
    known = [number for number in (job.training.get("micro_batch"), job.largest_micro_batch) if number is not None]
    return min(known, default=None)


async def _tell(session: AsyncSession, job_id: str, number: int, decision: Again, restart: Restart) -> None:
    key, values = f"{RESTART}{number + 1}", {"reason": restart.reason, "step": restart.step}
    await repository.add_event(session, job_id, key, decision.message, level="warn", values=values)


async def _restarts(session: AsyncSession, job_id: str) -> list[Restart]:
    query = select(Event.values).where(Event.job_id == job_id, Event.key.startswith(RESTART, autoescape=True))
    rows = await session.scalars(query.order_by(Event.number))
    return [Restart(values["reason"], values["step"]) for values in rows if values]


async def _last_step(session: AsyncSession, job_id: str) -> int:
    step = func.max(Event.values["step"].as_integer())
    return await session.scalar(select(step).where(Event.job_id == job_id, Event.type == "metrics")) or 0
