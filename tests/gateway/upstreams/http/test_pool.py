"""Connections that are made, kept and closed; TLS; proxies."""

import asyncio
import socket
import ssl
from collections.abc import AsyncGenerator, Generator
from contextlib import ExitStack, asynccontextmanager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest

from gateway.upstreams.http import pool as pool_module
from gateway.upstreams.http.address import Target, target_of
from gateway.upstreams.http.failures import Failure, ProxyRefused, Unreachable
from gateway.upstreams.http.pool import Pool
from gateway.upstreams.http.response import Response
from tests.gateway.upstreams.http.certificates import certificate, server_context
from tests.gateway.upstreams.http.raw import OK, Raw, ask, head, raw_server, saying
from tests.polling import until

pytestmark = pytest.mark.anyio


@pytest.fixture
def trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A certificate of localhost that this process trusts."""
    path = certificate(tmp_path / "localhost.pem", "localhost")
    context = ssl.create_default_context(cafile=str(path))
    monkeypatch.setattr(pool_module, "tls", lambda: context)
    return path


@asynccontextmanager
async def secure_server(context: ssl.SSLContext) -> AsyncGenerator[int]:
    """Answers OK; yields its port."""
    raw = Raw()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await saying(OK)(raw, reader, writer)
        finally:
            writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context) as server:
        yield server.sockets[0].getsockname()[1]


async def fetch(pool: Pool, url: str, proxy: str | None = None, *, connect: float = 20) -> Response:
    target = target_of(url, proxy)
    return await pool.send(target, head(target, b"{}"), b"{}", connect=connect, idle=20)


@contextmanager
def full_server() -> Generator[int]:
    """A port whose queue of waiting connections is full: who comes next is not even refused."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server, ExitStack() as waiting:
        port = server.getsockname()[1]
        for _ in range(3):
            waiting.enter_context(client := socket.socket()).setblocking(False)
            client.connect_ex(("127.0.0.1", port))
        yield port


async def places(*ports: int) -> list[Any]:
    """As getaddrinfo tells them, of loopback."""
    return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", port)) for port in ports]


class TestTls:
    async def test_a_trusted_name_is_reached_and_named(self, pool: Pool, trusted: Path) -> None:
        asked: list[str] = []
        context = server_context(trusted)
        context.sni_callback = lambda _, name, __: asked.append(name)  # type: ignore[assignment]
        async with secure_server(context) as port:
            for _ in range(2):
                assert await (await fetch(pool, f"https://localhost:{port}/")).read() == b"ok"
            assert (asked, len(pool.connections)) == (["localhost"], 1)

    async def test_a_stranger_is_refused(self, pool: Pool, tmp_path: Path) -> None:
        async with secure_server(server_context(certificate(tmp_path / "own.pem", "localhost"))) as port:
            with pytest.raises(Unreachable, match="certificate is not trusted"):
                await fetch(pool, f"https://localhost:{port}/")
            assert not pool.connections

    async def test_another_name_is_refused(self, pool: Pool, trusted: Path) -> None:
        async with secure_server(server_context(trusted)) as port:
            with pytest.raises(Unreachable, match="certificate is not trusted"):
                await fetch(pool, f"https://127.0.0.1:{port}/")

    async def test_an_old_certificate_is_refused(
        self, pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = certificate(tmp_path / "old.pem", "localhost", days=-1)
        context = ssl.create_default_context(cafile=str(path))
        monkeypatch.setattr(pool_module, "tls", lambda: context)
        async with secure_server(server_context(path)) as port:
            with pytest.raises(Unreachable, match="expired"):
                await fetch(pool, f"https://localhost:{port}/")

    async def test_a_server_without_tls(self, pool: Pool, trusted: Path) -> None:
        async def answer(raw: Raw, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(1)
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        async with raw_server(answer) as raw:
            with pytest.raises(Unreachable):
                await fetch(pool, raw.url.replace("http://127.0.0.1", "https://localhost"))

    async def test_verifies_unless_told_otherwise(self) -> None:
        context = pool_module.tls()
        assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


class TestTunnels:
    async def test_a_proxy_that_refuses(self, pool: Pool, trusted: Path) -> None:
        async with raw_server(saying(b"HTTP/1.1 403 No\r\ncontent-length: 0\r\n\r\n")) as raw:
            with pytest.raises(ProxyRefused) as raised:
                await fetch(pool, "https://localhost:1/", raw.url.removesuffix("/v1"))
            assert raised.value.status == 403
            assert raw.requests[0].startswith(b"CONNECT localhost:1 HTTP/1.1\r\nhost: localhost:1\r\n")
            assert not pool.connections

    async def test_a_line_to_a_proxy_is_never_used_for_a_call(self, pool: Pool, trusted: Path) -> None:
        """Its answer is whole, so the line could serve another request: it would be read by the proxy, in clear."""
        async with raw_server(saying(b"HTTP/1.1 407 No\r\ncontent-length: 0\r\n\r\n")) as raw:
            proxy = raw.url.removesuffix("/v1")

            async def again_and_again() -> None:
                for _ in range(3):
                    with pytest.raises(ProxyRefused):
                        await fetch(pool, "https://localhost:1/", proxy)

            await asyncio.gather(*(again_and_again() for _ in range(4)))
            assert {request[:7] for request in raw.requests} == {b"CONNECT"}
            assert not pool.connections

    async def test_a_yes_with_a_length_opens_the_tunnel_too(self, pool: Pool, trusted: Path) -> None:
        async with raw_server(saying(b"HTTP/1.1 200 Yes\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")) as raw:
            with pytest.raises(Unreachable):
                await fetch(pool, "https://localhost:1/", raw.url.removesuffix("/v1"), connect=1)
            await until(lambda: not pool.connections)

    async def test_a_proxy_that_speaks_no_tls_behind_its_yes(self, pool: Pool, trusted: Path) -> None:
        async with raw_server(saying(b"HTTP/1.1 200 Yes\r\n\r\n", b"hello, I am no server")) as raw:
            with pytest.raises((Unreachable, TimeoutError)):  # what comes too early is read by nobody
                await fetch(pool, "https://localhost:1/", raw.url.removesuffix("/v1"), connect=0.5)
            await until(lambda: not pool.connections)

    async def test_a_proxy_that_never_answers(self, pool: Pool, trusted: Path) -> None:
        async with raw_server(saying(b"")) as raw:
            with pytest.raises(TimeoutError):
                await fetch(pool, "https://localhost:1/", raw.url.removesuffix("/v1"), connect=0.1)
            await until(lambda: not pool.connections and raw.ends == 1)


class TestConnecting:
    @pytest.mark.parametrize("swallows", [False, True])
    async def test_the_next_address_of_a_host(
        self, pool: Pool, monkeypatch: pytest.MonkeyPatch, *, swallows: bool
    ) -> None:
        """Nobody listens at the first, or it answers nothing at all."""
        async with raw_server(saying(OK)) as raw:
            with full_server() if swallows else nullcontext(1) as dead:
                monkeypatch.setattr(pool_module, "_places", lambda _, port: places(dead, port))
                url = raw.url.replace("127.0.0.1", "two.example")
                assert await (await fetch(pool, url, connect=5)).read() == b"ok"

    async def test_small_pieces_are_not_held_back(self, pool: Pool) -> None:
        """Nagle's algorithm would hold a request's body up until its head is acknowledged."""
        async with raw_server(saying(OK)) as raw:
            await (await ask(pool, raw)).read()
            [connection] = pool.connections
            line = connection._transport.get_extra_info("socket")  # type: ignore[union-attr]
            assert line.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)

    @pytest.mark.parametrize("url", ["http://127.0.0.1:1/", "http://name.invalid/", "https://127.0.0.1:1/"])
    async def test_nobody_there(self, pool: Pool, url: str) -> None:
        with pytest.raises(Unreachable):
            await fetch(pool, url)

    async def test_a_call_that_is_cancelled_leaves_nothing(self, pool: Pool, trusted: Path) -> None:
        """It waits for a handshake that never comes."""
        async with raw_server(saying(b"")) as raw:
            call = asyncio.ensure_future(fetch(pool, raw.url.replace("http://127.0.0.1", "https://localhost")))
            await until(lambda: raw.connections)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            await until(lambda: raw.ends == 1)
            assert not pool.connections


class TestKeeping:
    async def test_servers_do_not_share(self, pool: Pool) -> None:
        async with raw_server(saying(OK)) as one, raw_server(saying(OK)) as other:
            for raw in (one, other, one):
                await (await ask(pool, raw)).read()
            assert (len(one.connections), len(other.connections), len(pool.connections)) == (1, 1, 2)

    async def test_calls_at_once_have_their_own(self, pool: Pool) -> None:
        async with raw_server(saying(OK)) as raw:
            for _ in range(3):
                answers = await asyncio.gather(*(ask(pool, raw, b"%d" % n) for n in range(8)))
                assert [await each.read() for each in answers] == [b"ok"] * 8
            assert len(raw.connections) == 8

    async def test_what_nobody_uses_is_closed(self, pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(pool_module, "KEEP_SECONDS", 0.02)
        async with raw_server(saying(OK)) as raw:
            await (await ask(pool, raw)).read()
            await until(lambda: raw.ends == 1)
            assert not pool.connections
            assert await (await ask(pool, raw)).read() == b"ok"


class TestEnd:
    async def test_ends_what_is_on_its_way_and_lets_nothing_begin(self, pool: Pool, trusted: Path) -> None:
        async with raw_server(saying(b"")) as raw:
            waiting = asyncio.ensure_future(ask(pool, raw))
            url = raw.url.replace("http://127.0.0.1", "https://localhost")
            connecting = asyncio.ensure_future(fetch(pool, url))
            await until(lambda: raw.requests and len(raw.connections) == 2)
            pool.end()
            for call in (waiting, connecting, ask(pool, raw)):
                with pytest.raises(Failure):
                    await call
            assert not pool.connections
            await until(lambda: raw.ends == 2)


def test_a_target_is_parsed_once() -> None:
    assert isinstance(target_of("http://a.example/x"), Target)
    assert target_of("http://a.example/x") is target_of("http://a.example/x")
