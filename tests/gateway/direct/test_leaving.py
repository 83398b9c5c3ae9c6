"""Clients that leave, clients that read slowly, and a server that is stopped."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass

import msgspec
import pytest

from gateway import direct
from gateway.services import Services
from gateway.settings import Settings, UpstreamSettings
from tests.fakes.upstream import Upstream
from tests.gateway import logged
from tests.gateway.direct.conftest import PATIENCE, Door, Settled
from tests.gateway.direct.raw_http import Client, body_of, request
from tests.polling import until

pytestmark = pytest.mark.anyio


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Upstreams are not read on for those who left."""
    return msgspec.structs.replace(settings, timeouts=msgspec.structs.replace(settings.timeouts, drain=0.0))


WAITING = {"nobody behind it": "", "another behind it": "h", "one through ASGI behind it": "a", "two behind it": "ha"}
WAYS = {"direct": {}, "asgi": {"cookie": "a=b"}}


def behind(door: Door, kinds: str) -> bytes:
    """Requests that wait behind the first."""
    models = request(door.key, method="GET", url="/v1/models")
    return b"".join(request(door.key, body_of(content="behind")) if kind == "h" else models for kind in kinds)


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())
@pytest.mark.parametrize("waiting", WAITING.values(), ids=WAITING.keys())
@pytest.mark.parametrize("how", ["leave", "close"])
class TestLeaving:
    async def test_in_the_middle_of_a_stream(
        self,
        how: str,
        waiting: str,
        way: dict[str, str],
        door: Door,
        sv: Services,
        upstream: Upstream,
        settled: Settled,
    ) -> None:
        """A stream that never ends by itself: its upstream is hung up because the client has left."""
        client = await door.client()
        client.write(request(door.key, body_of("endless", stream=True), **way) + behind(door, waiting))
        id = (await client.head()).headers["x-request-id"]
        assert b"more" in await client.chunk()
        await self.goes(client, how)
        await until(upstream.hung_up.is_set, PATIENCE)
        await settled()
        row = await logged.row(sv)
        assert (row.id, row.outcome, row.status) == (id, "client_left", 200)
        await self.nothing_is_left(door, sv)

    async def test_while_the_upstream_works(
        self,
        how: str,
        waiting: str,
        way: dict[str, str],
        door: Door,
        sv: Services,
        upstream: Upstream,
        settled: Settled,
    ) -> None:
        """It has done the work: it is logged and paid. Nobody is asked for those that waited behind it."""
        client = await door.client()
        client.write(request(door.key, body_of("slow"), **way) + behind(door, waiting))
        await until(lambda: upstream.requests)
        await self.goes(client, how)
        await until(lambda: not door.connections, PATIENCE)
        upstream.release.set()
        await settled()
        row = await logged.row(sv)
        assert (row.requested_model, row.input_tokens, row.output_tokens) == ("slow", 12, 4)
        assert [each["model"] for each in upstream.requests] == ["slow"]
        await self.nothing_is_left(door, sv)

    async def goes(self, client: Client, how: str) -> None:
        client.leave() if how == "leave" else await client.close()

    async def nothing_is_left(self, door: Door, sv: Services) -> None:
        await until(lambda: not door.connections, PATIENCE)
        assert (sv.streams, sv.calls, door.tasks) == (set(), set(), set())
        assert (await (await door.client()).ask(request(door.key))).status == 200


class TestLeavingEarly:
    @pytest.mark.parametrize("sent", [0, 1, 60, -1])
    async def test_before_the_request_is_complete(
        self, sent: int, door: Door, sv: Services, upstream: Upstream, settled: Settled
    ) -> None:
        client, protocol = await door.pair()
        data = request(door.key)[:sent]
        client.write(data)
        await until(lambda: not data or protocol._in_request)
        await client.close()
        await until(lambda: not door.connections, PATIENCE)
        await settled()
        assert (upstream.requests, await logged.rows(sv)) == ([], [])

    async def test_at_once(self, door: Door, sv: Services, settled: Settled) -> None:
        """What was asked for is answered for nobody, and recorded once if it came at all."""
        for _ in range(20):
            client = await door.client()
            client.write(request(door.key))
            await client.close()
        await until(lambda: not door.connections, PATIENCE)
        await settled()
        assert len(await logged.rows(sv)) <= 20
        assert (sv.streams, sv.calls) == (set(), set())


@dataclass
class Flood:
    """An upstream that sends as much as is read of it."""

    url: str = ""
    sent: int = 0

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n")
        frame = b'data: {"id":"x","choices":[{"index":0,"delta":{"content":"' + b"y" * 60_000 + b'"}}]}\n\n'
        with suppress(ConnectionError):
            while True:
                writer.write(frame)
                self.sent += len(frame)
                await writer.drain()
        writer.close()


class TestSlowReaders:
    @pytest.fixture
    async def flood(self) -> AsyncIterator[Flood]:
        flood = Flood()
        async with await asyncio.start_server(flood.answer, "127.0.0.1", 0) as server:
            flood.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
            yield flood

    @pytest.fixture
    def settings(self, settings: Settings, flood: Flood) -> Settings:
        upstream = UpstreamSettings(name="flood", base_url=flood.url, models=("flood",))
        return msgspec.structs.replace(settings, upstreams=(upstream,), prices=())

    @pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())
    async def test_hold_their_upstream_up(
        self, way: dict[str, str], door: Door, flood: Flood, sv: Services, settled: Settled
    ) -> None:
        """What is not read is not fetched either: memory is bounded by the buffers on the way."""
        client, protocol = await door.pair()
        client.pause()
        client.write(request(door.key, body_of("flood", stream=True), **way))
        await until(lambda: protocol.flow.write_paused, PATIENCE)
        seen: list[int] = []

        def has_stopped() -> bool:
            seen.append(flood.sent)
            return len(seen) > 50 and seen[-50] == flood.sent

        await until(has_stopped, PATIENCE)
        assert protocol.transport.get_write_buffer_size() < 1_000_000
        client.resume()
        await until(lambda: flood.sent > seen[-1] + 10_000_000, PATIENCE)
        client.leave()
        await settled()

        async def is_logged() -> bool:
            return [row.outcome for row in await logged.stored(sv.database)] == ["client_left"]

        await until(is_logged, PATIENCE)

    @pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())
    async def test_that_read_nothing_any_more_are_gone(
        self, way: dict[str, str], door: Door, sv: Services, settled: Settled, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What their call holds of budgets and limits is not theirs for ever."""
        monkeypatch.setattr(direct, "STUCK_SECONDS", 0.2)
        client, protocol = await door.pair()
        client.pause()
        client.write(request(door.key, body_of("flood", stream=True), **way))
        await until(lambda: protocol.transport is None or protocol.transport.is_closing(), PATIENCE)
        await settled()

        async def is_logged() -> bool:
            return [row.outcome for row in await logged.stored(sv.database)] == ["client_left"]

        await until(is_logged, PATIENCE)


class TestStopping:
    """As SIGTERM has it: replies on their way are finished first."""

    async def test_a_stream_is_finished_and_is_the_last(self, door: Door, upstream: Upstream) -> None:
        client, idle = await door.client(), await door.client()
        assert (await idle.ask(request(door.key))).status == 200
        client.write(request(door.key, body_of("gated", stream=True)))
        await client.head()
        door.server.should_exit = True
        assert await idle.rest() == b""
        assert len(door.connections) == 1
        upstream.release.set()
        assert (await client.rest()).endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")

    @pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())
    async def test_a_whole_reply_says_that_it_is_the_last(
        self, way: dict[str, str], door: Door, upstream: Upstream
    ) -> None:
        client, idle = await door.client(), await door.client()
        client.write(request(door.key, body_of("slow"), **way))
        await until(lambda: upstream.requests)
        door.server.should_exit = True
        assert await idle.rest() == b""
        upstream.release.set()
        answer = await client.answer()
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert await client.rest() == b""

    async def test_a_request_of_which_the_rest_still_comes(self, door: Door) -> None:
        client, idle = await door.client(), await door.client()
        data = request(door.key)
        client.write(data[:-5])
        await until(lambda: any(each._reading for each in door.connections))
        door.server.should_exit = True
        assert await idle.rest() == b""
        client.write(data[-5:])
        answer = await client.answer()
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert await client.rest() == b""

    async def test_those_that_wait_behind_one_another(self, door: Door, upstream: Upstream) -> None:
        client, idle = await door.client(), await door.client()
        client.write(request(door.key, body_of("slow")) + behind(door, "hah"))
        await until(lambda: upstream.requests)
        door.server.should_exit = True
        assert await idle.rest() == b""
        upstream.release.set()
        answers = [await client.answer() for _ in range(4)]
        assert [each.status for each in answers] == [200] * 4
        assert ["connection" in each.headers for each in answers] == [False, False, False, True]
        assert await client.rest() == b""
