"""Everything but model calls, behind Litestar: every URL of the API, and what a layer above adds (the console).

It takes a second to import, and 30 MB, so model calls do without: gateway/app.py loads it behind them.
"""

import logging
from collections.abc import Sequence
from typing import Any

from litestar import Litestar, Request, Response
from litestar.di import Provide
from litestar.plugins import PluginProtocol
from litestar.plugins.core import MsgspecDIPlugin
from litestar.types import ControllerRouterHandler

from gateway.errors import Surprise, to_openai_error
from gateway.framework_errors import refusal_behind
from gateway.routes.callers import provide_admin, provide_caller, provide_services, provide_source
from gateway.routes.urls import ROUTES

log = logging.getLogger(__name__)


class _Framework(Litestar):
    """Without the plugins for pydantic and attrs that Litestar adds wherever those are installed: nothing here uses them, and
    they bring 20 MB along."""

    @staticmethod
    def _get_default_plugins(plugins: list[PluginProtocol]) -> list[PluginProtocol]:
        return [*plugins, MsgspecDIPlugin()]


def build_routes(max_body_bytes: int, routers: Sequence[ControllerRouterHandler] = ()) -> Litestar:
    """Every URL, for one app at a time. It takes a fifth of a second, and of the settings it knows this number alone."""
    return _Framework(
        route_handlers=[*ROUTES, *routers],
        exception_handlers={Exception: _render},
        dependencies={
            "sv": Provide(provide_services, sync_to_thread=False),
            "caller": Provide(provide_caller),
            "admin": Provide(provide_admin),
            "source": Provide(provide_source, sync_to_thread=False),
        },
        openapi_config=None,
        logging_config=None,
        request_max_body_size=max_body_bytes,
    )


def _render(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """The one exception handler: any error becomes OpenAI's error object."""
    refusal = refusal_behind(error, method=request.method, path=request.url.path)
    if isinstance(refusal, Surprise):
        log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    status, body, headers = to_openai_error(refusal)
    return Response(body, status_code=status, headers=headers, media_type="application/json")
