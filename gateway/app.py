"""build_app(settings): the only wiring of the service."""

import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from litestar import Litestar, Request, Response
from litestar.di import Provide
from litestar.types import ControllerRouterHandler

from gateway.errors import Surprise, refusal_of, to_openai_error
from gateway.kit.ids import new_request_id
from gateway.routes import HOT, ROUTES, cross_origin
from gateway.routes.callers import provide_admin, provide_caller, provide_services, provide_source
from gateway.routes.model_calls import Receive, Scope, Send, answer, encode_headers, send_error, send_whole
from gateway.services import Services, gateway_services
from gateway.settings import Settings

log = logging.getLogger(__name__)


class App:
    """The ASGI application: model calls go straight to their handler, everything else through Litestar."""

    def __init__(self, settings: Settings, litestar: Litestar) -> None:
        self.settings = settings
        self.litestar = litestar
        litestar.state.settings = settings
        litestar.state.service = self

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        endpoint = HOT.get(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        if endpoint is not None:
            await answer(self.services, endpoint, scope, receive, send)
        elif scope["type"] == "http":
            await self._through_litestar(scope, receive, send)
        else:
            await self.litestar(scope, receive, send)  # type: ignore[arg-type]

    @property
    def services(self) -> Services:
        return self.litestar.state.services

    async def _through_litestar(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Every answer, of an unknown URL too, carries a request id."""
        request_id = new_request_id()
        own = {"x-request-id": request_id, "openai-version": "2020-10-01"}
        if granted := cross_origin.preflight(self.settings.feedback, scope):
            await send_whole(send, 200, own | granted, b"")
            return
        for_pages = cross_origin.allowed(self.settings.feedback, scope)
        marks = encode_headers(own | for_pages)

        async def send_marked(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *marks]
            await send(message)

        try:
            await self.litestar(scope, receive, send_marked)  # type: ignore[arg-type]
        except Exception as error:  # noqa: BLE001 what escapes the framework itself
            await send_error(send, refusal_of(error), request_id, cause=error, headers=for_pages)


def build_app(settings: Settings, routers: Sequence[ControllerRouterHandler] = ()) -> App:
    """The service, not yet started: it opens its connections in the ASGI lifespan.

    Args:
        routers: what a layer above adds (the console).
    """
    return App(settings, build_routes(settings.max_body_bytes, routers))


def build_routes(max_body_bytes: int, routers: Sequence[ControllerRouterHandler] = ()) -> Litestar:
    """Every URL, for one app at a time. It takes a fifth of a second, and of the settings it knows this number alone."""
    return Litestar(
        route_handlers=[*ROUTES, *routers],
        lifespan=[_lifespan],
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


@asynccontextmanager
async def _lifespan(app: Litestar) -> AsyncGenerator[None]:
    async with gateway_services(app.state.settings) as services:
        app.state.services = services
        yield


def _render(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """The one exception handler: any error becomes OpenAI's error object."""
    refusal = refusal_of(error, method=request.method, path=request.url.path)
    if isinstance(refusal, Surprise):
        log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    status, body, headers = to_openai_error(refusal)
    return Response(body, status_code=status, headers=headers, media_type="application/json")
