"""Models that were trained here as their project sees them: those that are deprecated or deleted, too."""

from collections.abc import Collection

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.tables import FineTuningJobRow, ModelRow
from gateway.errors import ModelNotFound


def made_by(project_id: str, *, checkpoints: bool = False) -> Select[ModelRow]:
    """Models of a project, without the checkpoints unless they are wanted."""
    rows = select(ModelRow).where(ModelRow.project_id == project_id)
    return rows if checkpoints else rows.where(ModelRow.step.is_(None))


async def own(session: AsyncSession, project_id: str, model_id: str, *, lock: bool = False) -> ModelRow:
    """Deleted ones too. Raises ModelNotFound."""
    query = made_by(project_id, checkpoints=True).where(ModelRow.id == model_id)
    row = await session.scalar(query.with_for_update() if lock else query)
    if row is None:
        raise ModelNotFound(model_id)
    return row


async def jobs_of(session: AsyncSession, rows: Collection[ModelRow]) -> dict[str, FineTuningJobRow]:
    """The jobs that made these models, by their id."""
    wanted = {row.job_id for row in rows}
    found = await session.scalars(select(FineTuningJobRow).where(FineTuningJobRow.id.in_(wanted)))
    return {job.id: job for job in found}
