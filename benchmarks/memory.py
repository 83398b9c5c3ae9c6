"""How long a gateway takes to start, how much memory it takes, and whether that grows with the calls.

    .venv/bin/python -m benchmarks.memory [--calls 1000000] [--slice 5] [--starts 5] [--stream]

`tuneway gateway` with one worker, with PostgreSQL, Redis and an upstream of their own (benchmarks/gateways.py). Started `--starts`
times: from the start of the process to the first answer of /health, to the first answer of a model, and until the console
and the rest of the API are there too. Then `wrk` calls it, and after each slice of so many seconds the memory of its processes is
read: RSS counts every page that is there, PSS shares pages among their processes, USS counts those that are nobody else's.
The slope is that of a line through the second half of the slices. By the clock, other work on the machine counts.
"""

import argparse
import json
import os
import subprocess
import tempfile
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil

from benchmarks.gateway import PROMPT, WRK
from benchmarks.gateways import Gateway, ours
from benchmarks.upstream import running_upstream

HOT_CONNECTIONS = 16
CONSOLE = "/console/sign-in"


@dataclass(frozen=True, slots=True)
class Started:
    """Seconds from the start of the process."""

    health: float
    model: float
    rest: float
    cpu: float
    """Of its processes until the model answered, in seconds."""


def main() -> None:
    arguments = _arguments()
    with ExitStack() as stack, tempfile.TemporaryDirectory(prefix="tuneway-benchmark-") as directory:
        url, place = stack.enter_context(running_upstream()), Path(directory)
        gateway = ours(stack, place, url, argparse.Namespace())
        last = arguments.starts - 1
        starts = [_start_again(stack, gateway, place, show=number == last) for number in range(arguments.starts)]
        for name in ("health", "model", "rest", "cpu"):
            told = " ".join(f"{getattr(each, name):.2f}" for each in starts)
            print(f"{name:8} {told} s")
        _call(gateway, place, arguments)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=1_000_000)
    parser.add_argument("--slice", type=int, default=5)
    parser.add_argument("--starts", type=int, default=5)
    parser.add_argument("--stream", action="store_true")
    return parser.parse_args()


def _start_again(stack: ExitStack, gateway: Gateway, place: Path, *, show: bool) -> Started:
    """The same command, environment and port; the one that ran before is stopped."""
    before = gateway.process
    assert before is not None
    before.terminate()
    before.wait(40)
    with (place / "again.log").open("ab") as log:
        began = time.perf_counter()
        gateway.process = process = subprocess.Popen(
            gateway.command, env=os.environ | gateway.environment, stdout=log, stderr=log
        )
    stack.callback(_stop, process)
    root = gateway.url.split("/v1/")[0]
    health = _until(lambda: httpx.get(f"{root}/health", timeout=30)) - began
    model = _until(lambda: _ask(gateway)) - began
    cpu = sum(sum(each.cpu_times()[:2]) for each in gateway.processes())
    if show:
        _show_memory("model calls are answered", gateway)
    rest = _until(lambda: httpx.get(root + CONSOLE, timeout=30)) - began
    if show:
        _show_memory("and the console and the rest of the API", gateway)
    return Started(health, model, rest, cpu)


def _until(ask: Any) -> float:
    """When it was first answered well."""
    while True:
        with suppress(httpx.TransportError):
            if ask().status_code == 200:
                return time.perf_counter()
        time.sleep(0.005)


def _ask(gateway: Gateway, *, stream: bool = False) -> httpx.Response:
    body = {"model": gateway.model, "stream": stream, "messages": [{"role": "user", "content": PROMPT}]}
    return httpx.post(gateway.url, json=body, headers=gateway.headers, timeout=30)


def _call(gateway: Gateway, place: Path, arguments: argparse.Namespace) -> None:
    script, body = place / "memory.lua", {"model": "m", "stream": arguments.stream}
    body |= {"messages": [{"role": "user", "content": PROMPT}]}
    named = "".join(f'wrk.headers["{name}"] = "{value}"\n' for name, value in gateway.headers.items())
    named += 'wrk.headers["content-type"] = "application/json"'
    mark = "[DONE]" if arguments.stream else "seventeen"
    script.write_text(WRK.format(body=json.dumps(body), headers=named, mark=mark))
    command = ["wrk", "-t1", f"-c{HOT_CONNECTIONS}", f"-d{arguments.slice}s", "-s", str(script), gateway.url]
    calls, points = 0, list[tuple[int, list[float]]]()
    print("\ncalls      " + "".join(f"{name:>30}" for name in _names(gateway)) + "    (PSS / USS, MB)")
    while calls < arguments.calls:
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        told = json.loads(next(line for line in said.splitlines() if line.startswith("RESULT")).removeprefix("RESULT "))
        assert not told["errors"], told
        assert not told["wrong"], told
        calls += told["requests"]
        sizes = [each.memory_full_info() for each in gateway.processes()]
        points.append((calls, [size.uss / 2**20 for size in sizes]))
        print(
            f"{calls:9,}  " + "".join(f"{size.pss / 2**20:21.1f} /{size.uss / 2**20:7.1f}" for size in sizes),
            flush=True,
        )
    _show_slopes(gateway, points[len(points) // 2 :])


def _names(gateway: Gateway) -> list[str]:
    return [f"{_what(each)} {each.pid}" for each in gateway.processes()]


def _what(process: psutil.Process) -> str:
    words = process.cmdline()
    return words[words.index("-m") + 1] if "-m" in words else process.name()


def _show_memory(when: str, gateway: Gateway) -> None:
    print(f"{when}:")
    for each in gateway.processes():
        size = each.memory_full_info()
        rss, pss, uss = (number / 2**20 for number in (size.rss, size.pss, size.uss))
        print(f"  {_what(each):24} RSS {rss:6.1f} MB   PSS {pss:6.1f} MB   USS {uss:6.1f} MB")


def _show_slopes(gateway: Gateway, points: list[tuple[int, list[float]]]) -> None:
    if len(points) < 3:
        return
    print("\nMB of USS for 100,000 calls, second half:")
    for number, name in enumerate(_names(gateway)):
        xs, ys = [calls / 1e5 for calls, _ in points], [sizes[number] for _, sizes in points]
        middle, level = sum(xs) / len(xs), sum(ys) / len(ys)
        spread = sum((x - middle) ** 2 for x in xs)
        print(f"  {name:30} {sum((x - middle) * (y - level) for x, y in zip(xs, ys, strict=True)) / spread:+.3f}")


def _stop(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is None:
        process.terminate()
        process.wait(40)


if __name__ == "__main__":
    main()
