"""A server that says exactly what a test tells it to say."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from gateway.upstreams.http.address import Target, lines, target_of
from gateway.upstreams.http.pool import Pool
from gateway.upstreams.http.response import Response

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Raw:
    """A running server."""

    url: str = ""
    requests: list[bytes] = field(default_factory=list)
    """Head and body of each, over all connections."""
    connections: list[asyncio.StreamWriter] = field(default_factory=list)
    ends: int = 0
    """Connections that the client has closed."""

    async def request(self, reader: asyncio.StreamReader) -> bytes:
        """The next one; b"" when the client has left."""
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            self.ends += 1
            return b""
        length = next((line[15:] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), b"0")
        request = head + await reader.readexactly(int(length))
        self.requests.append(request)
        return request


@asynccontextmanager
async def raw_server(
    answer: Callable[[Raw, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncGenerator[Raw]:
    """On a free loopback port; `answer` has each connection until it returns."""
    raw = Raw()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raw.connections.append(writer)
        try:
            await answer(raw, reader, writer)
        except ConnectionError:
            pass
        finally:
            writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        raw.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        yield raw
        for writer in raw.connections:
            if not writer.is_closing():
                writer.transport.abort()


def saying(*pieces: bytes, again: bool = True) -> Callable[..., Awaitable[None]]:
    """Answers each request with these pieces, a moment apart.

    Args:
        again: keep the connection for the next request.
    """

    async def answer(raw: Raw, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await raw.request(reader):
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0)
            if not again:
                return

    return answer


async def ask(pool: Pool, raw: Raw, body: bytes = b"{}", *, idle: float | None = 20, path: str = "") -> Response:
    """One POST, until its head is here."""
    target = target_of(raw.url + path)
    return await pool.send(target, head(target, body), body, connect=20, idle=idle)


def head(target: Target, body: bytes) -> bytes:
    return f"POST {target.path} HTTP/1.1\r\n{lines(target.fields)}content-length: {len(body)}\r\n\r\n".encode()
