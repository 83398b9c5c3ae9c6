"""Check the files of a new job; then it is queued for training, or it fails with the lines to mend."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator
from pathlib import Path

from gateway.db.tables import FineTuningJobRow
from gateway.errors import NotFound, Refusal
from gateway.files import repository as files
from gateway.fine_tuning import repository, service
from gateway.fine_tuning.lease import Lease
from gateway.fine_tuning.runner import TRAINING, VALIDATION, job_directory
from gateway.fine_tuning.service import Failure
from gateway.fine_tuning.validation import BOM, MIN_EXAMPLES, Report, validate_chat_file
from gateway.services import WorkerServices
from gateway.tasks.pauses import PAUSES, Pauses
from gateway.tasks.train_fine_tuning_jobs import train_fine_tuning_jobs

log = logging.getLogger(__name__)


async def validate_fine_tuning_job(wv: WorkerServices, job_id: str, pauses: Pauses = PAUSES) -> None:
    """Harmless when repeated: a job that has moved on, or that another worker validates, is left alone.

    Raises:
        Unavailable: the database or the file storage is away; the job waits and is taken up again.
    """
    lease = Lease(wv.database, wv.settings.fine_tuning.lease_seconds, poll_seconds=pauses.poll)
    if not await lease.take_validation(job_id):
        return
    wv.background.spawn(lease.keep(), f"lease of {job_id}")
    try:
        await _validate(wv, lease)
    finally:
        await asyncio.shield(lease.give_back())
    wv.background.spawn(train_fine_tuning_jobs(wv, pauses), "train")


async def _validate(wv: WorkerServices, lease: Lease) -> None:
    try:
        await _check_files(wv, await _begin(wv, lease))
    except Failure as failure:
        await _fail(wv, lease, failure)
        return
    except Refusal:
        raise
    except Exception:
        log.exception("validation of %s broke", lease.job_id)
        await _fail(wv, lease, Failure("server_error", "The job failed due to an internal error; create it again."))
        return
    async with wv.database.session() as session:
        if await repository.move(session, lease.job_id, "queued", holder=lease.holder):
            message = "Files validated, moving job to queued state"
            await repository.add_event(session, lease.job_id, "queued", message)


async def _begin(wv: WorkerServices, lease: Lease) -> FineTuningJobRow:
    async with wv.database.session() as session:
        job = await repository.get(session, lease.job_id)
        assert job is not None, "a leased job is there"
        also = f" and validation file: {job.validation_file}" if job.validation_file else ""
        message = f"Validating training file: {job.training_file}{also}"
        await repository.add_event(session, job.id, "validating", message)
    return job


async def _fail(wv: WorkerServices, lease: Lease, failure: Failure) -> None:
    async with wv.database.session() as session:
        await service.fail(session, lease.job_id, failure, holder=lease.holder)


async def _check_files(wv: WorkerServices, job: FineTuningJobRow) -> None:
    await _check(wv, job, "training_file", job.training_file, TRAINING)
    if job.validation_file:
        await _check(wv, job, "validation_file", job.validation_file, VALIDATION)


async def _check(wv: WorkerServices, job: FineTuningJobRow, param: str, file_id: str, name: str) -> None:
    """Bring one file into the job's directory and read it through. Raises Failure."""
    path = job_directory(wv.settings.data_dir, job.id) / name
    await _fetch(wv, job.project_id, file_id, param, path)
    report = await asyncio.to_thread(validate_chat_file, path)
    what = "training" if param == "training_file" else "validation"
    if report.problems:
        raise _invalid(report, param, what)
    least = MIN_EXAMPLES if param == "training_file" else 1
    if report.examples < least:
        message = f"{what.capitalize()} file has {report.examples} example(s), but must have at least {least} examples"
        raise Failure("invalid_n_examples", message, param)


def _invalid(report: Report, param: str, what: str) -> Failure:
    more = f" {report.bad} examples have problems; the events of this job list them." if report.bad > 1 else ""
    message = f"The job failed due to an invalid {what} file. Invalid file format. {report.problems[0]}.{more}"
    return Failure(f"invalid_{param}", message, param, report.problems if report.bad > 1 else [])


async def _fetch(wv: WorkerServices, project_id: str, file_id: str, param: str, path: Path) -> None:
    """Copy the content, so that deleting the file later does not disturb the job. The copy appears complete or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    incomplete = path.with_suffix(".incomplete")
    try:
        async with wv.database.session() as session:
            await files.find(session, project_id, file_id)
        with incomplete.open("wb") as file:
            async for piece in _without_mark(wv.files.get(file_id)):
                await asyncio.to_thread(file.write, piece)
        os.replace(incomplete, path)
    except NotFound:
        message = f"The file {file_id} does not exist any more; upload it again and create the job with the new id."
        raise Failure("file_not_found", message, param) from None


async def _without_mark(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """A byte order mark is no JSON; some editors write one."""
    first = await anext(pieces, b"")
    yield first.removeprefix(BOM)
    async for piece in pieces:
        yield piece
