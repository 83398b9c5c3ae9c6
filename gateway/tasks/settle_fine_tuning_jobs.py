"""Behind a job that has ended: what it trained is charged, its last checkpoints become models, then its working copies go.

    kept      spec.json, events.jsonl, result.json, trainer.log, wandb/
    removed   copies of the files, checkpoints, the adapter or model: what was published lies elsewhere

A failed job keeps everything for a while, to look into. Of a paused one nothing is touched; it is only charged for.
"""

import asyncio
import logging
import shutil
from datetime import timedelta
from pathlib import Path

from gateway.db.tables import FineTuningJobRow
from gateway.fine_tuning import repository
from gateway.fine_tuning.lease import Lease, to_its_end
from gateway.fine_tuning.runner import TRAINING, VALIDATION, Run, job_directory
from gateway.fine_tuning.transitions import ENDED
from gateway.kit.clock import now
from gateway.services import WorkerServices
from gateway.tasks.charge_training import charge_job
from gateway.tasks.training_events import store_last_events
from trainer.contract import ADAPTER, CHECKPOINTS, MODEL, STOP_SECONDS

log = logging.getLogger(__name__)

WORKING_COPIES = (TRAINING, VALIDATION, CHECKPOINTS, ADAPTER, MODEL)
LEFTOVERS = ("*.incomplete", "*.tmp")


async def settle_fine_tuning_jobs(wv: WorkerServices, *, quiet_seconds: float = STOP_SECONDS) -> None:
    """Settle what a worker that died could not. Raises Unavailable; the next round goes on.

    Args:
        quiet_seconds: how long after its end a job is left alone; the trainer of a worker that died stops on its own.
    """
    for job_id in await asyncio.to_thread(_unsettled, wv.settings.data_dir):
        async with wv.database.session() as session:
            job = await repository.get(session, job_id)
        if job is None:
            continue
        if job.status == "paused" and not _is_leased(job):
            await charge_job(wv, job_id)  # its worker has died, or it never had one
        if job.status not in ENDED or job.finished_at is None:
            continue
        wait = wv.settings.fine_tuning.keep_failed_seconds if job.status == "failed" else quiet_seconds
        if job.finished_at + timedelta(seconds=wait) < now():
            await _settle(wv, job_id)


async def _settle(wv: WorkerServices, job_id: str) -> None:
    lease = Lease(wv.database, wv.settings.fine_tuning.lease_seconds)
    if not await lease.take_ended(job_id):
        return
    keeping = asyncio.ensure_future(lease.keep())
    try:
        await settle(wv, job_id)
    finally:
        await to_its_end(lease.give_back())
        await keeping


async def settle(wv: WorkerServices, job_id: str) -> None:
    """For the worker that holds the job. Harmless when repeated. Raises Unavailable."""
    async with wv.database.session() as session:
        job = await repository.get(session, job_id)
    if job is None or job.status not in (*ENDED, "paused"):
        return
    await charge_job(wv, job_id)
    if job.status == "paused":
        return
    directory = job_directory(wv.settings.data_dir, job_id)
    try:
        if job.status == "cancelled":
            await store_last_events(wv, job, Run(directory).told())
        if job.status != "failed" or _is_over(wv, job):
            await asyncio.to_thread(remove_working_copies, directory)
    except OSError as error:
        log.error("%s is settled later: %s", job_id, error)


def _is_leased(job: FineTuningJobRow) -> bool:
    return job.leased_until is not None and job.leased_until > now()


def _is_over(wv: WorkerServices, job: FineTuningJobRow) -> bool:
    kept = timedelta(seconds=wv.settings.fine_tuning.keep_failed_seconds)
    return job.finished_at is not None and job.finished_at + kept < now()


def remove_working_copies(directory: Path) -> None:
    for path in _copies(directory):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _copies(directory: Path) -> list[Path]:
    named = [directory / name for name in WORKING_COPIES]
    return [*(path for path in named if path.exists()), *(path for each in LEFTOVERS for path in directory.glob(each))]


def _unsettled(data_dir: Path) -> list[str]:
    """Ids of jobs, ended or not, whose directory holds more than it keeps."""
    root = job_directory(data_dir, "")
    directories = sorted(root.iterdir()) if root.is_dir() else []
    return [directory.name for directory in directories if directory.is_dir() and _copies(directory)]
