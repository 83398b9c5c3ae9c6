"""Who gets webhooks: a real HTTP server on the loop of the test, which answers as it is told."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web


@dataclass(frozen=True)
class Received:
    path: str
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes


@dataclass
class Receiver:
    url: str = ""
    got: list[Received] = field(default_factory=list)
    status: int = 204
    text: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    silent: asyncio.Event = field(default_factory=asyncio.Event)
    """Not set: a call of `/silent` gets no answer."""

    async def answer(self, request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.got.append(Received(request.path_qs, headers, await request.read()))
        if request.path == "/silent":
            await self.silent.wait()
        return web.Response(status=self.status, text=self.text, headers=self.headers)


@asynccontextmanager
async def running_receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", receiver.answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    receiver.url = f"http://{host}:{port}"
    try:
        yield receiver
    finally:
        receiver.silent.set()
        await runner.cleanup()
