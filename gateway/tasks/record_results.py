"""What a finished training leaves beside its model: the result file, what was measured, and how fast this machine is."""

import asyncio
import logging
from collections.abc import AsyncIterator

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.tables import FileRow, FineTuningEventRow, FineTuningJobRow, TrainingSpeedRow
from gateway.errors import Unavailable
from gateway.files.store import Stored
from gateway.fine_tuning import claims, repository
from gateway.fine_tuning.lease import Lease
from gateway.fine_tuning.runner import Stopped
from gateway.fine_tuning.step_metrics import FILENAME, PURPOSE, file_id_of, step_metrics
from gateway.kit.clock import now
from gateway.services import WorkerServices
from gateway.tasks.pauses import Pauses
from trainer.contract import Succeeded

log = logging.getLogger(__name__)

MEASURED = ("seconds", "tokens_per_second", "peak_memory_bytes", "trained_tokens", "steps")
"""Of a result, shown as the job's `actual`."""


async def record_results(wv: WorkerServices, lease: Lease, result: Succeeded, pauses: Pauses) -> None:
    """Harmless when repeated: the file's id follows from the job's.

    Raises:
        Stopped: the job was cancelled or paused, or another worker has it.
        Unavailable: the database is away.
    """
    async with wv.database.session() as session:
        job = await repository.get(session, lease.job_id)
        assert job is not None, "a leased job is there"
        content = step_metrics(await _metrics(session, job.id), method=job.method["type"])
    stored = await _store(wv, lease, content, pauses)
    async with wv.database.session() as session:
        if await claims.extend(session, job.id, lease.holder, wv.settings.fine_tuning.lease_seconds) != "running":
            raise Stopped
        values = {name: getattr(result, name) for name in MEASURED}
        await repository.set_values(session, job.id, actual=values | {"cost_usd": None})  # until it is charged
        await _save_speed(session, wv, job, result)
        if stored is None:
            message = "The file storage is away: this job has no result file. Its metrics events have the same numbers."
            await repository.add_event(session, job.id, "no-result-file", message, level="warn")
        else:
            await session.execute(insert(FileRow).values(_file(job, stored)).on_conflict_do_nothing())
            await repository.set_values(session, job.id, result_files=[file_id_of(job.id)])


async def _metrics(session: AsyncSession, job_id: str) -> list[dict[str, object]]:
    query = select(FineTuningEventRow.values).where(FineTuningEventRow.job_id == job_id)
    rows = await session.scalars(query.where(FineTuningEventRow.type == "metrics"))
    return [values for values in rows if values]


async def _store(wv: WorkerServices, lease: Lease, content: bytes, pauses: Pauses) -> Stored | None:
    """The content first, then the row, so that a file that is listed can be read. A storage that stays away costs the
    file, not the model: then None."""

    async def pieces() -> AsyncIterator[bytes]:
        yield content

    for _ in range(pauses.load_tries):
        if lease.lost.is_set():
            raise Stopped
        try:
            return await wv.files.put(file_id_of(lease.job_id), pieces(), max_bytes=len(content))
        except Unavailable as away:
            log.warning("the result file of %s is not stored yet: %s", lease.job_id, away)
        await asyncio.sleep(pauses.load)
    return None


def _file(job: FineTuningJobRow, stored: Stored) -> dict[str, object]:
    return {
        "id": file_id_of(job.id),
        "project_id": job.project_id,
        "created_at": now(),
        "filename": FILENAME,
        "purpose": PURPOSE,
        "bytes": stored.bytes,
        "sha256": stored.sha256,
        "status": "processed",
    }


async def _save_speed(session: AsyncSession, wv: WorkerServices, job: FineTuningJobRow, result: Succeeded) -> None:
    """The last measurement of this kind of run, for estimates."""
    if result.tokens_per_second is None or "device" not in job.training:
        return
    key = {
        "base_model": wv.settings.engine.model,
        "method": job.method["type"],
        "training_type": job.training["type"],
        "device": job.training["device"],
    }
    measured = {
        "tokens_per_second": result.tokens_per_second,
        "peak_memory_bytes": result.peak_memory_bytes,
        "measured_at": now(),
    }
    query = insert(TrainingSpeedRow).values(key | measured)
    await session.execute(query.on_conflict_do_update(index_elements=list(key), set_=measured))
