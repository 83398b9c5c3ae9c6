"""What an HTTP server costs a call before anybody has done anything for it: CPU time, side by side.

    .venv/bin/python -m benchmarks.servers [--rounds 10] [--seconds 2]

Each server, one worker on uvloop, reads a POST of a chat completion with the headers that clients send, and answers it with
800 bytes of JSON and the headers that ours has, at once: a bare `asyncio.Protocol` over httptools, which keeps to nothing
(the bound); gateway/direct.py; uvicorn and granian with an ASGI application, granian with an RSGI one where it is installed
(`pip install 'granian[uvloop]'`). `wrk` with 32 connections asks them in turns, in a new order each round; a ratio is that of
two in the same round. CPU is user and system time of all processes and threads of a server.
"""

import argparse
import asyncio
import os
import random
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httptools
import psutil
import uvicorn
import uvloop

from gateway import direct
from gateway.kit.outbox import Outbox

SERVERS = ("bare protocol", "ours", "uvicorn ASGI", "granian ASGI", "granian RSGI")
BODY = b'{"id":"chatcmpl-1","object":"chat.completion","choices":[{"message":{"role":"assistant","content":"%b"}}]}' % (
    b"word " * 140
)
HEADERS = {
    "content-type": "application/json",
    "x-request-id": "req_0123456789abcdef0123456789abcdef",
    "openai-processing-ms": "12",
    "openai-organization": "tuneway",
    "openai-version": "2020-10-01",
    "x-tuneway-model": "some-model",
    "x-tuneway-cost-usd": "0.000012",
}
ENCODED = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
WRK = """
wrk.method = "POST"
wrk.path = "/v1/chat/completions"
wrk.headers["content-type"] = "application/json"
wrk.headers["authorization"] = "Bearer sk-svcacct-0123456789abcdefghijklmnopqrstuvwxyzABCDEF"
wrk.headers["user-agent"] = "OpenAI/Python 2.1.0"
wrk.headers["accept"] = "application/json"
wrk.headers["accept-encoding"] = "gzip, deflate"
wrk.headers["x-stainless-lang"] = "python"
wrk.headers["x-stainless-retry-count"] = "0"
wrk.body = '{"model": "some-model", "messages": [{"role": "user", "content": "' .. string.rep("word ", 30) .. '"}]}'
local wrong = 0
local threads = {}
function setup(thread) table.insert(threads, thread) end
function response(status, headers, body)
  if status ~= 200 or #body ~= SIZE then wrong = wrong + 1; wrk.thread:set("wrong", wrong) end
end
function done(summary)
  local errors = summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout
  for _, thread in ipairs(threads) do errors = errors + (thread:get("wrong") or 0) end
  io.write("DONE " .. summary.requests .. " " .. errors .. "\\n")
end
"""


class Bare(asyncio.Protocol):
    """Reads a request and answers it: no pipelining, no time limits, nobody to stop it."""

    HEAD = b"".join(b"%b: %b\r\n" % each for each in [*ENCODED, (b"content-length", b"%d" % len(BODY))])
    ANSWER = b"HTTP/1.1 200 OK\r\ndate: Thu, 01 Jan 1970 00:00:00 GMT\r\n" + HEAD + b"\r\n" + BODY

    def __init__(self) -> None:
        self.parser: Any = httptools.HttpRequestParser(self)
        self.headers: list[tuple[bytes, bytes]] = []
        self.pieces: list[bytes] = []

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_message_begin(self) -> None:
        self.headers, self.pieces = [], []

    def on_url(self, url: bytes) -> None:
        self.url = url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_body(self, body: bytes) -> None:
        self.pieces.append(body)

    def on_message_complete(self) -> None:
        self.task = asyncio.get_running_loop().create_task(self.answer())

    async def answer(self) -> None:
        self.transport.write(self.ANSWER)


async def asgi(scope: Any, receive: Any, send: Any) -> None:
    """An application that reads and answers."""
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        continue
    headers = [*ENCODED, (b"content-length", b"%d" % len(BODY))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": BODY})


class Rsgi:
    """The same for granian's own interface."""

    async def __rsgi__(self, scope: Any, protocol: Any) -> None:
        await protocol()
        protocol.response_bytes(200, list(HEADERS.items()), BODY)


rsgi = Rsgi()


async def _answer(_: Any, __: Any, channel: Any) -> None:
    """In the place of gateway/routes/model_calls.py."""
    await channel.body(1 << 20)
    await channel.send_whole(200, HEADERS, BODY)
    channel.forget()


class Application:
    """As much of gateway.app.App as its protocol looks at."""

    settings = SimpleNamespace(max_body_bytes=1 << 20)
    services = None
    outbox = Outbox()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await asgi(scope, receive, send)


def _serve(name: str, port: int) -> None:
    if name == "bare protocol":
        uvloop.run(_bare(port))
    elif name.startswith("granian"):
        from granian import Granian  # type: ignore[import-not-found]
        from granian.constants import Interfaces, Loops  # type: ignore[import-not-found]

        kind = name.partition(" ")[2].lower()
        interface = Interfaces.RSGI if kind == "rsgi" else Interfaces.ASGINL
        target = f"benchmarks.servers:{kind}"
        Granian(target, port=port, interface=interface, loop=Loops.uvloop, log_enabled=False).serve()
    else:
        direct.answer = _answer  # type: ignore[assignment]
        application = Application() if name == "ours" else asgi
        protocol: Any = direct.DirectProtocol if name == "ours" else "httptools"
        options: dict[str, Any] = {"interface": "asgi3", "loop": "uvloop", "ws": "none", "lifespan": "off"}
        options |= {"proxy_headers": False, "server_header": False, "access_log": False, "log_level": "error"}
        uvicorn.run(application, port=port, http=protocol, **options)


async def _bare(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Bare, "127.0.0.1", port)
    await server.serve_forever()


@contextmanager
def _running(name: str) -> Generator[tuple[psutil.Process, int] | None]:
    """None where it cannot be started: it is not installed."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "benchmarks.servers", "--server", name, "--port", str(port)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        yield (psutil.Process(process.pid), port) if _answers(process, port) else None
    finally:
        process.terminate()
        process.wait()


def _answers(process: "subprocess.Popen[bytes]", port: int) -> bool:
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return True
    return False


def _measure(server: psutil.Process, port: int, script: Path, seconds: int) -> float:
    """CPU seconds of a call."""
    processes = [server, *server.children(recursive=True)]
    before = sum(_cpu(each) for each in processes)
    command = ["wrk", "-t1", "-c32", f"-d{seconds}s", "-s", str(script), f"http://127.0.0.1:{port}"]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    calls, errors = (int(number) for number in said.rpartition("DONE ")[2].split())
    assert errors == 0, said
    return (sum(_cpu(each) for each in processes) - before) / calls


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def _compare(rounds: int, seconds: int, script: Path) -> None:
    found: dict[str, list[float]] = {name: [] for name in SERVERS}
    for number in range(rounds):
        for name in random.sample(SERVERS, len(SERVERS)):
            with _running(name) as running:
                if running is None:
                    print(f"{name} is left out: it does not start")
                    continue
                _measure(*running, script, 1)  # warm
                found[name].append(_measure(*running, script, seconds))
        print(
            f"round {number + 1}:", {name: f"{1e6 * each[-1]:.1f}" for name, each in found.items() if each}, flush=True
        )
    print(f"{rounds} rounds of {seconds} s, load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")
    print("| server | CPU of an empty call | to ours |")
    print("|---|---|---|")
    for name, each in found.items():
        if len(each) == rounds:
            ratio = statistics.median(one / other for one, other in zip(each, found["ours"], strict=True))
            print(
                f"| {name} | {1e6 * statistics.median(each):.1f} µs ({1e6 * min(each):.1f} to {1e6 * max(each):.1f}) | {ratio:.2f} |"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--server", choices=SERVERS, help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.server:
        _serve(arguments.server, arguments.port)
        return
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is not here: apt-get install wrk")
    with tempfile.TemporaryDirectory() as directory:
        script = Path(directory) / "calls.lua"
        script.write_text(f"SIZE = {len(BODY)}\n{WRK}")
        _compare(arguments.rounds, arguments.seconds, script)


if __name__ == "__main__":
    main()
