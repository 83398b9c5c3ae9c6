"""What the durable log costs in throughput, and what a second worker brings: gateways of ours beside each other, in turns.

    .venv/bin/python -m benchmarks.log_cost [--seconds 6] [--rounds 5]

`ours` has everything switched on. `ours log off` is the same but for its spool, which writes nothing, so that nothing is brought to
PostgreSQL either (benchmarks/log_off). `ours two workers` is `ours` with two processes. All live on the same PostgreSQL and Redis; one
is asked at a time, by wrk with 32 connections. A ratio is that of two in the same round.
"""

import argparse
import asyncio
import os
import statistics
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import asyncpg
from sqlalchemy import make_url

from benchmarks.gateway import check, measure
from benchmarks.gateways import Gateway, Servers, own_gateway, own_servers
from benchmarks.goals import Reached, median_and_range, table
from benchmarks.upstream import running_upstream

LOG_OFF = os.pathsep.join(filter(None, [str(Path(__file__).parent / "log_off"), os.environ.get("PYTHONPATH")]))
OF_FULL, OF_ONE = 0.9, 1.5
PER_WORKER = 64
"""Connections of wrk for each worker: the kernel does not share them evenly."""


def compare(one: Gateway, other: Gateway, arguments: argparse.Namespace, place: Path, connections: int) -> list[float]:
    """Throughput of `one` to that of `other`, by turns."""
    ratios: list[float] = []
    for number in range(arguments.rounds):
        order = (one, other) if number % 2 else (other, one)
        found = {each.name: measure(each, "whole", connections, place, int(arguments.seconds)) for each in order}
        ratios.append(found[one.name].speed / found[other.name].speed)
        shown = ", ".join(f"{name} {each.speed:,.0f}/s ({each.cpu:.0f} µs)" for name, each in found.items())
        print(f"round {number + 1}, {connections} connections: {shown}")
    return ratios


def cost_of_the_log(own: Gateway, servers: Servers, url: str, arguments: argparse.Namespace) -> list[Reached]:
    print("\nThe log")
    with ExitStack() as stack:
        without = own_gateway(stack, servers, url, name="ours log off", PYTHONPATH=LOG_OFF)
        check(without)
        before = _exchanges(servers)
        ratios = compare(own, without, arguments, servers.place, 32)
        spool = servers.place / without.name.replace(" ", "-") / "data" / "spool"
        assert not any(path.stat().st_size for path in spool.glob("*/*.seg")), "its log was on"
    assert _exchanges(servers) > before, "the log of the other one was off too"
    return [_reached("throughput with the log to that without", ratios, OF_FULL)]


def second_worker(own: Gateway, servers: Servers, url: str, arguments: argparse.Namespace) -> list[Reached]:
    print("\nTwo workers")
    with ExitStack() as stack:
        two = own_gateway(stack, servers, url, name="ours two workers", workers=2)
        check(two)
        ratios = compare(two, own, arguments, servers.place, PER_WORKER)
    return [_reached("throughput of two workers to that of one", ratios, OF_ONE)]


def _reached(what: str, ratios: list[float], least: float) -> Reached:
    return Reached(what, f"at least {least:g}", median_and_range(ratios), statistics.median(ratios) >= least)


def _exchanges(servers: Servers) -> int:
    async def count() -> int:
        url = make_url(servers.database_url).set(drivername="postgresql").render_as_string(hide_password=False)
        connection = await asyncpg.connect(url)
        try:
            return await connection.fetchval("SELECT count(*) FROM exchanges")
        finally:
            await connection.close()

    return asyncio.run(count())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=6)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tuneway-benchmark-") as directory, ExitStack() as stack:
        url, servers = stack.enter_context(running_upstream()), own_servers(stack, Path(directory))
        own = own_gateway(stack, servers, url)
        check(own)
        parts: list[Callable[..., list[Reached]]] = [cost_of_the_log, second_worker]
        print(table([row for part in parts for row in part(own, servers, url, arguments)]))


if __name__ == "__main__":
    main()
