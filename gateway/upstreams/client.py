"""The one door to every upstream, and the one place where its failures become refusals."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Generator
from contextlib import asynccontextmanager, contextmanager
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
from gateway.settings import TimeoutSettings

ERROR_BODY_LIMIT = 64 * 1024
SHUTTING_DOWN = "This gateway is shutting down; please retry."
PASSED_ON = ("retry-after", "retry-after-ms", "x-should-retry")


class UpstreamReply:
    """An upstream's answer whose status was 2xx; the body is still to be read."""

    def __init__(self, response: aiohttp.ClientResponse, upstream: str) -> None:
        self._response = response
        self._upstream = upstream

    async def read(self) -> bytes:
        """The whole body. Raises UpstreamFailed or UpstreamTimeout."""
        with mapped(self._upstream):
            return await self._response.read()

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body in the pieces in which it arrives. Raises UpstreamFailed or UpstreamTimeout."""
        with mapped(self._upstream):
            while piece := await self._response.content.readany():
                yield piece

    def close(self) -> None:
        """Hang up: the upstream sees it and can stop; a pending read raises UpstreamFailed."""
        self._response.close()

    @property
    def is_stream(self) -> bool:
        return self._response.content_type == "text/event-stream"


class UpstreamClient:
    """A pool of connections to every upstream."""

    def __init__(self, timeouts: TimeoutSettings) -> None:
        self._timeouts = timeouts
        self._session: aiohttp.ClientSession | None = None
        self._waiting: set[asyncio.Timeout] = set()
        """Calls whose upstream has not answered yet."""
        self._replies: WeakSet[UpstreamReply] = WeakSet()
        self._ended = False

    async def open(self) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ttl_dns_cache=60),
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=self._timeouts.connect, sock_read=self._timeouts.idle
            ),
            auto_decompress=True,
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def close(self) -> None:
        if self._session:
            await self._session.close()

    async def post(
        self, upstream: str, url: str, body: bytes, *, api_key: str = "", request_id: str = ""
    ) -> UpstreamReply:
        """Send a JSON body and wait for the status line.

        Raises:
            UpstreamRefused: the upstream's own 4xx, with its error object.
            UpstreamFailed: it broke, cannot be reached, or refused our credentials.
            UpstreamTimeout: it did not connect or answer in time.
            Unavailable: this process is shutting down.
        """
        session = self._opened()
        headers = {"content-type": "application/json", "x-request-id": request_id}
        if api_key:
            headers["authorization"] = f"Bearer {api_key}"
        with mapped(upstream):
            async with self._endable():
                response = await session.post(url, data=body, headers=headers, allow_redirects=False)
                if response.status >= 300:
                    raise await _refusal(response, upstream)
        reply = UpstreamReply(response, upstream)
        self._replies.add(reply)
        return reply

    async def get(self, upstream: str, url: str) -> bytes:
        """The body of a GET; raises like `post`."""
        session = self._opened()
        with mapped(upstream):
            async with session.get(url, allow_redirects=False) as response:
                if response.status >= 300:
                    raise await _refusal(response, upstream)
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


@contextmanager
def mapped(upstream: str) -> Generator[None]:
    """Turn the HTTP library's exceptions into refusals that name the upstream."""
    try:
        yield
    except (TimeoutError, aiohttp.SocketTimeoutError) as error:
        raise UpstreamTimeout(f"The upstream `{upstream}` did not answer in time.") from error
    except aiohttp.ClientConnectorError as error:
        raise UpstreamFailed(f"The upstream `{upstream}` cannot be reached.", code="upstream_unreachable") from error
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise UpstreamFailed(
            f"The connection to the upstream `{upstream}` broke before its reply was complete."
        ) from error


async def _refusal(response: aiohttp.ClientResponse, upstream: str) -> Refusal:
    """What an upstream's error status means for our client."""
    body = b""
    while len(body) < ERROR_BODY_LIMIT and (piece := await response.content.read(ERROR_BODY_LIMIT)):
        body += piece  # read() gives what has arrived, which may be half of it
    response.close()
    error = decode_error_object(body)
    headers = {name: response.headers[name] for name in PASSED_ON if name in response.headers}
    match response.status:
        case 401 | 403:
            return UpstreamFailed(f"The upstream `{upstream}` refused this gateway's credentials.")
        case 503:
            return ModelLoading(error.message if error else f"The upstream `{upstream}` is not ready yet.")
        case status if 400 <= status < 500:
            plain = ErrorObject(message=f"The upstream `{upstream}` answered {status}.", type="invalid_request_error")
            return UpstreamRefused(status, error or plain, headers)
        case status:
            detail = f": {error.message}" if error else "."
            return UpstreamFailed(f"The upstream `{upstream}` answered {status}{detail}", headers=headers)
