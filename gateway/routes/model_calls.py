"""POST /v1/chat/completions and /v1/completions: no framework on the way (design section 4)."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Protocol

from gateway import inference, tracing
from gateway.errors import ClientLeft, refusal_of
from gateway.inference import CHAT_COMPLETIONS, COMPLETIONS, Call, Endpoint, Reply
from gateway.keys.ring import ApiKey
from gateway.kit.ids import new_request_id
from gateway.routes.asgi import ClientGone, refused
from gateway.services import Services
from gateway.streamed_reply import StreamedReply

HOT: dict[str, Endpoint] = {
    "/v1/chat/completions": CHAT_COMPLETIONS,
    "/v1/completions": COMPLETIONS,
}
"""POST only, answered without the framework."""
FALLBACK = b"x-tuneway-fallback"
"""A request header: `off` lets only the first choice answer."""


class Channel(Protocol):
    """One request, and the way back to who sent it: through ASGI (gateway/routes/asgi.py), or its own connection
    (gateway/direct.py)."""

    headers: Sequence[tuple[bytes, bytes]]
    """Of the request, names in lower case."""

    async def body(self, limit: int) -> bytes:
        """The whole of it. Raises ContentTooLarge past `limit` bytes, ClientGone."""
        ...

    async def person(self) -> ApiKey | None:
        """Who has signed in to a page of ours. None: there is no session either."""
        ...

    def when_gone(self, act: Callable[[], object]) -> None:
        """Call `act` once the client has left, instead of what was asked for before."""
        ...

    def forget(self) -> None:
        """The reply is sent: whether the client leaves is no longer of interest."""
        ...

    async def send_whole(self, status: int, headers: Mapping[str, str], body: bytes) -> None: ...

    async def begin(self, headers: Mapping[str, str]) -> None:
        """Of a reply with status 200 that comes piece by piece."""
        ...

    async def send(self, piece: bytes) -> None: ...

    def send_at_once(self, piece: bytes) -> bool:
        """False: it was not sent, because it would have to wait, or nobody is there."""
        ...

    async def end(self) -> None:
        """There is no more."""
        ...


async def answer(sv: Services, endpoint: Endpoint, channel: Channel) -> None:
    """One call, from its body to the last byte of its reply."""
    request_id = new_request_id()
    call: Call | None = None
    try:
        body = await channel.body(sv.settings.max_body_bytes)
        call = Call(endpoint, None, body, request_id, client=channel, headers=channel.headers)
        _read_headers(call, channel.headers)
        if call.authorization is None:
            call.key = await channel.person()
        reply = await inference.run(sv, call)
    except (ClientGone, ClientLeft):
        pass
    except Exception as error:  # noqa: BLE001 every failure is answered
        limits = call.rate_limit_headers if call else {}
        await channel.send_whole(*refused(refusal_of(error), request_id, cause=error, headers=limits))
    else:
        if isinstance(reply, Reply):
            await channel.send_whole(200, reply.headers, reply.body)
        else:
            await _send_stream(reply, channel)
    finally:
        channel.forget()


def _read_headers(call: Call, headers: Sequence[tuple[bytes, bytes]]) -> None:
    """Who calls, and what else a header asks of us. Anybody may send a great many of them: each is looked at once."""
    parent = state = b""
    for name, value in headers:
        if name == b"authorization":
            call.authorization = value
        elif name == FALLBACK:
            call.fall_back = value.lower() != b"off"
        elif name == tracing.PARENT:
            parent = value
        elif name == tracing.STATE:
            state = state or value
    if parent:
        call.trace_headers = tracing.passed_on(parent, state)


async def _send_stream(reply: StreamedReply, channel: Channel) -> None:
    """Send each frame as it comes; once the client has left, read on silently until the exchange is recorded."""
    begun = False
    channel.when_gone(reply.client_left)
    async with aclosing(reply.frames) as frames:
        async for frame in frames:
            if not begun:  # inside the loop: from here on, whatever happens, the frames record the exchange
                await channel.begin(reply.headers)
                begun = True
                reply.open_shortcut(channel.send_at_once)
            if not reply.left:
                await channel.send(frame)
    channel.forget()
    await channel.end()
