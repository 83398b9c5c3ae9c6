"""The one door to every upstream, and the one place where its failures become refusals."""

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import version

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
from gateway.upstreams.http.address import Target, lines, target_of
from gateway.upstreams.http.failures import Failure, ProxyRefused, Unreachable
from gateway.upstreams.http.pool import Pool
from gateway.upstreams.http.response import Response

ERROR_BODY_LIMIT = 64 * 1024
SHUTTING_DOWN = "This gateway is shutting down; please retry."
SHORTEST_SECRET = 8
"""Characters; in a message anything shorter is a word."""
NOT_SECRET = ("anthropic-", "openai-")
"""How the headers begin that say a version or an organisation."""
OWN = {"user-agent": f"tuneway/{version('tuneway')}", "accept-encoding": "identity"}
ERROR_BODY_SECONDS = 5.0
"""In which nothing may come of the body of an error: its status is what counts."""
JSON = {"content-type": "application/json"}
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
NO_TRACE: Mapping[str, str] = {}


class Door:
    """One URL of an upstream that calls are posted to: what is the same for all of them is written once.

    Args:
        upstream: its name.
        way: what its headers say wins over what a call says.
    """

    def __init__(self, upstream: str, url: str, way: Way = DIRECT) -> None:
        self.upstream = upstream
        self.way = way
        self._url = url
        self._names_calls = "x-request-id" not in way.headers
        self._beginning: tuple[Target, bytes] | None = None

    def head(self, call_id: str, trace: Mapping[str, str], length: int) -> tuple[Target, bytes]:
        """Where a call with a body of `length` bytes goes; first line and headers.

        Raises:
            ValueError: the URL is none, or a header would end its line.
        """
        if self._beginning is None:
            self._beginning = _beginning_of("POST", self._url, self.way.proxy, {**JSON, **self.way.headers})
        target, told = self._beginning
        if self._names_calls:
            if not call_id.isprintable():
                raise ValueError("the id of a call has a line break")
            told = b"%bx-request-id: %b\r\n" % (told, call_id.encode())
        if trace:
            told += lines({name: value for name, value in trace.items() if name not in self.way.headers}).encode()
        return target, b"%bcontent-length: %d\r\n\r\n" % (told, length)


class UpstreamReply:
    """An upstream's answer whose status was 2xx; the body is still to be read."""

    def __init__(self, response: Response, upstream: str) -> None:
        self._response = response
        self._upstream = upstream

    async def read(self) -> bytes:
        """The whole body. Raises UpstreamFailed or UpstreamTimeout."""
        try:
            return await self._response.read()
        except (TimeoutError, Failure) as error:
            raise _refusal_of(error, self._upstream, reached=True) from error

    def whole(self) -> bytes | None:
        """The whole body where it is here already: a short one comes with its head."""
        return self._response.whole()

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body in the pieces in which it arrives. Raises UpstreamFailed or UpstreamTimeout."""
        response = self._response
        try:
            while (piece := response.at_hand()) is not None:
                if piece:
                    yield piece
                else:
                    await response.news()
        except (TimeoutError, Failure) as error:
            raise _refusal_of(error, self._upstream, reached=True) from error

    def offer_first(self, take: Callable[[bytes], bool]) -> None:
        """Pieces that come while `chunks` waits for them are offered to `take` first; those that it takes are passed on."""
        self._response.offer_first(take)

    def allow_idle(self, seconds: float | None) -> None:
        """From now on the upstream may send nothing for so long; then a read raises UpstreamTimeout. None: no limit."""
        self._response.allow_idle(seconds)

    def give_up(self) -> None:
        """Its time is over: the upstream sees it, and a pending read raises UpstreamTimeout."""
        self._response.give_up()

    def close(self) -> None:
        """Hang up: the upstream sees it and can stop; a pending read raises UpstreamFailed."""
        self._response.close()

    def leave(self) -> None:
        """All that was wanted of it is here: its connection may serve another call once its last bytes have come."""
        self._response.leave()

    @property
    def is_stream(self) -> bool:
        return (self._response.field(b"content-type") or "").partition(";")[0].strip().lower() == "text/event-stream"


class UpstreamClient:
    """A pool of connections to every upstream."""

    def __init__(self, timeouts: TimeoutSettings) -> None:
        self._limits = RouteTimeouts(connect=timeouts.connect, first_token=timeouts.idle)
        self._pool = Pool()

    def close(self) -> None:
        """Hang up everywhere: each call on its way fails now, and no new one begins."""
        self._pool.end()

    async def post(
        self, upstream: str, url: str, body: bytes, *, api_key: str = "", request_id: str = "", way: Way = DIRECT
    ) -> UpstreamReply:
        """As `send`, to a URL that few calls go to."""
        door = Door(upstream, url, replace(way, headers={**way.headers, **_credentials(api_key)}))
        return await self.send(door, body, request_id, way.timeouts or self._limits)

    async def send(
        self, door: Door, body: bytes, call_id: str, limits: RouteTimeouts, trace: Mapping[str, str] = NO_TRACE
    ) -> UpstreamReply:
        """Post a JSON body and wait for the status line. Until then nothing may come for `limits.first_token` seconds,
        and it stays so for the body until `allow_idle`.

        Args:
            trace: headers of this call alone.

        Raises:
            UpstreamRefused: the upstream's own 4xx, with its error object.
            UpstreamFailed: it broke, cannot be reached, or refused our credentials.
            UpstreamTimeout: it did not connect or answer in time.
            Unavailable: this process is shutting down.
        """
        try:
            target, head = door.head(call_id, trace, len(body))
            response = await self._pool.send(target, head, body, connect=limits.connect, idle=limits.first_token)
        except (TimeoutError, OSError, ValueError) as error:
            raise self._unsent(error, door.upstream) from error
        if response.status >= 300:
            raise await _refusal(response, door.upstream, door.way)
        return UpstreamReply(response, door.upstream)

    async def get(self, upstream: str, url: str, *, api_key: str = "", way: Way = DIRECT) -> bytes:
        """The body of a GET; raises like `send`."""
        limits, headers = way.timeouts or self._limits, {**way.headers, **_credentials(api_key)}
        try:
            target, head = _beginning_of("GET", url, way.proxy, headers)
            response = await self._pool.send(
                target, head + b"\r\n", b"", connect=limits.connect, idle=limits.first_token
            )
        except (TimeoutError, OSError, ValueError) as error:
            raise self._unsent(error, upstream) from error
        if response.status >= 300:
            raise await _refusal(response, upstream, way)
        return await UpstreamReply(response, upstream).read()

    def _unsent(self, error: Exception, upstream: str) -> Refusal:
        return Unavailable(SHUTTING_DOWN) if self._pool.ended else _refusal_of(error, upstream, reached=False)


def _credentials(api_key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {api_key}"} if api_key else {}


def _beginning_of(method: str, url: str, proxy: str | None, headers: Mapping[str, str]) -> tuple[Target, bytes]:
    """Where a request goes, its first line, and headers; what the upstream's own say wins.

    Raises:
        ValueError: the URL is none, or one of them would end its line.
    """
    target = target_of(url, proxy)
    fields = lines({**target.fields, **OWN, **headers})
    return target, f"{method} {target.path} HTTP/1.1\r\n{fields}".encode()


def _refusal_of(error: Exception, upstream: str, *, reached: bool) -> Refusal:
    """What went wrong on the way, in the words of our API.

    Args:
        reached: it has answered, and what breaks is its reply.
    """
    match error:
        case TimeoutError():
            return UpstreamTimeout(f"The upstream `{upstream}` did not answer in time.")
        case ProxyRefused():
            return _proxy_refused(upstream, error.status)
        case Unreachable():
            return UpstreamFailed(
                f"The upstream `{upstream}` cannot be reached.", code="upstream_unreachable", reached=False
            )
        case _:
            return UpstreamFailed(
                f"The connection to the upstream `{upstream}` broke before its reply was complete.", reached=reached
            )


async def _refusal(response: Response, upstream: str, way: Way) -> Refusal:
    """What an upstream's error status means for our client."""
    error = _without_secrets(way.read_error(response.status, await _beginning(response)), way)
    headers = {name: value for name in PASSED_ON if (value := response.field(name.encode())) is not None}
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


async def _beginning(response: Response) -> bytes:
    """Of an error's body, as far as it comes: its status is what counts."""
    body = b""
    response.allow_idle(ERROR_BODY_SECONDS)
    try:
        while len(body) < ERROR_BODY_LIMIT and (piece := await response.piece()):
            body += piece
    except (TimeoutError, Failure):
        pass
    finally:
        response.close()
    return body


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
