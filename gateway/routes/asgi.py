"""Requests and replies as ASGI has them, without a framework."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from gateway.errors import ContentTooLarge, Refusal, Surprise, to_openai_error
from gateway.keys.ring import ApiKey
from gateway.services import Services

log = logging.getLogger(__name__)

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
Headers = Mapping[str, str]


class ClientGone(Exception):
    """The client closed its connection before its request was complete."""


class AsgiChannel:
    """A model call that came through ASGI (gateway/routes/model_calls.py says what a channel is). Nobody listens for the end
    of its connection until somebody has to know: most calls are over before that.

    Args:
        loaded: returns once the framework is there, which is loaded behind the first calls.
    """

    def __init__(
        self,
        sv: Services,
        scope: Scope,
        receive: Receive,
        send: Send,
        loaded: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        self._loaded = loaded
        self.headers = scope["headers"]
        self._sv = sv
        self._scope = scope
        self._receive = receive
        self._send = send
        self._watch: asyncio.Task[None] | None = None
        self._act: Callable[[], object] | None = None
        self._gone = False

    async def body(self, limit: int) -> bytes:
        return await read_body(self._receive, limit)

    async def person(self) -> ApiKey | None:
        if header(self._scope, b"cookie") is None:
            return None
        if self._loaded is not None:  # two threads that import the same at a time may each get half of it
            await self._loaded()
        from gateway.routes import acting  # needs the framework

        connection = acting.Connection(self._scope)  # type: ignore[arg-type]
        return await acting.key_of(self._sv, connection, "POST") if acting.is_in_person(connection) else None

    def when_gone(self, act: Callable[[], object]) -> None:
        self._act = act
        if self._gone:
            asyncio.get_running_loop().call_soon(act)  # not in the middle of what the caller is doing
        elif self._watch is None:
            self._watch = self._sv.background.spawn(self._listen(), "watch for a client that leaves")

    def forget(self) -> None:
        if self._watch is not None:
            self._watch.cancel()

    async def send_whole(self, status: int, headers: Headers, body: bytes) -> None:
        await send_whole(self._send, status, headers, body)

    async def begin(self, headers: Headers) -> None:
        await self._send({"type": "http.response.start", "status": 200, "headers": encode_headers(headers)})

    async def send(self, piece: bytes) -> None:
        await self._send({"type": "http.response.body", "body": piece, "more_body": True})

    def send_at_once(self, piece: bytes) -> bool:
        return False  # ASGI has no such way

    async def end(self) -> None:
        await self._send({"type": "http.response.body", "body": b""})

    async def _listen(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            continue
        self._gone = True
        if self._act is not None:
            self._act()


async def send_whole(send: Send, status: int, headers: Headers, body: bytes) -> None:
    encoded = [*encode_headers(headers), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": encoded})
    await send({"type": "http.response.body", "body": body})


async def send_error(
    send: Send, refusal: Refusal, request_id: str, *, cause: BaseException | None = None, headers: Headers | None = None
) -> None:
    status, marked, body = refused(refusal, request_id, cause=cause, headers=headers)
    await send_whole(send, status, marked, body)


def refused(
    refusal: Refusal, request_id: str, *, cause: BaseException | None = None, headers: Headers | None = None
) -> tuple[int, Headers, bytes]:
    """Status, headers and body of a refusal; a surprise is logged with its cause. Its own headers win over `headers`."""
    if isinstance(refusal, Surprise):
        log.error("request %s failed", request_id, exc_info=cause)
    status, body, own = to_openai_error(refusal)
    marks = {"content-type": "application/json", "x-request-id": request_id}
    return status, {**(headers or {}), **own, **marks}, body


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
            raise too_large(limit)
        if not message.get("more_body"):
            return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def too_large(limit: int) -> ContentTooLarge:
    return ContentTooLarge(f"The request body is larger than {limit // 1024**2} MB.")


def header(scope: Scope, name: bytes) -> bytes | None:
    return next((value for key, value in scope["headers"] if key == name), None)


def encode_headers(headers: Headers) -> list[tuple[bytes, bytes]]:
    """A model's name may hold any characters: UTF-8, which HTTP carries as opaque bytes."""
    return [(name.encode(), value.encode()) for name, value in headers.items()]
