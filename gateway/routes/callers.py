"""Who is calling: the dependencies of every route behind Litestar."""

from typing import Any

from litestar import Request
from litestar.di import NamedDependency

from gateway.keys.ring import ApiKey
from gateway.services import Services

Sv = NamedDependency[Services]
Caller = NamedDependency[ApiKey]
"""A project's key."""
Admin = NamedDependency[ApiKey]
"""An admin key."""


def provide_services(request: Request[Any, Any, Any]) -> Services:
    return request.app.state.services


def provide_caller(request: Request[Any, Any, Any]) -> ApiKey:
    """A project's key. Raises Unauthenticated, Forbidden."""
    return provide_services(request).keys.authenticate_project(_authorization(request))


def provide_admin(request: Request[Any, Any, Any]) -> ApiKey:
    """An admin key. Raises Unauthenticated, Forbidden."""
    return provide_services(request).keys.authenticate_admin(_authorization(request))


def _authorization(request: Request[Any, Any, Any]) -> bytes | None:
    value = request.headers.get("authorization")
    return value.encode("latin-1") if value else None
