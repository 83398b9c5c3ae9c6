"""Connections to all servers: kept while they are useful, made when there is none."""

import asyncio
import socket
import ssl
from contextlib import suppress
from functools import cache
from typing import Any

from aiohappyeyeballs import start_connection

from gateway.kit.outbox import Outbox
from gateway.upstreams.http.address import Address, Proxy, Target, lines, tunnel_of
from gateway.upstreams.http.connection import Connection
from gateway.upstreams.http.failures import NothingRead, ProxyRefused, Unreachable
from gateway.upstreams.http.response import Response

KEEP_SECONDS = 60.0
"""For which a connection waits for its next call. Servers that close it earlier are noticed."""

NEXT_ADDRESS_SECONDS = 0.25
"""After which the next address of a host is tried beside the one before (RFC 8305, section 5)."""


@cache
def tls() -> ssl.SSLContext:
    """Certificates are verified against the system's authorities (`SSL_CERT_FILE` names others)."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


class Pool:
    """`connections` are all that are open; of those in `_free`, the last one that was used is used next."""

    def __init__(self) -> None:
        self.connections: set[Connection] = set()
        self._outbox = Outbox()
        self._free: dict[Address, list[Connection]] = {}
        self._connecting: set[asyncio.Timeout] = set()
        self._sweeper: asyncio.TimerHandle | None = None
        self.ended = False

    async def send(
        self, target: Target, request: bytes, body: bytes, *, connect: float | None, idle: float | None
    ) -> Response:
        """Send a request and wait for the head of its reply.

        Args:
            connect, idle: seconds for the connection, and in which nothing may come; None: no limit.

        Raises:
            Unreachable: there is no connection.
            Failure: it broke. The server may have acted on the request.
            TimeoutError: one of the limits.
        """
        while True:
            free = self._free.get(target.address)
            kept = free.pop() if free else None
            connection = kept or await self._connect(target.address, connect)
            response: Response | None = None
            try:
                response = connection.send(request, body, idle)
                while not response.status:
                    await response.news()
                return response
            except NothingRead:  # so it may be sent again
                if kept is None:
                    raise
            except BaseException:  # a caller who is cancelled while it waits closes this connection, and no other
                if response is not None:
                    response.close()
                raise

    def end(self) -> None:
        """Close everything: what is on its way fails, and nothing new begins."""
        self.ended = True
        if self._sweeper is not None:
            self._sweeper.cancel()
        for limit in self._connecting:
            with suppress(RuntimeError):  # its time is over already
                limit.reschedule(0)
        for connection in list(self.connections):
            connection.abort()

    async def _connect(self, address: Address, seconds: float | None) -> Connection:
        limit = asyncio.timeout(0 if self.ended else seconds)
        self._connecting.add(limit)
        try:
            async with limit:
                return await self._open(address)
        except TimeoutError:
            if self.ended:
                raise Unreachable("this process is shutting down") from None
            raise
        finally:
            self._connecting.discard(limit)

    async def _open(self, address: Address) -> Connection:
        first = address.proxy or address
        try:
            connection = await self._dial(address, first)
            return await self._tunnel(connection) if address.tunneled else connection
        except ssl.SSLCertVerificationError as error:
            raise Unreachable(f"its certificate is not trusted: {error.verify_message}") from error
        except (OSError, UnicodeError) as error:
            if isinstance(error, Unreachable):
                raise
            raise Unreachable(str(error)) from error

    async def _dial(self, address: Address, first: Address | Proxy) -> Connection:
        """To whichever of the host's addresses answers first: one that swallows everything (an IPv6 without a way out)
        delays nobody (RFC 8305)."""
        loop = asyncio.get_running_loop()
        line = await start_connection(
            await _places(first.host, first.port), happy_eyeballs_delay=NEXT_ADDRESS_SECONDS, interleave=1
        )
        context, name = (tls(), first.host) if first.tls else (None, None)
        # A line to a proxy is none to the server behind it: nothing but what opens the tunnel may be sent over it.
        freed = _kept_by_nobody if address.tunneled else self._freed
        _, connection = await loop.create_connection(
            lambda: Connection(address, self._outbox, freed, self._lost), sock=line, ssl=context, server_hostname=name
        )
        self.connections.add(connection)
        return connection

    async def _tunnel(self, proxy: Connection) -> Connection:
        """Through a proxy (RFC 9110, section 9.3.6)."""
        target, done = tunnel_of(proxy.address), False
        try:
            request = f"CONNECT {target.path} HTTP/1.1\r\n{lines(target.fields)}\r\n".encode()
            response = proxy.send(request, b"", None)
            await response.begun()
            if not 200 <= response.status < 300:
                raise ProxyRefused(response.status)
            connection = Connection(proxy.address, self._outbox, self._freed, self._lost)
            await proxy.secure(tls(), proxy.address.host, connection)
            self.connections.add(connection)
            done = True
            return connection
        finally:
            if done:
                self.connections.discard(proxy)
            else:
                proxy.abort()

    def _freed(self, connection: Connection) -> None:
        if self.ended:
            connection.abort()
            return
        self._free.setdefault(connection.address, []).append(connection)
        if self._sweeper is None:
            self._sweeper = asyncio.get_running_loop().call_later(KEEP_SECONDS / 2, self._sweep)

    def _lost(self, connection: Connection) -> None:
        self.connections.discard(connection)
        free = self._free.get(connection.address)
        if free and connection in free:
            free.remove(connection)

    def _sweep(self) -> None:
        """Close what has waited too long."""
        self._sweeper = None
        loop = asyncio.get_running_loop()
        oldest = loop.time() - KEEP_SECONDS
        for connection in [each for free in self._free.values() for each in free if each.heard_at < oldest]:
            connection.abort()
        self._free = {address: free for address, free in self._free.items() if free}
        if self._free:
            self._sweeper = loop.call_later(KEEP_SECONDS / 2, self._sweep)


def _kept_by_nobody(_: Connection) -> None: ...


async def _places(host: str, port: int) -> list[Any]:
    """As getaddrinfo tells them."""
    return await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
