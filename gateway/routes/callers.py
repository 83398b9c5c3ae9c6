"""Who is calling: the dependencies of every route behind Litestar.

The only place where roles are enforced (the table: gateway/access/roles.py).
"""

from collections.abc import Callable
from typing import Any

from litestar import Request
from litestar.di import NamedDependency

from gateway.access import roles
from gateway.access.administrator import Administrator
from gateway.access.page_memory import once
from gateway.access.source import Source
from gateway.errors import UnknownKey
from gateway.keys.new_keys import look_again
from gateway.keys.ring import ApiKey
from gateway.keys.scopes import require_for
from gateway.protocol.audit_logs import key_actor
from gateway.routes import acting
from gateway.routes.signed_in import person, source_of
from gateway.services import Services

Sv = NamedDependency[Services]
Caller = NamedDependency[ApiKey]
"""A project's key, or what stands for one."""
Admin = NamedDependency[Administrator]
"""Who administers, and may do this."""
From = NamedDependency[Source]
"""Where the call came from."""


def provide_services(request: Request[Any, Any, Any]) -> Services:
    return request.app.state.services


async def provide_caller(request: Request[Any, Any, Any]) -> ApiKey:
    """A project's key, or the person behind a session cookie who acts for a project, that may use this endpoint.

    Raises Unauthenticated, Forbidden; of a person also InvalidRequest, NotFound (gateway/routes/acting.py).
    """
    sv = provide_services(request)
    if acting.is_in_person(request):
        what = ("key", request.headers.get(acting.HEADER))
        key = await once(request.scope, request.method, what, lambda: acting.key_of(sv, request, request.method))
    else:
        key = await _known(sv, sv.keys.authenticate_project, request)
    require_for(key.scopes, request.method, request.scope["path_template"])
    return key


async def provide_admin(request: Request[Any, Any, Any]) -> Administrator:
    """An admin key, or the person behind a session cookie.

    Raises:
        Unauthenticated: neither.
        Forbidden: a project's key, a role that does not suffice, or a call that another site's page made.
    """
    sv = provide_services(request)
    if acting.is_in_person(request):
        admin = await once(request.scope, request.method, "person", lambda: _person(sv, request))
    else:
        admin = await _key(sv, request, provide_source(request))
    need = roles.need_of(request.method, request.scope["path_template"])  # type: ignore[typeddict-item]
    roles.require(admin, need, request.path_params)
    return admin


async def _person(sv: Services, request: Request[Any, Any, Any]) -> Administrator:
    async with sv.database.session() as session:
        return await person(sv, session, request, request.method)


def provide_source(request: Request[Any, Any, Any]) -> Source:
    return source_of(provide_services(request), request)


async def _known(
    sv: Services, authenticate: Callable[[bytes | None], ApiKey], request: Request[Any, Any, Any]
) -> ApiKey:
    authorization = _authorization(request)
    try:
        return authenticate(authorization)
    except UnknownKey as unknown:
        return await look_again(sv.mirrors, authenticate, authorization, unknown)


async def _key(sv: Services, request: Request[Any, Any, Any], source: Source) -> Administrator:
    key = await _known(sv, sv.keys.authenticate_admin, request)
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
