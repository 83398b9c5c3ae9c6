"""Removes logs of trainings and entries of the audit log that are kept no longer (docs/retention.md)."""

import asyncio
import logging
import shutil
from datetime import datetime
from pathlib import Path

from sqlalchemy import delete, select

from gateway.audit import log as audit
from gateway.db.tables import AuditLogRow, FineTuningEventRow, FineTuningJobRow
from gateway.fine_tuning.runner import LOG, job_directory
from gateway.fine_tuning.transitions import ENDED
from gateway.kit.clock import now, unix
from gateway.protocol.audit_logs import own_actor
from gateway.retention import repository
from gateway.retention.periods import cut
from gateway.services import WorkerServices
from trainer.contract import EVENTS

log = logging.getLogger(__name__)

AT_A_TIME = 1000
"""Rows in one transaction."""
FILES = (LOG, EVENTS, "wandb")
"""In the directory of a job."""


async def remove_training_events(wv: WorkerServices, project_id: str, until: datetime | None) -> None:
    """Of jobs of a project that ended before then, with the points of their curves. The jobs stay, and what they trained."""
    if until is None:
        return
    total = 0
    ended = select(FineTuningJobRow.id).where(
        FineTuningJobRow.project_id == project_id,
        FineTuningJobRow.status.in_(ENDED),
        FineTuningJobRow.finished_at < until,
    )
    numbers = select(FineTuningEventRow.number).where(FineTuningEventRow.job_id.in_(ended)).limit(AT_A_TIME)
    while True:
        async with wv.database.session() as session:
            found = list(await session.scalars(numbers))
            await session.execute(delete(FineTuningEventRow).where(FineTuningEventRow.number.in_(found)))
            total += len(found)
            if len(found) < AT_A_TIME:
                if total:
                    removed = {"retention": {"removed": "training_logs", "count": total, "before": unix(until)}}
                    owner = audit.Owner("project", project_id, project_id)
                    audit.write_change(session, own_actor(), owner, project_id, removed)
                return


async def remove_training_files(wv: WorkerServices) -> None:
    """Their log files on this machine: every worker has its own. Raises Unavailable; the next round goes on."""
    for job_id in await asyncio.to_thread(_with_files, wv.settings.data_dir):
        if await _is_aged(wv, job_id):
            await asyncio.to_thread(_remove_files, job_directory(wv.settings.data_dir, job_id))
            log.info("retention: the log files of %s are gone", job_id)


async def remove_audit_entries(wv: WorkerServices, until: datetime | None) -> None:
    """Of the whole organisation; that they went is told by an entry."""
    if until is None:
        return
    total = 0
    oldest = select(AuditLogRow.id).where(AuditLogRow.effective_at < until).limit(AT_A_TIME)
    while True:
        async with wv.database.session() as session:
            found = list(await session.scalars(oldest))
            await session.execute(delete(AuditLogRow).where(AuditLogRow.id.in_(found)))
            total += len(found)
            if len(found) < AT_A_TIME:
                if total:
                    removed = {"retention": {"removed": "audit_log", "count": total, "before": unix(until)}}
                    owner = audit.owner_of(wv.settings.organization, None)
                    audit.write_change(session, own_actor(), owner, wv.settings.organization, removed)
                return


async def _is_aged(wv: WorkerServices, job_id: str) -> bool:
    async with wv.database.session() as session:
        job = await session.get(FineTuningJobRow, job_id)
        if job is None or job.status not in ENDED or job.finished_at is None:
            return False
        periods = (await repository.of_projects(session, wv.settings.retention)).get(job.project_id)
    days = periods.training_log_days if periods else 0
    return bool(days) and job.finished_at < cut(days, now())


def _with_files(data_dir: Path) -> list[str]:
    jobs = data_dir / "jobs"
    return sorted({path.parent.name for name in FILES for path in jobs.glob(f"*/{name}")})


def _remove_files(directory: Path) -> None:
    for name in FILES:
        path = directory / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
