"""Check the files of a new job; then it is queued for training, or it fails with the lines to mend."""

import asyncio
import logging
import os
import secrets
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Literal

from sqlalchemy.ext.asyncio import AsyncSession

from gateway.datasets import repository as reports
from gateway.datasets.findings import MIN_EXAMPLES
from gateway.datasets.lines import BOM
from gateway.datasets.tokens import TokenCounter
from gateway.datasets.validation import Interrupted, validate_path
from gateway.db.tables import FineTuningJobRow
from gateway.errors import NotFound, Refusal
from gateway.files import repository as files
from gateway.fine_tuning import repository, service
from gateway.fine_tuning.lease import Lease, to_its_end
from gateway.fine_tuning.runner import TRAINING, VALIDATION, job_directory
from gateway.fine_tuning.service import Failure
from gateway.fine_tuning.trained import Trained
from gateway.protocol.datasets import Method, Report
from gateway.services import WorkerServices
from gateway.tasks.charge_training import charge_training
from gateway.tasks.estimate_job import estimate_job
from gateway.tasks.fund_training import hold_before_queue
from gateway.tasks.pauses import PAUSES, Pauses
from gateway.tasks.train_fine_tuning_jobs import train_fine_tuning_jobs

log = logging.getLogger(__name__)

Param = Literal["training_file", "validation_file"]
WORDS: dict[Param, str] = {"training_file": "Training file", "validation_file": "Validation file"}
COPIES: dict[Param, str] = {"training_file": TRAINING, "validation_file": VALIDATION}
MAX_TOLD = 20
"""Problems that become events of a job; the file's report has more."""


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
        await _validate(wv, lease, pauses)
    finally:
        await to_its_end(lease.give_back())
    wv.background.spawn(train_fine_tuning_jobs(wv, pauses), "train")


async def _validate(wv: WorkerServices, lease: Lease, pauses: Pauses) -> None:
    try:
        await _check_files(wv, lease, await _begin(wv, lease))
        await hold_before_queue(wv, lease.job_id, pauses)
    except Interrupted:
        return  # cancelled or paused, or another worker has it
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
    """Nothing was trained, and what is held for it is free again."""
    async with wv.database.session() as session:
        await service.fail(session, lease.job_id, failure, holder=lease.holder)
        await charge_training(wv, session, lease.job_id, Trained())


async def _check_files(wv: WorkerServices, lease: Lease, job: FineTuningJobRow) -> None:
    await _check(wv, lease, job, "training_file", job.training_file)
    if job.validation_file:
        await _check(wv, lease, job, "validation_file", job.validation_file)


async def _check(wv: WorkerServices, lease: Lease, job: FineTuningJobRow, param: Param, file_id: str) -> None:
    """Bring one file into the job's directory, read it through, and tell what it is like. Raises Failure, Interrupted."""
    path = job_directory(wv.settings.data_dir, job.id) / COPIES[param]
    await _fetch(wv, job.project_id, file_id, param, path)
    method: Method = job.method["type"]
    report = await _read(wv, lease, job, path)
    if _context_length(job) is None:  # else it tells of this job, not of the file alone
        async with wv.database.session() as session:
            await reports.keep(session, file_id, method, wv.settings.engine.model_path, report)
    if report.problem_count:
        raise _invalid(report, param, file_id)
    least = MIN_EXAMPLES if param == "training_file" else 1
    if report.examples < least:
        message = f"{WORDS[param]} has {report.examples} example(s), but must have at least {least} examples"
        raise Failure("invalid_n_examples", message, param)
    async with wv.database.session() as session:
        await _tell(session, job, param, report)
    if param == "training_file":
        await estimate_job(wv, job, report)


async def _read(wv: WorkerServices, lease: Lease, job: FineTuningJobRow, path: Path) -> Report:
    """In a thread, which ends soon after the lease is lost, or this is cancelled. Raises Interrupted."""
    stop = threading.Event()
    watching = asyncio.ensure_future(_stop_when_lost(lease, stop))
    try:
        return await asyncio.to_thread(
            lambda: validate_path(
                path,
                job.method["type"],
                counter=TokenCounter.of(wv.settings.engine.model_path),
                context_length=_context_length(job),
                stop=stop,
            )
        )
    finally:
        stop.set()
        watching.cancel()


async def _stop_when_lost(lease: Lease, stop: threading.Event) -> None:
    await lease.lost.wait()
    stop.set()


def _context_length(job: FineTuningJobRow) -> int | None:
    """What the job asks for; None leaves it the base model's."""
    length = job.training.get("context_length")
    return length if isinstance(length, int) else None


def _invalid(report: Report, param: Param, file_id: str) -> Failure:
    opening = f"The job failed due to an invalid {WORDS[param].lower()}. Invalid file format."
    if report.other_format:
        message = f"{opening} {_other_format(report, file_id)}"
        return Failure(f"invalid_{param}", message, param)
    problems = [str(problem) for problem in report.problems[:MAX_TOLD]]
    more = ""
    if report.problem_count > 1:
        all_of_them = f"GET /v1/files/{file_id}/report?method={report.method}"
        more = f" {report.bad_examples} examples have problems; the events of this job list them, and {all_of_them}."
    return Failure(f"invalid_{param}", f"{opening} {problems[0]}{more}", param, problems if more else [])


def _other_format(report: Report, file_id: str) -> str:
    """OpenAI's sentences (contract section 3)."""
    match report.other_format:
        case "chat":
            name, method = "fine-tune-chat", "supervised"
        case "preference":
            name, method = "fine-tune-preference", "dpo"
        case _:
            return (
                f"Unexpected file format of {file_id}: it has prompt/completion pairs, and the method '{report.method}' "
                f"expects the {report.format} format. POST /v1/datasets/import turns them into chat messages."
            )
    return (
        f"Input file {file_id} is in the {name} format, but the specified fine-tuning job is not using '{method}'. "
        f"Create the job with method '{method}', or with a file in the {report.format} format."
    )


async def _tell(session: AsyncSession, job: FineTuningJobRow, param: Param, report: Report) -> None:
    """What a good file is like, and each warning with its way out."""
    about = "about " if report.tokens.source != "counted" else ""
    summary = (
        f"{report.examples:,} examples, {about}{report.tokens.total:,} tokens, quality score {report.score} of 100"
    )
    await repository.add_event(session, job.id, f"{param}-report", f"{WORDS[param]}: {summary}")
    for finding in report.findings:
        if finding.level == "warn":
            where = f" (lines {', '.join(map(str, finding.lines))}, ...)" if finding.lines else ""
            message = f"{WORDS[param]}: {finding.message}{where}. {finding.suggestion}"
            await repository.add_event(session, job.id, f"{param}-{finding.code}", message, level="warn")
    if param == "training_file" and not job.validation_file and (split := report.suggested_split):
        message = (
            f"No validation file was given. With {split.training:,} of the examples for training and {split.validation:,} for "
            "validation (80/20), the validation loss would show when the model begins to memorize."
        )
        await repository.add_event(session, job.id, "no-validation", message)


async def _fetch(wv: WorkerServices, project_id: str, file_id: str, param: Param, path: Path) -> None:
    """Copy the content, so that deleting the file later does not disturb the job. The copy appears complete or not at
    all, also when a worker that lost the job still writes its own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    incomplete = path.with_suffix(f".{secrets.token_hex(4)}.incomplete")
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
    finally:
        incomplete.unlink(missing_ok=True)


async def _without_mark(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """A byte order mark is no JSON; some editors write one."""
    first = await anext(pieces, b"")
    yield first.removeprefix(BOM)
    async for piece in pieces:
        yield piece
