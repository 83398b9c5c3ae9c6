"""Train whatever waits, oldest first, until nothing does.

A job belongs to the worker whose lease on it runs (repository.claim). The lease is extended while the trainer works; a
worker that dies loses it, and the next one goes on from the last checkpoint.
"""

import asyncio
import logging

from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.tables import FineTuningJobRow
from gateway.errors import Unavailable
from gateway.fine_tuning import repository, service
from gateway.fine_tuning.lease import Lease
from gateway.fine_tuning.models import live_model
from gateway.fine_tuning.runner import TRAINING, VALIDATION, Run, Stopped, job_directory
from gateway.fine_tuning.service import Failure
from gateway.services import WorkerServices
from gateway.tasks.pauses import PAUSES, Pauses
from gateway.tasks.publish_models import publish_model
from gateway.tasks.training_events import store_events
from trainer.contract import Failed, Succeeded, TrainingSpec

log = logging.getLogger(__name__)


async def train_fine_tuning_jobs(wv: WorkerServices, pauses: Pauses = PAUSES) -> None:
    """Claim and train jobs, as many at a time as the settings say."""
    if wv.training.locked():
        return  # whoever holds it looks again before it lets go
    async with wv.training:
        try:
            while (lease := _lease(wv, pauses)) and await lease.take_next():
                await _train(wv, lease, pauses)
        except Unavailable as away:
            log.warning("fine-tuning jobs wait: %s", away)


def _lease(wv: WorkerServices, pauses: Pauses) -> Lease:
    return Lease(wv.database, wv.settings.fine_tuning.lease_seconds, poll_seconds=pauses.poll)


async def _train(wv: WorkerServices, lease: Lease, pauses: Pauses) -> None:
    """One job, from claimed to ended; or given back, when this worker is stopped or the database goes away.

    Raises:
        Unavailable: the database stayed away for longer than the lease.
    """
    directory = job_directory(wv.settings.data_dir, lease.job_id)
    run = Run(directory, wv.settings.fine_tuning.command, stop_seconds=pauses.stop)
    wv.background.spawn(_stop_when_lost(lease, run), f"lease of {lease.job_id}")
    try:
        await _run(wv, lease, run, pauses)
    except Stopped:
        log.info("training of %s stopped", lease.job_id)
    except Failure as failure:
        await _fail(wv, lease, failure)
    except Unavailable:
        raise
    except Exception:
        log.exception("training of %s broke", lease.job_id)
        await _fail(wv, lease, Failure("server_error", "The job failed due to an internal error; create it again."))
    finally:
        await asyncio.shield(_give_back(lease, run))


async def _run(wv: WorkerServices, lease: Lease, run: Run, pauses: Pauses) -> None:
    """Raises Stopped, Failure, Unavailable."""
    job, spec = await _begin(wv, lease)
    await run.start(spec)
    async for batch in run.events():
        await store_events(wv, lease, job, batch, pauses)
    match run.result():
        case Failed(code=code, message=message, param=param):
            raise Failure(code, message, param)
        case Succeeded() as result:
            await publish_model(wv, lease, job, run.directory, result, pauses)


async def _give_back(lease: Lease, run: Run) -> None:
    await run.stopped()
    await lease.give_back()


async def _stop_when_lost(lease: Lease, run: Run) -> None:
    """Once the lease is lost (a cancel, or another worker) the trainer is stopped, and killed if it does not listen.

    When the lease was given back the trainer has ended already.
    """
    await lease.keep()
    await run.stopped()


async def _begin(wv: WorkerServices, lease: Lease) -> tuple[FineTuningJobRow, TrainingSpec]:
    """The job, now running. Raises Failure when it cannot be trained, Stopped when it was cancelled."""
    async with wv.database.session() as session:
        job = await repository.get(session, lease.job_id)
        assert job is not None, "a leased job is there"
        if await repository.is_archived(session, job.project_id):
            raise Failure("project_archived", "The project of this job was archived before the training began.")
        spec = await _spec(wv, session, job)
        moved = await repository.move(session, job.id, "running", holder=lease.holder)
        if job.status != "running" and not moved:
            raise Stopped
    return job, spec


async def _spec(wv: WorkerServices, session: AsyncSession, job: FineTuningJobRow) -> TrainingSpec:
    """What the trainer must know. Raises Failure."""
    numbers = job.method["supervised"]["hyperparameters"]
    parent = await live_model(session, job.project_id, job.model)
    if parent is None and job.model != wv.settings.engine.model:
        message = f"The model {job.model} does not exist any more; create the job again with one of GET /v1/models."
        raise Failure("model_not_found", message, "model")
    return TrainingSpec(
        job_id=job.id,
        base_model=wv.settings.engine.model_path,
        training_file=TRAINING,
        validation_file=VALIDATION if job.validation_file else None,
        seed=job.seed,
        continue_from=str(wv.settings.data_dir / parent.adapter_path) if parent else None,
        **numbers,
    )


async def _fail(wv: WorkerServices, lease: Lease, failure: Failure) -> None:
    async with wv.database.session() as session:
        await service.fail(session, lease.job_id, failure, holder=lease.holder)
