"""/v1/sessions: signing in and out"""

from typing import Any

from litestar import Request, Response, delete, get, post
from litestar.params import FromPath, QueryParams, RawBody
from msgspec.json import Decoder

from gateway.access import csrf, sessions
from gateway.access.lock_out import DEVICE_COOKIE
from gateway.access.source import Source
from gateway.audit.log import write
from gateway.db.pages import fetch_page
from gateway.db.tables import SessionRow
from gateway.errors import InvalidRequest, NotFound
from gateway.protocol.decode import decode
from gateway.protocol.lists import CursorList, Deleted, cursor_list
from gateway.protocol.queries import cursor
from gateway.protocol.sessions import CurrentSession, SignIn
from gateway.routes import sign_in
from gateway.routes.callers import Admin, From, Sv
from gateway.routes.sign_in import Browser
from gateway.services import Services
from gateway.users import repository

decode_sign_in = Decoder(SignIn)


@post("/v1/sessions", status_code=200)
async def create_session(
    sv: Sv, source: From, request: Request[Any, Any, Any], body: RawBody
) -> Response[CurrentSession]:
    """Sign in. The session is in a cookie that no script can read."""
    refuse_strange_pages(sv, source, request)
    return await sign_in.sign_in(sv, decode(decode_sign_in, body), browser(source, request))


@get("/v1/sessions")
async def list_sessions(sv: Sv, admin: Admin, query: QueryParams) -> CursorList:
    """One's own that are not over, newest first."""
    rows = sessions.live(sv.settings.sign_in).where(SessionRow.user_id == admin.user_id)
    async with sv.database.session() as session:
        page = await fetch_page(session, rows, SessionRow, cursor(query))
    shown = [sign_in.shown_session(row, admin.session_id) for row in page.rows]
    return cursor_list(shown, has_more=page.has_more)


@get("/v1/sessions/current")
async def retrieve_current_session(sv: Sv, admin: Admin) -> CurrentSession:
    """Who am I, what may I do, and the token that changes need."""
    async with sv.database.session() as session:
        row = await session.get_one(SessionRow, admin.session_id)
        user = await repository.user(session, admin.id)
        return await sign_in.current(sv, session, row, user)


@delete("/v1/sessions/current", status_code=200)
async def sign_out(sv: Sv, admin: Admin, source: From) -> Response[Deleted]:
    async with sv.database.session() as session:
        await sessions.end(session, SessionRow.id == admin.session_id)
        write(session, admin.actor, "logout.succeeded", admin.id)
    body = Deleted(id=admin.session_id or "", object="session.deleted")
    return Response(body, status_code=200, cookies=[sign_in.ended_cookie(source)])


@delete("/v1/sessions/{session_id:str}", status_code=200)
async def delete_session(sv: Sv, admin: Admin, session_id: FromPath[str]) -> Deleted:
    """End one of one's own, on a browser that is elsewhere."""
    async with sv.database.session() as session:
        own = (SessionRow.id == session_id, SessionRow.user_id == admin.user_id)
        if not await sessions.end(session, *own):
            raise NotFound(f"No session with id '{session_id}'.", param="session_id")
        write(session, admin.actor, "logout.succeeded", admin.id)
    return Deleted(id=session_id, object="session.deleted")


def browser(source: Source, request: Request[Any, Any, Any]) -> Browser:
    return Browser(source, request.cookies.get(sessions.COOKIE), request.cookies.get(DEVICE_COOKIE))


def refuse_strange_pages(sv: Services, source: Source, request: Request[Any, Any, Any]) -> None:
    """Nobody is signed in to somebody else's account by a page of another site: its form can send neither this content
    type nor our origin.

    Raises:
        Forbidden: another origin.
        InvalidRequest: a content type that a form can send.
    """
    csrf.check_origin(request.headers, source, sv.settings.console.url, needed=False)
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise InvalidRequest("The header Content-Type must be application/json here.")
