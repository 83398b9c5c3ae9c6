"""What a training made becomes a model: its files at their place for good, loaded by the engine, then known to all."""

import asyncio
import logging
from pathlib import Path

from gateway.db.tables import FineTuningJobRow, ModelRow
from gateway.errors import ErrorObject, Refusal, UpstreamRefused
from gateway.fine_tuning import repository, service
from gateway.fine_tuning.lease import Lease
from gateway.fine_tuning.models import add_model
from gateway.fine_tuning.names import base_name, model_name
from gateway.fine_tuning.publish import publish, withdraw
from gateway.fine_tuning.runner import Stopped
from gateway.fine_tuning.service import Failure
from gateway.kit.clock import now
from gateway.services import WorkerServices
from gateway.tasks.pauses import Pauses
from gateway.upstreams.engine import Engine
from trainer.contract import Succeeded

log = logging.getLogger(__name__)

LOAD_FAILURES = 3
"""A healthy engine that fails this often to load an adapter does not take it."""


async def publish_model(
    wv: WorkerServices, lease: Lease, job: FineTuningJobRow, directory: Path, result: Succeeded, pauses: Pauses
) -> None:
    """The adapter goes to its place and into the engine; only then does the model exist. Raises Stopped."""
    name = model_name(job, base_name(job.model), wv.settings.organization)
    path = await asyncio.to_thread(publish, directory / result.output, wv.settings.data_dir, job.id)
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
        failure = Failure("adapter_rejected", f"The engine does not take the adapter: {refusal}")
        async with wv.database.session() as session:
            await service.fail(session, lease.job_id, failure, holder=lease.holder)
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
        await add_model(session, model)
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
