"""Which HTTP client the gateway should send through: CPU time of a call, side by side.

    .venv/bin/python -m benchmarks.clients [--rounds 20] [--calls 2000] [--at-once 32]

Ours (gateway/upstreams/http), aiohttp, and httpx2 and pyreqwest where they are installed (`pip install httpx2 pyreqwest`),
each in a process of its own on uvloop, call the same upstream (benchmarks/upstream.py): whole replies, and streams of 24
events that come in one write. They take turns within each round; a ratio is that of two in the same round. CPU is user and
system time of the whole process, threads of libraries too.
"""

import argparse
import asyncio
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import uvloop

from benchmarks.upstream import EVENTS, WHOLE, running_upstream

CLIENTS = ("ours", "aiohttp", "httpx2", "pyreqwest")
BODY = {"model": "m", "messages": [{"role": "user", "content": "word " * 30}]}
HEADERS = {"content-type": "application/json", "x-request-id": "req_1", "authorization": "Bearer sk-benchmark"}
SIZES = {False: len(WHOLE.partition(b"\r\n\r\n")[2]), True: sum(map(len, EVENTS))}
Post = Callable[[str, bytes], Awaitable[int]]
"""Makes a call and reads its reply as it comes; how many bytes that were."""


@asynccontextmanager
async def _ours() -> AsyncGenerator[Post]:
    from gateway.settings import TimeoutSettings
    from gateway.upstreams.client import UpstreamClient, Way

    client, way = UpstreamClient(TimeoutSettings()), Way({"authorization": HEADERS["authorization"]})

    async def post(url: str, body: bytes) -> int:
        reply = await client.post("benchmark", url, body, request_id="req_1", way=way)
        if not reply.is_stream:
            return len(await reply.read())
        return sum([len(piece) async for piece in reply.chunks()])

    yield post
    client.close()


@asynccontextmanager
async def _aiohttp() -> AsyncGenerator[Post]:
    import aiohttp

    limits = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=600)
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0), timeout=limits, cookie_jar=aiohttp.DummyCookieJar()
    ) as session:

        async def post(url: str, body: bytes) -> int:
            reply = await session.post(url, data=body, headers=HEADERS)
            if reply.content_type != "text/event-stream":
                return len(await reply.read())
            size = 0
            while piece := await reply.content.readany():
                size += len(piece)
            return size

        yield post


@asynccontextmanager
async def _httpx2() -> AsyncGenerator[Post]:
    import httpx2  # type: ignore[import-not-found]

    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx2.AsyncClient(limits=limits, timeout=600) as session:

        async def post(url: str, body: bytes) -> int:
            async with session.stream("POST", url, content=body, headers=HEADERS) as reply:
                return sum([len(piece) async for piece in reply.aiter_raw()])

        yield post


@asynccontextmanager
async def _pyreqwest() -> AsyncGenerator[Post]:
    from pyreqwest.client import ClientBuilder  # type: ignore[import-not-found]

    async with ClientBuilder().build() as session:

        async def post(url: str, body: bytes) -> int:
            request = session.post(url).headers(HEADERS).body_bytes(body)
            async with request.build_streamed() as reply:
                size = 0
                while piece := await reply.body_reader.read_chunk():
                    size += len(piece)
                return size

        yield post


OPEN: dict[str, Any] = {"ours": _ours, "aiohttp": _aiohttp, "httpx2": _httpx2, "pyreqwest": _pyreqwest}


async def _client(name: str, url: str, at_once: int) -> None:
    """Reads `{"calls": n, "stream": b}` from its input, a line for each round; answers with seconds."""
    async with AsyncExitStack() as stack:
        post: Post = await stack.enter_async_context(OPEN[name]())
        while line := await asyncio.to_thread(sys.stdin.readline):
            wanted = json.loads(line)
            body = json.dumps(BODY | {"stream": wanted["stream"]}).encode()
            left = iter(range(wanted["calls"]))
            began, before = time.perf_counter(), _cpu()

            async def call_on(left: Any = left, body: bytes = body, size: int = SIZES[wanted["stream"]]) -> None:
                for _ in left:
                    assert await post(f"{url}/chat/completions", body) == size

            await asyncio.gather(*(call_on() for _ in range(at_once)))
            print(json.dumps({"cpu": _cpu() - before, "clock": time.perf_counter() - began}), flush=True)


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--calls", type=int, default=2000)
    parser.add_argument("--at-once", type=int, default=32)
    parser.add_argument("--client", help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.client:
        uvloop.run(_client(arguments.client, arguments.url, arguments.at_once))
        return
    with running_upstream() as url:
        _compare(url, arguments)


def _compare(url: str, arguments: argparse.Namespace) -> None:
    running = {name: process for name in CLIENTS if (process := _start(name, url, arguments)) is not None}
    found: dict[tuple[str, bool], list[dict[str, float]]] = {}
    try:
        for _ in range(arguments.rounds):
            for stream in (False, True):
                for name in random.sample(list(running), len(running)):
                    told = _ask(running[name], calls=arguments.calls, stream=stream)
                    assert told is not None, name
                    found.setdefault((name, stream), []).append(told)
    finally:
        for process in running.values():
            process.communicate()
    print(f"{arguments.rounds} rounds of {arguments.calls} calls, {arguments.at_once} at once,", end=" ")
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")
    print("| client | CPU of a whole reply | to ours | calls a second | CPU of a stream | to ours | streams a second |")
    print("|---|---|---|---|---|---|---|")
    for name in running:
        cells = [cell for stream in (False, True) for cell in _cells(found, name, stream, arguments.calls)]
        print(f"| {name} | {' | '.join(cells)} |")


def _cells(found: dict[tuple[str, bool], list[dict[str, float]]], name: str, stream: bool, calls: int) -> list[str]:
    own, ours = found[name, stream], found["ours", stream]
    cpu = statistics.median(each["cpu"] for each in own) / calls * 1e6
    ratio = statistics.median(one["cpu"] / other["cpu"] for one, other in zip(own, ours, strict=True))
    speed = calls / statistics.median(each["clock"] for each in own)
    return [f"{cpu:.0f} µs", f"{ratio:.2f}", f"{speed:,.0f}"]


def _start(name: str, url: str, arguments: argparse.Namespace) -> "subprocess.Popen[str] | None":
    command = [sys.executable, "-m", "benchmarks.clients", "--client", name, "--url", url]
    command += ["--at-once", str(arguments.at_once)]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    if _ask(process, calls=200, stream=False) is not None and _ask(process, calls=200, stream=True) is not None:
        return process
    print(f"{name} is left out: {process.communicate()[1].strip().splitlines()[-1:]}")
    return None


def _ask(process: "subprocess.Popen[str]", **wanted: Any) -> dict[str, float] | None:
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(json.dumps(wanted) + "\n")
        process.stdin.flush()
    except BrokenPipeError:
        return None
    line = process.stdout.readline()
    return json.loads(line) if line else None


if __name__ == "__main__":
    main()
