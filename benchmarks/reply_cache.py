"""What the reply cache costs a call, and what a hit costs in its place: CPU time of the gateway, side by side.

    .venv/bin/python -m benchmarks.reply_cache [--rounds 60] [--calls 30] [--at-once 8]

Starts a PostgreSQL, a Redis and an upstream that costs next to nothing, each in processes of its own, and calls gateways in this
process through ASGI without a socket: one without a cache, one with memory and Redis, one with memory alone, and one with Redis
alone. What counts is this process's CPU time (user and system, all threads) until all calls are answered and, of a miss, its
answer is in Redis; not that of the upstream and the databases, nor of the log's way to the database. Each round makes `--calls`
calls of every kind, in a new order each time, `--at-once` at a time; what the header says of each answer is checked.

A ratio is that of two kinds in the same round: of whole replies to `off`, of streams to `off, streamed`; shown are the median of
all rounds and its interval of confidence (95 %).
"""

import argparse
import asyncio
import gc
import itertools
import json
import math
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.upstream import running_upstream
from gateway.app import App, build_app
from gateway.cache_settings import CacheSettings
from gateway.db.database import Database
from gateway.db.migrate import upgrade
from gateway.keys.service import ensure_admin_key
from gateway.settings import (
    DatabaseSettings,
    ExchangeSettings,
    PriceSettings,
    RedisSettings,
    Secret,
    Settings,
    UpstreamSettings,
)
from tests.conftest import ADMIN_KEY, client_of, create_key
from tests.polling import until
from tests.servers import start_postgres, start_redis

PATH = "/v1/chat/completions"
NEVER = 3600.0
PROMPT = "What would a careful reader of this contract ask the landlord before signing it, and why? " * 12
PATIENT = 10.0
"""Seconds: a Redis that is slow once must not count as away."""
CACHES = {
    "none": CacheSettings(),
    "both": CacheSettings(enabled=True, answer_seconds=PATIENT),
    "memory": CacheSettings(enabled=True, redis=False),
    "redis": CacheSettings(enabled=True, memory_bytes=0, answer_seconds=PATIENT),
}
_questions = itertools.count()


@dataclass(frozen=True)
class Kind:
    """Calls that meet a cache in the same way."""

    name: str
    cache: str
    """Of CACHES."""
    marked: str | None = None
    """What `x-tuneway-cache` of the reply says."""
    temperature: float = 0
    streamed: bool = False
    is_new: bool = False
    """Nobody has asked it before."""

    @property
    def beside(self) -> str:
        """What it is held against."""
        return "off, streamed" if self.streamed else "off"

    def body(self) -> bytes:
        question = f"{next(_questions)} {PROMPT}" if self.is_new else PROMPT
        asked = {"model": "m", "messages": [{"role": "user", "content": question}], "temperature": self.temperature}
        return json.dumps(asked | {"stream": self.streamed, "max_completion_tokens": 256}).encode()


KINDS = (
    Kind("off", "none"),
    Kind("off again", "none"),
    Kind("on, not concerned", "both", temperature=0.5),
    Kind("miss, memory", "memory", "miss", is_new=True),
    Kind("miss, memory and Redis", "both", "miss", is_new=True),
    Kind("hit in memory", "both", "hit"),
    Kind("hit in Redis", "redis", "hit"),
    Kind("off, streamed", "none", streamed=True),
    Kind("miss, streamed", "both", "miss", streamed=True, is_new=True),
    Kind("hit in memory, streamed", "both", "hit", streamed=True),
)


class Gateway:
    """One in this process."""

    def __init__(self, app: App, key: str) -> None:
        self._app, self._key = app, key

    async def cpu(self, kind: Kind, calls: int, at_once: int) -> float:
        """Microseconds a call; then the log is brought to the database, which does not count."""
        bodies = [kind.body() for _ in range(calls)]
        left = iter(bodies)

        async def caller() -> None:
            for body in left:
                marked = await self._call(body)
                assert marked == kind.marked, (kind.name, marked)

        gc.collect()
        began = time.process_time()
        await asyncio.gather(*(caller() for _ in range(at_once)))
        if kind.marked == "miss":
            await self.settle()
        found = (time.process_time() - began) / calls * 1e6
        await self._app.services.drain.drain()
        return found

    async def settle(self) -> None:
        """Until what was kept is in Redis."""
        replies: Any = self._app.services.replies
        await until(lambda: replies._waiting == 0)

    async def ask_first(self, kind: Kind) -> None:
        await self._call(kind.body())
        await self.settle()

    async def _call(self, body: bytes) -> str | None:
        request: list[Any] = [{"type": "http.request", "body": body}]
        started: list[Any] = []

        async def receive() -> Any:
            return request.pop() if request else await asyncio.get_running_loop().create_future()

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                started.append(message)

        headers = [(b"authorization", f"Bearer {self._key}".encode()), (b"content-type", b"application/json")]
        await self._app({"type": "http", "method": "POST", "path": PATH, "headers": headers}, receive, send)
        assert started[0]["status"] == 200, started
        return next((value.decode() for name, value in started[0]["headers"] if name == b"x-tuneway-cache"), None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--calls", type=int, default=30)
    parser.add_argument("--at-once", type=int, default=8)
    arguments = parser.parse_args()
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tuneway-benchmark-")))
        settings = Settings(
            secret_key=Secret("k" * 40),
            database=DatabaseSettings(url=stack.enter_context(start_postgres(directory / "postgres"))),
            redis=RedisSettings(url=stack.enter_context(start_redis(directory / "redis"))),
            exchanges=ExchangeSettings(drain_seconds=NEVER, drain="inside"),
            upstreams=(UpstreamSettings(name="fast", base_url=stack.enter_context(running_upstream()), models=("m",)),),
            prices=(PriceSettings(model="m", input=5.0, cached_input=0.5, output=10.0),),
        )
        rounds = asyncio.run(_measure(settings, directory, arguments))
    told = f"{arguments.rounds} rounds of {arguments.calls} calls of a kind; load average {os.getloadavg()[0]:.1f}"
    print(f"{told} on {os.cpu_count()} processors, Python {sys.version.split()[0]}\n")
    for kind in KINDS:
        _show(kind, rounds)


async def _measure(settings: Settings, directory: Path, arguments: argparse.Namespace) -> list[dict[str, float]]:
    """Of each round: kind -> microseconds a call."""
    rounds: list[dict[str, float]] = []
    async with _gateways(settings, directory) as gateways:
        for kind in KINDS:
            if kind.marked == "hit":
                await gateways[kind.cache].ask_first(kind)
        for kind in KINDS:
            await gateways[kind.cache].cpu(kind, 200, arguments.at_once)  # connections open, caches fill
        gc.freeze()
        chance = random.Random(7)
        for _ in range(arguments.rounds):
            order = chance.sample(KINDS, len(KINDS))
            cpu = {
                each.name: await gateways[each.cache].cpu(each, arguments.calls, arguments.at_once) for each in order
            }
            rounds.append(cpu)
    return rounds


@asynccontextmanager
async def _gateways(settings: Settings, directory: Path) -> AsyncIterator[dict[str, Gateway]]:
    """One for each of CACHES, on one database, which a key of one project opens."""
    database = Database(settings.database.url, pool_size=1, timeout=30)
    await upgrade(database.engine)
    async with database.session() as session:
        await ensure_admin_key(session, ADMIN_KEY, secret_key=settings.secret_key.reveal())
    await database.close()
    found: dict[str, Gateway] = {}
    async with AsyncExitStack() as stack:
        key = ""
        for name, cache in CACHES.items():
            app = build_app(_with(settings, directory / f"cache {name}", cache))
            await stack.enter_async_context(app.lifespan())
            if not key:
                async with client_of(app, ADMIN_KEY) as admin:
                    key = (await create_key(admin, "benchmark"))["value"]
            found[name] = Gateway(app, key)
        yield found


def _with(settings: Settings, directory: Path, cache: CacheSettings) -> Settings:
    directory.mkdir()
    return msgspec.structs.replace(settings, data_dir=directory, cache=cache)


def _show(kind: Kind, rounds: Sequence[dict[str, float]]) -> None:
    ratios = sorted(each[kind.name] / each[kind.beside] for each in rounds)
    low = max(0, int(len(ratios) / 2 - 0.98 * math.sqrt(len(ratios))))
    microseconds = statistics.median(each[kind.name] for each in rounds)
    interval = f"{statistics.median(ratios):.2f} ({ratios[low]:.2f} to {ratios[-1 - low]:.2f})"
    print(f"{kind.name:26}{microseconds:7.0f} µs   {interval if kind.name != kind.beside else ''}")


if __name__ == "__main__":
    main()
