"""What was made of something."""

from collections.abc import Callable
from typing import Any

from sqlalchemy import ColumnElement, select

from gateway.db.tables import (
    DatasetItemRow,
    DatasetVersionRow,
    EvalRow,
    EvalRunRow,
    FineTuningCheckpointRow,
    FineTuningJobRow,
    JudgmentRow,
    ModelRow,
    TrainingExampleRow,
)
from gateway.lineage.link import Find, Link, Query

Item, Version, Judged, Run, Job = DatasetItemRow, DatasetVersionRow, JudgmentRow, EvalRunRow, FineTuningJobRow


def _naming(column: Any) -> Find:
    """The project's rows that name it in that column, newest first."""
    row = column.class_
    return lambda project_id, id: (
        select(row.id).where(row.project_id == project_id, column == id).order_by(row.created_at.desc(), row.id)
    )


def _versions_with(condition: Callable[[str], ColumnElement[bool]]) -> Find:
    """The project's versions that have a row like that."""
    return lambda project_id, id: select(Version.id).where(
        Version.project_id == project_id,
        Version.id.in_(select(Item.version_id).where(condition(id))),
    )


def _judgments(project_id: str, id: str) -> Query:
    either = (Judged.exchange_id == id) | (Judged.other_exchange_id == id)
    return select(Judged.id).where(Judged.project_id == project_id, either).order_by(Judged.id.desc())


def _counted(id: str) -> ColumnElement[bool]:
    """Rows are found by their exchanges; a judgment is named in rows of the exchange that it is about."""
    about = select(Judged.exchange_id).where(Judged.id == id).scalar_subquery()
    other = select(Judged.other_exchange_id).where(Judged.id == id).scalar_subquery()
    return Item.exchange_id.in_([about, other]) & Item.judgment_ids.contains([id])


def _file(column: Any) -> Find:
    return lambda project_id, id: select(column).where(
        Version.project_id == project_id, Version.id == id, column.is_not(None)
    )


def versions_of(project_id: str, id: str) -> Query:
    """Of a dataset, newest first; to both sides, for they are it."""
    of_dataset = (Version.project_id == project_id, Version.dataset_id == id)
    return select(Version.id).where(*of_dataset).order_by(Version.number.desc())


def _checkpoints(project_id: str, id: str) -> Query:
    row = FineTuningCheckpointRow
    return select(row.id).join(Job).where(Job.project_id == project_id, row.job_id == id).order_by(row.step)


def _whole_models(project_id: str, id: str) -> Query:
    """Those of checkpoints come of the checkpoints."""
    of_job = (ModelRow.project_id == project_id, ModelRow.job_id == id, ModelRow.step.is_(None))
    return select(ModelRow.id).where(*of_job)


def _published(project_id: str, id: str) -> Query:
    row = FineTuningCheckpointRow
    same = (row.job_id == ModelRow.job_id) & (row.step == ModelRow.step)
    return select(ModelRow.id).join(row, same).where(ModelRow.project_id == project_id, row.id == id)


def _runs(condition: Callable[[str], ColumnElement[bool]]) -> Find:
    """By the evals of the project, which the database finds by an index."""
    return lambda project_id, id: (
        select(Run.id)
        .join(EvalRow, EvalRow.id == Run.eval_id)
        .where(EvalRow.project_id == project_id, Run.project_id == project_id, condition(id))
        .order_by(Run.created_at.desc(), Run.id)
    )


def _reads_file(id: str) -> ColumnElement[bool]:
    source = Run.data_source["source"]
    return (source["type"].astext == "file_id") & (source["id"].astext == id)


DOWN: dict[str, tuple[Link, ...]] = {
    "exchange": (
        Link("judged", "judgment", _judgments),
        Link("copied_to", "training_example", _naming(TrainingExampleRow.exchange_id)),
        Link("row_of", "dataset_version", _versions_with(lambda id: Item.exchange_id == id)),
        Link("rejected_in", "dataset_version", _versions_with(lambda id: Item.other_exchange_id == id)),
    ),
    "judgment": (Link("counted_in", "dataset_version", _versions_with(_counted)),),
    "judge_version": (Link("judged_by", "judgment", _naming(Judged.judge_version_id)),),
    "training_example": (Link("row_of", "dataset_version", _versions_with(lambda id: Item.example_id == id)),),
    "dataset": (Link("version_of", "dataset_version", versions_of),),
    "dataset_version": (
        Link("training_file_of", "file", _file(Version.training_file_id)),
        Link("validation_file_of", "file", _file(Version.validation_file_id)),
    ),
    "file": (
        Link("trained_on", "job", _naming(Job.training_file)),
        Link("validated_on", "job", _naming(Job.validation_file)),
        Link("imported_to", "training_example", _naming(TrainingExampleRow.file_id)),
        Link("tested_with", "eval_run", _runs(_reads_file)),
    ),
    "job": (Link("saved", "checkpoint", _checkpoints), Link("made", "model", _whole_models)),
    "checkpoint": (Link("published", "model", _published),),
    "model": (
        Link("base_of", "job", _naming(Job.model)),
        Link("tested_in", "eval_run", _runs(lambda id: Run.model == id)),
    ),
    "base_model": (),
    "eval_run": (Link("judged_in", "judgment", _naming(Judged.eval_run_id)),),
}
"""Of a model's answers there may be millions: GET /v1/exchanges?model=... lists them."""
