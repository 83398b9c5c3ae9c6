"""All goals of the hot path in one run, on one machine: "goal / reached", and how each was measured.

    .venv/bin/python -m benchmarks.hot_path [--peers DIR] [--portkey DIR] [--litellm DIR] [--rounds 3] [--seconds 6] [--parts ...]

Everything is switched on (benchmarks/gateways.py): key check, route, budgets, rate limits, metering, the durable log and its way to
PostgreSQL. Parts, each a program of its own with more to say: peers (benchmarks/gateway.py, which tells how they are installed), latency,
streams, sizes, log, workers. What one gateway holds after all of them is told at the end. Where peers are not
here, their lines are left out. The machine should have nothing else to do: the load average is told, and above 1.5 before anything is
started the figures say little.
"""

import argparse
import os
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks import gateway as peers
from benchmarks import latency, log_cost, sizes, streams
from benchmarks.gateways import Gateway, Servers, direct, own_gateway, own_servers
from benchmarks.goals import Reached, table
from benchmarks.upstream import running_upstream

TO_PEERS = {
    ("vllm-router", "whole"): 1.0,
    ("tensorzero", "whole"): 1.8,
    ("portkey", "whole"): 10.0,
    ("litellm", "whole"): 200.0,
    ("nginx", "whole"): 0.31,
    ("vllm-router", "stream"): 1.0,
}
"""Gateway and kind of call -> how many times its throughput ours should be."""
MEMORY_MB = 120
PARTS = ("peers", "latency", "streams", "sizes", "log", "workers")
SIZES_SECONDS = 2
"""For each size, times --seconds."""


@dataclass(frozen=True)
class Site:
    """What all parts share."""

    stack: ExitStack
    servers: Servers
    url: str
    """Of the upstream."""
    own: Gateway
    straight: Gateway
    arguments: argparse.Namespace

    def part(self, name: str) -> list[Reached]:
        print(f"\n## {name}, load average {os.getloadavg()[0]:.1f}", flush=True)
        asked, place = self.arguments, self.servers.place
        match name:
            case "peers":
                return self._beside_peers()
            case "latency":
                return latency.compare(self.own, self.straight, place, asked)
            case "streams":
                return streams.relay(self.own, self.straight, asked)
            case "sizes":
                longer = argparse.Namespace(**vars(asked) | {"seconds": asked.seconds * SIZES_SECONDS})
                return [sizes.by_size(self.own, kind, longer) for kind in asked.kinds.split(",")]
            case "log":
                return log_cost.cost_of_the_log(self.own, self.servers, self.url, asked)
            case _:
                return log_cost.second_worker(self.own, self.servers, self.url, asked)

    def _beside_peers(self) -> list[Reached]:
        with ExitStack() as stack:
            found = peers.started(stack, self.servers.place, self.url, self.arguments, peers.PEERS)
            running = [self.straight, self.own, *found]
            results = peers.side_by_side(running, self.servers.place, self.arguments)
        peers.show(results, running, self.arguments)
        rows: list[Reached] = []
        for (name, kind), goal in TO_PEERS.items():
            if (name, kind) in results.rounds:
                ratio = results.ratio(name, kind)
                what = f"throughput to that of {name}, {kind}, {peers.KINDS[kind]} connections"
                rows.append(Reached(what, f"at least {goal:g}x", f"{ratio:.2f}x", ratio >= goal))
        return rows

    def memory(self) -> Reached:
        worker = streams.worker_of(self.own)
        size = worker.memory_info().rss / 2**20
        return Reached(
            "memory of a worker after all of this", f"under {MEMORY_MB} MB", f"{size:.0f} MB", size < MEMORY_MB
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=6)
    parser.add_argument("--parts", default=",".join(PARTS))
    for part in (peers, latency, streams, sizes):
        part.add_arguments(parser)
    arguments = parser.parse_args()
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")
    with tempfile.TemporaryDirectory(prefix="tuneway-benchmark-") as directory, ExitStack() as stack:
        url, servers = stack.enter_context(running_upstream()), own_servers(stack, Path(directory))
        straight = direct(stack, servers.place, url, arguments)
        assert isinstance(straight, Gateway)
        site = Site(stack, servers, url, own_gateway(stack, servers, url), straight, arguments)
        peers.check(site.own)
        rows = [row for name in arguments.parts.split(",") for row in site.part(name)]
        print(f"\n{table([*rows, site.memory()])}")


if __name__ == "__main__":
    main()
