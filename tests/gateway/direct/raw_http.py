"""HTTP/1.1 as it is on the wire: what a test writes, byte by byte, and every answer that comes back, with nothing hidden."""

import asyncio
import json
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, cast

from tests.conftest import chat

CHAT = "/v1/chat/completions"
SECONDS = 30.0


@dataclass
class Answer:
    """One response. A streamed one has its pieces in `chunks`."""

    status: int
    headers: dict[str, str]
    body: bytes = b""
    chunks: list[bytes] = field(default_factory=list)

    @property
    def text(self) -> str:
        """Of the message that a chat completion answers."""
        return json.loads(self.body)["choices"][0]["message"]["content"]

    @property
    def error(self) -> dict[str, Any]:
        return json.loads(self.body)["error"]


class Client:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def to(cls, port: int) -> "Client":
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    @property
    def address(self) -> tuple[str, int]:
        """Ours, by which the server's side of it can be told."""
        return self.writer.get_extra_info("sockname")

    def write(self, data: bytes) -> None:
        self.writer.write(data)

    async def ask(self, data: bytes) -> Answer:
        self.write(data)
        return await self.answer()

    async def head(self) -> Answer:
        """Of the next response."""
        async with asyncio.timeout(SECONDS):
            lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        version, status, _ = lines[0].split(" ", 2)
        assert version == "HTTP/1.1"
        pairs = [line.split(": ", 1) for line in lines[1:-2]]
        headers = {name.lower(): value for name, value in pairs}
        assert len(headers) == len(pairs), "a header came twice"
        return Answer(int(status), headers)

    async def answer(self) -> Answer:
        """The next response, whole."""
        answer = await self.head()
        if answer.headers.get("transfer-encoding") == "chunked":
            while chunk := await self.chunk():
                answer.chunks.append(chunk)
            answer.body = b"".join(answer.chunks)
        elif answer.status >= 200:
            async with asyncio.timeout(SECONDS):
                answer.body = await self.reader.readexactly(int(answer.headers["content-length"]))
        return answer

    async def chunk(self) -> bytes:
        """The next piece of a streamed response, empty at its end."""
        async with asyncio.timeout(SECONDS):
            size = int(await self.reader.readuntil(b"\r\n"), 16)
            data = await self.reader.readexactly(size + 2)
        assert data.endswith(b"\r\n")
        return data[:-2]

    async def rest(self) -> bytes:
        """Everything up to the end of the connection."""
        async with asyncio.timeout(SECONDS):
            try:
                return await self.reader.read()
            except ConnectionResetError:
                return b""

    def pause(self) -> None:
        """Read nothing, so that the buffers on the way fill up."""
        self._transport.pause_reading()

    def resume(self) -> None:
        """Read, and forget what comes."""
        self._transport.resume_reading()
        self._draining = asyncio.ensure_future(self._drain())

    async def _drain(self) -> None:
        with suppress(ConnectionError):
            while await self.reader.read(1 << 20):
                continue

    @property
    def _transport(self) -> asyncio.ReadTransport:
        return cast("asyncio.ReadTransport", self.writer.transport)

    def leave(self) -> None:
        """At once: nothing of what is still sent arrives."""
        self.writer.transport.abort()

    async def close(self) -> None:
        self.writer.close()
        with suppress(ConnectionError):
            await self.writer.wait_closed()


def body_of(model: str = "echo", content: str = "hello", **more: Any) -> bytes:
    return json.dumps(chat(model, **more) | {"messages": [{"role": "user", "content": content}]}).encode()


def request(
    key: str | None,
    body: bytes | None = None,
    *,
    method: str = "POST",
    url: str = CHAT,
    version: str = "1.1",
    **headers: str,
) -> bytes:
    """A request; `_` in the names of headers stands for `-`. Its body is that of a chat completion unless one is given."""
    body = body_of() if body is None and method == "POST" else body or b""
    all_headers = {"host": "gateway", "content-type": "application/json"}
    all_headers |= {"authorization": f"Bearer {key}"} if key else {}
    if "transfer_encoding" not in headers and "content_length" not in headers:
        all_headers["content-length"] = str(len(body))
    all_headers |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = "".join(f"{name}: {value}\r\n" for name, value in all_headers.items())
    return f"{method} {url} HTTP/{version}\r\n{lines}\r\n".encode() + body


def chunked(body: bytes, size: int) -> bytes:
    """A body in chunks of `size` bytes."""
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
