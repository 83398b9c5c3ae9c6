"""What a connection may take: bytes and time, and what it leaves behind."""

import asyncio
import gc
import weakref
from typing import Any

import msgspec
import pytest

from gateway import direct
from gateway.direct import MAX_HEAD_BYTES, DirectCall
from gateway.settings import Settings
from tests.fakes.upstream import Upstream
from tests.gateway.direct.conftest import PATIENCE, Door, Settled, feed
from tests.gateway.direct.raw_http import Answer, body_of, chunked, request
from tests.polling import until

pytestmark = pytest.mark.anyio

LIMIT = 1 << 20


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return msgspec.structs.replace(settings, max_body_bytes=LIMIT)


def filled(size: int) -> bytes:
    """A chat completion's body of exactly that size."""
    return body_of(content="x" * (size - len(body_of(content=""))))


class TestBodies:
    async def test_of_the_largest_size(self, door: Door) -> None:
        client = await door.client()
        for data in (
            request(door.key, filled(LIMIT)),
            request(door.key, chunked(filled(LIMIT), 5000), transfer_encoding="chunked"),
            request(door.key, filled(LIMIT), cookie="a=b"),
        ):
            assert (await client.ask(data)).status == 200

    @pytest.mark.parametrize("framing", ["counted", "chunked"])
    async def test_one_byte_more(self, framing: str, door: Door, upstream: Upstream) -> None:
        client = await door.client()
        body = filled(LIMIT + 1)
        is_chunked = framing == "chunked"
        data = (
            request(door.key, chunked(body, 5000), transfer_encoding="chunked")
            if is_chunked
            else request(door.key, body)
        )
        assert_too_large(await client.ask(data))
        assert await client.rest() == b""
        assert upstream.requests == []

    async def test_the_answer_comes_although_the_client_still_sends(self, door: Door, settled: Settled) -> None:
        client, protocol = await door.pair()
        client.write(request(door.key, b"", content_length=str(100 * LIMIT)) + b"x" * (LIMIT + 1))
        assert_too_large(await client.answer())
        for _ in range(8):
            client.write(b"x" * LIMIT)
            async with asyncio.timeout(PATIENCE):
                await client.writer.drain()
        await settled()
        call: Any = protocol.cycle
        assert call._pieces == []
        await client.close()
        await until(lambda: not door.connections, PATIENCE)

    async def test_who_leaves_before_the_answer_breaks_nothing(
        self, door: Door, settled: Settled, caplog: pytest.LogCaptureFixture
    ) -> None:
        _, protocol = await door.pair()
        protocol.data_received(request(door.key, b"", content_length=str(100 * LIMIT)) + b"x" * (LIMIT + 1))
        protocol.transport.abort()
        await until(lambda: not door.connections, PATIENCE)
        await settled()
        await asyncio.sleep(0)  # the outbox
        assert caplog.records == []
        assert protocol.cycle is None

    async def test_who_goes_on_sending_is_hung_up(self, door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(direct, "LINGER_SECONDS", 0.05)
        client = await door.client()
        client.write(request(door.key, b"", content_length=str(100 * LIMIT)) + b"x" * (LIMIT + 1))
        assert_too_large(await client.answer())
        await until(lambda: not door.connections, PATIENCE)

    async def test_no_request_behind_it_is_answered(self, door: Door, upstream: Upstream) -> None:
        client, protocol = await door.pair()
        protocol.data_received(request(door.key, filled(LIMIT + 1)) + request(door.key))
        assert_too_large(await client.answer())
        assert await client.rest() == b""
        assert upstream.requests == []

    async def test_one_that_never_comes(self, door: Door) -> None:
        client, protocol = await door.pair()
        protocol.timeout_keep_alive = 0.05
        protocol.data_received(request(door.key)[:-5])
        assert await client.rest() == b""

    @pytest.mark.parametrize("before", [0, 1], ids=["alone", "behind another"])
    async def test_the_rest_of_one_that_goes_another_way_never_comes(
        self, door: Door, settled: Settled, upstream: Upstream, before: int
    ) -> None:
        """Through ASGI its answer begins before the body is there."""
        client, protocol = await door.pair()
        protocol.timeout_keep_alive = 0.2
        protocol.data_received(request(door.key) * before + request(door.key, cookie="a=b")[:-5])
        for _ in range(before):
            assert (await client.answer()).status == 200
        assert await client.rest() == b""
        await settled()
        assert len(upstream.requests) == before

    async def test_one_that_comes_slowly(self, door: Door) -> None:
        client, protocol = await door.pair()
        protocol.timeout_keep_alive = 0.5
        data = request(door.key, cookie="a=b")
        protocol.data_received(data[:-10])
        for at in range(-10, 0):
            await asyncio.sleep(0.1)
            protocol.data_received(data[at : at + 1 or None])
        assert (await client.answer()).status == 200

    async def test_who_does_not_read_does_not_close_for_it(self, door: Door) -> None:
        client, protocol = await door.pair()
        protocol.timeout_keep_alive = 0.3
        data = request(door.key, cookie="a=b")
        protocol.data_received(data[:-5])
        await asyncio.sleep(0.02)  # who answers has taken what there is, and waits
        protocol.flow.read_paused = True
        await asyncio.sleep(0.8)
        protocol.flow.read_paused = False
        protocol.data_received(data[-5:])
        assert (await client.answer()).status == 200

    async def test_in_very_small_pieces_take_little_more_than_their_size(self, door: Door) -> None:
        client, protocol = await door.pair()
        body = filled(LIMIT // 2)
        data = request(door.key, chunked(body, 2), transfer_encoding="chunked")
        protocol.data_received(data[:-5])
        call: Any = protocol.cycle
        assert len(call._pieces) <= direct.MOST_PIECES
        assert len(call._gathered) + sum(map(len, call._pieces)) == len(body)
        protocol.data_received(data[-5:])
        assert (await client.answer()).status == 200


class TestRequests:
    async def test_that_come_by_the_thousand_are_not_kept(self, door: Door, upstream: Upstream) -> None:
        """What is read in one piece is parsed to its end."""
        client, protocol = await door.pair()
        client.write(request(door.key, body_of("slow")))
        await until(lambda: upstream.requests)
        protocol.data_received(b"GET / HTTP/1.1\r\n\r\n" * 7000)
        assert len(protocol.pipeline) == direct.MOST_QUEUED
        upstream.release.set()
        assert (await client.answer()).status == 200
        assert await client.rest() == b""
        await until(lambda: not door.connections, PATIENCE)
        assert not protocol.pipeline

    async def test_that_come_by_the_hundred_are_answered(self, door: Door) -> None:
        client, protocol = await door.pair()
        protocol.data_received(request(door.key) * direct.MOST_QUEUED)
        for _ in range(direct.MOST_QUEUED):
            assert (await client.answer()).status == 200


def assert_too_large(answer: Answer) -> None:
    assert (answer.status, answer.headers["connection"]) == (413, "close")
    assert answer.error["message"] == "The request body is larger than 1 MB."


class TestHeads:
    @pytest.mark.parametrize("end", [b"", b"\r\n\r\n"], ids=["unfinished", "finished"])
    async def test_that_are_too_long(self, end: bytes, door: Door) -> None:
        client, protocol = await door.pair()
        head = b"POST /v1/chat/completions HTTP/1.1\r\na: " + b"x" * (MAX_HEAD_BYTES + 200)
        feed(protocol, head[:100], head[100:])
        assert_too_long(await client.answer())
        client.write(b"x" * LIMIT + end)
        assert await client.rest() == b""

    async def test_that_are_just_short_enough(self, door: Door) -> None:
        client, protocol = await door.pair()
        data = request(door.key, a="x" * (MAX_HEAD_BYTES - 1000))
        feed(protocol, data[:100], data[100:-200], data[-200:])
        assert (await client.answer()).status == 200

    async def test_in_many_headers(self, door: Door) -> None:
        client, protocol = await door.pair()
        feed(protocol, b"POST /v1/chat/completions HTTP/1.1\r\n", *[b"h: %d\r\n" % number for number in range(20_000)])
        assert_too_long(await client.answer())

    async def test_after_a_body(self, door: Door) -> None:
        client, protocol = await door.pair()
        protocol.data_received(request(door.key, chunked(body_of(), 10)[:-2], transfer_encoding="chunked"))
        feed(protocol, *[b"a: " + b"x" * (MAX_HEAD_BYTES // 2) + b"\r\n"] * 3)
        assert_too_long(await client.answer())

    async def test_a_large_body_before_the_beginning_of_one_does_not_count(self, door: Door) -> None:
        client, protocol = await door.pair()
        data = request(door.key)
        protocol.data_received(request(door.key, filled(2 * MAX_HEAD_BYTES)) + data[:50])
        assert (await client.answer()).status == 200
        protocol.data_received(data[50:])
        assert (await client.answer()).text == "hello"

    async def test_that_are_too_long_behind_a_stream(self, door: Door, upstream: Upstream) -> None:
        """It is finished all the same, and what was too long is never answered."""
        client, protocol = await door.pair()
        client.write(request(door.key, body_of("gated", stream=True)))
        await client.head()
        protocol.data_received(b"POST /v1/chat/completions HTTP/1.1\r\n")
        feed(protocol, *[b"a: " + b"x" * (MAX_HEAD_BYTES // 2) + b"\r\n"] * 3)
        upstream.release.set()
        assert (await client.rest()).endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")

    async def test_of_which_more_comes_all_the_time(self, door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
        """Time counts from their beginning."""
        monkeypatch.setattr(direct, "HEAD_SECONDS", 0.2)
        client, protocol = await door.pair()
        await client.ask(request(door.key))
        protocol.data_received(b"POST /v1/chat/completions HTTP/1.1\r\n")
        until = protocol._head_until
        while not protocol.transport.is_closing():
            protocol.data_received(b"a: b\r\n")
            assert protocol._head_until == until
            await asyncio.sleep(0.01)
        assert await client.rest() == b""

    async def test_of_which_nothing_comes(self, door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(direct, "HEAD_SECONDS", 0.05)
        client = await door.client()
        assert await client.rest() == b""

    @pytest.mark.parametrize("sent", [b"", b"\r\n"])
    async def test_that_nobody_sends_on_a_connection_that_was_used(self, sent: bytes, door: Door) -> None:
        client, protocol = await door.pair()
        protocol.timeout_keep_alive = 0.05
        await client.ask(request(door.key))
        client.write(sent)
        assert await client.rest() == b""

    async def test_a_stream_takes_longer_than_the_next_head_may(
        self, door: Door, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        client, protocol = await door.pair()
        monkeypatch.setattr(direct, "HEAD_SECONDS", 0.0)
        data = request(door.key, body_of(content="next"))
        protocol.data_received(request(door.key, body_of("gated", stream=True)) + data[:50])
        await client.head()
        protocol.timeout_keep_alive_handler()  # a timer of before finds that there is nothing to wait for
        upstream.release.set()
        while await client.chunk():
            pass
        protocol.data_received(data[50:])
        assert (await client.answer()).text == "next"


def assert_too_long(answer: Answer) -> None:
    assert (answer.status, answer.headers["connection"]) == (431, "close")
    assert "longer than 128 kB" in answer.error["message"]


class TestMemory:
    @pytest.mark.parametrize("stream", [False, True])
    async def test_of_calls_needs_no_garbage_collection(self, stream: bool, door: Door, settled: Settled) -> None:
        client = await door.client()
        await client.ask(request(door.key))
        gc.collect()
        gc.disable()
        try:
            for _ in range(20):
                await client.ask(request(door.key, body_of(stream=stream)))
            await settled()
            assert sum(isinstance(each, DirectCall) for each in gc.get_objects()) == 1
        finally:
            gc.enable()

    async def test_of_connections_is_free_when_they_end(self, door: Door, settled: Settled) -> None:
        """Without a garbage collection, which comes late in a process that has frozen what it began with."""
        clients = [await door.client() for _ in range(500)]
        for number, client in enumerate(clients):
            if number % 2:
                assert (await client.ask(request(door.key if number % 100 == 1 else None))).status in (200, 401)
        await until(lambda: len(door.connections) == 500, PATIENCE)
        protocols = [weakref.ref(each) for each in door.connections]
        gc.collect()
        gc.disable()
        try:
            for number, client in enumerate(clients):
                client.leave() if number % 3 else await client.close()
            await until(lambda: not door.connections, PATIENCE)
            await settled()
            await asyncio.sleep(0)
            assert [each for each in protocols if each() is not None] == []
        finally:
            gc.enable()

    async def test_of_one_that_ended_in_the_middle_of_an_answer(
        self, door: Door, upstream: Upstream, settled: Settled
    ) -> None:
        client, protocol = await door.pair()
        ended = weakref.ref(protocol)
        del protocol
        client.write(request(door.key, body_of("slow")))
        await until(lambda: upstream.requests)
        gc.collect()
        gc.disable()
        try:
            client.leave()
            await until(lambda: not door.connections, PATIENCE)
            upstream.release.set()
            await settled()
            await until(lambda: ended() is None, PATIENCE)
        finally:
            gc.enable()
