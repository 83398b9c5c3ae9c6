"""POST /v1/chat/completions and /v1/completions: bare ASGI, no framework on the way (design section 4)."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Any

from gateway import inference
from gateway.errors import ClientLeft, ContentTooLarge, Refusal, Surprise, refusal_of, to_openai_error
from gateway.inference import Call, Endpoint, Reply
from gateway.keys.ring import ApiKey
from gateway.kit.background import Background
from gateway.kit.ids import new_request_id
from gateway.routes import acting
from gateway.services import Services
from gateway.streaming import StreamedReply

log = logging.getLogger(__name__)

FALLBACK = b"x-tuneway-fallback"
"""A request header: `off` lets only the first choice answer."""

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]


class ClientGone(Exception):
    """The client closed its connection before its request was complete."""


class Client:
    """The one who made a call, as long as its connection lasts. Nobody listens for its end until somebody has to know:
    most calls are over before that."""

    def __init__(self, background: Background, receive: Receive) -> None:
        self.receive = receive
        self._background = background
        self._watch: asyncio.Task[None] | None = None
        self._act: Callable[[], object] | None = None
        self._gone = False

    def when_gone(self, act: Callable[[], object]) -> None:
        """Call `act` once the client has left, instead of what was asked for before."""
        self._act = act
        if self._gone:
            asyncio.get_running_loop().call_soon(act)  # not in the middle of what the caller is doing
        elif self._watch is None:
            self._watch = self._background.spawn(self._listen(), "watch for a client that leaves")

    def forget(self) -> None:
        """The reply is sent: whether the client leaves is no longer of interest."""
        if self._watch is not None:
            self._watch.cancel()

    async def _listen(self) -> None:
        while (await self.receive())["type"] != "http.disconnect":
            continue
        self._gone = True
        if self._act is not None:
            self._act()


async def answer(sv: Services, endpoint: Endpoint, scope: Scope, receive: Receive, send: Send) -> None:
    """One call, from its body to the last byte of its reply."""
    client = Client(sv.background, receive)
    try:
        await _answer(sv, endpoint, scope, client, send)
    finally:
        client.forget()


async def _answer(sv: Services, endpoint: Endpoint, scope: Scope, client: Client, send: Send) -> None:
    request_id = new_request_id()
    call: Call | None = None
    try:
        body = await read_body(client.receive, sv.settings.max_body_bytes)
        fall_back = (header(scope, FALLBACK) or b"").lower() != b"off"
        call = Call(endpoint, header(scope, b"authorization"), body, request_id, fall_back, client)
        if call.authorization is None and header(scope, b"cookie") is not None:
            call.key = await _person(sv, scope)
        reply = await inference.run(sv, call)
    except (ClientGone, ClientLeft):
        return
    except Exception as error:  # noqa: BLE001 every failure is answered
        limits = call.rate_limit_headers if call else {}
        await send_error(send, refusal_of(error), request_id, cause=error, headers=limits)
        return
    if isinstance(reply, Reply):
        await send_whole(send, 200, reply.headers | {"x-request-id": request_id}, reply.body)
    else:
        await send_stream(reply, request_id, client, send)


async def _person(sv: Services, scope: Scope) -> ApiKey | None:
    """Of a page of ours. None: there is no session either."""
    connection = acting.Connection(scope)  # type: ignore[arg-type]
    return await acting.key_of(sv, connection, "POST") if acting.is_in_person(connection) else None


async def send_stream(reply: StreamedReply, request_id: str, client: Client, send: Send) -> None:
    """Send each frame as it comes; once the client has left, read on silently until the exchange is recorded."""
    headers = reply.headers | {"x-request-id": request_id, "cache-control": "no-cache", "x-accel-buffering": "no"}
    start: Any = {"type": "http.response.start", "status": 200, "headers": encode_headers(headers)}
    client.when_gone(reply.client_left)
    async with aclosing(reply.frames) as frames:
        async for frame in frames:
            if start:  # inside the loop: from here on, whatever happens, the frames record the exchange
                await send(start)
                start = None
            if not reply.left:
                await send({"type": "http.response.body", "body": frame, "more_body": True})
    client.forget()
    await send({"type": "http.response.body", "body": b""})


async def send_whole(send: Send, status: int, headers: dict[str, str], body: bytes) -> None:
    headers = headers | {"content-length": str(len(body))}
    await send({"type": "http.response.start", "status": status, "headers": encode_headers(headers)})
    await send({"type": "http.response.body", "body": body})


async def send_error(
    send: Send,
    refusal: Refusal,
    request_id: str,
    *,
    cause: BaseException | None = None,
    headers: Mapping[str, str] | None = None,
) -> None:
    """The error object of a refusal; a surprise is logged with its cause. Its own headers win over `headers`."""
    if isinstance(refusal, Surprise):
        log.error("request %s failed", request_id, exc_info=cause)
    status, body, own = to_openai_error(refusal)
    marks = {"content-type": "application/json", "x-request-id": request_id}
    await send_whole(send, status, {**(headers or {}), **own, **marks}, body)


async def read_body(receive: Receive, limit: int) -> bytes:
    """The whole body. Raises ContentTooLarge past `limit` bytes, ClientGone."""
    pieces: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        pieces.append(message.get("body", b""))
        size += len(pieces[-1])
        if size > limit:
            raise ContentTooLarge(f"The request body is larger than {limit // 1024**2} MB.")
        if not message.get("more_body"):
            return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def header(scope: Scope, name: bytes) -> bytes | None:
    return next((value for key, value in scope["headers"] if key == name), None)


def encode_headers(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    """A model's name may hold any characters: UTF-8, which HTTP carries as opaque bytes."""
    return [(name.encode(), value.encode()) for name, value in headers.items()]
