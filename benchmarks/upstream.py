"""An upstream that costs next to nothing: the same answer to every chat completion, from a bare protocol.

    .venv/bin/python -m benchmarks.upstream [--port 9100] [--pace MILLISECONDS]

Streams are 20 pieces of content, a finish, usage and [DONE], in one write; with `--pace`, an event each so many ms. A call may
ask for another shape of answer (benchmarks/upstream_shapes.py).
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import httptools
import uvloop

from benchmarks import upstream_shapes as shapes

USAGE = {"prompt_tokens": 12, "completion_tokens": 20, "total_tokens": 32}
TEXT = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen"


def whole() -> bytes:
    message = {"role": "assistant", "content": TEXT, "refusal": None}
    body = {
        "id": "chatcmpl-benchmark", "object": "chat.completion", "created": 1, "model": "m",
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}], "usage": USAGE,
    }  # fmt: skip
    payload = json.dumps(body).encode()
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(payload)}\r\n\r\n"
    return head.encode() + payload


def events(tokens: int = 20) -> list[bytes]:
    common = {"id": "chatcmpl-benchmark", "object": "chat.completion.chunk", "created": 1, "model": "m"}

    def event(delta: dict[str, Any], finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return b"data: " + json.dumps({**common, "choices": [choice]}).encode() + b"\n\n"

    said = [event({"content": f"word{n} "}) for n in range(tokens)]
    usage = b"data: " + json.dumps({**common, "choices": [], "usage": USAGE}).encode() + b"\n\n"
    return [event({"role": "assistant", "content": ""}), *said, event({}, "stop"), usage, b"data: [DONE]\n\n"]


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
WHOLE = whole()
EVENTS = events()
STREAM = STREAM_HEAD + b"".join(chunk(each) for each in EVENTS) + b"0\r\n\r\n"


class Answering(asyncio.Protocol):
    """One connection."""

    pace = 0.0

    def __init__(self) -> None:
        self._parser = httptools.HttpRequestParser(self)
        self._body: list[bytes] = []
        self._room = asyncio.Event()
        self._room.set()

    def pause_writing(self) -> None:
        self._room.clear()

    def resume_writing(self) -> None:
        self._room.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        body, self._body = b"".join(self._body), []
        if (shape := shapes.shape_of(body)) is not None:
            self._shaped(*shape)
        elif b'"stream":true' not in body and b'"stream": true' not in body:
            self._transport.write(WHOLE)
        elif not self.pace:
            self._transport.write(STREAM)
        else:
            self._transport.write(STREAM_HEAD)
            self._say(0)

    def _shaped(self, kind: str, count: int, pace: int) -> None:
        if kind == "whole":
            payload = shapes.whole(count)
            head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(payload)}\r\n\r\n"
            self._transport.write(head.encode() + payload)
            return
        self._transport.write(STREAM_HEAD + shapes.FIRST)
        if kind == "stamped":
            self._stamp(asyncio.get_running_loop().time(), 0, count, pace / 1000)
        else:
            self._saying = asyncio.get_running_loop().create_task(self._say_quickly(count))

    def _stamp(self, began: float, number: int, count: int, pace: float) -> None:
        """By the clock, not each so long after the one before."""
        if self._transport.is_closing():
            return
        if number < count:
            self._transport.write(shapes.stamp())
            at = began + (number + 1) * pace
            asyncio.get_running_loop().call_at(at, self._stamp, began, number + 1, count, pace)
        else:
            self._transport.write(shapes.LAST)

    async def _say_quickly(self, count: int) -> None:
        """No faster than it is read."""
        for _ in range(count // shapes.TOKENS_A_WRITE):
            await self._room.wait()
            self._transport.write(shapes.MANY)
        self._transport.write(shapes.LAST)

    def _say(self, number: int) -> None:
        if self._transport.is_closing():
            return
        self._transport.write(chunk(EVENTS[number]))
        if number + 1 < len(EVENTS):
            asyncio.get_running_loop().call_later(self.pace, self._say, number + 1)
        else:
            self._transport.write(b"0\r\n\r\n")


@contextmanager
def running_upstream(*arguments: str) -> Generator[str]:
    """In a process of its own; yields its URL, which ends in /v1."""
    command = [sys.executable, "-m", "benchmarks.upstream", "--port", "0", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait()


async def _serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Answering, "127.0.0.1", port)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", flush=True)
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=9100)
    parser.add_argument("--pace", type=float, default=0.0)
    arguments = parser.parse_args()
    Answering.pace = arguments.pace / 1000
    uvloop.run(_serve(arguments.port))


if __name__ == "__main__":
    main()
