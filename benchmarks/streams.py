"""How long a token takes through the gateway while many answers are streamed at once, and what that costs.

    .venv/bin/python -m benchmarks.streams [--streams 200] [--pace 20] [--seconds 10] [--rounds 3]

The upstream sends each token with the time at which it does so, 50 a second in each stream; whoever reads it looks at the same clock of the
same machine. The streams begin one after the other, so that their tokens are spread over time. Beside them run a few streams
directly to the upstream: what those show is not the gateway's. CPU is what all of the gateway's processes used for these tokens, in shares of
one core for the time that they should take; where it is late, it is held against the same time. Every stream must have all its tokens, in
order, and its end.
"""

import argparse
import asyncio
import re
import statistics
import time
from dataclasses import dataclass

import psutil
import uvloop

from benchmarks.gateway import PROMPT, beside_a_direct_one, cpu
from benchmarks.gateways import Gateway
from benchmarks.goals import Reached, median_and_range, percentile, table
from benchmarks.lines import connect, request_of

DIRECT = 20
"""Streams that pass the gateway by."""
GOAL_MS, GOAL_CORE = 5.0, 0.6
STAMP = re.compile(rb'"content": ?"(\d{19})"')


@dataclass
class Listener:
    """Reads one stream. Delays are milliseconds."""

    delays: list[float]
    stamps: list[int]
    end: bytes = b""

    def heard(self, piece: bytes) -> None:
        now = time.monotonic_ns()
        for found in STAMP.findall(self.end + piece):
            self.stamps.append(int(found))
            self.delays.append((now - self.stamps[-1]) / 1e6)
        self.end = (self.end + piece)[-20:]  # shorter than what STAMP finds: nothing is found twice


@dataclass(frozen=True)
class Round:
    """Of one gateway."""

    delays: list[float]
    core: float
    """CPU seconds for a second's tokens, of all its processes."""
    worker: float
    """Of the process that answers calls."""


async def listen(gateway: Gateway, request: bytes, tokens: int, after: float) -> list[float]:
    await asyncio.sleep(after)
    line, listener = await connect(gateway), Listener([], [])
    done = asyncio.get_running_loop().create_future()
    line.heard = listener.heard
    line.answered = lambda _: done.set_result(None)
    line.ask(request)
    await done
    line.close()
    assert line.status == 200, line.status
    assert len(listener.stamps) == tokens, (gateway.name, len(listener.stamps), tokens)
    assert listener.stamps == sorted(listener.stamps)
    assert listener.end.endswith(b"data: [DONE]\n\n"), listener.end
    return listener.delays


async def one_round(own: Gateway, other: Gateway, arguments: argparse.Namespace) -> tuple[Round, list[float]]:
    tokens, pace = int(arguments.seconds * 1000 / arguments.pace), arguments.pace / 1000
    shape = f"stamped:{tokens}:{arguments.pace}"
    through, straight = (request_of(each, PROMPT, shape=shape, stream=True) for each in (own, other))
    places = [(own, through)] * arguments.streams + [(other, straight)] * DIRECT
    spread = [number * pace / len(places) * 7 for number in range(len(places))]  # several tokens apart, and between
    processes = own.processes()
    worker = worker_of(own)
    before, worker_before = cpu(processes), cpu([worker])
    found = await asyncio.gather(
        *(listen(gateway, request, tokens, after) for (gateway, request), after in zip(places, spread, strict=True))
    )
    delays = [each for one in found[: arguments.streams] for each in one]
    core, of_worker = (
        (now - then) / arguments.seconds for now, then in ((cpu(processes), before), (cpu([worker]), worker_before))
    )
    return Round(delays, core, of_worker), [each for one in found[arguments.streams :] for each in one]


def worker_of(gateway: Gateway) -> psutil.Process:
    """The process that answers calls; of several the one that has done so most."""
    return max(
        (each for each in gateway.processes() if "deploy.gateway_worker" in each.cmdline()),
        key=lambda each: cpu([each]),
    )


def relay(own: Gateway, other: Gateway, arguments: argparse.Namespace) -> list[Reached]:
    rounds: list[Round] = []
    print(f"\n{arguments.streams} streams, a token each {arguments.pace} ms\n")
    print(
        "| round | a token through the gateway, p50 | p99 | directly, p50 | p99 | CPU, all processes | the worker |\n|---|---|---|---|---|---|---|"
    )
    for number in range(arguments.rounds):
        measured, straight = uvloop.run(one_round(own, other, arguments))
        rounds.append(measured)
        cells = [percentile(times, percent) for times in (measured.delays, straight) for percent in (50, 99)]
        times = " | ".join(f"{each:.2f} ms" for each in cells)
        print(f"| {number + 1} | {times} | {measured.core:.2f} | {measured.worker:.2f} |")
    late = [percentile(each.delays, 99) for each in rounds]
    what = f"{arguments.streams} streams x {1000 / arguments.pace:g} tokens/s: "
    cores = [each.core for each in rounds]
    return [
        Reached(
            what + "a token relayed, p99", f"under {GOAL_MS:g} ms", f"{median_and_range(late)} ms",
            statistics.median(late) < GOAL_MS,
        ),
        Reached(
            what + "CPU", f"at most {GOAL_CORE} of a core", median_and_range(cores),
            statistics.median(cores) <= GOAL_CORE,
        ),
    ]  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--streams", type=int, default=200)
    parser.add_argument("--pace", type=int, default=20, help="milliseconds between two tokens of a stream")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    add_arguments(parser)
    arguments = parser.parse_args()
    with beside_a_direct_one(arguments) as (own, other, _):
        print(table(relay(own, other, arguments)))


if __name__ == "__main__":
    main()
