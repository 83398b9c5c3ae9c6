"""What a training made becomes a model: its files at their place for good, loaded by the engine, then known to all.

A worker may be killed between any two steps. Files without a row are found again when the job is taken up, or removed
(remove_model_files); a name in the engine without a row is unloaded, and a row that the engine lacks is loaded
(reconcile_adapters).
"""

import asyncio
import logging
from pathlib import Path
from typing import Any

from gateway.db.tables import FineTuningJobRow, ModelRow
from gateway.errors import Refusal
from gateway.fine_tuning import repository, service
from gateway.fine_tuning.lease import Lease
from gateway.fine_tuning.models import KEPT_CHECKPOINTS, add_model, checkpoint_steps, retire_checkpoints
from gateway.fine_tuning.names import base_name, checkpoint_name, model_name
from gateway.fine_tuning.publish import (
    directory_name,
    is_adapter_file,
    is_model_file,
    kind_of,
    publish,
    withdraw,
)
from gateway.fine_tuning.runner import Stopped
from gateway.fine_tuning.service import Failure
from gateway.kit.clock import from_unix, now
from gateway.services import WorkerServices
from gateway.serving import repository as serving
from gateway.serving.failures import Problem
from gateway.serving.repository import Outcome
from gateway.tasks.charge_training import charge_training, trained_so_far
from gateway.tasks.engine_room import make_room
from gateway.tasks.load_trained import load_everywhere
from gateway.tasks.pauses import Pauses
from gateway.tasks.place_models import event_of, place
from gateway.tasks.replicas import engine_at
from trainer.contract import MODEL, CheckpointSaved, Succeeded

log = logging.getLogger(__name__)


class Refused(Exception):
    """No replica takes the adapter."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.sentence)
        message = f"The engine does not take the adapter ({problem.code}): {problem.sentence}"
        self.failure = Failure("adapter_rejected", message)


async def publish_model(
    wv: WorkerServices, lease: Lease, job: FineTuningJobRow, directory: Path, result: Succeeded, pauses: Pauses
) -> None:
    """The adapter goes to its place and into a replica of the engine, where a probe shows that it is applied; only then
    does the model exist, so the first call of it waits for nothing. Raises Stopped."""
    path = await asyncio.to_thread(publish, directory / result.output, wv.settings.data_dir, directory_name(job.id))
    model = _row(wv, job, path, kind="full" if result.output == MODEL else "adapter")
    try:
        outcomes = await load_everywhere(wv, lease, model, pauses)
        warning = _explain(wv, model, outcomes)
        if not await _record(wv, lease, model, result, (outcomes, warning)):
            raise Stopped  # cancelled in the last moment
        for url in [url for url, outcome in outcomes.items() if outcome.state == "ready"]:
            wv.background.spawn(make_room(wv, url, newest=model.id), f"make room at {url}")
    except Refused as refused:
        trained = await trained_so_far(wv, lease.job_id)
        async with wv.database.session() as session:
            await service.fail(session, lease.job_id, refused.failure, holder=lease.holder)
            await charge_training(wv, session, lease.job_id, trained)
        await _withdraw(wv, model)
    except Stopped:
        await _withdraw(wv, model)
        raise


async def publish_checkpoint(
    wv: WorkerServices, job: FineTuningJobRow, directory: Path, event: CheckpointSaved
) -> None:
    """A checkpoint becomes a model of its own, and what is older than the last three is one no more.

    Harmless when repeated: a checkpoint that was made a model before, or is too old to be one, is left alone. One whose
    files are gone (the trainer keeps the newest) is skipped. The engine loads it in the background.

    Args:
        directory: of the job; `event.path` is relative to it.

    Raises:
        Unavailable: the database is away.
        OSError: the disk is full; nothing is published.
    """
    async with wv.database.session() as session:
        steps = await checkpoint_steps(session, job.id)
    if event.step in steps or sum(step > event.step for step in steps) >= KEPT_CHECKPOINTS:
        return
    try:
        kind, path = await asyncio.to_thread(_publish_checkpoint, directory / event.path, wv, job.id, event.step)
    except FileNotFoundError as gone:
        log.warning("checkpoint %s of %s is no model: %s", event.step, job.id, gone)
        return
    model = _row(wv, job, path, kind=kind, event=event)
    async with wv.database.session() as session:
        await add_model(session, model)
    async with wv.database.session() as session:  # another, for all take locks in one order: models, then the mirror
        await retire_checkpoints(session)
    if wv.settings.engine.url and not wv.settings.engine.max_adapters:  # else it is loaded once it is called
        reason = f"checkpoint of {job.id}"
        for url in wv.settings.engine.urls:
            wv.background.spawn(_load_soon(wv, url, model, reason), f"load {model.id}")


def _publish_checkpoint(source: Path, wv: WorkerServices, job_id: str, step: int) -> tuple[str, str]:
    """Kind, and path relative to DATA_DIR. Raises FileNotFoundError when the trainer has removed it, or is about to."""
    kind = kind_of(source)
    wanted = is_adapter_file if kind == "adapter" else is_model_file
    name = directory_name(job_id, step)
    path = publish(source, wv.settings.data_dir, name, wanted)
    if not any((wv.settings.data_dir / path).glob("*.safetensors")):
        withdraw(wv.settings.data_dir, name)
        raise FileNotFoundError(f"{source} holds no weights")
    return kind, path


async def _load_soon(wv: WorkerServices, url: str, model: ModelRow, reason: str) -> None:
    """What is not loaded now is loaded by the next round of reconcile_adapters, which tells why when it cannot be."""
    try:
        await place(wv, url, model, reason)
    except Refusal as refusal:
        log.info("%s is not loaded yet: %s", model.id, refusal)


def _row(
    wv: WorkerServices, job: FineTuningJobRow, path: str, *, kind: str, event: CheckpointSaved | None = None
) -> ModelRow:
    name = model_name(job, base_name(job.model), wv.settings.organization)
    return ModelRow(
        id=checkpoint_name(name, event.step) if event else name,
        project_id=job.project_id,
        job_id=job.id,
        base_model=wv.settings.engine.model,
        kind=kind,
        step=event.step if event else None,
        adapter_path=path,
        created_at=from_unix(event.created_at) if event else now(),
    )


async def _record(
    wv: WorkerServices,
    lease: Lease,
    model: ModelRow,
    result: Succeeded,
    loaded: tuple[dict[str, Outcome], str | None],
) -> bool:
    """The job has succeeded, the model exists and the training is charged, all or none; False when the job is not ours
    any more."""
    outcomes, warning = loaded
    trained = await trained_so_far(wv, model.job_id)
    async with wv.database.session() as session:
        job_id, tokens = model.job_id, result.trained_tokens
        values: dict[str, Any] = {"fine_tuned_model": model.id, "trained_tokens": tokens}
        if not await repository.move(session, job_id, "succeeded", holder=lease.holder, **values):
            return False
        await add_model(session, model)
        changes = {url: (outcome, event_of(outcome, f"job {job_id}")) for url, outcome in outcomes.items()}
        await serving.set_loaded_on(session, model.id, changes)
        if warning:
            await repository.add_event(session, job_id, "not-loaded", warning, level="warn")
        await repository.add_event(session, job_id, "model", f"New fine-tuned model created: {model.id}")
        await repository.add_event(session, job_id, "succeeded", "The job has successfully completed")
        await charge_training(wv, session, job_id, trained)
    return True


async def _withdraw(wv: WorkerServices, model: ModelRow) -> None:
    """An adapter that became no model leaves the engine and the disk; that of a worker that took over is left alone."""
    async with wv.database.session() as session:
        job = await repository.get(session, model.job_id)
    if job is None or job.status not in ("failed", "cancelled"):
        return
    for url in wv.settings.engine.urls:
        try:
            await engine_at(wv, url).unload_adapter(model.id)
        except Refusal as refusal:
            log.warning("%s is not unloaded: %s", model.id, refusal)
            return  # the files are removed once it is (remove_model_files)
    await asyncio.to_thread(withdraw, wv.settings.data_dir, directory_name(model.job_id))


def _explain(wv: WorkerServices, model: ModelRow, outcomes: dict[str, Outcome]) -> str | None:
    """A sentence for the job's events when no replica serves it now. Raises Refused for an adapter.

    Weights of their own that the engine refuses (vLLM serves one base) are a model all the same: no training is lost.
    """
    if any(outcome.state == "ready" for outcome in outcomes.values()):
        return None
    problems = [outcome.problem for outcome in outcomes.values() if outcome.state == "failed" and outcome.problem]
    if len(problems) < len(outcomes) or not problems:
        return "The engine is away; the model will answer as soon as it is back."
    if model.kind != "full":
        raise Refused(problems[0])
    model.problem = serving.storable(problems[0].sentence)
    path = wv.settings.data_dir / model.adapter_path
    return (
        f"The engine does not serve these weights: {problems[0].sentence} The model is kept at {path}. Serve it with a vLLM"
        f" of its own (python -m vllm.entrypoints.openai.api_server --model {path} --served-model-name {model.id}) and "
        f"name that under [[upstreams]], or download it with GET /v1/models/{model.id}/export."
    )
