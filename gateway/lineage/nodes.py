"""What things are called in a lineage. Another project's are not there."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
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
NEVER = null()
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


@dataclass(frozen=True)
class Shown:
    """Which columns the nodes of a kind are shown by."""

    row: Any
    label: Any
    deleted_at: Any = NEVER
    joined: Any = None
    """Where a part of the label is."""
    owner: Any = None
    """Whose project it is, where the row itself does not say: `joined`."""

    def __call__(self, project_id: str, ids: Collection[str]) -> Query:
        query: Any = select(self.row.id, self.label, self.row.created_at, self.deleted_at)
        query = query.join(self.joined) if self.joined is not None else query
        return query.where((self.owner or self.row).project_id == project_id, self.row.id.in_(ids))


QUERIES: dict[str, Callable[[str, Collection[str]], Query]] = {
    "exchange": _exchanges,
    "judgment": Shown(
        JudgmentRow, func.concat(CriterionRow.name, " by ", JudgmentRow.source), JudgmentRow.superseded_at, CriterionRow
    ),
    "judge_version": Shown(
        JudgeVersionRow,
        func.concat(JudgeRow.name, " v", JudgeVersionRow.number),
        JudgeRow.archived_at,
        JudgeRow,
        JudgeRow,
    ),
    "training_example": Shown(
        TrainingExampleRow, func.concat(TrainingExampleRow.kind, " example"), TrainingExampleRow.deleted_at
    ),
    "dataset": Shown(DatasetRow, DatasetRow.name, DatasetRow.deleted_at),
    "dataset_version": Shown(
        DatasetVersionRow,
        func.concat(DatasetRow.name, " v", DatasetVersionRow.number),
        DatasetRow.deleted_at,
        DatasetRow,
    ),
    "file": Shown(FileRow, FileRow.filename, FileRow.deleted_at),
    "job": Shown(FineTuningJobRow, func.concat(FineTuningJobRow.model, ", ", FineTuningJobRow.status)),
    "checkpoint": Shown(
        FineTuningCheckpointRow,
        func.concat("step ", FineTuningCheckpointRow.step),
        joined=FineTuningJobRow,
        owner=FineTuningJobRow,
    ),
    "model": Shown(ModelRow, ModelRow.id.label("name"), ModelRow.deleted_at),
    "eval_run": Shown(EvalRunRow, func.concat(EvalRow.name, ": ", EvalRunRow.name), EvalRunRow.deleted_at, EvalRow),
}
