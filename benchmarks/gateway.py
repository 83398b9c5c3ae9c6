"""Throughput and streams of this gateway beside its peers, in one run.

    .venv/bin/python -m benchmarks.gateway [--rounds 3] [--seconds 6] [--only ours,nginx] [--json FILE]

Everything runs on this machine: one upstream (benchmarks/upstream.py), one worker of each gateway, and `wrk` (Debian package
`wrk`, one thread) in turns, in a new order each round. A ratio is ours to another's in the same round; shown is the median of the rounds.
CPU is that of the gateway's processes alone, a call. Ours has everything switched on: key, route, a hard budget on key and
project, limits of requests and tokens on both, metering, the durable log and what brings it to PostgreSQL meanwhile. Peers have
their accounting off, which they were measured without (LiteLLM needs a database that PyPI does not have).

`ours twice` has two workers, as many processors as vllm-router and TensorZero take. `bare` is a Python gateway that does nothing of all this (benchmarks/bare_gateway.py): what is between it and ours is what ours does.

Every reply is checked by wrk for its status and its end, and some by this process for all of it.

Peers, each left out with the command that brings it where it is not here:
    nginx          apt-get install nginx-light
    vllm-router    pip install --target DIR vllm-router==0.1.17        (--peers DIR/bin/..., see below)
    tensorzero     pip install tensorzero==2026.6.0
    portkey        npm install @portkey-ai/gateway@1.15.2 with overrides {"@hono/node-server": "1.13.8", "hono": "4.9.7"}
    litellm        see docs/performance.md
`--peers DIR` is a virtual environment with the first ones, `--portkey DIR` a folder with its node_modules.
"""

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import tempfile
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil

from benchmarks.gateways import (
    Gateway,
    Started,
    bare,
    direct,
    litellm,
    nginx,
    ours,
    ours_twice,
    own_gateway,
    own_servers,
    portkey,
    tensorzero,
    vllm_router,
)
from benchmarks.upstream import TEXT, running_upstream

WRK = """
wrk.method = "POST"
wrk.body = [[{body}]]
{headers}
local wrong = 0
function response(status, headers, body)
  if status ~= 200 or not string.find(body, "{mark}", 1, true) then wrong = wrong + 1; wrk.thread:set("wrong", wrong) end
end
function setup(thread) thread:set("wrong", 0); threads = threads or {{}}; table.insert(threads, thread) end
function done(summary, latency, requests)
  local sum = 0
  for _, thread in ipairs(threads) do sum = sum + thread:get("wrong") end
  io.write(string.format('RESULT {{"requests": %d, "seconds": %f, "errors": %d, "wrong": %d, "p50": %f, "p99": %f}}\\n',
    summary.requests, summary.duration / 1e6, summary.errors.connect + summary.errors.read + summary.errors.timeout,
    sum, latency:percentile(50) / 1000, latency:percentile(99) / 1000))
end
"""
PROMPT = "What would a careful reader ask before signing?"
KINDS = {"whole": 32, "stream": 8}
"""Kind of call -> connections."""
Start = Callable[[ExitStack, Path, str, argparse.Namespace], Started]
PEERS: tuple[Start, ...] = (ours_twice, nginx, bare, vllm_router, tensorzero, portkey, litellm)


@dataclass
class Measured:
    """Of one gateway, one kind of call, one round."""

    speed: float
    """Calls a second."""
    p50: float
    p99: float
    """Milliseconds."""
    cpu: float
    """Microseconds a call."""
    memory: float
    """MB, all processes of the gateway."""


@dataclass
class Results:
    rounds: dict[tuple[str, str], list[Measured]] = field(default_factory=dict)

    def add(self, name: str, kind: str, measured: Measured) -> None:
        self.rounds.setdefault((name, kind), []).append(measured)

    def median(self, name: str, kind: str, value: Callable[[Measured], float]) -> float:
        return statistics.median(map(value, self.rounds[name, kind]))

    def ratio(self, name: str, kind: str) -> float:
        pairs = zip(self.rounds["ours", kind], self.rounds[name, kind], strict=True)
        return statistics.median(own.speed / other.speed for own, other in pairs)


def main() -> None:
    arguments = _arguments()
    with tempfile.TemporaryDirectory(prefix="tuneway-benchmark-") as directory, ExitStack() as stack:
        url, place = stack.enter_context(running_upstream()), Path(directory)
        running = started(stack, place, url, arguments, (direct, ours, *PEERS))
        show(side_by_side(running, place, arguments), running, arguments)


def started(
    stack: ExitStack, place: Path, url: str, arguments: argparse.Namespace, starts: Sequence[Start]
) -> list[Gateway]:
    """Those that are here and were asked for; their replies are right."""
    running: list[Gateway] = []
    for start in starts:
        if arguments.only and start.__name__ not in arguments.only.split(","):
            continue
        gateway = start(stack, place, url, arguments)
        if isinstance(gateway, str):
            print(f"{start.__name__} is left out: {gateway}")
        else:
            check(gateway)
            running.append(gateway)
    return running


def side_by_side(running: Sequence[Gateway], place: Path, arguments: argparse.Namespace) -> Results:
    """Each kind of call, each gateway in turn, in another order each round."""
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is not here: apt-get install wrk")
    results = Results()
    for number in range(arguments.rounds):
        first = number % len(running)
        for kind, connections in KINDS.items():
            for gateway in (*running[first:], *running[:first]):
                results.add(gateway.name, kind, measure(gateway, kind, connections, place, int(arguments.seconds)))
    return results


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=6)
    add_arguments(parser)
    return parser.parse_args()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where peers are."""
    parser.add_argument("--only", default="")
    parser.add_argument("--peers", type=Path, default=None)
    parser.add_argument("--portkey", type=Path, default=None)
    parser.add_argument("--litellm", type=Path, default=None)


@contextmanager
def beside_a_direct_one(arguments: argparse.Namespace) -> Generator[tuple[Gateway, Gateway, Path]]:
    """One of ours, the upstream itself, and a place for files. The replies of both are right."""
    with tempfile.TemporaryDirectory(prefix="tuneway-benchmark-") as directory, ExitStack() as stack:
        url, place = stack.enter_context(running_upstream()), Path(directory)
        own, other = own_gateway(stack, own_servers(stack, place), url), direct(stack, place, url, arguments)
        assert isinstance(other, Gateway)
        for each in (own, other):
            check(each)
        yield own, other, place


def body_of(gateway: Gateway, *, stream: bool) -> dict[str, Any]:
    return {"model": gateway.model, "stream": stream, "messages": [{"role": "user", "content": PROMPT}]}


def check(gateway: Gateway) -> None:
    """Both kinds of reply are the upstream's own, whole."""
    with httpx.Client(timeout=30, headers=gateway.headers) as client:
        whole = client.post(gateway.url, json=body_of(gateway, stream=False))
        assert whole.status_code == 200, (gateway.name, whole.text)
        assert whole.json()["choices"][0]["message"]["content"] == TEXT, (gateway.name, whole.text)
        streamed = client.post(gateway.url, json=body_of(gateway, stream=True))
        words = [
            choice["delta"].get("content") or ""
            for line in streamed.text.splitlines()
            if line.startswith("data: {")
            for choice in json.loads(line[6:])["choices"]
        ]
        assert "".join(words) == "".join(f"word{n} " for n in range(20)), (gateway.name, streamed.text)


def measure(gateway: Gateway, kind: str, connections: int, place: Path, seconds: int) -> Measured:
    stream = kind == "stream"
    headers = "".join(f'wrk.headers["{name}"] = "{value}"\n' for name, value in gateway.headers.items())
    body, mark = json.dumps(body_of(gateway, stream=stream)), "[DONE]" if stream else "seventeen"
    script = place / "call.lua"
    script.write_text(
        WRK.format(body=body, headers=headers + 'wrk.headers["content-type"] = "application/json"', mark=mark)
    )
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", "-s", str(script), gateway.url]
    before = cpu(gateway.processes())
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    used = cpu(gateway.processes()) - before
    found = re.search(r"RESULT (\{.*\})", said)
    assert found, said
    told = json.loads(found[1])
    assert not told["errors"], (gateway.name, told)
    assert not told["wrong"], (gateway.name, told)
    memory = sum(each.memory_info().rss for each in gateway.processes()) / 2**20
    return Measured(told["requests"] / told["seconds"], told["p50"], told["p99"], used / told["requests"] * 1e6, memory)


def cpu(processes: list[psutil.Process]) -> float:
    """Seconds."""
    return sum(times.user + times.system for each in processes for times in [each.cpu_times()])


def show(results: Results, running: Sequence[Gateway], arguments: argparse.Namespace) -> None:
    print(f"\n{arguments.rounds} rounds of {arguments.seconds} s each, load average {os.getloadavg()[0]:.1f}", end=" ")
    print(f"on {os.cpu_count()} processors")
    for kind, connections in KINDS.items():
        print(f"\n| {kind}, c={connections} | calls a second | ours to it | p50 | p99 | CPU a call | memory |")
        print("|---|---|---|---|---|---|---|")
        for gateway in running:
            ratio = f"{results.ratio(gateway.name, kind):.2f}" if ("ours", kind) in results.rounds else ""
            speed = results.median(gateway.name, kind, lambda each: each.speed)
            p50 = results.median(gateway.name, kind, lambda each: each.p50)
            p99 = results.median(gateway.name, kind, lambda each: each.p99)
            cpu = results.median(gateway.name, kind, lambda each: each.cpu)
            memory = results.median(gateway.name, kind, lambda each: each.memory)
            print(
                f"| {gateway.name} | {speed:,.0f} | {ratio} | {p50:.2f} ms | {p99:.2f} ms | {cpu:.0f} µs | {memory:.0f} MB |"
            )


if __name__ == "__main__":
    main()
