"""Train whatever waits, oldest first, until nothing does.

A job belongs to the worker whose lease on it runs (repository.claim). The lease is extended while the trainer works; a
worker that dies loses it, and the next one goes on from the last checkpoint.
"""

import asyncio
import logging
import secrets
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.tables import FineTuningJobRow, ModelRow
from gateway.errors import Refusal, Unavailable, UpstreamRefused
from gateway.fine_tuning import repository, service
from gateway.fine_tuning.publish import publish
from gateway.fine_tuning.runner import TRAINING, VALIDATION, Run, Stopped, job_directory
from gateway.kit.clock import now
from gateway.services import WorkerServices
from gateway.upstreams.engine import Engine
from trainer.contract import (
    CheckpointSaved,
    Failed,
    Hyperparameters,
    Message,
    Metrics,
    Started,
    StepMetrics,
    Succeeded,
    TrainingEvent,
    TrainingSpec,
)

log = logging.getLogger(__name__)

HOLDER = secrets.token_hex(8)
"""This process, as the holder of leases."""

CANCEL_POLL_SECONDS = 0.5
"""A cancelled job is noticed within this time."""

LOAD_TRIES = 60
LOAD_PAUSE_SECONDS = 1.0
"""How long a finished job waits for an engine that is away before it is told to be loaded later."""


async def train_fine_tuning_jobs(wv: WorkerServices) -> None:
    """Claim and train jobs, as many at a time as the settings say."""
    if wv.training.locked():
        return  # whoever holds it looks again before it lets go
    async with wv.training:
        while True:
            async with wv.database.session() as session:
                job_id = await repository.claim(session, HOLDER, wv.settings.fine_tuning.lease_seconds)
            if job_id is None:
                return
            await _train(wv, job_id)


async def _train(wv: WorkerServices, job_id: str) -> None:
    """One job, from claimed to ended; or given back, when this worker is stopped or the database goes away."""
    run = Run(job_directory(wv.settings.data_dir, job_id), wv.settings.fine_tuning.command)
    lease = wv.background.spawn(_keep_lease(wv, job_id, run), f"lease of {job_id}")
    try:
        async with wv.database.session() as session:
            job = await repository.get(session, job_id)
            assert job is not None
            spec = await _spec(wv, session, job)
            await repository.move(session, job_id, "running")
        await run.start(spec)
        async for batch in run.events():
            await _store(wv, job, batch)
        await _end(wv, job, run)
    except Stopped:
        log.info("training of %s stopped", job_id)
    except Refusal as refusal:  # the database is away: the lease runs out and the job is taken up again
        log.warning("training of %s is interrupted: %s", job_id, refusal)
        await asyncio.sleep(LOAD_PAUSE_SECONDS)
    except Exception:
        log.exception("training of %s broke", job_id)
        await _fail(wv, job_id, "server_error", "The job failed due to an internal error.")
    finally:
        lease.cancel()
        await asyncio.shield(_give_back(wv, job_id, run))


async def _give_back(wv: WorkerServices, job_id: str, run: Run) -> None:
    await run.stopped()
    try:
        async with wv.database.session() as session:
            await repository.release(session, job_id, HOLDER)
    except Unavailable:
        log.warning("lease of %s runs out on its own: the database is away", job_id)


async def _keep_lease(wv: WorkerServices, job_id: str, run: Run) -> None:
    """Extend the lease; once it is lost (a cancel, or another worker) the trainer is stopped."""
    seconds = wv.settings.fine_tuning.lease_seconds
    lost_at = now() + timedelta(seconds=seconds)
    while now() < lost_at:
        try:
            async with wv.database.session() as session:
                kept = await repository.extend_lease(session, job_id, HOLDER, seconds)
            if not kept:
                break
            lost_at = now() + timedelta(seconds=seconds)
        except Unavailable:
            log.warning("the lease of %s cannot be extended right now", job_id)
        await asyncio.sleep(CANCEL_POLL_SECONDS)
    run.stop()


async def _spec(wv: WorkerServices, session: AsyncSession, job: FineTuningJobRow) -> TrainingSpec:
    """What the trainer must know."""
    numbers = job.method["supervised"]["hyperparameters"]
    parent = await repository.live_model(session, job.project_id, job.model)
    return TrainingSpec(
        job_id=job.id,
        base_model=wv.settings.engine.model_path,
        training_file=TRAINING,
        validation_file=VALIDATION if job.validation_file else None,
        seed=job.seed,
        continue_from=str(wv.settings.data_dir / parent.adapter_path) if parent else None,
        **numbers,
    )


async def _store(wv: WorkerServices, job: FineTuningJobRow, batch: list[TrainingEvent]) -> None:
    """What the trainer told, in one transaction; what was stored before is left as it is."""
    async with wv.database.session() as session:
        for event in batch:
            await _store_one(session, job, event)
        seconds = [event.seconds_left for event in batch if isinstance(event, StepMetrics) and event.seconds_left]
        if seconds:
            finish = now() + timedelta(seconds=seconds[-1])
            await repository.set_values(session, job.id, estimated_finish=finish)


async def _store_one(session: AsyncSession, job: FineTuningJobRow, event: TrainingEvent) -> None:
    match event:
        case Started():
            method = service.resolved(job.method, chosen(event.hyperparameters))
            await repository.set_values(session, job.id, method=method)
            key, message = "started", "Fine-tuning job started"
            if event.resumed_step:
                key = f"resumed-{event.sequence}"
                message = f"Training goes on after step {event.resumed_step}/{event.total_steps}"
            await repository.add_event(session, job.id, key, message)
        case StepMetrics(metrics=metrics):
            key, message, values = f"step-{metrics.step}", step_message(event), _values(metrics)
            values["total_steps"] = event.total_steps
            await repository.add_event(session, job.id, key, message, values=values)
        case CheckpointSaved():
            await repository.add_checkpoint(session, job.id, event.step, _values(event.metrics))
            message = f"Checkpoint created at step {event.step}"
            await repository.add_event(session, job.id, f"checkpoint-{event.step}", message)
        case Message():
            key = f"message-{event.sequence}"
            await repository.add_event(session, job.id, key, event.message, level=event.level)


async def _end(wv: WorkerServices, job: FineTuningJobRow, run: Run) -> None:
    """Publish what a run made, or fail the job. Raises Stopped."""
    match run.result():
        case Failed(code=code, message=message, param=param):
            await _fail(wv, job.id, code, message, param)
        case Succeeded() as result:
            await _succeed(wv, job, run, result)


async def _succeed(wv: WorkerServices, job: FineTuningJobRow, run: Run, result: Succeeded) -> None:
    """The adapter goes to its place and into the engine; only then does the model exist."""
    engine = wv.settings.engine
    name = service.model_name(job, service.base_name(job.model), wv.settings.organization)
    adapter = run.directory / result.adapter
    path = await asyncio.to_thread(publish, adapter, wv.settings.data_dir, job.id)
    try:
        warning = await _load(wv, name, wv.settings.data_dir / path)
    except UpstreamRefused as refusal:
        await _fail(wv, job.id, "adapter_rejected", f"The engine does not take the adapter: {refusal}")
        return
    async with wv.database.session() as session:
        moved = await repository.move(
            session, job.id, "succeeded", fine_tuned_model=name, trained_tokens=result.trained_tokens
        )
        if not moved:
            return  # cancelled in the last moment
        row = ModelRow(
            id=name,
            project_id=job.project_id,
            job_id=job.id,
            base_model=engine.model,
            adapter_path=path,
            created_at=now(),
        )
        await repository.add_model(session, row)
        if warning:
            await repository.add_event(session, job.id, "not-loaded", warning, level="warn")
        await repository.add_event(session, job.id, "model", f"New fine-tuned model created: {name}")
        await repository.add_event(session, job.id, "succeeded", "The job has successfully completed")


async def _fail(wv: WorkerServices, job_id: str, code: str, message: str, param: str | None = None) -> None:
    async with wv.database.session() as session:
        await service.fail(session, job_id, code, message, param)


async def _load(wv: WorkerServices, name: str, path: Path) -> str | None:
    """Load the adapter; a sentence when the engine stays away (the adapter is loaded when it is back)."""
    assert wv.settings.engine.url is not None
    engine = Engine(wv.upstreams, wv.settings.engine.url)
    for _ in range(LOAD_TRIES):
        try:
            await engine.load_adapter(name, path)
            return None
        except UpstreamRefused:
            raise
        except Refusal as refusal:
            log.warning("%s is not loaded yet: %s", name, refusal)
            await asyncio.sleep(LOAD_PAUSE_SECONDS)
    return "The engine is away; the model will answer as soon as it is back."


def chosen(numbers: Hyperparameters) -> dict[str, Any]:
    """The three numbers that OpenAI's API shows."""
    return {
        "n_epochs": numbers.n_epochs,
        "batch_size": numbers.batch_size,
        "learning_rate_multiplier": numbers.learning_rate_multiplier,
    }


def step_message(event: StepMetrics) -> str:
    """OpenAI's wording (contract section 3): Step 3/9: training loss=0.15, validation loss=0.27, ..."""
    metrics = event.metrics
    losses = (
        ("training loss", metrics.train_loss),
        ("validation loss", metrics.valid_loss),
        ("full validation loss", metrics.full_valid_loss),
    )
    told = ", ".join(f"{name}={value:.2f}" for name, value in losses if value is not None)
    return f"Step {metrics.step}/{event.total_steps}: {told}"


def _values(metrics: Metrics) -> dict[str, Any]:
    return {name: value for name, value in msgspec.structs.asdict(metrics).items() if value is not None}
