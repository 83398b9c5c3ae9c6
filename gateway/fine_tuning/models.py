"""The rows of models that training made."""

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.mirror import touch
from gateway.db.tables import ModelRow

MIRROR = "models"


async def add_model(session: AsyncSession, row: ModelRow) -> None:
    """The model exists for every gateway process within a second of the commit."""
    session.add(row)
    await touch(session, MIRROR)


async def live_models(session: AsyncSession) -> list[ModelRow]:
    return list(await session.scalars(select(ModelRow).where(ModelRow.deleted_at.is_(None))))


async def live_model(session: AsyncSession, project_id: str, model_id: str) -> ModelRow | None:
    query = select(ModelRow).where(ModelRow.id == model_id, ModelRow.project_id == project_id)
    return await session.scalar(query.where(ModelRow.deleted_at.is_(None)))
