"""People as the API shows them, and what happens to sessions and keys when they change."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.access import sessions
from gateway.access.administrator import Administrator
from gateway.audit.log import write
from gateway.db.changes import touch
from gateway.db.tables import ApiKeyRow, ProjectRow, ProjectUserRow, SessionRow, UserRow
from gateway.keys import repository as keys
from gateway.kit.clock import unix
from gateway.protocol.users import User, UserProject, UserProjects


def shown_user(row: UserRow, projects: Sequence[tuple[ProjectRow, ProjectUserRow]]) -> User:
    return User(
        id=row.id,
        name=row.name,
        email=row.email,
        role=row.role,
        added_at=unix(row.added_at),
        projects=UserProjects(
            data=[
                UserProject(id=project.id, name=project.name, role="owner" if member.role == "owner" else "member")
                for project, member in projects
            ]
        ),
        has_password=row.password_hash is not None,
        totp=row.totp_confirmed_at is not None,
        single_sign_on=row.oidc_subject is not None,
        last_login_at=unix(row.last_login_at) if row.last_login_at else None,
    )


async def end_sessions(session: AsyncSession, user_id: str, *, but: str | None = None) -> None:
    """Every session of somebody; `but` is one that stays."""
    kept = () if but is None else (SessionRow.id != but,)
    await sessions.end(session, SessionRow.user_id == user_id, *kept)


async def revoke_keys(session: AsyncSession, admin: Administrator, user_id: str) -> None:
    """The keys of somebody who leaves, and the admin keys that they made; each is a line of the audit log."""
    query = select(ApiKeyRow).where(ApiKeyRow.revoked_at.is_(None), ApiKeyRow.user_id == user_id)
    for row in await session.scalars(query):
        write(session, admin.actor, "api_key.deleted", row.id, project_id=row.project_id)
    await keys.revoke(session, ApiKeyRow.user_id == user_id)


async def touch_keys(session: AsyncSession) -> None:
    """What keys may do follows from their person's roles, and they say whose they are: every process looks again."""
    await touch(session, keys.MIRROR)
