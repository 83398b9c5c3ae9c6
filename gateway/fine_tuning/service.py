"""Creating and cancelling fine-tuning jobs."""

import secrets
from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.tables import FineTuningJobRow
from gateway.errors import Conflict, InvalidRequest
from gateway.fine_tuning import repository
from gateway.fine_tuning.transitions import ENDED
from gateway.kit.clock import now
from gateway.kit.ids import new_id
from gateway.protocol.fine_tuning import JobCreate, Method, Supervised

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
        request_metadata=wanted.metadata,
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
    if row.status in ENDED or not await repository.move(session, job_id, "cancelled"):
        raise Conflict(f"Job {job_id} cannot be cancelled: it has already {row.status}.")
    await repository.add_event(session, job_id, "cancelled", "Fine-tuning job cancelled")
    await session.refresh(row)
    return row


async def fail(
    session: AsyncSession, job_id: str, code: str, message: str, param: str | None, problems: Sequence[str] = ()
) -> None:
    """End a job with OpenAI's error object; each problem is an event of its own. A job that has ended stays as it is."""
    error = {"code": code, "message": message, "param": param}
    if not await repository.move(session, job_id, "failed", error=error):
        return
    for number, problem in enumerate(problems):
        await repository.add_event(session, job_id, f"problem-{number}", problem, level="error")
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
    method.supervised = method.supervised or Supervised()
    if wanted.hyperparameters and not wanted.method:
        method.supervised.hyperparameters = wanted.hyperparameters
    return method


def resolved(method: dict[str, Any], numbers: dict[str, Any]) -> dict[str, Any]:
    """`method` with every "auto" replaced by the number that the trainer chose."""
    return method | {"supervised": {"hyperparameters": numbers}}


def base_name(model: str) -> str:
    """The base of a model's name: `ft:starter:org:suffix:id` -> `starter`; a base is its own."""
    return model.split(":")[1] if model.startswith("ft:") else model


def model_name(row: FineTuningJobRow, base_model: str, organization: str) -> str:
    """`ft:{base}:{organization}:{suffix or empty}:{8 characters}`; the same for every try of a job."""
    return f"ft:{base_model}:{organization}:{row.suffix or ''}:{row.id[-8:]}"


def _check_metadata(metadata: dict[str, str] | None) -> None:
    """At most 16 pairs, keys of 64 and values of 512 characters (contract section 0)."""
    if metadata and len(metadata) > METADATA_PAIRS:
        raise InvalidRequest(f"Invalid 'metadata': at most {METADATA_PAIRS} pairs.", param="metadata")
    for key, value in (metadata or {}).items():
        if len(key) > METADATA_KEY or len(value) > METADATA_VALUE:
            limits = f"keys have at most {METADATA_KEY} and values {METADATA_VALUE} characters"
            raise InvalidRequest(f"Invalid 'metadata': {limits}.", param="metadata")
