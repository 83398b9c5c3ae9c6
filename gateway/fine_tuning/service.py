"""Cancelling, pausing, resuming and failing fine-tuning jobs; gateway/fine_tuning/creation.py makes them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import or_
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.tables import FineTuningJobRow
from gateway.errors import Conflict
from gateway.fine_tuning import repository
from gateway.fine_tuning.transitions import ENDED
from gateway.kit.ids import new_id

Job = FineTuningJobRow


async def cancel(session: AsyncSession, project_id: str, job_id: str) -> FineTuningJobRow:
    """Cancel a job; its trainer stops after the step it is at, with a checkpoint.

    Raises:
        NotFound: there is no such job in this project.
        Conflict: it has already ended.
    """
    row = await repository.find(session, project_id, job_id)
    cancelled = await repository.move(session, job_id, "cancelled")
    await session.refresh(row)
    if not cancelled:
        raise _conflict(row, "cancelled")
    await repository.add_event(session, job_id, "cancelled", "Fine-tuning job cancelled")
    return row


async def pause(session: AsyncSession, project_id: str, job_id: str) -> FineTuningJobRow:
    """Pause a job; its trainer stops after the step it is at, with a checkpoint to go on from.

    Raises:
        NotFound: there is no such job in this project.
        Conflict: it has ended, or is paused already.
    """
    row = await repository.find(session, project_id, job_id)
    unvalidated = or_(Job.unvalidated, Job.status == "validating_files")
    paused = await repository.move(session, job_id, "paused", unvalidated=unvalidated)
    await session.refresh(row)
    if not paused:
        raise _conflict(row, "paused")
    await repository.add_event(session, job_id, new_id("paused-"), "Fine-tuning job paused")
    return row


async def resume(session: AsyncSession, project_id: str, job_id: str) -> FineTuningJobRow:
    """Put a paused job back into the queue, at its old place; it goes on from its last checkpoint.

    Raises:
        NotFound: there is no such job in this project.
        Conflict: it is not paused.
    """
    row = await repository.find(session, project_id, job_id)
    resumed = await repository.move(session, job_id, "queued", only_from="paused")
    await session.refresh(row)
    if not resumed:
        raise _conflict(row, "resumed")
    await repository.add_event(session, job_id, new_id("resumed-"), "Fine-tuning job resumed")
    return row


def _conflict(row: FineTuningJobRow, wanted: Literal["cancelled", "paused", "resumed"]) -> Conflict:
    """SDKs retry a 409 unless told not to, and nothing would change."""
    if row.status in ENDED:
        why = f"it has already {'been cancelled' if row.status == 'cancelled' else row.status}"
    else:
        why = "it is already paused" if row.status == "paused" else f"it is not paused, its status is {row.status}"
    return Conflict(f"Job {row.id} cannot be {wanted}: {why}.", headers={"x-should-retry": "false"})


@dataclass(eq=False)
class Failure(Exception):
    """Why a job cannot go on: OpenAI's error object, and what to mend as events of their own."""

    code: str
    message: str
    param: str | None = None
    problems: Sequence[str] = ()


async def fail(session: AsyncSession, job_id: str, failure: Failure, *, holder: str | None = None) -> None:
    """End a job. One that has ended, is paused, or that another than `holder` has, stays as it is."""
    message = repository.storable(failure.message)
    error = {"code": failure.code, "message": message, "param": failure.param}
    if not await repository.move(session, job_id, "failed", holder=holder, error=error):
        return
    for number, problem in enumerate(failure.problems):
        await repository.add_event(session, job_id, f"problem-{number}", problem, level="error")
    if not await repository.was_told(session, job_id, message):  # the trainer tells its failure itself
        await repository.add_event(session, job_id, "failed", message, level="error")
