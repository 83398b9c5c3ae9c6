"""build_app(settings): the only wiring of the service.

Model calls and /health are answered as soon as the services are up. Everything else needs the web framework, its routes and
the console, which take longer to import than all the rest: they are loaded in a thread behind the first calls, and who asks
for them meanwhile waits.
"""

import asyncio
import logging
import time
import traceback
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from gateway.errors import Refusal, refusal_of
from gateway.kit.ids import new_request_id
from gateway.kit.outbox import Outbox
from gateway.routes import cross_origin
from gateway.routes.asgi import AsgiChannel, Receive, Scope, Send, encode_headers, send_error, send_whole
from gateway.routes.model_calls import HOT, answer
from gateway.services import Services, gateway_services
from gateway.settings import Settings

if TYPE_CHECKING:
    from litestar import Litestar
    from litestar.types import ControllerRouterHandler

log = logging.getLogger(__name__)

HEALTH = "/health"
ALIVE = b'{"status":"ok"}'
LOAD_AGAIN_SECONDS = 5.0
"""What could not be loaded (no memory, a disk that did not answer) is tried again with the first call after that time."""


class App:
    """The ASGI application, not yet started: `lifespan` opens its connections.

    Args:
        build: makes everything but model calls (gateway/litestar_app.py). Called in a thread, after the start, until it
            returns once.
    """

    def __init__(self, settings: Settings, build: "Callable[[], Litestar]") -> None:
        self.settings = settings
        self._build = build
        self.services: Services
        """While the lifespan lasts."""
        self.outbox = Outbox()
        self._litestar: Litestar | None = None
        self._loading: asyncio.Task[Litestar] | None = None
        self._failed_at = 0.0
        """When it could not be loaded (monotonic)."""

    @property
    def litestar(self) -> "Litestar":
        """Once `everything` has returned."""
        assert self._litestar is not None, "it is not loaded yet"
        return self._litestar

    @asynccontextmanager
    async def lifespan(self) -> AsyncGenerator[None]:
        """Model calls are answered inside."""
        async with gateway_services(self.settings) as services:
            self.services = services
            self._start_loading(services)
            yield

    async def everything(self) -> "Litestar":
        """What answers all but model calls, as soon as it is there. Raises what kept it from being loaded."""
        if self._litestar is None:
            assert self._loading is not None, "it has not been started"
            failed = self._loading.done() and not self._loading.cancelled()
            if failed and time.monotonic() >= self._failed_at + LOAD_AGAIN_SECONDS:
                self._start_loading(self.services)
            return await asyncio.shield(self._loading)
        return self._litestar

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            endpoint = HOT.get(scope["path"]) if scope["method"] == "POST" else None
            if endpoint is not None:
                channel = AsgiChannel(self.services, scope, receive, send, self.everything)
                await answer(self.services, endpoint, channel)
            else:
                await self._other(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._live(receive, send)
        else:
            await (await self.everything())(scope, receive, send)  # type: ignore[arg-type]

    async def _live(self, receive: Receive, send: Send) -> None:
        """ASGI's lifespan protocol."""
        started = False
        try:
            await receive()
            async with self.lifespan():
                await send({"type": "lifespan.startup.complete"})
                started = True
                await receive()
        except BaseException:
            kind = "shutdown" if started else "startup"
            await send({"type": f"lifespan.{kind}.failed", "message": traceback.format_exc()})
            raise
        await send({"type": "lifespan.shutdown.complete"})

    def _start_loading(self, services: Services) -> None:
        self._loading = services.background.spawn(self._load(services), "load what answers all but model calls")

    async def _load(self, services: Services) -> "Litestar":
        try:
            litestar = await asyncio.to_thread(self._build)
        except Exception:
            self._failed_at = time.monotonic()
            raise
        litestar.state.services = services
        litestar.state.settings = self.settings
        litestar.state.service = self
        self._litestar = litestar
        return litestar

    async def _other(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Every answer, of an unknown URL too, carries a request id."""
        request_id = new_request_id()
        own = {"x-request-id": request_id, "openai-version": "2020-10-01"}
        if scope["path"] == HEALTH and scope["method"] == "GET":
            await send_whole(send, 200, own | {"content-type": "application/json"}, ALIVE)
            return
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
            litestar = await self.everything()
            await litestar(scope, receive, send_marked)  # type: ignore[arg-type]
        except Exception as error:  # noqa: BLE001 what escapes the framework itself, or was not loaded
            await send_error(send, self._refusal(error), request_id, cause=error, headers=for_pages)

    def _refusal(self, error: Exception) -> Refusal:
        if self._litestar is None:
            return refusal_of(error)
        from gateway.framework_errors import refusal_behind  # it is loaded by now

        return refusal_behind(error)


def build_app(settings: Settings, routers: "Callable[[], Sequence[ControllerRouterHandler]]" = tuple) -> App:
    """The service with every URL.

    Args:
        routers: what a layer above adds (the console), called when it is loaded.
    """

    def build() -> "Litestar":
        from gateway.litestar_app import build_routes  # behind the first calls

        return build_routes(settings.max_body_bytes, routers())

    return App(settings, build)
