import asyncio
import errno
import socket

import pytest

from deploy.parts import StackError
from deploy.probes import answers_ok, check_port, free_port, takes, url_of


class TestAnswersOk:
    async def test_nobody_listens(self):
        assert not await answers_ok("127.0.0.1", free_port(), "/health")

    @pytest.mark.parametrize(
        ("reply", "ok"),
        [
            (b"HTTP/1.1 200 OK\r\n\r\n", True),
            (b"HTTP/1.1 503 Service Unavailable\r\n\r\n", False),
            (b"+PONG\r\n", False),
            (b"", False),
        ],
    )
    async def test_only_a_status_of_200_counts(self, reply: bytes, ok: bool):
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(reply)
            writer.close()
            await writer.wait_closed()

        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
            assert await answers_ok("0.0.0.0", server.sockets[0].getsockname()[1], "/health") is ok


class TestTakes:
    async def test_nobody_listens(self):
        assert not await takes("127.0.0.1", free_port(), "/v1", b"{}", api_key="k", seconds=5)

    @pytest.mark.parametrize(
        ("reply", "taken"),
        [
            (b"HTTP/1.1 200 OK\r\n\r\n", True),
            (b"HTTP/1.1 400 Bad Request\r\n\r\n", True),
            (b"HTTP/1.1 500 Internal Server Error\r\n\r\n", False),
            (b"", False),
        ],
    )
    async def test_a_servers_failure_does_not_count(self, reply: bytes, taken: bool):
        seen: list[bytes] = []

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            seen.append(await reader.readuntil(b"{}"))
            writer.write(reply)
            writer.close()
            await writer.wait_closed()

        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            assert await takes("127.0.0.1", port, "/v1/completions", b"{}", api_key="sk-k", seconds=5) is taken
        assert seen[0].startswith(b"POST /v1/completions HTTP/1.1\r\n")
        assert b"Authorization: Bearer sk-k\r\n" in seen[0]
        assert b"Content-Length: 2\r\n" in seen[0]


class TestCheckPort:
    @pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "localhost"])
    def test_a_port_in_use_is_refused(self, host: str):
        with socket.create_server(("127.0.0.1", 0)) as server, pytest.raises(StackError, match="is in use by another"):
            check_port(host, server.getsockname()[1])

    def test_a_free_port_is_fine(self):
        check_port("localhost", free_port())

    def test_an_unknown_host_is_named(self):
        with pytest.raises(StackError, match=r"host not a host is not known"):
            check_port("not a host", 8000)

    def test_a_low_port_that_is_not_allowed(self, monkeypatch: pytest.MonkeyPatch):
        def refuse(*_: object) -> None:
            raise PermissionError(errno.EACCES, "Permission denied")

        monkeypatch.setattr(socket.socket, "bind", refuse)
        with pytest.raises(StackError, match="choose one above 1023"):
            check_port("127.0.0.1", 80)


class TestUrlOf:
    @pytest.mark.parametrize(
        ("host", "url"),
        [("127.0.0.1", "http://127.0.0.1:80"), ("0.0.0.0", "http://127.0.0.1:80"), ("::", "http://[::1]:80")],
    )
    def test_can_be_called(self, host: str, url: str):
        assert url_of(host, 80) == url
