"""A person who acts for a project: the session of a browser, and the header `OpenAI-Project`, in the place of a project's key.

Whoever belongs to the project, or owns the organisation, may do there what a key of theirs may. Their calls count as those of
such a key, made when it is first needed, whose secret nobody has: budgets, limits, the log and bills know keys alone. A
reader of the organisation reads.
"""

from typing import Any

from litestar.connection import ASGIConnection
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.access import sessions
from gateway.access.administrator import Administrator
from gateway.db.tables import ApiKeyRow, ConsoleKeyRow, UserRow
from gateway.errors import InvalidRequest
from gateway.keys import ring
from gateway.keys.ring import ApiKey
from gateway.keys.scopes import ALL_READ, granted
from gateway.keys.service import create_user_key
from gateway.projects import repository as projects
from gateway.routes.signed_in import person
from gateway.services import Services

HEADER = "openai-project"
NAME = "Console"
READ_ONLY = granted([ALL_READ])
NO_PROJECT = "Which project? Send its id in the header OpenAI-Project; a session has none of its own."

Connection = ASGIConnection[Any, Any, Any, Any]


def is_in_person(connection: Connection) -> bool:
    """Whether a session vouches for the call, and no key."""
    return sessions.COOKIE in connection.cookies and "authorization" not in connection.headers


async def key_of(sv: Services, connection: Connection, method: str) -> ApiKey:
    """What the caller's calls in the project count as.

    Raises:
        Unauthenticated: the session is over.
        Forbidden: another site's page made the call.
        InvalidRequest: no project is named, or it is archived.
        NotFound: there is no such project.
    """
    async with sv.database.session() as session:
        who = await person(sv, session, connection, method)
        project_id = connection.headers.get(HEADER)
        if not project_id:
            raise InvalidRequest(NO_PROJECT, param="OpenAI-Project")
        project = await projects.active_project(session, project_id)
        if who.role != "owner" and project_id not in who.project_roles:
            return ApiKey(who.id, who.name, project_id, None, who.id, scopes=READ_ONLY)
        row = await _find_or_make(sv, session, project_id, who)
        user = await session.get_one(UserRow, who.id)
        return ring.api_key(row, permissions=project.model_permissions, email=user.email, users_role=user.role)


async def _find_or_make(sv: Services, session: AsyncSession, project_id: str, who: Administrator) -> ApiKeyRow:
    """Revoked, another takes its place: to keep somebody out, take them out of the project."""
    if row := await _live(session, project_id, who.id):
        return row
    lock = {"name": f"console key:{project_id}:{who.id}"}
    await session.execute(text("SELECT pg_advisory_xact_lock(hashtext(:name))"), lock)
    if row := await _live(session, project_id, who.id):
        return row
    secret_key = sv.settings.secret_key.reveal()
    row, _ = await create_user_key(session, project_id, who.id, name=NAME, secret_key=secret_key)
    await session.merge(ConsoleKeyRow(project_id=project_id, user_id=who.id, api_key_id=row.id))
    return row


async def _live(session: AsyncSession, project_id: str, user_id: str) -> ApiKeyRow | None:
    query = select(ApiKeyRow).join(ConsoleKeyRow, ConsoleKeyRow.api_key_id == ApiKeyRow.id)
    own = (ConsoleKeyRow.project_id == project_id, ConsoleKeyRow.user_id == user_id)
    return await session.scalar(query.where(*own, ApiKeyRow.revoked_at.is_(None)))
