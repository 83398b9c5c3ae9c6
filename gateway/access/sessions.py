"""Sessions: who has signed in with which browser.

They are looked up in PostgreSQL at each call: administrators' calls may query, and so a session that was ended, a role
that was changed and a person who was deleted hold everywhere at once.
"""

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import Select, delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.access.administrator import Administrator
from gateway.access.source import Source
from gateway.db.tables import ProjectUserRow, SessionRow, UserRow
from gateway.errors import Unauthenticated
from gateway.kit.clock import now
from gateway.kit.ids import new_id, new_secret
from gateway.kit.keyed_hash import keyed_hash
from gateway.protocol.audit_logs import Actor, session_actor
from gateway.settings import SignInSettings

COOKIE = "tuneway_session"
SEEN = timedelta(minutes=1)
"""`seen_at` is written no more often than this."""
KEPT = timedelta(days=30)
"""How long a session that is over stays in the table."""


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A session, and whose it is."""

    session: SessionRow
    user: UserRow


async def start(
    session: AsyncSession, user: UserRow, source: Source, limits: SignInSettings, secret_key: str
) -> tuple[SessionRow, str]:
    """A new session and its token, which exists in the cookie alone."""
    token, moment = new_secret(""), now()
    row = SessionRow(
        id=new_id("session_"),
        token_hash=_hash(token, secret_key),
        user_id=user.id,
        created_at=moment,
        seen_at=moment,
        expires_at=moment + timedelta(seconds=limits.session_seconds),
        ended_at=None,
        ip_address=source.ip_address,
        user_agent=source.user_agent,
    )
    session.add(row)
    user.last_login_at = moment
    await session.execute(
        delete(SessionRow).where(SessionRow.user_id == user.id, SessionRow.expires_at < moment - KEPT)
    )
    return row, token


async def find(session: AsyncSession, token: str, limits: SignInSettings, secret_key: str) -> SignedIn:
    """The session of a cookie. Raises Unauthenticated when it is over, or never was."""
    query = (
        live(limits)
        .add_columns(UserRow)
        .join(UserRow, UserRow.id == SessionRow.user_id)
        .where(SessionRow.token_hash == _hash(token, secret_key), UserRow.deleted_at.is_(None))
    )
    found = (await session.execute(query)).first()
    if found is None:
        raise Unauthenticated("Your session has ended. Please sign in again.", code="session_ended")
    row, user = found
    if row.seen_at < now() - SEEN:
        row.seen_at = now()
    return SignedIn(row, user)


def live(limits: SignInSettings) -> Select[SessionRow]:
    """Sessions that are not over: neither ended nor too old, nor idle for too long."""
    moment = now()
    return select(SessionRow).where(
        SessionRow.ended_at.is_(None),
        SessionRow.expires_at > moment,
        SessionRow.seen_at > moment - timedelta(seconds=limits.idle_seconds),
    )


async def end(session: AsyncSession, *where: object) -> int:
    """End the sessions that match; how many there were."""
    query = update(SessionRow).where(SessionRow.ended_at.is_(None), *where)  # type: ignore[arg-type]
    ended = await session.execute(query.values(ended_at=func.now()).returning(SessionRow.id))
    return len(ended.all())


async def end_presented(session: AsyncSession, token: str, secret_key: str) -> None:
    """Whoever signs in again in the same browser leaves no session behind."""
    await end(session, SessionRow.token_hash == _hash(token, secret_key))


async def administrator(session: AsyncSession, signed_in: SignedIn, source: Source) -> Administrator:
    user = signed_in.user
    found = await session.execute(
        select(ProjectUserRow.project_id, ProjectUserRow.role).where(ProjectUserRow.user_id == user.id)
    )
    return Administrator(
        id=user.id,
        name=user.name,
        role=user.role,  # type: ignore[arg-type]
        actor=actor_of(user, source),
        user_id=user.id,
        project_roles={row.project_id: row.role for row in found},
        session_id=signed_in.session.id,
    )


def actor_of(user: UserRow, source: Source) -> Actor:
    return session_actor(user.id, email=user.email, ip_address=source.ip_address, user_agent=source.user_agent)


def _hash(token: str, secret_key: str) -> bytes:
    return keyed_hash(token, secret_key, "session")
