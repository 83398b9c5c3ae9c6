"""SQL of API keys."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Select, and_, bindparam, exists, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from gateway.db.mirror import touch
from gateway.db.tables import ApiKeyRow, ProjectRow, ProjectUserRow, UserRow
from gateway.errors import NotFound
from gateway.kit.clock import now

MIRROR = "api_keys"
REMEMBERED = timedelta(days=30)
"""How long a key that has expired is told so; after that it is simply wrong."""


@dataclass(frozen=True, slots=True)
class Working:
    """A key that calls, or that did until it expired, and what else decides what it may do."""

    key: ApiKeyRow
    project: ProjectRow | None
    """None for an admin key."""
    user: UserRow | None


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


async def working(session: AsyncSession) -> list[Working]:
    """Every key for the mirror (gateway/keys/ring.py)."""
    query = (
        select(ApiKeyRow, ProjectRow, UserRow)
        .outerjoin(ProjectRow, ApiKeyRow.project_id == ProjectRow.id)
        .outerjoin(UserRow, ApiKeyRow.user_id == UserRow.id)
        .where(
            ApiKeyRow.revoked_at.is_(None),
            ProjectRow.archived_at.is_(None),
            or_(ApiKeyRow.expires_at.is_(None), ApiKeyRow.expires_at > now() - REMEMBERED),
            owner_has_access(),
        )
    )
    return [Working(key, project, user) for key, project, user in await session.execute(query)]


def owner_has_access() -> ColumnElement[bool]:
    """Whose key it is has not left: a person who is still here and, for a project's key, owns the organisation or is in the
    project. A service account's keys are revoked with it."""
    person = aliased(UserRow)
    member = exists().where(
        ProjectUserRow.project_id == ApiKeyRow.project_id, ProjectUserRow.user_id == ApiKeyRow.user_id
    )
    everywhere = or_(ApiKeyRow.project_id.is_(None), person.role == "owner", member.correlate(ApiKeyRow))
    present = exists().where(person.id == ApiKeyRow.user_id, person.deleted_at.is_(None), everywhere)
    return or_(ApiKeyRow.user_id.is_(None), present.correlate(ApiKeyRow))


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


async def save_last_used(session: AsyncSession, used: dict[str, datetime]) -> None:
    """One statement a key, sorted, so that two processes cannot lock each other out."""
    query = update(ApiKeyRow).where(ApiKeyRow.id == bindparam("key_id")).values(last_used_at=bindparam("at"))
    connection = await session.connection()
    await connection.execute(query, [{"key_id": id, "at": at} for id, at in sorted(used.items())])
