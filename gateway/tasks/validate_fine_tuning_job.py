"""Check the files of a new job; then it is queued for training, or it fails with the lines to mend."""

import asyncio
from pathlib import Path

from gateway.db.tables import FineTuningJobRow
from gateway.errors import NotFound
from gateway.files import repository as files
from gateway.fine_tuning import repository, service
from gateway.fine_tuning.runner import TRAINING, VALIDATION, job_directory
from gateway.fine_tuning.validation import MIN_EXAMPLES, Report, validate_chat_file
from gateway.services import WorkerServices
from gateway.tasks.train_fine_tuning_jobs import train_fine_tuning_jobs


class InvalidFile(Exception):
    """A file of the job cannot be trained on."""

    def __init__(self, code: str, message: str, param: str, problems: list[str] | None = None) -> None:
        super().__init__(message)
        self.code, self.param, self.problems = code, param, problems or []


async def validate_fine_tuning_job(wv: WorkerServices, job_id: str) -> None:
    """Harmless when repeated: a job that has moved on is left alone."""
    async with wv.database.session() as session:
        job = await repository.get(session, job_id)
        if job is None or job.status != "validating_files":
            return
        also = f" and validation file: {job.validation_file}" if job.validation_file else ""
        await repository.add_event(
            session, job_id, "validating", f"Validating training file: {job.training_file}{also}"
        )
    try:
        await _check(wv, job, "training_file", job.training_file, TRAINING)
        if job.validation_file:
            await _check(wv, job, "validation_file", job.validation_file, VALIDATION)
    except InvalidFile as invalid:
        async with wv.database.session() as session:
            await service.fail(session, job_id, invalid.code, str(invalid), invalid.param, invalid.problems)
        return
    async with wv.database.session() as session:
        if await repository.move(session, job_id, "queued"):
            message = "Files validated, moving job to queued state"
            await repository.add_event(session, job_id, "queued", message)
    wv.background.spawn(train_fine_tuning_jobs(wv), "train")


async def _check(wv: WorkerServices, job: FineTuningJobRow, param: str, file_id: str, name: str) -> None:
    """Bring one file into the job's directory and read it through."""
    path = job_directory(wv.settings.data_dir, job.id) / name
    await _fetch(wv, job.project_id, file_id, param, path)
    report = await asyncio.to_thread(validate_chat_file, path)
    what = "training" if param == "training_file" else "validation"
    if report.problems:
        raise _invalid(report, param, what)
    least = MIN_EXAMPLES if param == "training_file" else 1
    if report.examples < least:
        message = f"{what.capitalize()} file has {report.examples} example(s), but must have at least {least} examples"
        raise InvalidFile("invalid_n_examples", message, param)


def _invalid(report: Report, param: str, what: str) -> InvalidFile:
    more = f" {report.bad} examples have problems; the events of this job list them." if report.bad > 1 else ""
    message = f"The job failed due to an invalid {what} file. Invalid file format. {report.problems[0]}.{more}"
    return InvalidFile(f"invalid_{param}", message, param, report.problems if report.bad > 1 else [])


async def _fetch(wv: WorkerServices, project_id: str, file_id: str, param: str, path: Path) -> None:
    """Copy the content, so that deleting the file later does not disturb the job."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        async with wv.database.session() as session:
            await files.find(session, project_id, file_id)
        with path.open("wb") as file:
            async for piece in wv.files.get(file_id):
                await asyncio.to_thread(file.write, piece)
    except NotFound:
        raise InvalidFile("file_not_found", f"The file {file_id} does not exist any more.", param) from None
