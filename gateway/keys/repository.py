"""SQL of API keys."""

from datetime import datetime

from sqlalchemy import Select, bindparam, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.mirror import touch
from gateway.db.tables import ApiKeyRow

MIRROR = "api_keys"


async def insert(session: AsyncSession, row: ApiKeyRow) -> None:
    session.add(row)
    await touch(session, MIRROR)


async def with_hash(session: AsyncSession, hash: bytes) -> ApiKeyRow | None:
    return await session.scalar(select(ApiKeyRow).where(ApiKeyRow.hash == hash))


async def of_project(session: AsyncSession, project_id: str, key_id: str) -> ApiKeyRow | None:
    return await session.scalar(live(project_id).where(ApiKeyRow.id == key_id))


def live(project_id: str) -> Select[ApiKeyRow]:
    """Every key of a project that was not revoked."""
    return select(ApiKeyRow).where(ApiKeyRow.project_id == project_id, ApiKeyRow.revoked_at.is_(None))


async def revoke(session: AsyncSession, *where: object) -> None:
    """Revoke the live keys that match; every process refuses them within a second."""
    query = update(ApiKeyRow).where(ApiKeyRow.revoked_at.is_(None), *where)  # type: ignore[arg-type]
    await session.execute(query.values(revoked_at=func.now()))
    await touch(session, MIRROR)


async def save_last_used(session: AsyncSession, used: dict[str, datetime]) -> None:
    """One statement a key, sorted, so that two processes cannot lock each other out."""
    query = update(ApiKeyRow).where(ApiKeyRow.id == bindparam("key_id")).values(last_used_at=bindparam("at"))
    connection = await session.connection()
    await connection.execute(query, [{"key_id": id, "at": at} for id, at in sorted(used.items())])
