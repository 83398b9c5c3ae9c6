"""One connection to a server, for one exchange after the other. `httptools` (llhttp) reads what comes.

A connection that waits in the pool may be closed by the server at any time, also while the next request is on its way to
it. Nobody may send that request again, unless it cannot have been read: the kernel's counts (TCP_INFO) say so, where the
system has them. A server's last word (FIN) acknowledges what it has; a reset says nothing of what came before it, so there
nothing may have been sent at all. Of a plain connection it is known how much was written before a request; of one with
TLS, the count is taken when it is written.
"""

import asyncio
import os
import socket
import struct
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast

import httptools

from gateway.kit.outbox import Outbox
from gateway.upstreams.http.address import Address
from gateway.upstreams.http.failures import Failure, NothingRead
from gateway.upstreams.http.response import Fields, Response

MAX_BYTES_BESIDE_BODY = 1 << 18
"""Of a head, of trailers, or of marks between chunks, until something else comes."""
ONE_WRITE = 1 << 16
"""A body up to this goes to the kernel together with its head."""
BYTES_ACKED, BYTES_SENT = struct.Struct("120xQ"), struct.Struct("200xQ")
"""linux/tcp.h, struct tcp_info: `tcpi_bytes_acked`, and `tcpi_bytes_sent` (since 4.19), which counts what was sent again, too."""


class Connection(asyncio.Protocol):
    """`freed` is called when an exchange ended and another may follow, `lost` when the connection is no more."""

    def __init__(
        self,
        address: Address,
        outbox: Outbox,
        freed: "Callable[[Connection], None]",
        lost: "Callable[[Connection], None]",
    ) -> None:
        self.address = address
        self._outbox = outbox
        self._unsent: tuple[bytes, bytes] | None = None
        """Head and body of a request that waits in the outbox."""
        self.heard_at = 0.0
        """When something came last, by the event loop's clock."""
        self._freed, self._lost = freed, lost
        self._loop = asyncio.get_running_loop()
        self._came: list[bytes] = []
        """Of a body, since somebody was last told."""
        self.on_body = self._came.append
        self._parser: Any = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._response: Response | None = None
        self._fields: Fields = []
        self._keeps = self._heard = False
        self._plain = True
        self._socket: Any = None
        self._written: int | None = None
        """Bytes, as the kernel counts them when all have arrived; None where it counts none."""
        self._acknowledged: int | None = None
        """Of what was written before this request."""
        self._beside_body = 0
        self._idle: float | None = None
        self._timer: asyncio.TimerHandle | None = None

    # The pool's side.

    def send(self, request: bytes, body: bytes, idle: float | None) -> Response:
        """Begin an exchange. Raises NothingRead: the server has closed the connection."""
        transport = self._transport
        assert self._response is None
        if transport is None or transport.is_closing():
            raise NothingRead("the server had closed the connection")
        self._acknowledged = self._written if self._plain else self._count_acknowledged()
        self._heard, self._keeps, self._beside_body = False, False, 0
        self._response = response = Response(self, self._loop)
        if self._written is not None:
            self._written += len(request) + len(body)
        self._unsent = (request, body)
        self._outbox.add(self._write)
        self.allow_idle(idle)
        return response

    def _write(self) -> None:
        transport, unsent, self._unsent = self._transport, self._unsent, None
        if transport is None or unsent is None or transport.is_closing():
            return
        request, body = unsent
        if len(body) <= ONE_WRITE:
            transport.write(request + body)
        else:
            transport.write(request)
            transport.write(body)

    async def secure(self, tls: Any, host: str, connection: "Connection") -> None:
        """Hand the socket, at whose other end is now `host`, to another connection that speaks TLS over it."""
        transport, self._response = self._transport, None
        if transport is None:
            raise Failure("the proxy closed the connection")
        self._let_go()
        made = await self._loop.start_tls(transport, connection, tls, server_hostname=host)
        connection.connection_made(cast("asyncio.Transport", made))

    def pause(self) -> None:
        self._stop_timer()  # it is we who do not read
        if self._transport is not None:
            self._transport.pause_reading()

    def resume(self) -> None:
        if self._transport is not None:
            self._transport.resume_reading()
            self.allow_idle(self._idle)

    def allow_idle(self, seconds: float | None) -> None:
        self._idle, self.heard_at = seconds, self._loop.time()
        if seconds is None:
            self._stop_timer()
        elif self._timer is None or self._timer.when() > self.heard_at + seconds:
            self._watch_from(self.heard_at)

    def abort(self) -> None:
        """Close the socket now. Whoever reads the reply gets a Failure."""
        self._abort(Failure("the connection was closed by this side"))

    # asyncio's side.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._plain = transport.get_extra_info("ssl_object") is None
        self._socket = transport.get_extra_info("socket")
        if (
            not self._plain
        ):  # with TLS in between, the loop closes its socket before it tells that the connection is lost
            self._socket = socket.socket(fileno=os.dup(self._socket.fileno()))
        self._written = self._count_acknowledged()

    def data_received(self, data: bytes) -> None:
        response = self._response
        if response is None or self._unsent is not None:  # nobody asked: it would be taken for the next answer
            self._abort(NothingRead("the server spoke before it was asked"))
            return
        self._heard = True
        self.heard_at = self._loop.time()
        self._beside_body += len(data)
        try:
            self._parser.feed_data(data)
            if self._came:
                self._pass_on(response)
            if self._beside_body > MAX_BYTES_BESIDE_BODY:
                raise Failure("a head, or what is beside the body, is too long")
        except (httptools.HttpParserError, httptools.HttpParserUpgrade, Failure) as error:
            self._break(response, error)
            return
        if response.complete or response.failure is not None:
            self._exchange_ended(response)
        response.wake()

    def eof_received(self) -> None:
        response = self._response
        if response is not None and response.status and not response.is_sized:
            self._response = None
            response.end()
            response.wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(self._why_lost(exc))

    # llhttp's side, beside `on_body`: a stream comes in many small pieces, and they are passed on together.

    def on_message_begin(self) -> None:
        if self._response is None or self._response.complete:
            raise Failure("the server said more than it was asked")
        self._fields = []

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields.append((name, value))

    def on_headers_complete(self) -> None:
        fields, self._fields = self._fields, []  # trailers, which could say anything, are nobody's
        self._beside_body = 0
        status = self._parser.get_status_code()
        if status >= 200:  # what is below announces the real one
            assert self._response is not None
            self._response.begin(status, fields)

    def on_message_complete(self) -> None:
        assert self._response is not None
        if self._response.status:
            self._keeps = self._parser.should_keep_alive()
            if self._came:
                self._pass_on(self._response)
            self._response.end()

    def _pass_on(self, response: Response) -> None:
        """What came of the body. Raises Failure."""
        came = b"".join(self._came)
        self._came.clear()
        self._beside_body = 0
        response.add(came)

    # How an exchange, or all of them, end.

    def _exchange_ended(self, response: Response) -> None:
        self._response = None
        transport = self._transport
        # A reply that came before the request was read leaves the rest of it on the way.
        sent = self._unsent is None and transport is not None and not transport.get_write_buffer_size()
        if self._keeps and response.complete and sent:
            self._freed(self)
        else:
            self.abort()

    def _break(self, response: Response, error: BaseException) -> None:
        """What came is not what HTTP is; maybe behind a reply that is whole, or behind more of it."""
        if self._came:
            with suppress(Failure):
                self._pass_on(response)
        cause = error.__context__ if isinstance(error.__context__, Failure) else error
        response.fail(cause if isinstance(cause, Failure) else Failure(f"the reply is not HTTP: {error}"))
        response.wake()
        self.abort()

    def _abort(self, why: Failure) -> None:
        if self._transport is not None:
            self._transport.abort()
        self._end(why)

    def _end(self, why: Failure) -> None:
        self._let_go()
        response, self._response = self._response, None
        if response is not None:
            response.fail(why)
        self._lost(self)

    def _why_lost(self, error: Exception | None) -> Failure:
        if self._response is None or self._heard or self._acknowledged is None:
            return Failure(f"the connection broke: {error or 'the server closed it'}")
        # A pipe is broken where the server had said so, and something was written then.
        said_so = error is None or isinstance(error, BrokenPipeError)
        count = self._count(BYTES_ACKED if said_so else BYTES_SENT)
        if count is not None and count <= self._acknowledged:
            return NothingRead("the server had closed the connection")
        return Failure(f"the connection broke before an answer came: {error or 'the server closed it'}")

    def _count_acknowledged(self) -> int | None:
        """Bytes that the other side has acknowledged since the connection began; None where nobody counts them."""
        return self._count(BYTES_ACKED)

    def _count(self, which: struct.Struct) -> int | None:
        if sys.platform != "linux" or self._socket is None:
            return None
        try:
            told = self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, which.size)
            return which.unpack(told)[0]
        except (OSError, struct.error):
            return None

    def _let_go(self) -> None:
        """Of the socket: it is closed, or another connection has it."""
        self._stop_timer()
        if not self._plain and self._socket is not None:
            self._socket.close()
        self._socket = self._transport = None

    # How long nothing may come.

    def _watch_from(self, moment: float) -> None:
        self._stop_timer()
        assert self._idle is not None
        self._timer = self._loop.call_at(moment + self._idle, self._look)

    def _look(self) -> None:
        """Most of the time something came meanwhile, or nobody waits any more: cheaper than a new timer each time."""
        self._timer = None
        if self._response is None or self._idle is None:
            return
        if self._loop.time() < self.heard_at + self._idle:
            self._watch_from(self.heard_at)
            return
        self._response.fail(TimeoutError())
        self.abort()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
