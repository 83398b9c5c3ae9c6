"""HTTP connections of the programs that measure: one call at a time each, and as little work of their own as possible."""

import asyncio
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import httptools

from benchmarks.gateways import Gateway

SECONDS = 120.0
"""The longest that one call may take."""


def request_of(gateway: Gateway, content: str, *, shape: str = "", stream: bool = False) -> bytes:
    """A whole HTTP request. Args: shape: of the answer (benchmarks/upstream_shapes.py)."""
    asked: dict[str, Any] = {"model": gateway.model, "stream": stream}
    asked["messages"] = [{"role": "user", "content": content}]
    body = json.dumps(asked | ({"metadata": {"shape": shape}} if shape else {})).encode()
    place = urlsplit(gateway.url)
    headers = {"host": place.netloc, "content-type": "application/json", "content-length": str(len(body))}
    lines = [
        f"POST {place.path} HTTP/1.1",
        *(f"{name}: {value}" for name, value in (headers | gateway.headers).items()),
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class Line(asyncio.Protocol):
    """One connection that is kept open.

    `answered(line)` is called at the end of each answer; `heard(piece)` with each piece of its body.
    """

    def __init__(self) -> None:
        self.answered: Callable[[Line], object] = lambda _: None
        self.heard: Callable[[bytes], object] = lambda _: None
        self.status = 0

    def ask(self, request: bytes) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._transport.write(request)

    def close(self) -> None:
        self._transport.close()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        self.heard(body)

    def on_message_complete(self) -> None:
        self.status = self._parser.get_status_code()
        self.answered(self)


async def connect(gateway: Gateway) -> Line:
    place = urlsplit(gateway.url)
    assert place.hostname
    assert place.port
    _, line = await asyncio.get_running_loop().create_connection(Line, place.hostname, place.port)
    return line


async def answer_of(line: Line, request: bytes) -> bytes:
    """The body of the answer to one call; its status must be 200."""
    done = asyncio.get_running_loop().create_future()
    pieces: list[bytes] = []
    line.heard = pieces.append
    line.answered = lambda _: done.set_result(None)
    line.ask(request)
    async with asyncio.timeout(SECONDS):
        await done
    body = b"".join(pieces)
    assert line.status == 200, body[:1000]
    return body
