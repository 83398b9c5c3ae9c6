"""SQL of API keys."""

from collections.abc import Sequence

from sqlalchemy import Boolean, ColumnElement, Select, and_, func, literal_column, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.changes import touch
from gateway.db.tables import ApiKeyRow
from gateway.errors import NotFound
from gateway.keys.access import OWNER_HAS_ACCESS
from gateway.keys.ring import MIRROR


async def insert(session: AsyncSession, row: ApiKeyRow) -> None:
    session.add(row)
    await session.flush()
    await touch(session, MIRROR)


async def with_hash(session: AsyncSession, hash: bytes) -> ApiKeyRow | None:
    return await session.scalar(select(ApiKeyRow).where((ApiKeyRow.hash == hash) | (ApiKeyRow.old_hash == hash)))


async def names(session: AsyncSession, ids: Sequence[str]) -> dict[str, str]:
    """What these keys are called, revoked ones included."""
    found = await session.execute(select(ApiKeyRow.id, ApiKeyRow.name).where(ApiKeyRow.id.in_(ids)))
    return {row.id: row.name for row in found}


def owner_has_access() -> ColumnElement[bool]:
    """As gateway/keys/access.py says it."""
    return literal_column(OWNER_HAS_ACCESS, Boolean)


async def of_project(session: AsyncSession, project_id: str, key_id: str, *, lock: bool = False) -> ApiKeyRow:
    """Raises NotFound."""
    query = live(project_id).where(ApiKeyRow.id == key_id)
    row = await session.scalar(query.with_for_update() if lock else query)
    if row is None:
        raise NotFound(f"No API key with id '{key_id}' in this project.", param="key_id")
    return row


def live(project_id: str, *, tags: Sequence[str] = (), access: str = "any") -> Select[ApiKeyRow]:
    """Every key of a project that was not revoked.

    Args:
        tags: only keys that have each of these.
        access: `active` or `inactive` for the keys of those who have access to the project, or have it no more; `any`.
    """
    query = select(ApiKeyRow).where(ApiKeyRow.project_id == project_id, ApiKeyRow.revoked_at.is_(None))
    if tags:
        query = query.where(ApiKeyRow.tags.contains(list(tags)))
    if access == "any":
        return query
    return query.where(owner_has_access() if access == "active" else ~owner_has_access())


def admin_keys() -> Select[ApiKeyRow]:
    """Every admin key that was not revoked."""
    return select(ApiKeyRow).where(ApiKeyRow.project_id.is_(None), ApiKeyRow.revoked_at.is_(None))


async def admin_key(session: AsyncSession, key_id: str) -> ApiKeyRow:
    """Raises NotFound."""
    row = await session.scalar(admin_keys().where(ApiKeyRow.id == key_id))
    if row is None:
        raise NotFound(f"No admin API key with id '{key_id}'.", param="key_id")
    return row


async def lasting_owners(session: AsyncSession) -> set[str]:
    """Ids of the admin keys that may do everything and never expire, locked until the transaction ends."""
    lasting = and_(ApiKeyRow.role == "owner", ApiKeyRow.expires_at.is_(None), owner_has_access())
    rows = await session.scalars(admin_keys().where(lasting).order_by(ApiKeyRow.id).with_for_update(of=ApiKeyRow))
    return {row.id for row in rows}


async def revoke(session: AsyncSession, *where: object) -> None:
    """Revoke the live keys that match; every process refuses them within a second."""
    query = update(ApiKeyRow).where(ApiKeyRow.revoked_at.is_(None), *where)  # type: ignore[arg-type]
    await session.execute(query.values(revoked_at=func.now()))
    await touch(session, MIRROR)
