"""Who is calling: the dependencies of every route behind Litestar."""

from typing import Any

from litestar import Request
from litestar.di import NamedDependency

from gateway.access.administrator import Administrator
from gateway.keys.ring import ApiKey
from gateway.keys.scopes import require_for
from gateway.protocol.audit_logs import key_actor
from gateway.services import Services

USER_AGENT_LENGTH = 200

Sv = NamedDependency[Services]
Caller = NamedDependency[ApiKey]
"""A project's key."""
Admin = NamedDependency[Administrator]
"""Who administers."""


def provide_services(request: Request[Any, Any, Any]) -> Services:
    return request.app.state.services


def provide_caller(request: Request[Any, Any, Any]) -> ApiKey:
    """A project's key that may use this endpoint. Raises Unauthenticated, Forbidden."""
    key = provide_services(request).keys.authenticate_project(_authorization(request))
    require_for(key.scopes, request.method, request.scope["path_template"])
    return key


def provide_admin(request: Request[Any, Any, Any]) -> Administrator:
    """Raises Unauthenticated, Forbidden."""
    key = provide_services(request).keys.authenticate_admin(_authorization(request))
    client = request.client
    actor = key_actor(
        key.id,
        user_id=None,
        email=None,
        ip_address=client.host if client else "",
        user_agent=request.headers.get("user-agent", "")[:USER_AGENT_LENGTH],
    )
    return Administrator(id=key.id, name=key.name, role="owner", actor=actor)


def _authorization(request: Request[Any, Any, Any]) -> bytes | None:
    value = request.headers.get("authorization")
    return value.encode("latin-1") if value else None
