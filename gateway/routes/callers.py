"""Who is calling: the dependencies of every route behind Litestar.

The only place where roles are enforced (the table: gateway/access/roles.py).
"""

from typing import Any

from litestar import Request
from litestar.di import NamedDependency

from gateway.access import csrf, roles, sessions
from gateway.access.administrator import Administrator
from gateway.access.source import USER_AGENT_LENGTH, Source, believed
from gateway.keys.ring import ApiKey
from gateway.keys.scopes import require_for
from gateway.protocol.audit_logs import key_actor
from gateway.services import Services

Sv = NamedDependency[Services]
Caller = NamedDependency[ApiKey]
"""A project's key."""
Admin = NamedDependency[Administrator]
"""Who administers, and may do this."""
From = NamedDependency[Source]
"""Where the call came from."""


def provide_services(request: Request[Any, Any, Any]) -> Services:
    return request.app.state.services


def provide_caller(request: Request[Any, Any, Any]) -> ApiKey:
    """A project's key that may use this endpoint. Raises Unauthenticated, Forbidden."""
    key = provide_services(request).keys.authenticate_project(_authorization(request))
    require_for(key.scopes, request.method, request.scope["path_template"])
    return key


async def provide_admin(request: Request[Any, Any, Any]) -> Administrator:
    """An admin key, or the person behind a session cookie.

    Raises:
        Unauthenticated: neither.
        Forbidden: a project's key, a role that does not suffice, or a call that another site's page made.
    """
    sv, source = provide_services(request), provide_source(request)
    token = request.cookies.get(sessions.COOKIE)
    if token and _authorization(request) is None:
        admin = await _person(sv, request, source, token)
    else:
        admin = _key(sv, request, source)
    need = roles.need_of(request.method, request.scope["path_template"])  # type: ignore[typeddict-item]
    roles.require(admin, need, request.path_params)
    return admin


def provide_source(request: Request[Any, Any, Any]) -> Source:
    console, headers, client = provide_services(request).settings.console, request.headers, request.client
    address, secure = believed(
        client.host if client else "",
        request.url.scheme,
        ",".join(headers.getall("x-forwarded-for", [])),
        ",".join(headers.getall("x-forwarded-proto", [])),
        trusted=console.trusted_proxies,
    )
    agent = headers.get("user-agent", "")[:USER_AGENT_LENGTH]
    return Source(address, agent, secure or console.url.startswith("https://"), headers.get("host", ""))


async def _person(sv: Services, request: Request[Any, Any, Any], source: Source, token: str) -> Administrator:
    secret_key = sv.settings.secret_key.reveal()
    async with sv.database.session() as session:
        signed_in = await sessions.find(session, token, sv.settings.sign_in, secret_key)
        csrf.check(request.method, request.headers, signed_in.session.id, secret_key)
        if request.method not in csrf.SAFE:
            csrf.check_origin(request.headers, source, sv.settings.console.url, needed=True)
        return await sessions.administrator(session, signed_in, source)


def _key(sv: Services, request: Request[Any, Any, Any], source: Source) -> Administrator:
    key = sv.keys.authenticate_admin(_authorization(request))
    actor = key_actor(
        key.id,
        user_id=key.user_id or None,
        email=key.email,
        ip_address=source.ip_address,
        user_agent=source.user_agent,
    )
    role = "owner" if key.role == "owner" else "reader"
    return Administrator(id=key.id, name=key.name, role=role, actor=actor, user_id=key.user_id or None)


def _authorization(request: Request[Any, Any, Any]) -> bytes | None:
    value = request.headers.get("authorization")
    return value.encode("latin-1") if value else None
