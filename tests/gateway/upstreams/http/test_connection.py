"""One connection against servers that do what servers on the internet do."""

import asyncio
import gzip
import socket
import ssl
import struct
import threading
import zlib
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.upstreams.http import pool as pool_module
from gateway.upstreams.http import response as response_module
from gateway.upstreams.http.failures import Failure, NothingRead
from gateway.upstreams.http.pool import Pool
from gateway.upstreams.http.response import HIGH_WATER
from tests.gateway.upstreams.http.certificates import certificate, server_context
from tests.gateway.upstreams.http.raw import OK, Raw, ask, raw_server, saying
from tests.polling import until

pytestmark = pytest.mark.anyio
HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"transfer-encoding: chunked\r\n\r\n"


async def answered(pool: Pool, *pieces: bytes, again: bool = True) -> bytes:
    """The body that a reply in these pieces comes to; asked twice, so that what is left behind is seen."""
    async with raw_server(saying(*pieces, again=again)) as raw:
        first = await (await ask(pool, raw)).read()
        assert await (await ask(pool, raw)).read() == first
        return first


async def fails(pool: Pool, *pieces: bytes, again: bool = True) -> Failure:
    async with raw_server(saying(*pieces, again=again)) as raw:
        with pytest.raises(Failure) as raised:
            await (await ask(pool, raw)).read()
        assert not pool.connections
        return raised.value


class TestFraming:
    async def test_a_body_with_its_length(self, pool: Pool) -> None:
        assert await answered(pool, OK) == b"ok"

    async def test_a_head_and_a_body_byte_by_byte(self, pool: Pool) -> None:
        assert await answered(pool, *(bytes([each]) for each in OK)) == b"ok"

    async def test_chunks_with_extensions_and_trailers(self, pool: Pool) -> None:
        reply = CHUNKED + b"3;name=value\r\nabc\r\n2\r\nde\r\n0\r\nx-sum: 1\r\ncontent-type: text/evil\r\n\r\n"
        async with raw_server(saying(reply)) as raw:
            response = await ask(pool, raw)
            assert await response.read() == b"abcde"
            assert response.field(b"content-type") is None  # trailers say nothing of the reply
            assert await (await ask(pool, raw)).read() == b"abcde"
            assert len(raw.connections) == 1

    async def test_a_body_that_ends_with_the_connection(self, pool: Pool) -> None:
        assert await answered(pool, HEAD + b"\r\n", b"all ", b"of it", again=False) == b"all of it"

    @pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
    async def test_statuses_without_a_body(self, pool: Pool, status: bytes) -> None:
        assert await answered(pool, b"HTTP/1.1 " + status + b"\r\n\r\n") == b""

    async def test_a_304_may_tell_a_length(self, pool: Pool) -> None:
        assert await answered(pool, b"HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n") == b""

    @pytest.mark.parametrize(
        "before", [b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"]
    )
    async def test_what_is_said_before_the_reply_is_not_the_reply(self, pool: Pool, before: bytes) -> None:
        async with raw_server(saying(before, before + OK)) as raw:
            response = await ask(pool, raw)
            assert (response.status, response.field(b"link"), await response.read()) == (200, None, b"ok")
            assert await (await ask(pool, raw)).read() == b"ok"
            assert len(raw.connections) == 1

    @pytest.mark.parametrize("encoding", [b"gzip", b"deflate"])
    async def test_an_encoded_body_that_nobody_asked_for(self, pool: Pool, encoding: bytes) -> None:
        body = gzip.compress(b"words " * 1000) if encoding == b"gzip" else zlib.compress(b"words " * 1000)
        head = HEAD + b"content-encoding: " + encoding + b"\r\ncontent-length: %d\r\n\r\n" % len(body)
        assert await answered(pool, head, body[:20], body[20:]) == b"words " * 1000


class TestBadReplies:
    @pytest.mark.parametrize(
        "pieces",
        [
            [b"hello\r\n\r\n"],
            [b"\x00\x01\x02"],
            [b"HTTP/1.1 abc OK\r\n\r\n"],
            [HEAD + b"no colon\r\n\r\n"],
            [HEAD + b"content-length: -1\r\n\r\n"],
            [HEAD + b"content-length: 2\r\ncontent-length: 3\r\n\r\nok"],
            [HEAD + b"content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"],
            [CHUNKED, b"zz\r\nok\r\n"],
            [CHUNKED, b"fffffffffffffffff\r\n"],
            [CHUNKED, b"2\r\nokay\r\n"],
            [HEAD + b"content-encoding: br\r\ncontent-length: 2\r\n\r\nok"],
            [HEAD + b"content-encoding: gzip\r\ncontent-length: 2\r\n\r\nok"],
            [b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n"],
        ],
    )
    async def test_break_the_connection(self, pool: Pool, pieces: list[bytes]) -> None:
        await fails(pool, *pieces)

    @pytest.mark.parametrize("status", [b"200 OK", b"500 No"])
    async def test_a_body_that_is_shorter_than_it_said(self, pool: Pool, status: bytes) -> None:
        await fails(pool, b"HTTP/1.1 " + status + b"\r\ncontent-length: 9\r\n\r\nok", again=False)

    @pytest.mark.parametrize("is_packed", [False, True])
    async def test_a_body_that_is_longer_than_any_model_says(
        self, pool: Pool, is_packed: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(response_module, "MOST_BYTES", 1000)
        body = gzip.compress(b"x" * 1001) if is_packed else b"x" * 1001
        head = HEAD + b"content-length: %d\r\n" % len(body) + b"content-encoding: gzip\r\n" * is_packed + b"\r\n"
        await fails(pool, head, body)
        assert await answered(pool, HEAD + b"content-length: 1000\r\n\r\n", b"x" * 1000) == b"x" * 1000

    async def test_chunks_without_an_end(self, pool: Pool) -> None:
        await fails(pool, CHUNKED + b"2\r\nok\r\n", again=False)

    async def test_an_encoded_body_that_is_cut(self, pool: Pool) -> None:
        body = gzip.compress(b"words " * 1000)[:-9]
        await fails(pool, HEAD + b"content-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(body) + body)

    @pytest.mark.parametrize(
        "endless",
        [HEAD + b"x: ", CHUNKED + b"2\r\nok\r\n0\r\nx: ", CHUNKED + b"2;x="],
        ids=["head", "trailers", "chunk extension"],
    )
    async def test_what_never_ends_beside_the_body(self, pool: Pool, endless: bytes) -> None:
        async def answer(raw: Raw, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await raw.request(reader)
            writer.write(endless)
            while not writer.is_closing():
                writer.write(b"y" * 65536)
                await writer.drain()

        async with raw_server(answer) as raw:
            with pytest.raises(Failure, match="too long"):
                await (await ask(pool, raw)).read()

    async def test_a_second_reply_that_nobody_asked_for(self, pool: Pool) -> None:
        """It would be taken for the answer to the next request: somebody else's."""
        async with raw_server(saying(OK + OK.replace(b"ok", b"no"))) as raw:
            assert await (await ask(pool, raw)).read() == b"ok"
            assert not pool.connections
            assert await (await ask(pool, raw)).read() == b"ok"
            assert len(raw.connections) == 2

    async def test_a_second_reply_that_comes_later(self, pool: Pool) -> None:
        async with raw_server(saying(OK)) as raw:
            await (await ask(pool, raw)).read()
            raw.connections[0].write(OK.replace(b"ok", b"no"))
            await until(lambda: not pool.connections)
            assert await (await ask(pool, raw)).read() == b"ok"

    async def test_a_second_reply_that_comes_before_the_next_request_is_written(self, pool: Pool) -> None:
        """It waits in the outbox: nothing that comes now can be its answer, and it may be sent elsewhere."""
        async with raw_server(saying(OK)) as raw:
            await (await ask(pool, raw)).read()
            (connection,) = pool.connections
            asked = asyncio.ensure_future(ask(pool, raw, b"again"))
            await asyncio.sleep(0)
            connection.data_received(OK.replace(b"ok", b"no"))
            assert await (await asked).read() == b"ok"
            assert connection not in pool.connections
            assert [request[-5:] for request in raw.requests] == [raw.requests[0][-5:], b"again"]
            assert len(raw.connections) == 2


class TestKeeping:
    async def test_one_connection_serves_many_calls(self, pool: Pool) -> None:
        async with raw_server(saying(OK)) as raw:
            for _ in range(5):
                await (await ask(pool, raw)).read()
            assert len(raw.connections) == 1

    async def test_a_stream_that_was_read_to_its_end_too(self, pool: Pool) -> None:
        async with raw_server(saying(CHUNKED, b"2\r\nok\r\n", b"0\r\n\r\n")) as raw:
            for _ in range(3):
                response = await ask(pool, raw)
                pieces: list[bytes] = []
                while piece := await response.piece():
                    pieces.append(piece)
                assert b"".join(pieces) == b"ok"
            assert len(raw.connections) == 1

    @pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\nconnection: close\r\n", b"HTTP/1.0 200 OK\r\n"])
    async def test_not_where_the_server_will_close(self, pool: Pool, head: bytes) -> None:
        async with raw_server(saying(head + b"content-length: 2\r\n\r\nok")) as raw:
            assert await (await ask(pool, raw)).read() == b"ok"
            assert not pool.connections
            await until(lambda: raw.ends == 1)

    async def test_not_after_an_early_reply(self, pool: Pool) -> None:
        """The server answers and reads no further: the rest of the request would be taken for the next one."""

        async def answer(raw: Raw, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\nno")
            await writer.drain()
            await done.wait()

        done = asyncio.Event()
        async with raw_server(answer) as raw:
            response = await ask(pool, raw, b"x" * 50_000_000)
            assert (response.status, await response.read()) == (413, b"no")
            assert not pool.connections
            done.set()


def reset(writer: asyncio.StreamWriter) -> None:
    """Close with RST."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@dataclass
class Two:
    """A server that answers one request on each of two connections, and closes the first at once."""

    listener: socket.socket
    context: ssl.SSLContext | None
    linger: bool

    def answer(self, read: threading.Event, closed: threading.Event) -> bytes:
        """The second request."""
        first = self._accept()
        first.recv(1000)
        first.sendall(OK)
        assert read.wait(20)  # a reset would take the answer along
        if self.linger:
            first.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        first.close()
        closed.set()
        with self._accept() as second:
            request = second.recv(1000)
            second.sendall(OK)
            return request

    def _accept(self) -> socket.socket:
        accepted, _ = self.listener.accept()
        return self.context.wrap_socket(accepted, server_side=True) if self.context else accepted


class TestIdleConnectionsThatAreClosed:
    @pytest.mark.parametrize("close", [asyncio.StreamWriter.close, reset])
    async def test_are_noticed(self, pool: Pool, close: Callable[[asyncio.StreamWriter], None]) -> None:
        async with raw_server(saying(OK)) as raw:
            await (await ask(pool, raw)).read()
            close(raw.connections[0])
            await until(lambda: not pool.connections)
            assert await (await ask(pool, raw)).read() == b"ok"
            assert len(raw.requests) == 2

    @pytest.mark.parametrize("linger", [False, True], ids=["FIN", "RST"])
    @pytest.mark.parametrize("secure", [False, True], ids=["plain", "TLS"])
    async def test_before_the_event_loop_tells(
        self, pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, linger: bool, secure: bool
    ) -> None:
        """It was closed since the loop last turned, so the request is written to nobody: it may be sent again."""
        path = certificate(tmp_path / "localhost.pem", "localhost")
        context = ssl.create_default_context(cafile=str(path))
        monkeypatch.setattr(pool_module, "tls", lambda: context)
        with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor() as threads:
            listener.settimeout(20)
            raw = Raw(f"http{'s' if secure else ''}://localhost:{listener.getsockname()[1]}/")
            read, closed = threading.Event(), threading.Event()
            server = Two(listener, server_context(path) if secure else None, linger=linger)
            requests = threads.submit(server.answer, read, closed)
            assert await (await ask(pool, raw)).read() == b"ok"
            read.set()
            assert closed.wait(20)  # and the loop with it
            assert await (await ask(pool, raw, b"again")).read() == b"ok"
            assert requests.result().endswith(b"\r\n\r\nagain")

    @pytest.mark.parametrize("end", [asyncio.StreamWriter.close, reset], ids=["FIN", "RST"])
    async def test_a_request_that_was_read_is_not_sent_again(
        self, pool: Pool, end: Callable[[asyncio.StreamWriter], None]
    ) -> None:
        """The server may have acted on it, so whoever asked must decide. A reset comes before the kernel has acknowledged it:
        that waits some 40 ms for something to be sent with."""

        async def answer(raw: Raw, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await raw.request(reader)
            writer.write(OK)
            await raw.request(reader)
            end(writer)

        async with raw_server(answer) as raw:
            await (await ask(pool, raw)).read()
            with pytest.raises(Failure) as raised:
                await ask(pool, raw)
            assert not isinstance(raised.value, NothingRead)
            assert len(raw.requests) == 2

    async def test_a_request_that_reached_the_kernel_alone_is_not_sent_again(self, pool: Pool) -> None:
        """It was acknowledged: nobody can tell whether it was read."""

        async def answer(raw: Raw, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await raw.request(reader)
            reader._transport.pause_reading()  # type: ignore[attr-defined]
            writer.write(OK)
            await writer.drain()
            await arrived.wait()
            reset(writer)

        arrived = asyncio.Event()
        async with raw_server(answer) as raw:
            await (await ask(pool, raw)).read()
            asked = asyncio.ensure_future(ask(pool, raw))
            await asyncio.sleep(0.05)
            arrived.set()
            with pytest.raises(Failure) as raised:
                await asked
            assert not isinstance(raised.value, NothingRead)


class TestResets:
    async def test_before_the_reply(self, pool: Pool) -> None:
        async def answer(raw: Raw, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await raw.request(reader)
            reset(writer)

        async with raw_server(answer) as raw:
            with pytest.raises(Failure):
                await ask(pool, raw)
            assert (len(raw.requests), pool.connections) == (1, set())

    async def test_in_the_middle_what_came_is_told_first(self, pool: Pool) -> None:
        async def answer(raw: Raw, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await raw.request(reader)
            writer.write(CHUNKED + b"2\r\nok\r\n")
            await writer.drain()
            await read.wait()
            reset(writer)

        read = asyncio.Event()
        async with raw_server(answer) as raw:
            response = await ask(pool, raw)
            assert await response.piece() == b"ok"
            read.set()
            with pytest.raises(Failure):
                await response.piece()


class TestTime:
    async def test_a_server_that_says_nothing(self, pool: Pool) -> None:
        async with raw_server(saying(b"")) as raw:
            with pytest.raises(TimeoutError):
                await ask(pool, raw, idle=0.02)
            assert not pool.connections

    async def test_a_body_that_stops(self, pool: Pool) -> None:
        async with raw_server(saying(CHUNKED + b"2\r\nok\r\n")) as raw:
            response = await ask(pool, raw)
            response.allow_idle(0.02)
            assert await response.piece() == b"ok"
            with pytest.raises(TimeoutError):
                await response.piece()
            await until(lambda: raw.ends == 1)

    async def test_a_time_that_is_over_is_over_for_what_was_not_read_too(self, pool: Pool) -> None:
        async with raw_server(saying(CHUNKED + b"2\r\nok\r\n")) as raw:
            response = await ask(pool, raw)
            await until(lambda: response._pieces)
            response.give_up()
            with pytest.raises(TimeoutError):
                await response.piece()
            assert not pool.connections
            await until(lambda: raw.ends == 1)

    async def test_of_a_reply_that_is_all_here_it_is_not_over(self, pool: Pool) -> None:
        async with raw_server(saying(OK)) as raw:
            response = await ask(pool, raw)
            await until(lambda: response.complete)
            response.give_up()
            assert (response.whole(), len(pool.connections)) == (b"ok", 1)

    async def test_each_piece_begins_it_anew(self, pool: Pool) -> None:
        async def answer(raw: Raw, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await raw.request(reader)
            writer.write(HEAD + b"content-length: 8\r\n\r\n")
            for _ in range(8):
                await asyncio.sleep(0.05)
                writer.write(b"x")

        async with raw_server(answer) as raw:
            assert await (await ask(pool, raw, idle=0.3)).read() == b"x" * 8

    async def test_a_shorter_limit_counts_from_when_it_is_said(self, pool: Pool) -> None:
        async with raw_server(saying(CHUNKED)) as raw:
            response = await ask(pool, raw, idle=None)
            response.allow_idle(600)
            response.allow_idle(0.02)
            with pytest.raises(TimeoutError):
                await response.read()

    async def test_a_reader_that_takes_its_time_is_not_the_servers_fault(self, pool: Pool) -> None:
        size = 40 * HIGH_WATER

        async with raw_server(saying(HEAD + b"content-length: %d\r\n\r\n" % size + b"x" * size)) as raw:
            response = await ask(pool, raw, idle=0.1)
            await asyncio.sleep(0.3)
            assert len(await response.read()) == size


class TestFlow:
    async def test_a_slow_reader_holds_the_server_up(self, pool: Pool) -> None:
        written = 0

        async def answer(raw: Raw, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal written
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
            await raw.request(reader)
            writer.write(HEAD + b"content-length: %d\r\n\r\n" % (400 * 65536))
            for _ in range(400):
                writer.write(b"x" * 65536)
                await writer.drain()
                written += 1

        async with raw_server(answer) as raw:
            response = await ask(pool, raw)
            before = -1
            while written != before:
                before = written
                await asyncio.sleep(0.05)
            assert written < 200
            got = 0
            while piece := await response.piece():
                got += len(piece)
            assert got == 400 * 65536

    async def test_a_large_request_arrives_whole(self, pool: Pool) -> None:
        async with raw_server(saying(OK)) as raw:
            body = bytes(range(256)) * 40_000
            assert await (await ask(pool, raw, body)).read() == b"ok"
            assert raw.requests[0].endswith(b"\r\n\r\n" + body)


class TestLeaving:
    async def test_a_reply_whose_end_comes_a_moment_later_keeps_its_connection(self, pool: Pool) -> None:
        async def answer(raw: Raw, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while await raw.request(reader):
                writer.write(CHUNKED + b"2\r\nok\r\n")
                await left.wait()
                writer.write(b"0\r\n\r\n")

        left = asyncio.Event()
        async with raw_server(answer) as raw:
            for _ in range(2):
                response = await ask(pool, raw)
                assert await response.piece() == b"ok"
                response.leave()
                left.set()
                await until(lambda response=response: response.complete)
                left.clear()
            assert len(raw.connections) == 1

    async def test_one_that_goes_on_does_not(self, pool: Pool) -> None:
        async def answer(raw: Raw, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await raw.request(reader)
            writer.write(CHUNKED + b"2\r\nok\r\n")
            while not writer.is_closing():
                writer.write(b"400\r\n" + b"x" * 1024 + b"\r\n")
                await asyncio.sleep(0.001)

        async with raw_server(answer) as raw:
            (await ask(pool, raw)).leave()
            await until(lambda: not pool.connections)

    async def test_one_that_never_ends_does_not(self, pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(response_module, "END_SECONDS", 0.02)
        async with raw_server(saying(CHUNKED)) as raw:
            (await ask(pool, raw, idle=None)).leave()
            await until(lambda: not pool.connections)


class TestHangingUp:
    async def test_closes_this_connection_and_no_other(self, pool: Pool) -> None:
        async with raw_server(saying(CHUNKED + b"2\r\nok\r\n")) as raw:
            first, second = await ask(pool, raw), await ask(pool, raw)
            first.close()
            await until(lambda: raw.ends == 1)
            assert len(pool.connections) == 1
            with pytest.raises(Failure):
                await first.read()
            assert await second.piece() == b"ok"

    async def test_whoever_gives_up_reading_hangs_up(self, pool: Pool) -> None:
        async with raw_server(saying(CHUNKED + b"2\r\nok\r\n")) as raw:
            reading = asyncio.ensure_future((await ask(pool, raw)).read())
            await asyncio.sleep(0)
            reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading
            await until(lambda: raw.ends == 1)
            assert not pool.connections

    async def test_after_the_end_the_connection_stays(self, pool: Pool) -> None:
        async with raw_server(saying(OK)) as raw:
            response = await ask(pool, raw)
            await response.read()
            response.close()
            assert len(pool.connections) == 1

    @pytest.mark.parametrize("answer", [saying(b""), saying(HEAD)])
    async def test_a_call_that_is_cancelled_hangs_up(self, pool: Pool, answer: Callable[..., Awaitable[None]]) -> None:
        async with raw_server(answer) as raw:
            call, other = asyncio.ensure_future(ask(pool, raw)), asyncio.ensure_future(ask(pool, raw))
            await until(lambda: len(raw.requests) == 2)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            await until(lambda: raw.ends == 1)
            assert len(pool.connections) == 1
            assert not other.done()
            other.cancel()
