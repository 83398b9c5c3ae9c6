"""What something was made of."""

from typing import Any

from sqlalchemy import ColumnElement, Select, case, func, select

from gateway.db.tables import (
    DatasetItemRow,
    DatasetVersionRow,
    EvalRunRow,
    ExchangeRow,
    FineTuningCheckpointRow,
    FineTuningJobRow,
    JudgmentRow,
    ModelRow,
    TrainingExampleRow,
)
from gateway.lineage.down import versions_of
from gateway.lineage.link import Find, Link, Query

Item, Version, Judged, Run = DatasetItemRow, DatasetVersionRow, JudgmentRow, EvalRunRow


def _named(column: Any) -> Find:
    """What a row of the project names in that column."""
    row = column.class_
    return lambda project_id, id: select(column).where(row.id == id, row.project_id == project_id, column.is_not(None))


def _of_rows(column: Any, *conditions: ColumnElement[bool]) -> Find:
    """Of the rows of a version, in the order of its file."""

    def found(project_id: str, id: str) -> Select[Any]:
        query = select(column).join(Version, Version.id == Item.version_id)
        query = query.where(Version.project_id == project_id, Item.version_id == id, *conditions)
        return query.order_by(Item.number, Item.split)

    return found


def _served(project_id: str, id: str) -> Query:
    """Only a model of the project's own has a lineage here."""
    served = select(ModelRow.id).join(ExchangeRow, ExchangeRow.served_model == ModelRow.id)
    return served.where(ExchangeRow.project_id == project_id, ExchangeRow.id == id)


def _made_from(project_id: str, id: str) -> Query:
    """The judgments that a judgment was made of."""
    parts = select(func.jsonb_array_elements_text(Judged.derived_from))
    return parts.where(Judged.project_id == project_id, Judged.id == id, Judged.derived_from.is_not(None))


def _built(column: Any) -> Find:
    """The version whose file it is."""
    return lambda project_id, id: select(Version.id).where(column == id, Version.project_id == project_id)


def _checkpoint(project_id: str, id: str) -> Query:
    """The checkpoint that a model is; the model of the whole job is none."""
    row = FineTuningCheckpointRow
    same = (row.job_id == ModelRow.job_id) & (row.step == ModelRow.step)
    return select(row.id).join(ModelRow, same).where(ModelRow.project_id == project_id, ModelRow.id == id)


def _job_of_checkpoint(project_id: str, id: str) -> Query:
    row = FineTuningCheckpointRow
    return select(row.job_id).join(FineTuningJobRow).where(FineTuningJobRow.project_id == project_id, row.id == id)


def _source_file(project_id: str, id: str) -> Query:
    source = Run.data_source["source"]
    named = case((source["type"].astext == "file_id", source["id"].astext))
    return select(named).where(Run.project_id == project_id, Run.id == id, named.is_not(None))


_judgments_of_rows: Find = _of_rows(func.jsonb_array_elements_text(Item.judgment_ids))

UP: dict[str, tuple[Link, ...]] = {
    "exchange": (Link("answered", "model", _served),),
    "judgment": (
        Link("judged", "exchange", _named(Judged.exchange_id)),
        Link("judged", "exchange", _named(Judged.other_exchange_id)),
        Link("judged_by", "judge_version", _named(Judged.judge_version_id)),
        Link("part_of", "judgment", _made_from),
        Link("judged_in", "eval_run", _named(Judged.eval_run_id)),
    ),
    "judge_version": (),
    "training_example": (
        Link("copied_to", "exchange", _named(TrainingExampleRow.exchange_id)),
        Link("imported_to", "file", _named(TrainingExampleRow.file_id)),
    ),
    "dataset": (Link("version_of", "dataset_version", versions_of),),
    "dataset_version": (
        Link("row_of", "exchange", _of_rows(Item.exchange_id, Item.exchange_id.is_not(None))),
        Link("rejected_in", "exchange", _of_rows(Item.other_exchange_id, Item.other_exchange_id.is_not(None))),
        Link("row_of", "training_example", _of_rows(Item.example_id, Item.example_id.is_not(None))),
        Link("counted_in", "judgment", _judgments_of_rows),
    ),
    "file": (
        Link("training_file_of", "dataset_version", _built(Version.training_file_id)),
        Link("validation_file_of", "dataset_version", _built(Version.validation_file_id)),
    ),
    "job": (
        Link("trained_on", "file", _named(FineTuningJobRow.training_file)),
        Link("validated_on", "file", _named(FineTuningJobRow.validation_file)),
        Link("base_of", "model", _named(FineTuningJobRow.model)),
    ),
    "checkpoint": (Link("saved", "job", _job_of_checkpoint),),
    "model": (Link("published", "checkpoint", _checkpoint), Link("made", "job", _named(ModelRow.job_id))),
    "base_model": (),
    "eval_run": (
        Link("tested_in", "model", _named(Run.model)),
        Link("tested_with", "file", _source_file),
    ),
}
