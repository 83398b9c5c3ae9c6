"""Creating fine-tuning jobs: what was asked for, checked and stored; and the same call sent twice."""

import hashlib
import secrets
from datetime import timedelta
from typing import Any

import msgspec
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.tables import FineTuningJobRow
from gateway.errors import InvalidRequest
from gateway.fine_tuning import repository
from gateway.fine_tuning.names import base_name
from gateway.fine_tuning.transitions import ENDED
from gateway.kit.clock import now
from gateway.kit.ids import new_id
from gateway.protocol.fine_tuning import (
    Dpo,
    DpoHyperparameters,
    Hyperparameters,
    Integration,
    JobCreate,
    Method,
    Supervised,
    Training,
)

SEEDS = 2**31
METADATA_PAIRS, METADATA_KEY, METADATA_VALUE = 16, 64, 512
REPEAT_MINUTES = 5
"""The same call of the same key within this time is one call: neither SDK sends an idempotency key (contract section 9),
and a call that timed out is sent up to three times."""


def fingerprint(api_key_id: str, body: bytes) -> str:
    """The same for the same key and the same JSON, however it is written: sha256 (hex)."""
    canonical = msgspec.json.encode(msgspec.json.decode(body), order="deterministic")
    return hashlib.sha256(api_key_id.encode() + b"\n" + canonical).hexdigest()


async def find_repeated(session: AsyncSession, mark: str, *, is_retry: bool) -> FineTuningJobRow | None:
    """The job that the same call made a moment ago, or None when this call is to make one.

    Until the transaction ends, nobody else gets an answer for the same fingerprint, so of two calls at once one waits
    and finds the other's job. A job that has ended may be made again, unless an SDK says that it repeats itself.

    Args:
        mark: of `fingerprint`.
        is_retry: the SDK says so.
    """
    lock = int.from_bytes(bytes.fromhex(mark)[:8], "big", signed=True)
    await session.execute(select(func.pg_advisory_xact_lock(lock)))
    recent = FineTuningJobRow.created_at > now() - timedelta(minutes=REPEAT_MINUTES)
    query = select(FineTuningJobRow).where(FineTuningJobRow.fingerprint == mark, recent)
    row = await session.scalar(query.order_by(FineTuningJobRow.created_at.desc()).limit(1))
    return None if row is None or (row.status in ENDED and not is_retry) else row


async def create(
    session: AsyncSession, wanted: JobCreate, *, project_id: str, api_key_id: str, mark: str | None = None
) -> FineTuningJobRow:
    """A new job in `validating_files`; a worker takes it from there.

    The caller has checked that the model can be trained and that the files exist. Raises InvalidRequest.

    Args:
        mark: of `fingerprint`.
    """
    row = draft(wanted, project_id=project_id, api_key_id=api_key_id)
    row.fingerprint = mark
    session.add(row)
    await session.flush()
    await repository.add_event(session, row.id, "created", f"Created fine-tuning job: {row.id}")
    return row


def draft(wanted: JobCreate, *, project_id: str, api_key_id: str) -> FineTuningJobRow:
    """The row that a call asks for, checked but not stored. Raises InvalidRequest."""
    method, training, job_id = method_of(wanted), training_of(wanted), new_id("ftjob-")
    _check_metadata(wanted.metadata)
    return FineTuningJobRow(
        id=job_id,
        project_id=project_id,
        api_key_id=api_key_id,
        created_at=now(),
        model=wanted.model,
        status="validating_files",
        training_file=wanted.training_file,
        validation_file=wanted.validation_file,
        method=msgspec.to_builtins(method),
        training=msgspec.to_builtins(training),
        integrations=_integrations(wanted, job_id),
        seed=secrets.randbelow(SEEDS) if wanted.seed is None else wanted.seed,
        suffix=wanted.suffix,
        # None here would be stored as JSON's null, which `IS NULL` (metadata=null in a list) does not find.
        **({} if wanted.metadata is None else {"request_metadata": wanted.metadata}),
    )


def method_of(wanted: JobCreate) -> Method:
    """The `method` object, the deprecated top-level hyperparameters included. Raises InvalidRequest."""
    method = wanted.method or Method(type="supervised")
    if method.type == "reinforcement":
        raise InvalidRequest(
            "Method 'reinforcement' is not available on this server. Use 'supervised' with examples of good answers, or"
            " 'dpo' with pairs of a better and a worse answer.",
            param="method.type",
        )
    for other in ("supervised", "dpo", "reinforcement"):
        if other != method.type and getattr(method, other) is not None:
            raise InvalidRequest(
                f"'method.{other}' does not belong to a method of type '{method.type}'; remove it, or set 'method.type'"
                f" to '{other}'.",
                param=f"method.{other}",
            )
    if getattr(method, method.type) is not None and wanted.hyperparameters is not None:
        raise InvalidRequest(
            f"Give 'method.{method.type}.hyperparameters' or the deprecated 'hyperparameters', not both.",
            param="hyperparameters",
        )
    return _completed(method, wanted.hyperparameters or Hyperparameters())


def _completed(method: Method, deprecated: Hyperparameters) -> Method:
    """A method without its own object has the deprecated numbers, "auto" where there are none."""
    if method.type == "supervised":
        own = method.supervised or Supervised(hyperparameters=deprecated)
        return Method(type="supervised", supervised=own)
    return Method(
        type="dpo", dpo=method.dpo or Dpo(hyperparameters=DpoHyperparameters(**msgspec.structs.asdict(deprecated)))
    )


def training_of(wanted: JobCreate) -> Training:
    """The extension field `training`, "auto" where nothing was asked. Raises InvalidRequest."""
    training = wanted.training or Training()
    for name in ("lora_rank", "lora_alpha"):
        if training.type == "full" and getattr(training, name) != "auto":
            message = f"'training.{name}' belongs to an adapter, and training type 'full' has none; remove it."
            raise InvalidRequest(message, param=f"training.{name}")
    return training


def _integrations(wanted: JobCreate, job_id: str) -> list[dict[str, Any]]:
    """As OpenAI shows them: the run is named after the job unless it was given a name, and carries OpenAI's tags beside
    the asked ones (contract section 3)."""
    if len(wanted.integrations or []) > 1:
        message = "Invalid 'integrations': a job is written to one wandb run; leave one of them."
        raise InvalidRequest(message, param="integrations")
    tags = ["openai/finetune", f"openai/{base_name(wanted.model)}", f"openai/{job_id}"]
    return [_integration(each, job_id, tags) for each in wanted.integrations or []]


def _integration(wanted: Integration, job_id: str, default_tags: list[str]) -> dict[str, Any]:
    run = wanted.wandb
    tags = [*dict.fromkeys([*(run.tags or []), *default_tags])]
    return {
        "type": "wandb",
        "wandb": {"project": run.project, "name": run.name or job_id, "entity": run.entity, "tags": tags},
    }


def _check_metadata(metadata: dict[str, str] | None) -> None:
    """At most 16 pairs, keys of 64 and values of 512 characters (contract section 0)."""
    if metadata and len(metadata) > METADATA_PAIRS:
        raise InvalidRequest(f"Invalid 'metadata': at most {METADATA_PAIRS} pairs.", param="metadata")
    for key, value in (metadata or {}).items():
        if len(key) > METADATA_KEY or len(value) > METADATA_VALUE:
            limits = f"keys have at most {METADATA_KEY} and values {METADATA_VALUE} characters"
            raise InvalidRequest(f"Invalid 'metadata': {limits}.", param="metadata")
