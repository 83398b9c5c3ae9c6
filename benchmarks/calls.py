"""What a budget and rate limits cost a call: CPU time of the gateway, with and without, side by side.

    .venv/bin/python -m benchmarks.calls [--rounds 300] [--calls 30] [--at-once 8] [--stream]
    .venv/bin/python -m benchmarks.calls --against DIRECTORY     another checkout too, in turns with this one

Starts a PostgreSQL, a Redis and an upstream of its own, and a process with the gateway in it (calls_measured.py), which
is called through ASGI without a socket: what counts is its own CPU time (user and system, all threads), not that of the
upstream or of the databases. Each round makes `--calls` calls of every kind, in a new order each time, `--at-once` at a
time:

    neither         a key without a budget and without limits
    neither again   another such key: how far apart the same thing is measured
    budget          a hard budget on the key and one on its project
    limits          requests and tokens a minute, limited on the key and on its project
    both

A ratio is that of two kinds in the same round; shown are the median of all rounds and its interval of confidence (95 %).
Many short rounds tell more than few long ones: what else the machine does then disturbs both sides of a ratio. `log`
is the time for bringing the exchanges of those calls to the database, which follows half a second later.
"""

import argparse
import json
import math
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tests.fakes.upstream import running_upstream
from tests.servers import start_postgres, start_redis

ROOT = Path(__file__).parents[1]
KINDS = ("neither", "neither again", "budget", "limits", "both")
WARM_UP = 200
PARTS = ("call", "log")
Round = dict[str, dict[str, float]]
"""Kind -> part -> microseconds of CPU for one call."""


def main() -> None:
    arguments = _arguments()
    checkouts = [ROOT, *([arguments.against.resolve()] if arguments.against else [])]
    with ExitStack() as stack:
        upstream = stack.enter_context(running_upstream())
        gateways = [stack.enter_context(_gateway(each, upstream.url, arguments)) for each in checkouts]
        for gateway in gateways:
            _ask(gateway, KINDS, WARM_UP)  # fills caches, opens connections, takes leases
        rounds: list[list[Round]] = [[] for _ in gateways]
        chance, began = random.Random(7), time.perf_counter()
        for _ in range(arguments.rounds):
            order = chance.sample(KINDS, len(KINDS))
            for at in chance.sample(range(len(gateways)), len(gateways)):
                rounds[at].append(_ask(gateways[at], order, arguments.calls))
            upstream.forget()
    print(
        f"{arguments.rounds} rounds of {arguments.calls} calls of a kind in {time.perf_counter() - began:.0f} s;",
        end=" ",
    )
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors, Python {sys.version.split()[0]}")
    for name, found in zip(("this", "the other"), rounds, strict=False):
        _show(name, found)
    if len(rounds) > 1:
        _compare(*rounds)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--calls", type=int, default=30)
    parser.add_argument("--at-once", type=int, default=8)
    parser.add_argument("--stream", action="store_true")
    parser.add_argument("--against", type=Path, default=None)
    return parser.parse_args()


@contextmanager
def _gateway(checkout: Path, upstream: str, arguments: argparse.Namespace) -> Generator[subprocess.Popen[str]]:
    """A process with the code of `checkout`, on databases of its own."""
    with (
        tempfile.TemporaryDirectory(prefix="tuneway-benchmark-") as directory,
        start_postgres(Path(directory) / "postgres") as database,
        start_redis(Path(directory) / "redis") as redis,
    ):
        told = {
            "data_dir": directory, "database": database, "redis": redis, "upstream": upstream,
            "at_once": arguments.at_once, "stream": arguments.stream,
        }  # fmt: skip
        script = Path(__file__).with_name("calls_measured.py")
        process = subprocess.Popen(
            [sys.executable, "-P", str(script), json.dumps(told)],
            env=os.environ | {"PYTHONPATH": str(checkout), "PYTHONHASHSEED": "0"},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
        )  # fmt: skip
        try:
            yield process
        finally:
            process.communicate()  # its input ends, and so does it


def _ask(gateway: subprocess.Popen[str], order: Sequence[str], calls: int) -> Round:
    assert gateway.stdin is not None
    assert gateway.stdout is not None
    gateway.stdin.write(json.dumps({"order": list(order), "calls": calls}) + "\n")
    answer = gateway.stdout.readline()
    if not answer:
        raise RuntimeError("the gateway ended; what it said stands above")
    return json.loads(answer)


def _show(name: str, rounds: Sequence[Round]) -> None:
    print(f"\n{name:16}" + "".join(f"{part:>10}{'ratio to neither':>26}" for part in PARTS))
    for kind in KINDS:
        line = f"{kind:16}"
        for part in PARTS:
            microseconds = statistics.median(each[kind][part] for each in rounds)
            line += (
                f"{microseconds:7.0f} µs{_ratio([(each[kind][part], each['neither'][part]) for each in rounds]):>26}"
            )
        print(line)


def _compare(ours: Sequence[Round], theirs: Sequence[Round]) -> None:
    print(f"\n{'this / the other':16}" + "".join(f"{part:>26}" for part in PARTS))
    for kind in KINDS:
        pairs: Any = list(zip(ours, theirs, strict=True))
        ratios = (_ratio([(one[kind][part], other[kind][part]) for one, other in pairs]) for part in PARTS)
        print(f"{kind:16}" + "".join(f"{each:>26}" for each in ratios))


def _ratio(pairs: Sequence[tuple[float, float]]) -> str:
    """The median, and what it lies between with 95 % confidence (order statistics; nothing is assumed of the noise)."""
    ratios = sorted(one / other for one, other in pairs)
    low = max(0, int(len(ratios) / 2 - 0.98 * math.sqrt(len(ratios))))
    return f"{statistics.median(ratios):.3f} ({ratios[low]:.3f} to {ratios[-1 - low]:.3f})"


if __name__ == "__main__":
    main()
