"""Rows and files of models as a training would have left them."""

import json
from pathlib import Path
from typing import Any

from sqlalchemy import select, update

from gateway.db.database import Database
from gateway.db.tables import FineTuningJobRow, ModelRow
from gateway.fine_tuning.models import add_model
from gateway.fine_tuning.names import checkpoint_name, model_name
from gateway.fine_tuning.publish import directory_name
from gateway.kit.clock import now
from tests.fakes.engine import BASE

NUMBERS = {"n_epochs": 3, "batch_size": 4, "learning_rate_multiplier": 1.5}


async def add_job(
    database: Database, key: dict[str, Any], job_id: str = "ftjob-abcdefgh12345678", **fields: Any
) -> FineTuningJobRow:
    """A job of the project that `key` belongs to; it has succeeded unless told otherwise."""
    values = {
        "created_at": now(),
        "model": BASE,
        "status": "succeeded",
        "training_file": "file-1",
        "method": {"type": "supervised", "supervised": {"hyperparameters": NUMBERS}},
        "seed": 7,
    }
    owner = {"project_id": key["project_id"], "api_key_id": key["id"]}
    row = FineTuningJobRow(id=job_id, **{**owner, **values, **fields})
    async with database.session() as session:
        session.add(row)
    return row


async def add_tuned(
    database: Database, job: FineTuningJobRow, data_dir: Path | None = None, *, step: int | None = None, **fields: Any
) -> ModelRow:
    """The model of a job, or one of its checkpoints; with files when there is a directory for them."""
    name = model_name(job, BASE, "tuneway")
    row = ModelRow(
        id=name if step is None else checkpoint_name(name, step),
        project_id=job.project_id,
        job_id=job.id,
        base_model=BASE,
        step=step,
        adapter_path=f"adapters/{directory_name(job.id, step)}",
        created_at=now(),
    )
    for field, value in fields.items():
        setattr(row, field, value)
    async with database.session() as session:
        await add_model(session, row)
    if data_dir is not None:
        write_adapter(data_dir / row.adapter_path)
    return row


def write_adapter(directory: Path, weights: bytes = b"weights") -> None:
    directory.mkdir(parents=True)
    config = {"peft_type": "LORA", "r": 8, "base_model_name_or_path": "/somewhere/here"}
    (directory / "adapter_config.json").write_text(json.dumps(config))
    (directory / "adapter_model.safetensors").write_bytes(weights)


def write_full(directory: Path) -> None:
    directory.mkdir(parents=True)
    (directory / "config.json").write_text(json.dumps({"model_type": "qwen2"}))
    (directory / "model.safetensors").write_bytes(b"weights")
    (directory / "tokenizer.json").write_text("{}")


async def set_status(database: Database, job_id: str, status: str) -> None:
    async with database.session() as session:
        await session.execute(update(FineTuningJobRow).where(FineTuningJobRow.id == job_id).values(status=status))


async def rows_of(database: Database) -> dict[str, ModelRow]:
    """Every model by its name, deleted ones too."""
    async with database.session() as session:
        return {row.id: row for row in await session.scalars(select(ModelRow))}


async def live(database: Database) -> list[str]:
    return sorted(name for name, row in (await rows_of(database)).items() if row.deleted_at is None)
