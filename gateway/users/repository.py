"""SQL of people."""

from collections.abc import Sequence

from sqlalchemy import Select, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.tables import ProjectRow, ProjectUserRow, UserRow
from gateway.errors import InvalidRequest, NotFound

OWNERS_LOCK = 0x6F776E6572
"""Held by whoever takes an owner away ("owner" in ASCII), so that two cannot take the last two at once."""


def live() -> Select[UserRow]:
    """Everybody who was not deleted."""
    return select(UserRow).where(UserRow.deleted_at.is_(None))


async def user(session: AsyncSession, user_id: str, *, locked: bool = False) -> UserRow:
    """Raises NotFound."""
    query = live().where(UserRow.id == user_id)
    row = await session.scalar(query.with_for_update() if locked else query)
    if row is None:
        raise NotFound(f"No user with id '{user_id}'.", param="user_id")
    return row


async def with_email(session: AsyncSession, email: str, *, locked: bool = False) -> UserRow | None:
    """Args: email: in lower case."""
    query = live().where(UserRow.email == email)
    return await session.scalar(query.with_for_update() if locked else query)


async def with_subject(session: AsyncSession, issuer: str, subject: str) -> UserRow | None:
    """Whom the identity provider knows by that name."""
    query = live().where(UserRow.oidc_issuer == issuer, UserRow.oidc_subject == subject)
    return await session.scalar(query.with_for_update())


async def refuse_without_owner(session: AsyncSession, leaving: UserRow) -> None:
    """Raises InvalidRequest when `leaving` is the last owner."""
    if leaving.role != "owner":
        return
    await session.execute(select(func.pg_advisory_xact_lock(OWNERS_LOCK)))
    others = live().with_only_columns(UserRow.id).where(UserRow.role == "owner", UserRow.id != leaving.id)
    if await session.scalar(others.limit(1)) is None:
        raise InvalidRequest(
            f"{leaving.email} is the last owner of the organization. Make somebody else an owner first.",
            param="user_id",
        )


async def projects_of(
    session: AsyncSession, users: Sequence[UserRow]
) -> dict[str, list[tuple[ProjectRow, ProjectUserRow]]]:
    """The projects of each, archived ones left out."""
    query = (
        select(ProjectRow, ProjectUserRow)
        .join(ProjectUserRow, ProjectUserRow.project_id == ProjectRow.id)
        .where(ProjectUserRow.user_id.in_([row.id for row in users]), ProjectRow.archived_at.is_(None))
        .order_by(ProjectRow.created_at, ProjectRow.id)
    )
    found: dict[str, list[tuple[ProjectRow, ProjectUserRow]]] = {row.id: [] for row in users}
    for project, membership in await session.execute(query):
        found[membership.user_id].append((project, membership))
    return found


def members(project_id: str) -> Select[UserRow]:
    """People of a project."""
    return (
        live().join(ProjectUserRow, ProjectUserRow.user_id == UserRow.id).where(ProjectUserRow.project_id == project_id)
    )


async def memberships(session: AsyncSession, project_id: str, users: Sequence[UserRow]) -> dict[str, ProjectUserRow]:
    """By user."""
    query = select(ProjectUserRow).where(
        ProjectUserRow.project_id == project_id, ProjectUserRow.user_id.in_([row.id for row in users])
    )
    return {row.user_id: row for row in await session.scalars(query)}


async def membership(session: AsyncSession, project_id: str, user_id: str) -> tuple[UserRow, ProjectUserRow]:
    """Raises NotFound."""
    row = await session.get(ProjectUserRow, (project_id, user_id))
    if row is None:
        raise NotFound(f"No user with id '{user_id}' in this project.", param="user_id")
    return await user(session, user_id), row
