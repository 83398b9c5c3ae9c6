"""Whether a byte costs the same however many there are: CPU of the gateway by the size of prompts, streams and whole answers.

    .venv/bin/python -m benchmarks.sizes [--seconds 12] [--kinds prompts,streams,answers]

Prompts from 10 kB to 10 MB, streamed answers from 1,000 to 128,000 tokens, whole answers from 10 kB to 10 MB, one call at a time,
each size for `--seconds`, sizes by turns. A cost that is linear is so much for a call and so much for each of its bytes (tokens): both
are fitted (least squares of relative errors, 1 kB and 100 tokens included), and what each size really costs is divided by what it would cost so.
That ratio grows with the size where anything is quadratic. CPU is that of the process that answers calls, and beside it that
of all of the gateway's processes, once its log is in the database. Memory is what the process that answers calls held after that
size. Answers are compared with what the upstream sent.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import uvloop

from benchmarks.gateway import check, cpu
from benchmarks.gateways import Gateway, own_gateway, own_servers
from benchmarks.goals import Reached, table
from benchmarks.lines import answer_of, connect, request_of
from benchmarks.streams import worker_of
from benchmarks.upstream import TEXT, running_upstream
from benchmarks.upstream_shapes import TOKEN

WITHIN = 1.2
"""What a size costs to what it would cost if all bytes cost the same, at most; the other way round, too."""
SMALLEST = {"prompts": 1_000, "streams": 100, "answers": 1_000}
SIZES = {
    "prompts": (10_000, 100_000, 1_000_000, 10_000_000),
    "streams": (1_000, 8_000, 32_000, 128_000),
    "answers": (10_000, 100_000, 1_000_000, 10_000_000),
}
UNITS = {"prompts": "byte", "streams": "token", "answers": "byte"}
ROUNDS = 3
QUIET_SECONDS = 0.5
WORDS = "what a careful reader of this contract would ask "
Check = Callable[[bytes], bool]


@dataclass
class Figures:
    """Of one size: each a round. Seconds a call."""

    worker: list[float] = field(default_factory=list[float])
    everything: list[float] = field(default_factory=list[float])
    clock: list[float] = field(default_factory=list[float])
    memory: int = 0
    """Bytes, at most of all rounds."""


def asked(gateway: Gateway, kind: str, size: int) -> tuple[bytes, Check]:
    """The request, and whether an answer is right."""
    if kind == "prompts":
        content = (WORDS * (size // len(WORDS) + 1))[:size]
        return request_of(gateway, content), lambda body: TEXT.encode() in body
    if kind == "streams":
        request = request_of(gateway, "hello", shape=f"tokens:{size}", stream=True)
        return request, lambda body: body.count(TOKEN.encode()) == size and body.endswith(b"data: [DONE]\n\n")
    request = request_of(gateway, "hello", shape=f"whole:{size}")
    return request, lambda body: (b'"' + (TOKEN * (size // len(TOKEN) + 1))[:size].encode() + b'"') in body


async def calls(gateway: Gateway, request: bytes, is_right: Check, seconds: float) -> tuple[int, float]:
    """So many were made, and how long they took."""
    line, made, took = await connect(gateway), 0, 0.0
    while took < seconds:
        began = time.monotonic()
        body = await answer_of(line, request)
        took += time.monotonic() - began
        made += 1
        assert is_right(body), (len(body), body[:300], body[-300:])
    line.close()
    return made, took


def quiet(processes: list[psutil.Process]) -> None:
    """Return once they hardly do anything: what was to be done after the answers is done."""
    before, now = -1.0, cpu(processes)
    while now - before > QUIET_SECONDS * 0.1:
        time.sleep(QUIET_SECONDS)
        before, now = now, cpu(processes)


def measured(gateway: Gateway, kind: str, size: int, seconds: float, figures: Figures) -> None:
    processes = gateway.processes()
    worker = worker_of(gateway)
    all_before, worker_before = cpu(processes), cpu([worker])
    made, took = uvloop.run(calls(gateway, *asked(gateway, kind, size), seconds))
    figures.worker.append((cpu([worker]) - worker_before) / made)
    figures.clock.append(took / made)
    figures.memory = max(figures.memory, worker.memory_info().rss)
    quiet(processes)
    figures.everything.append((cpu(processes) - all_before) / made)


def by_size(gateway: Gateway, kind: str, arguments: argparse.Namespace) -> Reached:
    sizes = (SMALLEST[kind], *SIZES[kind])
    found = {size: Figures() for size in sizes}
    quiet(gateway.processes())
    for _ in range(ROUNDS):
        for size in sizes:
            measured(gateway, kind, size, arguments.seconds / ROUNDS, found[size])
    return _shown(kind, found)


def _shown(kind: str, found: dict[int, Figures]) -> Reached:
    unit = UNITS[kind]
    worker, everything = (
        Line({size: statistics.median(values(each)) for size, each in found.items()})
        for values in (lambda each: each.worker, lambda each: each.everything)
    )
    print(f"\n| {kind}: {unit}s | by the clock | CPU of the worker | to the line | CPU of all | to the line | memory |")
    print("|---|---|---|---|---|---|---|")
    for size, each in found.items():
        cells = [f"{size:,}", f"{statistics.median(each.clock) * 1000:,.1f} ms"]
        for line in (worker, everything):
            cells += [f"{line.costs[size] * 1e3:,.2f} ms", f"{line.ratio(size):.2f}"]
        print(f"| {' | '.join(cells)} | {each.memory / 2**20:,.0f} MB |")
    said = f"{worker.said(unit)}; with the log's way to the database {everything.said(unit)}"
    what = f"{kind} of {SIZES[kind][0]:,} to {SIZES[kind][-1]:,} {unit}s: CPU of a size to that of a straight line"
    return Reached(what, f"within {WITHIN:.1f}", said, worker.is_straight)


class Line:
    """Seconds for a call and for each of its bytes, fitted to what calls of each size cost.

    `1 = (a + b * size) / cost` is solved for a and b in the sense of least squares.
    """

    def __init__(self, costs: dict[int, float]) -> None:
        self.costs = costs
        rows = [(1 / cost, size / cost) for size, cost in costs.items()]
        aa, ab, bb = (sum(row[i] * row[j] for row in rows) for i, j in ((0, 0), (0, 1), (1, 1)))
        ya, yb = (sum(row[i] for row in rows) for i in (0, 1))
        self.call = (ya * bb - yb * ab) / (aa * bb - ab * ab)
        self.byte = (yb * aa - ya * ab) / (aa * bb - ab * ab)

    def ratio(self, size: int) -> float:
        return self.costs[size] / (self.call + self.byte * size)

    @property
    def is_straight(self) -> bool:
        return all(1 / WITHIN <= self.ratio(size) <= WITHIN for size in self.costs)

    def said(self, unit: str) -> str:
        ratios = [self.ratio(size) for size in self.costs]
        return f"{min(ratios):.2f} to {max(ratios):.2f} at {self.byte * 1e9:,.1f} ns a {unit}"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--kinds", default=",".join(SIZES), help="of sizes: prompts, streams, answers")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=12, help="for each size, in all rounds")
    add_arguments(parser)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tuneway-benchmark-") as directory, ExitStack() as stack:
        url = stack.enter_context(running_upstream())
        gateway = own_gateway(stack, own_servers(stack, Path(directory)), url)
        check(gateway)
        print(table([by_size(gateway, kind, arguments) for kind in arguments.kinds.split(",")]))


if __name__ == "__main__":
    main()
