"""What things are called in a lineage. Another project's are not there."""

from collections.abc import Callable, Collection
from datetime import datetime
from typing import Any

from sqlalchemy import func, null, select
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.tables import (
    CriterionRow,
    DatasetRow,
    DatasetVersionRow,
    EvalRow,
    EvalRunRow,
    ExchangeDeletionRow,
    ExchangeRow,
    FileRow,
    FineTuningCheckpointRow,
    FineTuningJobRow,
    JudgeRow,
    JudgeVersionRow,
    JudgmentRow,
    ModelRow,
    TrainingExampleRow,
)
from gateway.errors import NotFound
from gateway.kit.clock import unix
from gateway.protocol.lineage import Node

HIDDEN = "off"
"""The logging policy of calls that only the bill knows."""
TUNED = "ft:"
PREFIXES = {
    "req_": "exchange",
    "judgment_": "judgment",
    "judgever_": "judge_version",
    "example_": "training_example",
    "dataset_": "dataset",
    "dsver_": "dataset_version",
    "file-": "file",
    "ftjob-": "job",
    "ftckpt_": "checkpoint",
    TUNED: "model",
    "evalrun_": "eval_run",
}

Query = Any
"""A select of an id, a label, when it was made and when it was deleted."""


async def find(session: AsyncSession, project_id: str, id: str) -> Node:
    """By its id, or of an exchange by that of its reply. Raises NotFound."""
    kind = next((kind for prefix, kind in PREFIXES.items() if id.startswith(prefix)), None)
    if kind is None:
        kind, id = "exchange", await _by_reply(session, project_id, id) or id
    found = await nodes(session, project_id, kind, [id])
    if not found or found[0].type == "base_model":
        raise NotFound(
            f"Nothing with id '{id[:200]}' in this project that has a lineage: exchanges, judgments, training examples, "
            "datasets and their versions, files, fine-tuning jobs, checkpoints, models and eval runs have one.",
            param="id",
        )
    return found[0]


async def nodes(session: AsyncSession, project_id: str, kind: str, ids: Collection[str]) -> list[Node]:
    """Those of `ids` that the project has, in their order. Models that were not made here are base models."""
    rows: Any = await session.execute(QUERIES[kind](project_id, ids))
    found = {id: _node(kind, id, label, made, gone) for id, label, made, gone in rows}
    if kind == "model":
        named = {id for id in ids if id not in found and not id.startswith(TUNED)}
        found |= {id: Node(id=id, type="base_model", label=id, created_at=None) for id in named}
    return [found[id] for id in dict.fromkeys(ids) if id in found]


def _node(kind: str, id: str, label: str, made: datetime, gone: datetime | None) -> Node:
    return Node(id=id, type=kind, label=label, created_at=unix(made), deleted_at=unix(gone) if gone else None)


async def _by_reply(session: AsyncSession, project_id: str, reply_id: str) -> str | None:
    of_project = (ExchangeRow.project_id == project_id, ExchangeRow.reply_id == reply_id)
    return await session.scalar(select(func.max(ExchangeRow.id)).where(*of_project))


def _exchanges(project_id: str, ids: Collection[str]) -> Query:
    row, gone = ExchangeRow, ExchangeDeletionRow
    model = func.coalesce(row.served_model, row.requested_model)
    return (
        select(row.id, model, row.created_at, gone.deleted_at)
        .outerjoin(gone, (gone.exchange_id == row.id) & (gone.project_id == row.project_id))
        .where(row.project_id == project_id, row.logging != HIDDEN, row.id.in_(ids))
    )


def _judgments(project_id: str, ids: Collection[str]) -> Query:
    row = JudgmentRow
    label = func.concat(CriterionRow.name, " by ", row.source)
    columns = select(row.id, label, row.created_at, row.superseded_at)
    return columns.join(CriterionRow).where(row.project_id == project_id, row.id.in_(ids))


def _judge_versions(project_id: str, ids: Collection[str]) -> Query:
    row = JudgeVersionRow
    label = func.concat(JudgeRow.name, " v", row.number)
    columns = select(row.id, label, row.created_at, JudgeRow.archived_at)
    return columns.join(JudgeRow).where(JudgeRow.project_id == project_id, row.id.in_(ids))


def _examples(project_id: str, ids: Collection[str]) -> Query:
    row = TrainingExampleRow
    columns = select(row.id, func.concat(row.kind, " example"), row.created_at, row.deleted_at)
    return columns.where(row.project_id == project_id, row.id.in_(ids))


def _datasets(project_id: str, ids: Collection[str]) -> Query:
    row = DatasetRow
    columns = select(row.id, row.name, row.created_at, row.deleted_at)
    return columns.where(row.project_id == project_id, row.id.in_(ids))


def _versions(project_id: str, ids: Collection[str]) -> Query:
    row = DatasetVersionRow
    label = func.concat(DatasetRow.name, " v", row.number)
    columns = select(row.id, label, row.created_at, DatasetRow.deleted_at)
    return columns.join(DatasetRow).where(row.project_id == project_id, row.id.in_(ids))


def _files(project_id: str, ids: Collection[str]) -> Query:
    row = FileRow
    columns = select(row.id, row.filename, row.created_at, row.deleted_at)
    return columns.where(row.project_id == project_id, row.id.in_(ids))


def _jobs(project_id: str, ids: Collection[str]) -> Query:
    row = FineTuningJobRow
    label = func.concat(row.model, ", ", row.status)
    columns = select(row.id, label, row.created_at, null())
    return columns.where(row.project_id == project_id, row.id.in_(ids))


def _checkpoints(project_id: str, ids: Collection[str]) -> Query:
    row = FineTuningCheckpointRow
    columns = select(row.id, func.concat("step ", row.step), row.created_at, null()).join(FineTuningJobRow)
    return columns.where(FineTuningJobRow.project_id == project_id, row.id.in_(ids))


def _models(project_id: str, ids: Collection[str]) -> Query:
    row = ModelRow
    columns = select(row.id, row.id.label("name"), row.created_at, row.deleted_at)
    return columns.where(row.project_id == project_id, row.id.in_(ids))


def _runs(project_id: str, ids: Collection[str]) -> Query:
    row = EvalRunRow
    label = func.concat(EvalRow.name, ": ", row.name)
    columns = select(row.id, label, row.created_at, row.deleted_at)
    return columns.join(EvalRow).where(row.project_id == project_id, row.id.in_(ids))


QUERIES: dict[str, Callable[[str, Collection[str]], Query]] = {
    "exchange": _exchanges,
    "judgment": _judgments,
    "judge_version": _judge_versions,
    "training_example": _examples,
    "dataset": _datasets,
    "dataset_version": _versions,
    "file": _files,
    "job": _jobs,
    "checkpoint": _checkpoints,
    "model": _models,
    "eval_run": _runs,
}
