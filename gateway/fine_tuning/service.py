"""Creating and cancelling fine-tuning jobs."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.tables import FineTuningJobRow
from gateway.errors import Conflict, InvalidRequest
from gateway.fine_tuning import repository
from gateway.kit.clock import now
from gateway.kit.ids import new_id
from gateway.protocol.fine_tuning import Hyperparameters, JobCreate, Method, Supervised

SEEDS = 2**31
METADATA_PAIRS, METADATA_KEY, METADATA_VALUE = 16, 64, 512


async def create(session: AsyncSession, wanted: JobCreate, *, project_id: str, api_key_id: str) -> FineTuningJobRow:
    """A new job in `validating_files`; a worker takes it from there.

    The caller has checked that the model can be trained and that the files exist. Raises InvalidRequest.
    """
    method = method_of(wanted)
    _check_metadata(wanted.metadata)
    row = FineTuningJobRow(
        id=new_id("ftjob-"),
        project_id=project_id,
        api_key_id=api_key_id,
        created_at=now(),
        model=wanted.model,
        status="validating_files",
        training_file=wanted.training_file,
        validation_file=wanted.validation_file,
        method=msgspec.to_builtins(method),
        seed=secrets.randbelow(SEEDS) if wanted.seed is None else wanted.seed,
        suffix=wanted.suffix,
        # None here would be stored as JSON's null, which `IS NULL` (metadata=null in a list) does not find.
        **({} if wanted.metadata is None else {"request_metadata": wanted.metadata}),
    )
    session.add(row)
    await session.flush()
    await repository.add_event(session, row.id, "created", f"Created fine-tuning job: {row.id}")
    return row


async def cancel(session: AsyncSession, project_id: str, job_id: str) -> FineTuningJobRow:
    """Cancel a job; its trainer is stopped within a second.

    Raises:
        NotFound: there is no such job in this project.
        Conflict: it has already ended.
    """
    row = await repository.find(session, project_id, job_id)
    cancelled = await repository.move(session, job_id, "cancelled")
    await session.refresh(row)
    if not cancelled:
        how = "been cancelled" if row.status == "cancelled" else row.status
        message = f"Job {job_id} cannot be cancelled: it has already {how}."
        raise Conflict(message, headers={"x-should-retry": "false"})  # SDKs retry a 409 otherwise
    await repository.add_event(session, job_id, "cancelled", "Fine-tuning job cancelled")
    return row


@dataclass(eq=False)
class Failure(Exception):
    """Why a job cannot go on: OpenAI's error object, and what to mend as events of their own."""

    code: str
    message: str
    param: str | None = None
    problems: Sequence[str] = ()


async def fail(session: AsyncSession, job_id: str, failure: Failure, *, holder: str | None = None) -> None:
    """End a job. One that has ended, or that another than `holder` has, stays as it is."""
    message = repository.storable(failure.message)
    error = {"code": failure.code, "message": message, "param": failure.param}
    if not await repository.move(session, job_id, "failed", holder=holder, error=error):
        return
    for number, problem in enumerate(failure.problems):
        await repository.add_event(session, job_id, f"problem-{number}", problem, level="error")
    if not await repository.was_told(session, job_id, message):  # the trainer tells its failure itself
        await repository.add_event(session, job_id, "failed", message, level="error")


def method_of(wanted: JobCreate) -> Method:
    """The `method` object, the deprecated top-level hyperparameters included."""
    method = wanted.method or Method(type="supervised")
    if method.type != "supervised":
        raise InvalidRequest(
            f"Method '{method.type}' is not available on this server; use 'supervised'.", param="method.type"
        )
    if wanted.integrations:
        raise InvalidRequest("Integrations are not available on this server.", param="integrations")
    if method.supervised is None:
        method.supervised = Supervised(hyperparameters=wanted.hyperparameters or Hyperparameters())
    elif wanted.hyperparameters:
        raise InvalidRequest(
            "Give 'method.supervised.hyperparameters' or the deprecated 'hyperparameters', not both.",
            param="hyperparameters",
        )
    return method


def resolved(method: dict[str, Any], numbers: dict[str, Any]) -> dict[str, Any]:
    """`method` with every "auto" replaced by the number that the trainer chose."""
    return method | {"supervised": {"hyperparameters": numbers}}


def _check_metadata(metadata: dict[str, str] | None) -> None:
    """At most 16 pairs, keys of 64 and values of 512 characters (contract section 0)."""
    if metadata and len(metadata) > METADATA_PAIRS:
        raise InvalidRequest(f"Invalid 'metadata': at most {METADATA_PAIRS} pairs.", param="metadata")
    for key, value in (metadata or {}).items():
        if len(key) > METADATA_KEY or len(value) > METADATA_VALUE:
            limits = f"keys have at most {METADATA_KEY} and values {METADATA_VALUE} characters"
            raise InvalidRequest(f"Invalid 'metadata': {limits}.", param="metadata")
