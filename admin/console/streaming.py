"""Answers of the API that are passed on piece by piece: weights of gigabytes never lie in memory."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import msgspec
from litestar.response import Stream

from admin.console.api import Api, ApiRefused

PIECES = 4
"""That wait for whoever reads them; then the API waits."""
PASSED_ON = ("content-length", "content-disposition", "content-type")
MOST_OF_AN_ERROR = 65_536


@dataclass(frozen=True, slots=True)
class Opened:
    """An answer that has begun. Its pieces are read, or closed (`aclose`)."""

    headers: dict[str, str]
    pieces: AsyncGenerator[bytes]


async def opened(api: Api, path: str, **query: Any) -> Opened:
    """GET, of which no more is read than is asked for. Raises ApiRefused."""
    call = _Call(api, path, query)
    status, headers = await call.begun()
    pieces = call.pieces()
    if status >= 400:
        raise _refusal(status, await beginning(pieces, MOST_OF_AN_ERROR))
    return Opened(headers, pieces)


async def beginning(pieces: AsyncGenerator[bytes], most: int) -> bytes:
    """The first `most` bytes or a little more; the rest is not asked for."""
    read = bytearray()
    try:
        async for piece in pieces:
            read += piece
            if len(read) >= most:
                break
    finally:
        await pieces.aclose()
    return bytes(read)


async def passed_on(api: Api, path: str, **query: Any) -> Stream:
    """A download. Raises ApiRefused."""
    answer = await opened(api, path, **query)
    headers = {name: value for name, value in answer.headers.items() if name in PASSED_ON}
    return Stream(answer.pieces, headers=headers, media_type=headers.pop("content-type", "application/octet-stream"))


class _Call:
    """The service, called in a task of its own, which waits whenever nobody reads."""

    def __init__(self, api: Api, path: str, query: dict[str, Any]) -> None:
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue(PIECES)
        self._start: asyncio.Future[tuple[int, dict[str, str]]] = asyncio.get_running_loop().create_future()
        self._asked = False
        self._answered = asyncio.Event()
        service = api.request.app.state.service
        running = self._run(service, api.scope("GET", path, query))
        self._task = asyncio.create_task(running)  # noqa: TID251 awaited where its pieces end

    async def begun(self) -> tuple[int, dict[str, str]]:
        try:
            return await self._start
        except BaseException:
            await self._end()
            raise

    async def pieces(self) -> AsyncGenerator[bytes]:
        """Raises what went wrong in the midst of it: the answer must not look whole."""
        try:
            while (piece := await self._queue.get()) is not None:
                yield piece
            await self._task
        finally:
            await self._end()

    async def _run(self, service: Any, scope: dict[str, Any]) -> None:
        try:
            await service(scope, self._receive, self._send)
        except BaseException as error:
            if not self._start.done():
                self._start.set_exception(error)
                return
            raise
        finally:
            await self._queue.put(None)

    async def _receive(self) -> dict[str, Any]:
        if self._asked:
            await self._answered.wait()  # as a server does: the framework ends a stream when it is told so
            return {"type": "http.disconnect"}
        self._asked = True
        return {"type": "http.request", "body": b"", "more_body": False}

    async def _send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            headers = {name.decode().lower(): value.decode() for name, value in message["headers"]}
            self._start.set_result((message["status"], headers))
            return
        if message.get("body"):
            await self._queue.put(bytes(message["body"]))
        if not message.get("more_body"):
            self._answered.set()

    async def _end(self) -> None:
        self._task.cancel()
        while not self._task.done():
            with suppress(asyncio.QueueEmpty):
                self._queue.get_nowait()
            await asyncio.sleep(0)
        with suppress(asyncio.CancelledError, Exception):
            await self._task


def _refusal(status: int, body: bytes) -> ApiRefused:
    try:
        return ApiRefused(status, msgspec.json.decode(body)["error"])
    except (ValueError, KeyError, TypeError):
        return ApiRefused(status, {})
