"""A gate before an engine: it passes everything on, notes what came, and refuses on command what an engine does not."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
from aiohttp import ClientError, ClientSession, web

LOAD = "/v1/load_lora_adapter"


@dataclass
class Gate:
    url: str = ""
    behind: str | None = None
    """URL of the engine; without one it is as if nobody were there."""
    refuses_loads: bool = False
    chats: list[str] = field(default_factory=list)
    """The model of each chat that came."""

    def chats_of(self, model: str) -> int:
        return self.chats.count(model)


GATE = web.AppKey("gate", Gate)
HTTP = web.AppKey("http", ClientSession)


@contextmanager
def standing_gate() -> Iterator[Gate]:
    """On a free port of this machine, on a thread of its own."""
    gate = Gate()
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    runner = asyncio.run_coroutine_threadsafe(_start(gate), loop).result(10)
    try:
        yield gate
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


async def _start(gate: Gate) -> web.AppRunner:
    app = web.Application()
    app[GATE] = gate
    app.cleanup_ctx.append(_http)
    app.router.add_route("*", "/{path:.*}", _pass)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    gate.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    return runner


async def _http(app: web.Application) -> Any:
    app[HTTP] = ClientSession()
    yield
    await app[HTTP].close()


async def _pass(request: web.Request) -> web.StreamResponse:
    gate, body = request.app[GATE], await request.read()
    if request.path == "/v1/chat/completions":
        gate.chats.append((await request.json())["model"])
    if gate.behind is None:
        raise web.HTTPServiceUnavailable
    if gate.refuses_loads and request.path == LOAD:
        return web.json_response({"error": {"message": "The disk is gone.", "type": "InternalServerError"}}, status=500)
    headers = {"content-type": request.content_type} if body else {}
    try:
        async with request.app[HTTP].request(
            request.method, gate.behind + request.path_qs, data=body, headers=headers
        ) as reply:
            return web.Response(body=await reply.read(), status=reply.status, content_type=reply.content_type)
    except ClientError:
        raise web.HTTPServiceUnavailable from None


def unload(url: str, model: str) -> None:
    """What the gateway does not know of."""
    answer = httpx.post(f"{url}/v1/unload_lora_adapter", json={"lora_name": model}, timeout=60)
    if answer.status_code != 404:  # it left just now: a slow machine's probe took it out, to be loaded again
        answer.raise_for_status()
