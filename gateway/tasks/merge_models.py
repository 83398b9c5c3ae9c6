"""Merge an adapter into its base for a download: in a process of its own, because this one knows no torch."""

import asyncio
import logging
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from gateway.db.tables import ModelRow
from gateway.errors import ModelNotFound
from gateway.fine_tuning import models
from gateway.fine_tuning.exports import MERGING_LOCK, Export, lock, remove_unused
from gateway.services import WorkerServices
from gateway.settings import child_environment

log = logging.getLogger(__name__)

MERGER = (sys.executable, "-m", "trainer.export")
UNUSED_SECONDS = 24 * 3600.0
WAIT_SECONDS = 0.5


async def start_merging(wv: WorkerServices, model_id: str) -> None:
    """`merge_model` beside the queue, whose places are for what does not wait for the models before it. Where the worker ends meanwhile,
    whoever wants the weights asks for them again."""
    wv.background.spawn(merge_model(wv, model_id), f"merge {model_id}")


async def merge_model(wv: WorkerServices, model_id: str, command: Sequence[str] = MERGER) -> None:
    """Make the merged weights of one model (gateway/fine_tuning/exports.py), or leave there why it cannot be done.

    Harmless when repeated, and when several workers do it: one of them merges, one model at a time, for the memory.
    """
    try:
        async with wv.database.session() as session:
            row = await models.tuned_model(session, model_id)
    except ModelNotFound:
        return  # deleted meanwhile; whoever waits for it finds that out
    export = Export(wv.settings.data_dir, Path(row.adapter_path).name)
    with export.lock() as held:
        if held and not export.is_ready:
            await _in_turn(wv, row, export, command)


async def _in_turn(wv: WorkerServices, row: ModelRow, export: Export, command: Sequence[str]) -> None:
    while True:
        with lock(wv.settings.data_dir, MERGING_LOCK) as held:
            if held:
                await _merge(wv, row, export, command)
                return
        await asyncio.sleep(WAIT_SECONDS)


async def _merge(wv: WorkerServices, row: ModelRow, export: Export, command: Sequence[str]) -> None:
    incomplete = await asyncio.to_thread(export.incomplete)
    try:
        if reason := await _run(wv, row, incomplete, command):
            log.error("%s is not merged: %s", row.id, reason)
            export.fail(reason)
        else:
            await asyncio.to_thread(export.complete, incomplete)
            log.info("merged %s", row.id)
    except OSError as error:
        log.exception("%s is not merged", row.id)
        export.fail(f"The merged weights cannot be written: {error.strerror or error}")
    finally:
        await asyncio.to_thread(shutil.rmtree, incomplete, ignore_errors=True)


async def _run(wv: WorkerServices, row: ModelRow, target: Path, command: Sequence[str]) -> str | None:
    """Why it failed, in one sentence; None when it did not. A cancelled task ends its process."""
    base = wv.settings.engine
    if base.model != row.base_model:
        return f"It was made from the base model `{row.base_model}`, but this server has `{base.model}` now."
    adapter = wv.settings.data_dir / row.adapter_path
    process = await asyncio.create_subprocess_exec(
        *command, "--exit-with-parent", base.model_path, str(adapter), str(target),
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        env=child_environment(), start_new_session=True,
    )  # fmt: skip
    try:
        output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode == 0:
        return None
    words = output.decode(errors="replace").strip()
    log.error("merging %s ended with status %s: %s", row.id, process.returncode, words)
    return words.splitlines()[-1] if process.returncode == 1 and words else "The merging process ended unexpectedly."


async def remove_unused_exports(wv: WorkerServices, *, unused_seconds: float = UNUSED_SECONDS) -> None:
    """Merged weights that nobody has asked for in a day, and those of deleted models. Raises Unavailable."""
    async with wv.database.session() as session:
        wanted = {Path(row.adapter_path).name for row in await models.live_models(session)}
    data_dir = wv.settings.data_dir
    removed = await asyncio.to_thread(remove_unused, data_dir, wanted, unused_seconds=unused_seconds)
    if removed:
        log.info("removed the exports %s", ", ".join(removed))
