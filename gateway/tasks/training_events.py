"""What the trainer tells, into the job's events, checkpoints and numbers."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.tables import FineTuningJobRow
from gateway.errors import Unavailable
from gateway.fine_tuning import claims, repository
from gateway.fine_tuning.lease import Lease
from gateway.fine_tuning.runner import Stopped, job_directory
from gateway.fine_tuning.specification import resolved_method, resolved_training
from gateway.fine_tuning.transitions import ENDED
from gateway.kit.clock import from_unix, now
from gateway.services import WorkerServices
from gateway.tasks.pauses import Pauses
from gateway.tasks.publish_models import publish_checkpoint
from trainer.contract import CheckpointSaved, Message, Metrics, Started, StepMetrics, TrainingEvent

RATES = (
    "total_steps",
    "learning_rate",
    "tokens_per_second",
    "seconds_left",
    "memory_bytes",
    "device_memory_bytes",
)
"""What a step tells beside OpenAI's metrics."""


async def store_events(
    wv: WorkerServices, lease: Lease, job: FineTuningJobRow, batch: list[TrainingEvent], pauses: Pauses
) -> None:
    """What the trainer told, in one transaction; what was stored before is left as it is. Checkpoints become models.

    A database that is away for a moment does not disturb the training.

    Raises:
        Stopped: another worker has the job.
        Unavailable: the database is away, and the lease is lost.
        OSError: the disk is full.
    """
    while True:
        try:
            await _store_now(wv, lease, job, batch)
            await publish_checkpoints(wv, job, batch)
            return
        except Unavailable:
            if lease.lost.is_set():
                raise
            await asyncio.sleep(pauses.poll)


async def _store_now(wv: WorkerServices, lease: Lease, job: FineTuningJobRow, batch: list[TrainingEvent]) -> None:
    async with wv.database.session() as session:
        status = await claims.extend(session, job.id, lease.holder, wv.settings.fine_tuning.lease_seconds)
        if status is None:
            raise Stopped
        for event in batch if status not in ENDED else last_steps(batch):
            await _store_one(session, job, event)
        seconds = [event.seconds_left for event in batch if isinstance(event, StepMetrics) and event.seconds_left]
        if seconds and status == "running":
            finish = now() + timedelta(seconds=seconds[-1])
            await repository.set_values(session, job.id, estimated_finish=finish)


async def store_last_events(wv: WorkerServices, job: FineTuningJobRow, events: list[TrainingEvent]) -> None:
    """Of a job that was cancelled: the steps and checkpoints that it came to. Raises Unavailable, OSError."""
    async with wv.database.session() as session:
        for event in last_steps(events):
            await _store_one(session, job, event)
    await publish_checkpoints(wv, job, events)


def last_steps(events: list[TrainingEvent]) -> list[TrainingEvent]:
    """What is still worth telling after a job has ended: what it left, not how it went on."""
    return [event for event in events if isinstance(event, StepMetrics | CheckpointSaved)]


async def publish_checkpoints(wv: WorkerServices, job: FineTuningJobRow, events: list[TrainingEvent]) -> None:
    directory = job_directory(wv.settings.data_dir, job.id)
    for event in events:
        if isinstance(event, CheckpointSaved):
            await publish_checkpoint(wv, job, directory, event)


async def _store_one(session: AsyncSession, job: FineTuningJobRow, event: TrainingEvent) -> None:
    at = from_unix(event.created_at)
    again = f"{event.sequence}-{event.created_at}"  # a sequence that a crash lost is given anew, at another time
    match event:
        case Started():
            await _store_start(session, job, event, again)
        case StepMetrics(metrics=metrics):
            values = _values(metrics) | _values(event, RATES)
            await repository.add_metrics(session, job.id, metrics.step, step_message(event), values, created_at=at)
        case CheckpointSaved():
            await repository.add_checkpoint(session, job.id, event.step, _values(event.metrics))
            message = f"Checkpoint created at step {event.step}"
            await repository.add_event(session, job.id, f"checkpoint-{event.step}", message, created_at=at)
        case Message():
            key = f"message-{again}"
            await repository.add_event(session, job.id, key, event.message, level=event.level, created_at=at)


async def _store_start(session: AsyncSession, job: FineTuningJobRow, event: Started, again: str) -> None:
    known = await session.scalar(select(FineTuningJobRow.training).where(FineTuningJobRow.id == job.id))
    method, training = resolved_method(job.method, event.hyperparameters), resolved_training(event, known or {})
    await repository.set_values(session, job.id, method=method, training=training)
    key, message = "started", "Fine-tuning job started"
    if event.resumed_step:
        key, message = f"resumed-{again}", f"Training goes on after step {event.resumed_step}/{event.total_steps}"
    await repository.add_event(session, job.id, key, message, created_at=from_unix(event.created_at))


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


def _values(told: Metrics | StepMetrics, names: Sequence[str] = Metrics.__struct_fields__) -> dict[str, Any]:
    return {name: value for name in names if (value := getattr(told, name)) is not None}
