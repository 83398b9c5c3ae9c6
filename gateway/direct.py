"""Model calls straight from their connection.

uvicorn serves HTTP. Of a request it makes what ASGI wants, and of what ASGI answers a response; for the two URLs that carry
the traffic that costs as much as everything else on the way. So a plain POST to one of them is read and answered right
here, in uvicorn's own protocol, and looks to it like one of its cycles. Whatever is unusual about a request (it comes while
another is being answered, waits for `100 Continue`, is HTTP/1.0 or signed in by a cookie) goes the usual way, through ASGI.

What this needs to know of uvicorn is pinned in pyproject.toml, and looked at in tests/gateway/direct/test_uvicorn.py.
"""

import asyncio
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from gateway.app import App
from gateway.errors import InvalidRequest, Surprise, to_openai_error
from gateway.inference import Endpoint
from gateway.keys.ring import ApiKey
from gateway.kit.ids import new_request_id
from gateway.routes.asgi import refused, too_large
from gateway.routes.model_calls import HOT, answer

log = logging.getLogger(__name__)


ENDPOINTS = {path.encode(): endpoint for path, endpoint in HOT.items()}
MAX_HEAD_BYTES = 1 << 17
"""Of a request line and its headers, or of anything else that is no body; what comes in one piece with more does not count."""
HEAD_SECONDS = 30.0
"""In which a request line and its headers have to come."""
MAX_QUEUED = 16
"""Requests that may wait for those before them. With more, nothing is read, so that nobody notices when the client leaves."""
MOST_QUEUED = 256
"""In one piece of what is read, which is not stopped in the middle. Whoever sends more is no client of this API."""
MOST_PIECES = 1024
"""Of a body, before they are put together: of two bytes each takes fifty."""
UNUSUAL = (b"expect", b"cookie", b"upgrade")
STUCK_SECONDS = 60.0
"""A client that has taken nothing of what waits for it for so long is gone: what its call holds is wanted by others."""
NEVER = math.inf
LINGER_SECONDS = 10.0
"""In which what nobody reads may still come: a connection that is closed before takes the answer with it."""


def _last_words(status: int, message: str) -> bytes:
    _, body, _ = to_openai_error(InvalidRequest(message))
    head = f"content-type: application/json\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
    return b"%b%b%b" % (STATUS_LINE[status], head.encode(), body)


NOT_HTTP = _last_words(400, "This is no HTTP request. Send one as HTTP/1.1 has it (RFC 9112).")
TOO_LONG = _last_words(
    431, f"The request line and headers are longer than {MAX_HEAD_BYTES >> 10} kB. Send fewer or shorter ones."
)


class DirectCall:
    """A model call on its connection: a channel (gateway/routes/model_calls.py) to who answers it, a cycle to uvicorn.

    uvicorn sets `disconnected` and then `message_event` when the connection is lost, `keep_alive` to False when it stops.
    """

    def __init__(
        self,
        protocol: "DirectProtocol",
        endpoint: Endpoint,
        headers: Sequence[tuple[bytes, bytes]],
        *,
        keep_alive: bool,
    ) -> None:
        self.endpoint = endpoint
        self.headers = headers
        self.keep_alive = keep_alive
        self.disconnected = False
        self.response_complete = False
        self.begun = False
        """Somebody answers it."""
        self.replied = False
        """The head of its reply is made."""
        self.ended = False
        """The whole reply is on its way."""
        self._protocol = protocol
        self._pieces: list[bytes] = []
        self._gathered: bytearray | None = None
        """Pieces before those, where there were very many."""
        self._size = 0
        self._read = False
        self._act: Callable[[], object] | None = None
        self._unsent: list[bytes] = []
        self.task: asyncio.Task[None] | None = None

    # uvicorn's side.

    @property
    def message_event(self) -> "DirectCall":
        """No attribute: what refers to itself waits for a garbage collection."""
        return self

    def set(self) -> None:
        """The connection is lost, or (after a reply) nothing."""
        act = self._act
        if self.disconnected and act is not None:
            self._act = None
            act()

    def add(self, piece: bytes, limit: int) -> bool:
        """A piece of its body; False: it is too large."""
        self._size += len(piece)
        if self._size > limit:
            return False
        self._pieces.append(piece)
        if len(self._pieces) > MOST_PIECES:
            self._gather()
        return True

    def _gather(self) -> None:
        if self._gathered is None:
            self._gathered = bytearray()
        self._gathered += b"".join(self._pieces)
        self._pieces.clear()

    def complete(self) -> None:
        """The request is here."""
        self._read = True

    # A channel.

    async def body(self, limit: int) -> bytes:
        pieces, gathered, self._pieces, self._gathered = self._pieces, self._gathered, [], None
        if self._size > limit:
            self.keep_alive = False
            raise too_large(limit)
        if gathered is None and len(pieces) == 1:
            return pieces[0]
        return b"".join((gathered or b"", *pieces))

    async def person(self) -> ApiKey | None:
        return None  # what has a cookie went the usual way

    def when_gone(self, act: Callable[[], object]) -> None:
        self._act = act
        if self.disconnected:
            self._protocol.loop.call_soon(self.set)  # not in the middle of what the caller is doing

    def forget(self) -> None:
        self._act = None

    async def send_whole(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self._write(self._head(status, headers, f"content-length: {len(body)}\r\n"))
        self._unsent.append(body)
        self.ended = True

    async def begin(self, headers: Mapping[str, str]) -> None:
        self._write(self._head(200, headers, "transfer-encoding: chunked\r\n"))

    async def send(self, piece: bytes) -> None:
        flow = self._protocol.flow
        if flow.write_paused and not self.disconnected:
            await flow.drain()
        if piece:  # one of no bytes would be the end
            self._write(b"%x\r\n%b\r\n" % (len(piece), piece))

    def send_at_once(self, piece: bytes) -> bool:
        if self.disconnected or self._protocol.flow.write_paused:
            return False
        self._write(b"%x\r\n%b\r\n" % (len(piece), piece))
        return True

    async def end(self) -> None:
        self._write(b"0\r\n\r\n")
        self.ended = True

    def _head(self, status: int, headers: Mapping[str, str], framing: str) -> bytes:
        lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
        if lines.count("\n") != len(headers) or lines.count("\r") != len(headers):
            raise ValueError("a header of the reply has a line break in it")
        self.replied = True
        close = "" if self.keep_alive else "connection: close\r\n"
        return b"%b%b%b\r\n" % (STATUS_LINE[status], self._protocol.usual_headers, f"{lines}{framing}{close}".encode())

    def _write(self, data: bytes) -> None:
        """What is said in one turn of the event loop goes to the kernel in one piece: that is what a write costs."""
        if not self._unsent:
            self._protocol.outbox.add(self._flush)
        self._unsent.append(data)

    def _flush(self) -> None:
        if not self.disconnected:
            self._protocol.transport.write(b"".join(self._unsent))
        self._unsent = []
        if self.ended:
            self._close_or_keep()

    def _close_or_keep(self) -> None:
        """The connection, once the whole reply has left."""
        self.response_complete = True
        if not self._read:
            self._protocol.end_gently()
        elif not self.keep_alive:
            self._protocol.transport.close()
        self._protocol.on_response_complete()
        if self.disconnected:
            self._protocol.cycle = None


class Deaf(asyncio.Protocol):
    """In the place of a protocol whose connection ends: what still comes is thrown away."""

    def __init__(self, protocol: "DirectProtocol") -> None:
        self._protocol = protocol

    def connection_lost(self, exc: Exception | None) -> None:
        self._protocol.connection_lost(exc)

    def pause_writing(self) -> None:
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        self._protocol.resume_writing()


class DirectProtocol(HttpToolsProtocol):
    """One connection; the application is an App."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.cycle: Any = None
        self.parser: Any
        self._service = cast("App", self.app)
        self.outbox = self._service.outbox
        self._limit = self._service.settings.max_body_bytes
        self._reading: DirectCall | None = None
        """The call whose request is coming in."""
        self._answering: DirectCall | RequestResponseCycle | None = None
        """Others may wait behind it."""
        self._stuck: asyncio.TimerHandle | None = None
        self._is_usual = True
        self._in_request = False
        self._in_head = False
        self._head_until: float | None = None
        self._unread = 0
        """Bytes that came since the parser last had a head or a piece of a body to tell of; 1: only what came with that."""
        self._until = NEVER
        """When the connection is closed, unless something comes before (clock of the event loop)."""
        self._timer_at = NEVER
        """When `timeout_keep_alive_task` looks at it; it is not moved for each reply."""
        self._default_headers: object = None
        self._usual_headers = b""

    @property
    def usual_headers(self) -> bytes:
        """Those of every response: the date."""
        if self._default_headers is not self.server_state.default_headers:  # uvicorn makes them anew each second
            self._default_headers = self.server_state.default_headers
            self._usual_headers = b"".join([b"%b: %b\r\n" % each for each in self.server_state.default_headers])
        return self._usual_headers

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(cast("asyncio.Transport", transport))
        self._wait_until(self.loop.time() + HEAD_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._unset_keepalive_if_required()
        self._stop_watching()
        self.pipeline.clear()
        answering = self._answering
        if answering is None:
            self.cycle = self._reading = None  # they refer to it: together they would wait for a garbage collection
        elif answering is not self.cycle:  # others wait behind it
            answering.disconnected = True
            answering.message_event.set()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch_reader()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stop_watching()

    def _watch_reader(self) -> None:
        self._stop_watching()
        left = self.transport.get_write_buffer_size()
        self._stuck = self.loop.call_later(STUCK_SECONDS, self._look_at_reader, left)

    def _look_at_reader(self, before: int) -> None:
        if self.transport.get_write_buffer_size() >= before:
            self.transport.abort()
        else:
            self._watch_reader()

    def _stop_watching(self) -> None:
        if self._stuck is not None:
            self._stuck.cancel()
            self._stuck = None

    def _wait_until(self, moment: float) -> None:
        """Close the connection then, unless something comes before."""
        self._until = moment
        if self._timer_at > moment:
            self._unset_keepalive_if_required()
            self._timer_at = moment
            self.timeout_keep_alive_task = self.loop.call_at(moment, self.timeout_keep_alive_handler)

    def timeout_keep_alive_handler(self) -> None:
        """Something came meanwhile, or it is time."""
        self._timer_at, self.timeout_keep_alive_task = NEVER, None
        now = self.loop.time()
        if self._until <= now and self.flow.read_paused:  # it is we who do not read
            self._wait_until(now + self.timeout_keep_alive)
        elif self._until <= now:
            super().timeout_keep_alive_handler()
        elif self._until < NEVER:
            self._wait_until(self._until)

    def data_received(self, data: bytes) -> None:
        self._until = NEVER
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._stay(data[upgrade.args[0] :])
            return
        except httptools.HttpParserError:
            self._refuse(NOT_HTTP)
            return
        if self._in_request or self._answering is None:
            self._await_more(len(data))

    def _await_more(self, size: int) -> None:
        """The rest of a request, which has its time and its size, or another one."""
        if self.transport.is_closing():
            return
        if self._in_request:
            self._unread += size if self._unread else 1
            if self._unread > MAX_HEAD_BYTES:
                self._refuse(TOO_LONG)
                return
        if self._answering is None or self._is_reading_body():  # else time begins at its end
            now = self.loop.time()
            if self._in_head and self._head_until is None:
                self._head_until = now + HEAD_SECONDS
            self._wait_until(self._head_until if self._in_head and self._head_until else now + self.timeout_keep_alive)

    def _is_reading_body(self) -> bool:
        """Whoever answers waits for the rest of what it answers: a call that goes through ASGI begins with its head."""
        return self._in_request and not self._in_head and self._answering is self.cycle

    def _stay(self, rest: bytes) -> None:
        """Read a request again without the upgrade that it asks for and nobody here speaks, which is how one is declined
        (RFC 9110, 7.8). Java's own client asks for HTTP/2 in this way."""
        headers = b"".join([b"%b: %b\r\n" % each for each in self.headers if each[0] != b"upgrade"])
        head = b"%b %b HTTP/1.1\r\n%b\r\n" % (self.parser.get_method(), self.url, headers)
        self.parser = httptools.HttpRequestParser(self)
        self.data_received(head + rest)

    def _refuse(self, last_words: bytes) -> None:
        """Answer what cannot be read, and read no more. A reply to what came before it is not disturbed, and is the last one."""
        answering = self._answering
        if answering is None:
            self.transport.write(last_words)
        elif isinstance(answering, DirectCall) or not answering.more_body:
            answering.keep_alive = False
            self.transport.set_protocol(Deaf(self))
            return
        elif not answering.response_started:  # it waits for what cannot be read
            self.transport.write(last_words)
        self.end_gently()

    def end_gently(self) -> None:
        """Say that nothing more comes, and wait until the client has heard everything."""
        if self.transport.is_closing():
            return
        self.transport.set_protocol(Deaf(self))
        self.transport.write_eof()
        self.loop.call_later(LINGER_SECONDS, self.transport.close)

    def on_message_begin(self) -> None:
        self.url, self.headers, self.expect_100_continue = b"", [], False
        self._is_usual, self._in_request, self._in_head, self._head_until, self._unread = True, True, True, None, 0

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._in_head:  # behind a body: who checks requests on their way does not look there
            return
        name = name.lower()
        if name in UNUSUAL:
            self._is_usual = False
            self.expect_100_continue |= name == b"expect" and value.lower() == b"100-continue"
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        self._in_head = False
        endpoint = ENDPOINTS.get(self.url) if self._is_usual else None
        if endpoint is None or not self._is_plain():
            self._through_asgi()
            return
        self._reading = DirectCall(self, endpoint, self.headers, keep_alive=self.parser.should_keep_alive())
        self.cycle = self._reading

    def _is_plain(self) -> bool:
        """A POST as HTTP/1.1 has it, and the only one at its time."""
        free = self.cycle is None or self.cycle.response_complete
        return free and self.parser.get_method() == b"POST" and self.parser.get_http_version() == "1.1"

    def _through_asgi(self) -> None:
        self._reading = None
        if self.parser.get_method() == b"CONNECT":  # reading it again would change nothing
            raise ValueError("this is no proxy")
        if len(self.pipeline) >= MOST_QUEUED:
            raise ValueError("too many requests at once")
        if self.parser.should_upgrade():
            return  # it is read again
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expects
        self.headers.extend(headers)
        super().on_headers_complete()
        if 0 < len(self.pipeline) < MAX_QUEUED:
            self.flow.resume_reading()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._answering = cycle
        super()._start_asgi_task(cycle, app)

    def on_body(self, body: bytes) -> None:
        self._unread = 0
        call = self._reading
        if call is None:
            super().on_body(body)
        elif not call.add(body, self._limit):
            self._begin(call)

    def on_message_complete(self) -> None:
        self._in_request = False
        call, self._reading = self._reading, None
        if call is not None:
            call.complete()
            self._begin(call)
        elif not self.parser.should_upgrade():
            super().on_message_complete()

    def on_response_complete(self) -> None:
        """As uvicorn's, without a new timer for each reply."""
        self._answering = None
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        if self._answering is None or self._is_reading_body():
            self._wait_until(self.loop.time() + self.timeout_keep_alive)

    def _begin(self, call: DirectCall) -> None:
        if not call.begun:
            call.begun, self._answering = True, call
            call.task = self.loop.create_task(self._answer(call))
            self.tasks.add(call.task)

    async def _answer(self, call: DirectCall) -> None:
        try:
            await answer(self._service.services, call.endpoint, call)
        except Exception as error:
            log.exception("a model call broke")
            if not call.replied:
                await call.send_whole(*refused(Surprise(), new_request_id(), cause=error))
        finally:
            self.tasks.discard(cast("asyncio.Task[None]", call.task))
            call.task = None
            if not call.ended:
                self._answering = None
                self.transport.close()
            if call.disconnected:
                self.cycle = None  # see connection_lost
