"""The bare ASGI handler, with a server that fails on command."""

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from gateway.inference import CHAT_COMPLETIONS
from gateway.routes.asgi import AsgiChannel
from gateway.routes.model_calls import answer
from gateway.services import Services
from tests.conftest import chat
from tests.fakes.upstream import Upstream
from tests.gateway import logged
from tests.polling import until

pytestmark = pytest.mark.anyio


class Server:
    """One request, as an ASGI server hands it over.

    Args:
        breaks: tells of which message on sending fails, because the client is gone.
    """

    def __init__(self, key: str, body: bytes, breaks: Callable[[dict[str, Any]], bool] = lambda _: False) -> None:
        self.scope: dict[str, Any] = {
            "type": "http",
            "method": "POST",
            "headers": [(b"authorization", f"Bearer {key}".encode())],
        }
        self.sent: list[dict[str, Any]] = []
        self.gone = asyncio.Event()
        self._messages = [{"type": "http.request", "body": body}]
        self._breaks = breaks

    async def receive(self) -> dict[str, Any]:
        if self._messages:
            return self._messages.pop(0)
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: dict[str, Any]) -> None:
        if self._breaks(message):
            raise ConnectionResetError("the client is gone")
        self.sent.append(message)

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent)


async def call(sv: Services, server: Server) -> None:
    await answer(sv, CHAT_COMPLETIONS, AsgiChannel(sv, server.scope, server.receive, server.send))


class Looked(list[tuple[bytes, bytes]]):
    """Headers that count how often somebody goes through them."""

    looks = 0

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        self.looks += 1
        return super().__iter__()


class TestHeaders:
    @pytest.mark.parametrize("count", [1, 50])
    async def test_that_a_stranger_repeats_are_looked_at_once_each(self, sv: Services, count: int) -> None:
        """16,000 of them, looked at for each other, would hold up every call of the process for seconds."""
        server = Server("unknown", json.dumps(chat("echo")).encode())
        headers = server.scope["headers"] = Looked(server.scope["headers"] + [(b"traceparent", b"")] * count)
        await call(sv, server)
        assert server.sent[0]["status"] == 401
        assert headers.looks <= 3


class TestSendingFails:
    @pytest.mark.parametrize(
        "breaks",
        [lambda message: message["type"] == "http.response.start", lambda message: b"two" in message.get("body", b"")],
        ids=["at the start", "in the middle"],
    )
    async def test_a_stream_is_recorded_all_the_same(
        self, breaks: Callable[[dict[str, Any]], bool], sv: Services, upstream: Upstream, project_key: dict[str, Any]
    ) -> None:
        server = Server(project_key["value"], json.dumps(chat("echo", stream=True)).encode(), breaks)
        with pytest.raises(ConnectionResetError):
            await call(sv, server)
        row = await logged.row(sv)
        assert (row.outcome, row.status, row.error) == ("client_left", 200, None)
        assert (row.cost_nano or 0) > 0
        assert sv.streams == set()

    async def test_a_whole_reply_too(self, sv: Services, upstream: Upstream, project_key: dict[str, Any]) -> None:
        server = Server(project_key["value"], json.dumps(chat("echo")).encode(), lambda _: True)
        with pytest.raises(ConnectionResetError):
            await call(sv, server)
        assert (await logged.row(sv)).input_tokens == 12


class TestLeaving:
    async def test_in_the_middle_of_a_request_leaves_no_row(
        self, sv: Services, upstream: Upstream, project_key: dict[str, Any]
    ) -> None:
        server = Server(project_key["value"], b"{")
        server._messages = [{"type": "http.request", "body": b"{", "more_body": True}]
        server.gone.set()
        await call(sv, server)
        assert (server.sent, await logged.rows(sv)) == ([], [])

    async def test_a_stream_is_read_on_for_its_usage(
        self, sv: Services, upstream: Upstream, project_key: dict[str, Any]
    ) -> None:
        server = Server(project_key["value"], json.dumps(chat("gated", stream=True)).encode())
        calling = asyncio.ensure_future(call(sv, server))
        await until(lambda: b"two" in server.body)
        server.gone.set()
        await until(lambda: any(stream.left for stream in sv.streams))
        upstream.release.set()
        await calling
        row = await logged.row(sv)
        assert (row.outcome, row.input_tokens, row.output_tokens, row.usage_estimated) == ("client_left", 12, 4, False)
        assert b"three" not in server.body

    async def test_the_process_stopping_ends_a_stream_and_records_it(
        self, sv: Services, upstream: Upstream, project_key: dict[str, Any]
    ) -> None:
        server = Server(project_key["value"], json.dumps(chat("endless", stream=True)).encode())
        calling = asyncio.ensure_future(call(sv, server))
        await until(lambda: b"more" in server.body)
        sv.upstreams.close()
        await calling
        row = await logged.row(sv)
        assert (row.outcome, row.status) == ("failed", 200)
        assert b'data: {"error":' in server.body
        assert b"[DONE]" not in server.body
