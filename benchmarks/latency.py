"""What the gateway adds to the latency of a call, at a constant rate: beside direct calls, in one run.

    .venv/bin/python -m benchmarks.latency [--rate 0] [--share 0.5] [--seconds 6] [--rounds 5]

Calls are due at a constant rate by a timer of the kernel, nine through the gateway and then one directly to the upstream, so that what makes the
calls leaves the processors to who answers them; one that is due is sent on a free connection, or on the first that becomes free. Its latency counts from when it was due, whether or not anything was
ready for it: a gateway that stands still for 100 ms delays every call that was due meanwhile, and all of them count (no coordinated omission).
The rate of calls through the gateway is `--share` of what wrk measures at 32 connections just before, or `--rate`. What is added is the difference
of the percentiles of both kinds in the same round. Every answer is checked.
"""

import argparse
import asyncio
import ctypes
import os
import statistics
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import uvloop

from benchmarks.gateway import PROMPT, beside_a_direct_one, measure
from benchmarks.gateways import Gateway
from benchmarks.goals import Reached, percentile, table
from benchmarks.lines import Line, connect, request_of
from benchmarks.upstream import TEXT

CONNECTIONS = 64
"""Of each kind: more than are ever busy, unless something stands still."""
TURNS = (0, 0, 0, 0, 0, 0, 0, 0, 0, 1)
"""Which kind is asked."""
WARM_UP_SECONDS = 1.0
CLOCK_MONOTONIC, AT_A_TIME, NON_BLOCKING = 1, 1, 0o4000
GOALS_MS = {"p50": 1.0, "p99": 5.0}


class _Times(ctypes.Structure):
    """struct itimerspec."""

    _fields_ = (
        ("every_s", ctypes.c_long),
        ("every_ns", ctypes.c_long),
        ("at_s", ctypes.c_long),
        ("at_ns", ctypes.c_long),
    )


def kernel_timer(first: int, interval: int) -> int:
    """A file that can be read whenever one is due. Event loops' own timers know milliseconds only.

    Args: nanoseconds of the monotonic clock, and between two.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    file = libc.timerfd_create(CLOCK_MONOTONIC, NON_BLOCKING)
    times = _Times(*divmod(interval, 10**9), *divmod(first, 10**9))
    if file < 0 or libc.timerfd_settime(file, AT_A_TIME, ctypes.byref(times), None):
        raise OSError(ctypes.get_errno(), "timerfd")
    return file


@dataclass
class Kind:
    """Calls of one kind: their connections, those that are due, and how long each took."""

    gateway: Gateway
    request: bytes
    free: deque[Line] = field(default_factory=deque[Line])
    due: deque[int] = field(default_factory=deque[int])
    times: list[float] = field(default_factory=list[float])
    """Milliseconds."""
    asked: int = 0
    wrong: list[str] = field(default_factory=list[str])

    async def connect(self) -> None:
        for _ in range(CONNECTIONS):
            line = await connect(self.gateway)
            line.heard = self._check
            self.free.append(line)

    def ask(self, due: int) -> None:
        self.asked += 1
        if self.free:
            self._send(self.free.popleft(), due)
        else:
            self.due.append(due)

    def _send(self, line: Line, due: int) -> None:
        line.answered = lambda line: self._answered(line, due)
        line.ask(self.request)

    def _answered(self, line: Line, due: int) -> None:
        self.times.append((time.monotonic_ns() - due) / 1e6)
        if line.status != 200:
            self.wrong.append(f"status {line.status}")
        if self.due:
            self._send(line, self.due.popleft())
        else:
            self.free.append(line)

    def _check(self, body: bytes) -> None:
        if TEXT.encode() not in body:
            self.wrong.append(body.decode(errors="replace"))


async def at_constant_rate(kinds: Sequence[Kind], rate: float, seconds: float) -> None:
    """Ask for the first kind so often a second, for the other between, and wait for the answers; the first second is not counted."""
    interval = int(1e9 / rate * TURNS.count(0) / len(TURNS))
    first = time.monotonic_ns() + 50_000_000
    file = kernel_timer(first, interval)
    warm, total = (int(each * 1e9 / interval) for each in (WARM_UP_SECONDS, WARM_UP_SECONDS + seconds))
    made = 0
    over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def tick() -> None:
        nonlocal made
        for _ in range(int.from_bytes(os.read(file, 8), "little")):
            if made < total:
                kinds[TURNS[made % len(TURNS)]].ask(first + made * interval)
                made += 1
        if made >= total and not over.done():
            over.set_result(None)

    asyncio.get_running_loop().add_reader(file, tick)
    try:
        await over
        async with asyncio.timeout(60):
            while any(len(kind.times) < kind.asked for kind in kinds):  # noqa: ASYNC110 as long as answers come
                await asyncio.sleep(0.01)
    finally:
        asyncio.get_running_loop().remove_reader(file)
        os.close(file)
    for number, kind in enumerate(kinds):
        assert not kind.wrong, (kind.gateway.name, len(kind.wrong), kind.wrong[:3])
        del kind.times[: warm * TURNS.count(number) // len(TURNS)]


async def one_round(gateways: Sequence[Gateway], rate: float, seconds: float) -> list[list[float]]:
    """Milliseconds of every call, of each of them."""
    kinds = [Kind(each, request_of(each, PROMPT)) for each in gateways]
    for kind in kinds:
        await kind.connect()
    await at_constant_rate(kinds, rate, seconds)
    for kind in kinds:
        for line in kind.free:
            line.close()
    return [kind.times for kind in kinds]


def compare(own: Gateway, other: Gateway, place: Path, arguments: argparse.Namespace) -> list[Reached]:
    rate = arguments.rate or arguments.share * measure(own, "whole", 32, place, 3).speed
    found: dict[str, list[float]] = {"p50": [], "p99": []}
    print(
        f"\n{rate:,.0f} calls a second through the gateway\n\n| round | through the gateway, p50 | p99 | direct, p50 | p99 |\n|---|---|---|---|---|"
    )
    for number in range(arguments.rounds):
        through, straight = uvloop.run(one_round([own, other], rate, arguments.seconds))
        row = [percentile(times, percent) for times in (through, straight) for percent in (50, 99)]
        print(f"| {number + 1} | " + " | ".join(f"{each:.2f} ms" for each in row) + " |")
        found["p50"].append(row[0] - row[2])
        found["p99"].append(row[1] - row[3])
    return [_reached(name, values, rate) for name, values in found.items()]


def _reached(name: str, values: list[float], rate: float) -> Reached:
    middle = statistics.median(values)
    said = f"{middle:.2f} ms at {rate:,.0f} calls a second (rounds: {min(values):.2f} to {max(values):.2f})"
    return Reached(f"latency added at half load, {name}", f"under {GOALS_MS[name]:g} ms", said, middle < GOALS_MS[name])


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--rate", type=float, default=0.0, help="calls a second through the gateway; 0: --share of the most"
    )
    parser.add_argument("--share", type=float, default=0.5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=6)
    parser.add_argument("--rounds", type=int, default=5)
    add_arguments(parser)
    arguments = parser.parse_args()
    with beside_a_direct_one(arguments) as (own, other, place):
        print(table(compare(own, other, place, arguments)))


if __name__ == "__main__":
    main()
