"""Which revision of the schema a database has; what brings it further is gateway/db/migrate.py."""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession


async def revision(session: AsyncSession) -> str | None:
    """Of the database; None where no migration ever ran."""
    if await session.scalar(text("SELECT to_regclass('alembic_version')")) is None:
        return None
    return await session.scalar(text("SELECT version_num FROM alembic_version"))
