"""The files of models that are none any more leave the disk, once the engine has let go of them."""

import asyncio
import logging
import time
from datetime import timedelta
from pathlib import Path

from gateway.db.tables import ModelRow
from gateway.fine_tuning import models
from gateway.fine_tuning.publish import DIRECTORY, job_of, published, remove_halves, withdraw
from gateway.kit.clock import now
from gateway.services import WorkerServices
from gateway.tasks.replicas import engine_at, local_path

log = logging.getLogger(__name__)

GRACE_SECONDS = 60.0
"""Answers that a deleted model is still writing may need its files: vLLM reads an adapter again at any time."""
ORPHAN_SECONDS = 3600.0
"""Files that no row names, of a job that has ended: its worker died between the copy and the row, or in the middle of the
copy."""


async def remove_model_files(
    wv: WorkerServices, *, grace: float = GRACE_SECONDS, orphan_after: float = ORPHAN_SECONDS
) -> None:
    """Retire checkpoints that nobody continues from any more, then remove what no live model and no running job needs.

    Never what the engine still serves. Raises Unavailable, UpstreamFailed; a later round goes on.
    """
    for name in await asyncio.to_thread(remove_halves, wv.settings.data_dir, quiet_seconds=orphan_after):
        log.info("removed what was left of %s", name)
    directories = await asyncio.to_thread(lambda: list(published(wv.settings.data_dir)))
    if not directories:
        return
    async with wv.database.session() as session:
        await models.retire_checkpoints(session)
        making = await models.unfinished_jobs(session)
        rows = {row.adapter_path: row for row in await models.all_models(session)}
    unused = [path for path in directories if _unused(path, rows, making, grace, orphan_after)]
    served = await _served(wv) if unused else set[Path]()
    for path in unused:
        if path not in served:  # else reconcile_adapters unloads it
            await asyncio.to_thread(withdraw, wv.settings.data_dir, path.name)
            log.info("removed the files of %s", path.name)


def _unused(path: Path, rows: dict[str, ModelRow], making: set[str], grace: float, orphan_after: float) -> bool:
    row = rows.get(f"{DIRECTORY}/{path.name}")
    if row is not None:
        return row.deleted_at is not None and row.deleted_at < now() - timedelta(seconds=grace)
    return job_of(path) not in making and path.stat().st_ctime < time.time() - orphan_after


async def _served(wv: WorkerServices) -> set[Path]:
    """Directories that a replica has loaded. Raises UpstreamFailed: one is away, and may have any of them."""
    urls = wv.settings.engine.urls
    answers = await asyncio.gather(*(engine_at(wv, url).models() for url in urls))
    roots = [root for answer in answers for root in answer.values() if root]
    return {path for root in roots if (path := local_path(wv.settings, root))}
