"""An engine that serves no tokens: vLLM's adapter endpoints with vLLM's statuses, failing on command."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

BASE = "base"


@dataclass
class FakeEngine:
    """A running fake: what it has loaded, and how it shall behave."""

    url: str = ""
    adapters: dict[str, str] = field(default_factory=dict[str, str])
    """Name -> path."""
    loads: list[str] = field(default_factory=list[str])
    """Names in the order in which they were asked for."""
    away: bool = False
    """Connections are closed without an answer."""
    hangs: bool = False
    """Requests are read and never answered."""
    misfit: set[str] = field(default_factory=set[str])
    """Names that are answered with 500, as vLLM answers when weights do not fit; "*" is any name."""
    odd: str | None = None
    """Sent instead of the list of models."""
    room: int | None = None
    """The embedded engine's: it serves directories without an adapter too, but only so many."""
    no_updates: bool = False
    """Started without VLLM_ALLOW_RUNTIME_LORA_UPDATING: the routes do not exist."""

    def reset(self) -> None:
        url = self.url
        self.__init__()
        self.url = url


ENGINE = web.AppKey("engine", FakeEngine)


@contextmanager
def running_engine() -> Iterator[FakeEngine]:
    """The fake on a free loopback port."""
    engine = FakeEngine()
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    runner = asyncio.run_coroutine_threadsafe(_start(engine), loop).result(10)
    try:
        yield engine
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


async def _start(engine: FakeEngine) -> web.AppRunner:
    app = web.Application(middlewares=[_moods])
    app[ENGINE] = engine
    app.router.add_get("/health", _health)
    app.router.add_get("/v1/models", _models)
    app.router.add_post("/v1/load_lora_adapter", _load)
    app.router.add_post("/v1/unload_lora_adapter", _unload)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    engine.url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}/v1"
    return runner


@web.middleware
async def _moods(request: web.Request, handler: Any) -> web.StreamResponse:
    engine = request.app[ENGINE]
    if engine.away and request.transport is not None:
        request.transport.close()
    while engine.hangs:  # noqa: ASYNC110 set by another thread
        await asyncio.sleep(0.02)
    return await handler(request)


async def _health(request: web.Request) -> web.Response:
    return web.Response()


async def _models(request: web.Request) -> web.Response:
    engine = request.app[ENGINE]
    if engine.odd is not None:
        return web.Response(text=engine.odd)
    cards = [{"id": BASE, "object": "model", "root": BASE, "parent": None}]
    cards += [{"id": name, "object": "model", "root": path, "parent": BASE} for name, path in engine.adapters.items()]
    return web.json_response({"object": "list", "data": cards})


async def _load(request: web.Request) -> web.Response:
    engine = request.app[ENGINE]
    call = await request.json()
    name, path = call["lora_name"], call["lora_path"]
    engine.loads.append(name)
    if engine.no_updates:
        return web.json_response({"detail": "Not Found"}, status=404)
    if name in engine.misfit or "*" in engine.misfit:
        return _error(500, "InternalServerError", f"Loading lora {name} failed: LoRA rank 64 is greater than 16")
    if name == BASE:
        return _error(400, "InvalidUserInput", f"The lora adapter '{name}' has the base model's name.")
    if name in engine.adapters:
        message = (
            f"The lora adapter '{name}' has already been loaded. If you want to load it in place, set 'load_inplace'."
        )
        return _error(400, "InvalidUserInput", message)
    if engine.room is not None and (Path(path) / "config.json").exists():
        full = [one for one in engine.adapters.values() if (Path(one) / "config.json").exists()]
        if len(full) >= engine.room:
            message = f"Loading {name} failed: this engine serves at most {engine.room} models (--max-models)."
            return _error(400, "InvalidUserInput", message)
    elif not (Path(path) / "adapter_config.json").exists():
        return _error(404, "NotFoundError", f"Loading lora {name} failed: No adapter found for {path}")
    engine.adapters[name] = path
    return web.Response(text=f"Success: LoRA adapter '{name}' added successfully.")


async def _unload(request: web.Request) -> web.Response:
    engine = request.app[ENGINE]
    name = (await request.json())["lora_name"]
    if engine.adapters.pop(name, None) is None:
        return _error(404, "NotFoundError", f"The lora adapter '{name}' cannot be found.")
    return web.Response(text=f"Success: LoRA adapter '{name}' removed successfully.")


def _error(status: int, kind: str, message: str) -> web.Response:
    error = {"message": message, "type": kind, "param": None, "code": status}
    return web.json_response({"error": error}, status=status)
