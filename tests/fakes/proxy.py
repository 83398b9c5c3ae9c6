"""A forward proxy on a socket: absolute URLs for http, CONNECT for https, with a password if it is given one."""

import asyncio
import base64
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Proxy:
    """A running proxy: where it is, and what it was asked."""

    address: str = ""
    """Host and port."""
    password: str = ""
    """Of the user `team`; empty: nobody is asked."""
    requests: list[str] = field(default_factory=list)
    """First lines."""
    writers: list[asyncio.StreamWriter] = field(default_factory=list)
    """Of every connection, to both sides."""

    @property
    def url(self) -> str:
        return f"http://team:{self.password}@{self.address}" if self.password else f"http://{self.address}"


@contextmanager
def running_proxy(password: str = "") -> Iterator[Proxy]:
    """The proxy on a free loopback port."""
    proxy = Proxy(password=password)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    server = asyncio.run_coroutine_threadsafe(_start(proxy), loop).result(10)
    try:
        yield proxy
    finally:
        asyncio.run_coroutine_threadsafe(_stop(proxy, server), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


async def _start(proxy: Proxy) -> asyncio.Server:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        proxy.writers.append(writer)
        try:
            await _serve(proxy, reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass  # a side has left
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()[:2]
    proxy.address = f"{host}:{port}"
    return server


async def _stop(proxy: Proxy, server: asyncio.Server) -> None:
    server.close()
    for writer in proxy.writers:
        writer.transport.abort()
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    await asyncio.gather(*tasks, *(writer.wait_closed() for writer in proxy.writers), return_exceptions=True)


async def _serve(proxy: Proxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    first, _, headers = head.partition("\r\n")
    proxy.requests.append(first)
    wanted = base64.b64encode(f"team:{proxy.password}".encode()).decode()
    if proxy.password and f"proxy-authorization: basic {wanted}".lower() not in headers.lower():
        writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        await writer.drain()
        return
    method, target, version = first.split(" ")
    if method == "CONNECT":
        host, port = target.split(":")
        opening = b""
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
    else:
        match = re.fullmatch(r"http://([^:/]+):(\d+)(/.*)", target)
        assert match is not None, first
        host, port = match[1], match[2]
        kept = re.sub(r"(?im)^proxy-authorization:.*\r\n", "", headers)
        opening = f"{method} {match[3]} {version}\r\nvia: 1.1 test\r\nconnection: close\r\n{kept}".encode()
    upstream_reader, upstream_writer = await asyncio.open_connection(host, int(port))
    proxy.writers.append(upstream_writer)
    upstream_writer.write(opening)
    await asyncio.gather(_pump(reader, upstream_writer), _pump(upstream_reader, writer))


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while piece := await reader.read(65536):
            writer.write(piece)
            await writer.drain()
    finally:
        writer.close()
