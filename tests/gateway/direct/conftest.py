"""The application on a loopback socket, in the test's own event loop, with the protocol that serves it in production."""

import asyncio
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import uvicorn

from gateway.app import App
from gateway.direct import DirectProtocol
from tests.gateway.direct.raw_http import Client
from tests.polling import until

PATIENCE = 30.0
KEEP_ALIVE_SECONDS = 75


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """Users' gateways run on uvloop; asyncio's own loop ends connections in other ways."""
    return "asyncio", {"use_uvloop": request.param}


@dataclass
class Door:
    """A server, what it listens on, and its side of every connection."""

    server: uvicorn.Server
    port: int
    key: str
    """Of a project."""
    clients: list[Client] = field(default_factory=list)

    async def client(self) -> Client:
        client = await Client.to(self.port)
        self.clients.append(client)
        return client

    async def pair(self) -> tuple[Client, Any]:
        """A connection, and the server's side of it: what it is handed comes in exactly these pieces."""
        client = await self.client()
        found: list[Any] = []

        def arrived() -> bool:
            found[:] = [each for each in self.connections if each.client == client.address]
            return bool(found)

        await until(arrived, PATIENCE)
        return client, found[0]

    @property
    def connections(self) -> set[Any]:
        """DirectProtocols."""
        return self.server.server_state.connections

    @property
    def tasks(self) -> set[asyncio.Task[None]]:
        """One for each request that is being answered."""
        return self.server.server_state.tasks


def new_server(app: App) -> uvicorn.Server:
    return uvicorn.Server(
        uvicorn.Config(
            app,
            interface="asgi3",
            http=DirectProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
        )
    )


@asynccontextmanager
async def opened(app: App, key: str) -> AsyncGenerator[Door]:
    server, listener = new_server(app), socket.create_server(("127.0.0.1", 0))
    door = Door(server, listener.getsockname()[1], key)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    await until(lambda: server.started and server.server_state.default_headers, PATIENCE)
    try:
        yield door
    finally:
        for client in door.clients:
            client.leave()
        server.should_exit = True
        await serving


@pytest.fixture
async def door(app: App, project_key: dict[str, Any]) -> AsyncIterator[Door]:
    async with opened(app, project_key["value"]) as door:
        yield door


def feed(protocol: Any, *pieces: bytes) -> None:
    """Hand it these, for as long as it is the one that listens to its connection."""
    for piece in pieces:
        if protocol.transport.get_protocol() is protocol and not protocol.transport.is_closing():
            protocol.data_received(piece)


Settled = Callable[[], Awaitable[None]]


@pytest.fixture
def settled(door: Door) -> Settled:
    """Wait until nothing is being answered any more."""

    async def settle() -> None:
        await until(lambda: not door.tasks, PATIENCE)

    return settle
