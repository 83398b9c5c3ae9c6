"""The rows of models that training made: finals, and the last checkpoints of each job."""

from typing import Any

from sqlalchemy import Select, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.changes import touch
from gateway.db.tables import CheckpointPermissionRow, FineTuningJobRow, ModelRow
from gateway.errors import Conflict, ModelNotFound
from gateway.fine_tuning.transitions import ENDED

MIRROR = "models"
KEPT_CHECKPOINTS = 3
"""Checkpoints of a job that can be called, as at OpenAI; older ones stay in the job's list."""


def wrong_base(model: str, made_from: str | None, base: str) -> str:
    """Why an adapter cannot be trained further here: its numbers are differences to other weights."""
    return (
        f"Model {model} is an adapter on `{made_from}`, and this server has `{base}` now; it cannot be trained further on"
        f" another base. Use '{base}' or a model tuned from it."
    )


async def add_model(session: AsyncSession, row: ModelRow) -> None:
    """The model exists for every gateway process within a second of the commit; one that exists, or existed, is left
    as it is."""
    columns = [column.name for column in ModelRow.__table__.columns]
    values = {name: value for name in columns if (value := getattr(row, name)) is not None}
    await session.execute(insert(ModelRow).values(values).on_conflict_do_nothing())
    await touch(session, MIRROR)


async def live_models(session: AsyncSession) -> list[ModelRow]:
    """Finals first, each kind newest first: the order in which an engine with little room should get them."""
    query = _live().order_by(ModelRow.step.is_not(None), ModelRow.created_at.desc())
    return list(await session.scalars(query))


async def all_models(session: AsyncSession) -> list[ModelRow]:
    """Deleted ones too."""
    return list(await session.scalars(select(ModelRow)))


async def any_model(session: AsyncSession) -> bool:
    """Whether there ever was one."""
    return await session.scalar(select(ModelRow.id).limit(1)) is not None


async def deleted_models(session: AsyncSession) -> set[str]:
    return set(await session.scalars(select(ModelRow.id).where(ModelRow.deleted_at.is_not(None))))


async def unfinished_jobs(session: AsyncSession) -> set[str]:
    """Jobs whose files may become a model at any moment."""
    return set(await session.scalars(select(FineTuningJobRow.id).where(FineTuningJobRow.status.not_in(ENDED))))


async def live_model(session: AsyncSession, project_id: str, model_id: str) -> ModelRow | None:
    """A model that this project made, or was given a permission for."""
    granted = select(CheckpointPermissionRow.model_id).where(CheckpointPermissionRow.project_id == project_id)
    may_call = or_(ModelRow.project_id == project_id, ModelRow.id.in_(granted))
    return await session.scalar(_live().where(ModelRow.id == model_id, may_call))


async def own_model(session: AsyncSession, project_id: str, model_id: str, *, lock: bool = False) -> ModelRow:
    """A model that this project made. Raises ModelNotFound."""
    query = _live().where(ModelRow.id == model_id, ModelRow.project_id == project_id)
    row = await session.scalar(query.with_for_update() if lock else query)
    if row is None:
        raise ModelNotFound(model_id)
    return row


async def tuned_model(session: AsyncSession, model_id: str) -> ModelRow:
    """A model of any project, for an administrator. Raises ModelNotFound."""
    row = await session.scalar(_live().where(ModelRow.id == model_id))
    if row is None:
        raise ModelNotFound(model_id)
    return row


async def checkpoint_steps(session: AsyncSession, job_id: str) -> list[int]:
    """Steps of a job that were made a model, retired and deleted ones too."""
    query = select(ModelRow.step).where(ModelRow.job_id == job_id, ModelRow.step.is_not(None))
    return [step for step in await session.scalars(query) if step is not None]


async def retire_checkpoints(session: AsyncSession) -> None:
    """All but the last KEPT_CHECKPOINTS of each job are models no more; one that a job continues from waits for it."""
    place = func.row_number().over(partition_by=ModelRow.job_id, order_by=ModelRow.step.desc())
    live = select(ModelRow.id, place.label("place"))
    ranked = live.where(ModelRow.step.is_not(None), ModelRow.deleted_at.is_(None)).subquery()
    old = select(ranked.c.id).where(ranked.c.place > KEPT_CHECKPOINTS)
    query = update(ModelRow).where(ModelRow.id.in_(old), ModelRow.id.not_in(_in_use()))
    if list(await session.scalars(query.values(deleted_at=func.now()).returning(ModelRow.id))):
        await touch(session, MIRROR)


async def delete_model(session: AsyncSession, project_id: str, model_id: str) -> None:
    """The model is gone for every gateway process within a second of the commit; its files follow (the worker).

    Raises:
        ModelNotFound: this project has no such model.
        Conflict: a job that has not ended continues from it.
    """
    row = await own_model(session, project_id, model_id, lock=True)
    using = select(FineTuningJobRow).where(FineTuningJobRow.model == model_id)
    job = await session.scalar(using.where(FineTuningJobRow.status.not_in(ENDED)).limit(1))
    if job is not None:
        raise _in_use_by(job, project_id)
    row.deleted_at = func.now()  # type: ignore[assignment]
    await touch(session, MIRROR)


def _in_use_by(job: FineTuningJobRow, project_id: str) -> Conflict:
    """Another project's job is not named: it is not for this caller to see or cancel."""
    which, way_out = f"job {job.id} continues", "Cancel that job, or wait for its end."
    if job.project_id != project_id:
        which, way_out = "a job of another project continues", "Wait for its end."
    message = f"The model `{job.model}` is in use: {which} from it. {way_out}"
    return Conflict(message, headers={"x-should-retry": "false"})  # SDKs retry a 409 otherwise


async def set_problem(session: AsyncSession, row: ModelRow, problem: str | None) -> None:
    """Why the engine does not serve a model now; told to whoever calls it."""
    if row.problem != problem:
        await session.execute(update(ModelRow).where(ModelRow.id == row.id).values(problem=problem))
        await touch(session, MIRROR)


def _live() -> Select[Any]:
    return select(ModelRow).where(ModelRow.deleted_at.is_(None))


def _in_use() -> Select[Any]:
    return select(FineTuningJobRow.model).where(FineTuningJobRow.status.not_in(ENDED))
