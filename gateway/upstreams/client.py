"""The one door to every upstream, and the one place where its failures become refusals."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from weakref import WeakSet

import aiohttp

from gateway.errors import (
    ErrorObject,
    ModelLoading,
    Refusal,
    Unavailable,
    UpstreamFailed,
    UpstreamRefused,
    UpstreamTimeout,
    decode_error_object,
)
from gateway.protocol.routes import RouteTimeouts
from gateway.settings import TimeoutSettings

ERROR_BODY_LIMIT = 64 * 1024
SHUTTING_DOWN = "This gateway is shutting down; please retry."
SHORTEST_SECRET = 8
"""Characters; in a message anything shorter is a word."""
NOT_SECRET = ("anthropic-", "openai-")
"""How the headers begin that say a version or an organisation."""
PASSED_ON = ("retry-after", "retry-after-ms", "x-should-retry")


@dataclass(slots=True)
class Way:
    """How a call gets to an upstream, beside its URL."""

    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    """The upstream's credentials and what else it wants, names in lower case."""
    proxy: str | None = None
    """URL of an HTTP proxy."""
    timeouts: RouteTimeouts | None = None
    """None: `connect` and `idle` of the settings."""
    read_error: Callable[[int, bytes], ErrorObject | None] = lambda _, body: decode_error_object(body)
    """What the body of an error status says."""


DIRECT = Way()


class UpstreamReply:
    """An upstream's answer whose status was 2xx; the body is still to be read."""

    def __init__(self, response: aiohttp.ClientResponse, upstream: str) -> None:
        self._response = response
        self._upstream = upstream

    async def read(self) -> bytes:
        """The whole body. Raises UpstreamFailed or UpstreamTimeout."""
        with mapped(self._upstream, reached=True):
            return await self._response.read()

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body in the pieces in which it arrives. Raises UpstreamFailed or UpstreamTimeout."""
        with mapped(self._upstream, reached=True):
            while piece := await self._response.content.readany():
                yield piece

    def allow_idle(self, seconds: float | None) -> None:
        """From now on the upstream may send nothing for so long; then a read raises UpstreamTimeout. None: no limit."""
        connection = self._response.connection
        protocol = connection.protocol if connection else None  # without one, the whole body is here
        if protocol is not None and protocol.read_timeout != seconds:
            protocol.read_timeout = seconds
            protocol.start_timeout()

    def close(self) -> None:
        """Hang up: the upstream sees it and can stop; a pending read raises UpstreamFailed."""
        self._response.close()

    @property
    def is_stream(self) -> bool:
        return self._response.content_type == "text/event-stream"


class UpstreamClient:
    """A pool of connections to every upstream."""

    def __init__(self, timeouts: TimeoutSettings) -> None:
        self._limits = _limits(RouteTimeouts(connect=timeouts.connect, first_token=timeouts.idle))
        self._session: aiohttp.ClientSession | None = None
        self._waiting: set[asyncio.Timeout] = set()
        """Calls whose upstream has not answered yet."""
        self._replies: WeakSet[UpstreamReply] = WeakSet()
        self._ended = False

    async def open(self) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ttl_dns_cache=60),
            timeout=self._limits,
            auto_decompress=True,
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def close(self) -> None:
        if self._session:
            await self._session.close()

    async def post(
        self, upstream: str, url: str, body: bytes, *, api_key: str = "", request_id: str = "", way: Way = DIRECT
    ) -> UpstreamReply:
        """Send a JSON body and wait for the status line. Until then nothing may come for `way.timeouts.first_token`
        seconds, and it stays so for the body until `allow_idle`.

        Raises:
            UpstreamRefused: the upstream's own 4xx, with its error object.
            UpstreamFailed: it broke, cannot be reached, or refused our credentials.
            UpstreamTimeout: it did not connect or answer in time.
            Unavailable: this process is shutting down.
        """
        session = self._opened()
        headers = {"content-type": "application/json", "x-request-id": request_id, **way.headers}
        if api_key:
            headers["authorization"] = f"Bearer {api_key}"
        limits = _limits(way.timeouts) if way.timeouts else self._limits
        with mapped(upstream, reached=False):
            async with self._endable():
                response = await session.post(
                    url, data=body, headers=headers, allow_redirects=False, proxy=way.proxy, timeout=limits
                )
                if response.status >= 300:
                    raise await _refusal(response, upstream, way)
        reply = UpstreamReply(response, upstream)
        self._replies.add(reply)
        return reply

    async def get(self, upstream: str, url: str, *, api_key: str = "", way: Way = DIRECT) -> bytes:
        """The body of a GET; raises like `post`."""
        session = self._opened()
        headers = {**way.headers, **({"authorization": f"Bearer {api_key}"} if api_key else {})}
        limits = _limits(way.timeouts) if way.timeouts else self._limits
        with mapped(upstream, reached=False):
            async with session.get(
                url, headers=headers, allow_redirects=False, proxy=way.proxy, timeout=limits
            ) as response:
                if response.status >= 300:
                    raise await _refusal(response, upstream, way)
                return await response.read()

    def end_calls(self) -> None:
        """Hang up everywhere: each call on its way fails now, and no new one begins (closing aiohttp's session would
        leave them waiting)."""
        self._ended = True
        for scope in list(self._waiting):
            scope.reschedule(0)
        for reply in list(self._replies):
            reply.close()

    @asynccontextmanager
    async def _endable(self) -> AsyncGenerator[None]:
        scope = asyncio.timeout(None)
        self._waiting.add(scope)
        try:
            async with scope:
                yield
        except TimeoutError:
            if scope.expired():
                raise Unavailable(SHUTTING_DOWN) from None
            raise
        finally:
            self._waiting.discard(scope)

    def _opened(self) -> aiohttp.ClientSession:
        assert self._session is not None, "open() comes first"
        if self._ended:
            raise Unavailable(SHUTTING_DOWN)
        return self._session


@lru_cache(256)
def _limits(timeouts: RouteTimeouts) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=None, sock_connect=timeouts.connect, sock_read=timeouts.first_token)


@contextmanager
def mapped(upstream: str, *, reached: bool) -> Generator[None]:
    """Turn the HTTP library's exceptions into refusals that name the upstream.

    Args:
        reached: it has answered, and what breaks is its reply.
    """
    try:
        yield
    except (TimeoutError, aiohttp.SocketTimeoutError) as error:
        raise UpstreamTimeout(f"The upstream `{upstream}` did not answer in time.") from error
    except aiohttp.ClientHttpProxyError as error:
        raise _proxy_refused(upstream, error.status) from None  # its text may repeat the proxy's URL
    except aiohttp.ClientConnectorError as error:
        raise UpstreamFailed(
            f"The upstream `{upstream}` cannot be reached.", code="upstream_unreachable", reached=False
        ) from error
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise UpstreamFailed(
            f"The connection to the upstream `{upstream}` broke before its reply was complete.", reached=reached
        ) from error


async def _refusal(response: aiohttp.ClientResponse, upstream: str, way: Way) -> Refusal:
    """What an upstream's error status means for our client."""
    body = b""
    try:
        while len(body) < ERROR_BODY_LIMIT and (piece := await response.content.read(ERROR_BODY_LIMIT)):
            body += piece  # read() gives what has arrived, which may be half of it
    finally:
        response.close()
    error = _without_secrets(way.read_error(response.status, body), way)
    headers = {name: response.headers[name] for name in PASSED_ON if name in response.headers}
    match response.status:
        case 401 | 403 as status:
            return UpstreamFailed(f"The upstream `{upstream}` refused this gateway's credentials.", answered=status)
        case 407 as status:
            return _proxy_refused(upstream, status)
        case 503:
            loading = ModelLoading(error.message if error else f"The upstream `{upstream}` is not ready yet.")
            loading.headers |= headers
            return loading
        case status if 400 <= status < 500:
            plain = ErrorObject(message=f"The upstream `{upstream}` answered {status}.", type="invalid_request_error")
            return UpstreamRefused(status, error or plain, headers)
        case status:
            detail = f": {error.message}" if error else "."
            message = f"The upstream `{upstream}` answered {status}{detail}"
            return UpstreamFailed(message, headers=headers, answered=status)


def _without_secrets(error: ErrorObject | None, way: Way) -> ErrorObject | None:
    """A provider that repeats what it was sent would tell our clients its key."""
    if error is None:
        return None
    for name, value in way.headers.items():
        secret = value.rpartition(" ")[2]  # behind `Bearer` or `Basic`
        if len(secret) >= SHORTEST_SECRET and not name.startswith(NOT_SECRET):
            error.message = error.message.replace(secret, "***")
    return error


def _proxy_refused(upstream: str, status: int) -> UpstreamFailed:
    """A proxy on the way said no: to its tunnel, or (407) to our credentials."""
    return UpstreamFailed(
        f"The proxy on the way to the upstream `{upstream}` answered {status}.",
        code="upstream_unreachable",
        answered=status,
        reached=False,
    )
