"""POST /v1/chat/completions and /v1/completions: bare ASGI, no framework on the way (design section 4)."""

import logging
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Any

from gateway import inference
from gateway.errors import ContentTooLarge, Refusal, Surprise, refusal_of, to_openai_error
from gateway.inference import Call, Endpoint, Reply
from gateway.kit.ids import new_request_id
from gateway.services import Services
from gateway.streaming import StreamedReply

log = logging.getLogger(__name__)

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]


class ClientGone(Exception):
    """The client closed its connection before its request was complete."""


async def answer(sv: Services, endpoint: Endpoint, scope: Scope, receive: Receive, send: Send) -> None:
    """One call, from its body to the last byte of its reply."""
    request_id = new_request_id()
    try:
        body = await read_body(receive, sv.settings.max_body_bytes)
        call = Call(endpoint, header(scope, b"authorization"), body, request_id)
        reply = await inference.run(sv, call)
    except ClientGone:
        return
    except Exception as error:  # noqa: BLE001 every failure is answered
        await send_error(send, refusal_of(error), request_id, cause=error)
        return
    if isinstance(reply, Reply):
        await send_whole(send, 200, reply.headers | {"x-request-id": request_id}, reply.body)
    else:
        await send_stream(sv, reply, request_id, receive, send)


async def send_stream(sv: Services, reply: StreamedReply, request_id: str, receive: Receive, send: Send) -> None:
    """Send each frame as it comes; once the client has left, read on silently until the exchange is recorded."""
    headers = reply.headers | {"x-request-id": request_id, "cache-control": "no-cache", "x-accel-buffering": "no"}
    start: Any = {"type": "http.response.start", "status": 200, "headers": encode_headers(headers)}
    watch = sv.background.spawn(_watch(receive, reply), "watch for a client that leaves")
    try:
        async with aclosing(reply.frames) as frames:
            async for frame in frames:
                if start:  # inside the loop: from here on, whatever happens, the frames record the exchange
                    await send(start)
                    start = None
                if not reply.left:
                    await send({"type": "http.response.body", "body": frame, "more_body": True})
    finally:
        watch.cancel()
    await send({"type": "http.response.body", "body": b""})


async def send_whole(send: Send, status: int, headers: dict[str, str], body: bytes) -> None:
    headers = headers | {"content-length": str(len(body))}
    await send({"type": "http.response.start", "status": status, "headers": encode_headers(headers)})
    await send({"type": "http.response.body", "body": body})


async def send_error(send: Send, refusal: Refusal, request_id: str, *, cause: BaseException | None = None) -> None:
    """The error object of a refusal; a surprise is logged with its cause."""
    if isinstance(refusal, Surprise):
        log.error("request %s failed", request_id, exc_info=cause)
    status, body, headers = to_openai_error(refusal)
    await send_whole(send, status, headers | {"content-type": "application/json", "x-request-id": request_id}, body)


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


async def _watch(receive: Receive, reply: StreamedReply) -> None:
    while (await receive())["type"] != "http.disconnect":
        continue
    reply.client_left()
