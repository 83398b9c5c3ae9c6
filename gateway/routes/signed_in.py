"""The person behind a session's cookie."""

from typing import Any

from litestar.connection import ASGIConnection
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.access import csrf, sessions
from gateway.access.administrator import Administrator
from gateway.access.source import USER_AGENT_LENGTH, Source, believed
from gateway.services import Services

Connection = ASGIConnection[Any, Any, Any, Any]


def source_of(sv: Services, connection: Connection) -> Source:
    """Where a call came from."""
    console, headers, client = sv.settings.console, connection.headers, connection.client
    address, secure = believed(
        client.host if client else "",
        connection.url.scheme,
        ",".join(headers.getall("x-forwarded-for", [])),
        ",".join(headers.getall("x-forwarded-proto", [])),
        trusted=console.trusted_proxies,
    )
    agent = headers.get("user-agent", "")[:USER_AGENT_LENGTH]
    return Source(address, agent, secure or console.url.startswith("https://"), headers.get("host", ""))


async def person(sv: Services, session: AsyncSession, connection: Connection, method: str) -> Administrator:
    """Raises:
    Unauthenticated: the session is over.
    Forbidden: the call changes something, and a page of another site made it.
    """
    token, source = connection.cookies.get(sessions.COOKIE, ""), source_of(sv, connection)
    secret_key = sv.settings.secret_key.reveal()
    signed_in = await sessions.find(session, token, sv.settings.sign_in, secret_key)
    csrf.check(method, connection.headers, signed_in.session.id, secret_key)
    if method not in csrf.SAFE:
        csrf.check_origin(connection.headers, source, sv.settings.console.url, needed=True)
    return await sessions.administrator(session, signed_in, source)
