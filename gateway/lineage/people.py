"""Where one person's data went: datasets, jobs and models, also what was erased since."""

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, Subquery, func, select, union
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.tables import (
    DatasetItemRow,
    DatasetRow,
    DatasetVersionRow,
    ExchangeDeletionRow,
    ExchangeRow,
    FileRow,
    FineTuningJobRow,
    JudgmentRow,
    ModelRow,
    TrainingExampleRow,
)
from gateway.kit.clock import unix
from gateway.protocol.lineage import DatasetOfUser, JobOfUser, ModelOfUser, UserLineage

Item, Version, Job, Example = DatasetItemRow, DatasetVersionRow, FineTuningJobRow, TrainingExampleRow

GENERATIONS = 20
"""Models that are trained from models."""


async def of_person(session: AsyncSession, project_id: str, end_user: str) -> UserLineage:
    """Args: end_user: the hash. Of somebody whom nothing is known of, the lineage is empty."""
    calls = select(ExchangeRow.id).where(ExchangeRow.project_id == project_id, ExchangeRow.end_user == end_user)
    gone = select(ExchangeDeletionRow.exchange_id).where(ExchangeDeletionRow.exchange_id.in_(calls))
    words = (JudgmentRow.project_id == project_id, JudgmentRow.end_user == end_user)
    copies = select(Example.id).where(Example.project_id == project_id, Example.exchange_id.in_(calls))
    datasets, files = await _datasets(session, _rows(project_id, end_user, calls, copies))
    jobs = await _jobs(session, project_id, Job.training_file.in_(files))
    return UserLineage(
        exchanges=await _count(session, calls),
        erased_exchanges=await _count(session, gone),
        judgments=await _count(session, select(JudgmentRow.id).where(*words)),
        training_examples=await _count(session, copies.where(Example.deleted_at.is_(None))),
        datasets=datasets,
        jobs=[_job(row) for row in jobs],
        models=await _models(session, project_id, jobs),
    )


async def _count(session: AsyncSession, query: Select[Any]) -> int:
    return await session.scalar(select(func.count()).select_from(query.subquery())) or 0


def _rows(project_id: str, end_user: str, calls: Select[Any], copies: Select[Any]) -> Subquery:
    """Rows of the project's datasets with a person's calls, as the chosen or the rejected answer or through an example, or
    with an answer as the person wrote that it should be; each once."""
    row = (Item.version_id, Item.split, Item.number, Item.erased_at)
    of_project = select(*row).join(Version, Version.id == Item.version_id).where(Version.project_id == project_id)
    wrote = (JudgmentRow.exchange_id == Item.exchange_id) & Item.judgment_ids.op("?")(JudgmentRow.id)
    edits = of_project.join(JudgmentRow, wrote).where(
        JudgmentRow.project_id == project_id, JudgmentRow.end_user == end_user, JudgmentRow.kind == "edit"
    )
    return union(
        of_project.where(Item.end_user == end_user),
        of_project.where(Item.exchange_id.in_(calls)),
        of_project.where(Item.other_exchange_id.in_(calls)),
        of_project.where(Item.example_id.in_(copies)),
        edits,
    ).subquery()


async def _datasets(session: AsyncSession, rows: Subquery) -> tuple[list[DatasetOfUser], set[str]]:
    """And the files that the rows are in."""
    training = func.count().filter(rows.c.split == "training")
    query = (
        select(Version, DatasetRow, func.count(), func.count(rows.c.erased_at), training)
        .join(rows, rows.c.version_id == Version.id)
        .join(DatasetRow, DatasetRow.id == Version.dataset_id)
        .group_by(Version.id, DatasetRow.id)
        .order_by(Version.created_at, Version.id)
    )
    found = list(await session.execute(query))
    named = {id for version, *_ in found for id in (version.training_file_id, version.validation_file_id) if id}
    there = select(FileRow.id).where(FileRow.id.in_(named), FileRow.deleted_at.is_(None))
    kept = set(await session.scalars(there))
    files: set[str | None] = set()
    for version, _, count, _, trained in found:
        files |= {version.training_file_id} if trained else set()
        files |= {version.validation_file_id} if trained < count else set()
    shown = [_dataset(version, dataset, count, erased, kept) for version, dataset, count, erased, _ in found]
    return shown, {id for id in files if id}


def _dataset(
    version: DatasetVersionRow, dataset: DatasetRow, rows: int, erased: int, kept: Collection[str]
) -> DatasetOfUser:
    return DatasetOfUser(
        dataset_id=dataset.id,
        name=dataset.name,
        version_id=version.id,
        version=version.number,
        rows=rows,
        erased_rows=erased,
        training_file=version.training_file_id,
        validation_file=version.validation_file_id,
        files_deleted=not {version.training_file_id, version.validation_file_id} & set(kept),
        deleted_at=unix(dataset.deleted_at) if dataset.deleted_at else None,
    )


async def _jobs(session: AsyncSession, project_id: str, condition: ColumnElement[bool]) -> list[FineTuningJobRow]:
    query = select(Job).where(Job.project_id == project_id, condition).order_by(Job.created_at, Job.id)
    return list(await session.scalars(query))


def _job(row: FineTuningJobRow) -> JobOfUser:
    return JobOfUser(id=row.id, status=row.status, training_file=row.training_file, model=row.fine_tuned_model)


async def _models(session: AsyncSession, project_id: str, jobs: Sequence[FineTuningJobRow]) -> list[ModelOfUser]:
    """Also those that were trained from them, and their checkpoints."""
    found: dict[str, ModelOfUser] = {}
    inherited = False
    for _ in range(GENERATIONS):
        query = select(ModelRow).where(ModelRow.job_id.in_([job.id for job in jobs])).order_by(ModelRow.id)
        rows = [row for row in await session.scalars(query) if row.id not in found]
        if not rows:
            break
        found |= {row.id: _model(row, inherited) for row in rows}
        jobs = await _jobs(session, project_id, Job.model.in_([row.id for row in rows]))
        inherited = True
    return list(found.values())


def _model(row: ModelRow, inherited: bool) -> ModelOfUser:
    deleted_at = unix(row.deleted_at) if row.deleted_at else None
    return ModelOfUser(
        id=row.id, job_id=row.job_id, live=deleted_at is None, deleted_at=deleted_at, inherited=inherited
    )
