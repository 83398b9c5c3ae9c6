"""asyncpg's connection behind a session of SQLAlchemy's."""

from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession


async def driver_of(session: AsyncSession) -> Any:
    """asyncpg's own connection, in the session's transaction; what the session has is written before."""
    await session.flush()
    await session.execute(text("SELECT 1"))  # a transaction begins with SQLAlchemy's first statement
    return (await (await session.connection()).get_raw_connection()).driver_connection
