"""Train whatever waits, oldest first, until nothing does.

A job belongs to the worker whose lease on it runs (repository.claim). The lease is extended while the trainer works; a
worker that dies loses it, and the next one goes on from the last checkpoint.
"""

import asyncio
import logging
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.tables import FineTuningJobRow, ModelRow
from gateway.errors import ErrorObject, Refusal, Unavailable, UpstreamRefused
from gateway.fine_tuning import repository, service
from gateway.fine_tuning.lease import POLL_SECONDS, Lease
from gateway.fine_tuning.publish import publish, withdraw
from gateway.fine_tuning.runner import STOP_SECONDS, TRAINING, VALIDATION, Run, Stopped, job_directory
from gateway.fine_tuning.service import Failure
from gateway.kit.clock import from_unix, now
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

LOAD_FAILURES = 3
"""A healthy engine that fails this often to load an adapter does not take it."""


@dataclass(frozen=True, kw_only=True)
class Pauses:
    """Seconds between tries, and how many; a test makes them short."""

    poll: float = POLL_SECONDS
    """Between two extensions of a lease: a cancelled job is noticed within this time."""
    load: float = 1.0
    load_tries: int = 60
    """How long a finished job waits for an engine that is away before it is told to be loaded later."""
    stop: float = STOP_SECONDS


PAUSES = Pauses()


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
        await _store(wv, lease, job, batch, pauses)
    match run.result():
        case Failed(code=code, message=message, param=param):
            raise Failure(code, message, param)
        case Succeeded() as result:
            await _succeed(wv, lease, job, run.directory, result, pauses)


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
    parent = await repository.live_model(session, job.project_id, job.model)
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


async def _store(
    wv: WorkerServices, lease: Lease, job: FineTuningJobRow, batch: list[TrainingEvent], pauses: Pauses
) -> None:
    """What the trainer told, in one transaction; what was stored before is left as it is.

    A database that is away for a moment does not disturb the training. Raises Stopped, Unavailable once the lease is lost.
    """
    while True:
        try:
            await _store_now(wv, lease, job, batch)
            return
        except Unavailable:
            if lease.lost.is_set():
                raise
            await asyncio.sleep(pauses.poll)


async def _store_now(wv: WorkerServices, lease: Lease, job: FineTuningJobRow, batch: list[TrainingEvent]) -> None:
    async with wv.database.session() as session:
        if not await repository.extend_lease(session, job.id, lease.holder, wv.settings.fine_tuning.lease_seconds):
            raise Stopped  # nothing is told of a job that has ended
        for event in batch:
            await _store_one(session, job, event)
        seconds = [event.seconds_left for event in batch if isinstance(event, StepMetrics) and event.seconds_left]
        if seconds:
            finish = now() + timedelta(seconds=seconds[-1])
            await repository.set_values(session, job.id, estimated_finish=finish)


async def _store_one(session: AsyncSession, job: FineTuningJobRow, event: TrainingEvent) -> None:
    at = from_unix(event.created_at)
    again = f"{event.sequence}-{event.created_at}"  # a sequence that a crash lost is given anew, at another time
    match event:
        case Started():
            method = service.resolved(job.method, chosen(event.hyperparameters))
            await repository.set_values(session, job.id, method=method)
            key, message = "started", "Fine-tuning job started"
            if event.resumed_step:
                key, message = (
                    f"resumed-{again}",
                    f"Training goes on after step {event.resumed_step}/{event.total_steps}",
                )
            await repository.add_event(session, job.id, key, message, created_at=at)
        case StepMetrics(metrics=metrics):
            values = _values(metrics) | {"total_steps": event.total_steps}
            await repository.add_metrics(session, job.id, metrics.step, step_message(event), values, created_at=at)
        case CheckpointSaved():
            await repository.add_checkpoint(session, job.id, event.step, _values(event.metrics))
            message = f"Checkpoint created at step {event.step}"
            await repository.add_event(session, job.id, f"checkpoint-{event.step}", message, created_at=at)
        case Message():
            key = f"message-{again}"
            await repository.add_event(session, job.id, key, event.message, level=event.level, created_at=at)


async def _fail(wv: WorkerServices, lease: Lease, failure: Failure) -> None:
    async with wv.database.session() as session:
        await service.fail(session, lease.job_id, failure, holder=lease.holder)


async def _succeed(
    wv: WorkerServices, lease: Lease, job: FineTuningJobRow, directory: Path, result: Succeeded, pauses: Pauses
) -> None:
    """The adapter goes to its place and into the engine; only then does the model exist. Raises Failure, Stopped."""
    name = service.model_name(job, service.base_name(job.model), wv.settings.organization)
    path = await asyncio.to_thread(publish, directory / result.adapter, wv.settings.data_dir, job.id)
    model = ModelRow(
        id=name,
        project_id=job.project_id,
        job_id=job.id,
        base_model=wv.settings.engine.model,
        adapter_path=path,
        created_at=now(),
    )
    try:
        warning = await _load(wv, lease, name, wv.settings.data_dir / path, pauses)
        if not await _record(wv, lease, model, result, warning):
            raise Stopped  # cancelled in the last moment
    except UpstreamRefused as refusal:
        await _fail(wv, lease, Failure("adapter_rejected", f"The engine does not take the adapter: {refusal}"))
        await _withdraw(wv, model)
    except Stopped:
        await _withdraw(wv, model)
        raise


async def _record(wv: WorkerServices, lease: Lease, model: ModelRow, result: Succeeded, warning: str | None) -> bool:
    """The job has succeeded and the model exists, both or none; False when the job is not ours any more."""
    async with wv.database.session() as session:
        job_id, tokens = model.job_id, result.trained_tokens
        values = {"fine_tuned_model": model.id, "trained_tokens": tokens}
        if not await repository.move(session, job_id, "succeeded", holder=lease.holder, **values):
            return False
        await repository.add_model(session, model)
        if warning:
            await repository.add_event(session, job_id, "not-loaded", warning, level="warn")
        await repository.add_event(session, job_id, "model", f"New fine-tuned model created: {model.id}")
        await repository.add_event(session, job_id, "succeeded", "The job has successfully completed")
    return True


async def _withdraw(wv: WorkerServices, model: ModelRow) -> None:
    """An adapter that became no model leaves the engine and the disk; that of a worker that took over is left alone."""
    async with wv.database.session() as session:
        job = await repository.get(session, model.job_id)
    if job is None or job.status not in ("failed", "cancelled"):
        return
    if wv.settings.engine.url:
        try:
            await Engine(wv.upstreams, wv.settings.engine.url).unload_adapter(model.id)
        except Refusal as refusal:
            log.warning("%s is not unloaded: %s", model.id, refusal)
    await asyncio.to_thread(withdraw, wv.settings.data_dir, model.job_id)


async def _load(wv: WorkerServices, lease: Lease, name: str, path: Path, pauses: Pauses) -> str | None:
    """Load the adapter; a sentence when the engine stays away (the adapter is loaded when it is back).

    Raises:
        UpstreamRefused: the engine does not take it. vLLM answers 500 when an adapter does not fit, so an engine that is
            well but fails again and again refuses, too.
        Stopped: the lease was lost meanwhile.
    """
    engine = Engine(wv.upstreams, wv.settings.engine.url or "")
    failures = 0
    for _ in range(pauses.load_tries if wv.settings.engine.url else 0):
        if lease.lost.is_set():
            raise Stopped
        try:
            await engine.load_adapter(name, path)
            return None
        except UpstreamRefused:
            raise
        except Refusal as refusal:
            log.warning("%s is not loaded yet: %s", name, refusal)
            failures += await engine.is_well()
            if failures == LOAD_FAILURES:
                error = ErrorObject(message=str(refusal), type="server_error")
                raise UpstreamRefused(500, error) from refusal
        await asyncio.sleep(pauses.load)
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
