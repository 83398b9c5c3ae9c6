"""Rate limits while Redis is stopped, hangs, comes back, and has forgotten everything: keys go on, each process alone."""

import asyncio
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from deploy.redis import Redis, embedded_redis
from gateway.app import App
from gateway.limits.bucket import Bucket
from gateway.limits.counters import Counters
from gateway.services import Services
from tests.conftest import chat, client_of
from tests.fakes.upstream import Upstream
from tests.gateway.test_limited_calls import bucket_of, limit, statuses
from tests.polling import until

pytestmark = pytest.mark.anyio

CHAT = "/v1/chat/completions"


class OwnRedis:
    """A server that a test may end."""

    def __init__(self, server: Redis) -> None:
        self._server = server
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return self._server.url

    def start(self) -> None:
        self._server.directory.mkdir(parents=True, exist_ok=True)
        command = self._server.part().command
        self._process = subprocess.Popen(command.argv, env=dict(command.environment), stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 20
        while not asyncio.run(self._server.ready()):
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def send(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def hang(self) -> None:
        """It takes connections (the kernel does) and answers nothing."""
        assert self._process is not None
        self.send(signal.SIGSTOP)
        while psutil.Process(self._process.pid).status() != psutil.STATUS_STOPPED:
            time.sleep(0.01)

    def go_on(self) -> None:
        self.send(signal.SIGCONT)

    def stop(self) -> None:
        if self._process is not None:
            self.go_on()
            self.send(signal.SIGKILL)
            self._process.wait(20)
            self._process = None

    def forget(self) -> None:
        for file in self._server.directory.rglob("*"):
            if file.is_file():
                file.unlink()


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[OwnRedis]:
    with ExitStack() as cleanup:
        server = OwnRedis(embedded_redis(tmp_path / "redis", environment={}, cleanup=cleanup))
        cleanup.callback(server.stop)
        server.start()
        yield server


@pytest.fixture
def redis_url(redis: OwnRedis) -> str:
    return redis.url


@dataclass
class Caller:
    """A key under limits, the gateway that it calls, and the Redis of that gateway."""

    client: httpx.AsyncClient
    admin: httpx.AsyncClient
    key: dict[str, Any]
    sv: Services
    redis: OwnRedis

    @property
    def counters(self) -> Counters:
        return self.sv.limits._counters

    def bucket(self, field: str) -> Bucket:
        return bucket_of(self.sv, self.key, field)

    async def limit(self, **numbers: int) -> None:
        await limit(self.admin, self.key, **numbers)

    async def call(self, model: str = "echo") -> int:
        return (await self.client.post(CHAT, json=chat(model))).status_code

    async def statuses(self, calls: int) -> list[int]:
        """One after the other."""
        return await statuses(self.client, calls)

    async def lose_redis(self) -> None:
        """It is stopped, and the gateway knows."""
        self.redis.stop()
        await until(lambda: self.counters.away)

    async def find_redis(self) -> None:
        """It runs again, and the gateway knows."""
        await asyncio.to_thread(self.redis.start)
        await self.until_back()

    async def until_back(self) -> None:
        await until(lambda: not self.counters.away)


@pytest.fixture
async def caller(
    redis: OwnRedis, app: App, sv: Services, admin: httpx.AsyncClient, project_key: dict[str, Any]
) -> AsyncIterator[Caller]:
    async with client_of(app, project_key["value"]) as client:
        yield Caller(client, admin, project_key, sv, redis)


class TestStopped:
    async def test_calls_go_on_under_the_limit(self, caller: Caller) -> None:
        await caller.limit(max_requests_per_1_minute=8)
        assert await caller.statuses(3) == [200] * 3
        caller.redis.stop()
        assert await caller.statuses(8) == [200] * 5 + [429] * 3
        assert caller.counters.away

    async def test_with_several_processes_each_has_its_part(self, caller: Caller) -> None:
        await caller.limit(max_requests_per_1_minute=8)
        await caller.lose_redis()
        caller.counters.processes = 4
        assert await caller.statuses(5) == [200, 200, 429, 429, 429]

    async def test_what_was_used_meanwhile_counts_when_it_is_back(self, caller: Caller) -> None:
        await caller.limit(max_requests_per_1_day=20)
        assert await caller.statuses(3) == [200] * 3
        caller.redis.stop()
        assert await caller.statuses(7) == [200] * 7
        await caller.find_redis()
        assert await caller.statuses(1) == [200]
        assert caller.bucket("requests_per_day").used == 3 + 7 + 1

    async def test_a_redis_that_has_forgotten_begins_full(self, caller: Caller) -> None:
        await caller.limit(max_requests_per_1_minute=4)
        assert await caller.statuses(5) == [200] * 4 + [429]
        await caller.lose_redis()
        caller.redis.forget()
        await caller.find_redis()
        assert await caller.statuses(5) == [200] * 4 + [429]

    async def test_places_are_counted_and_come_back(self, caller: Caller, upstream: Upstream) -> None:
        """A call that began with Redis ends without it, and one that began without it ends with it."""
        await caller.limit(max_concurrent_requests=2)
        first = asyncio.ensure_future(caller.call("slow"))
        await until(lambda: len(upstream.requests) == 1)
        await caller.lose_redis()
        second = asyncio.ensure_future(caller.call("slow"))
        await until(lambda: len(upstream.requests) == 2)
        assert await caller.statuses(1) == [429]
        await caller.find_redis()
        assert await caller.statuses(1) == [429]
        upstream.release.set()
        assert await asyncio.gather(first, second) == [200, 200]
        places = caller.bucket("concurrent_requests")
        assert (places.outstanding, places.places) == (0, {})
        assert await caller.statuses(3) == [200] * 3

    async def test_keys_without_a_limit_never_ask_it(self, caller: Caller) -> None:
        caller.redis.stop()
        assert await caller.statuses(3) == [200] * 3
        assert caller.counters.steps == 0

    async def test_a_gateway_that_starts_without_it(self, caller: Caller) -> None:
        caller.redis.stop()
        await caller.limit(max_requests_per_1_minute=2)
        assert await caller.statuses(3) == [200, 200, 429]


class TestHanging:
    async def test_costs_one_wait_for_all_calls_together_and_then_none(
        self, caller: Caller, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await caller.limit(max_requests_per_1_minute=40)
        assert await caller.statuses(1) == [200]
        caller.redis.hang()
        assert await asyncio.gather(*(caller.call() for _ in range(10))) == [200] * 10
        assert caller.counters.away
        asked: list[int] = []

        async def step(*arguments: Any, **options: Any) -> Any:
            asked.append(1)
            raise AssertionError("Redis was asked by a call while it is away")

        monkeypatch.setattr(caller.counters, "step", step)
        assert await caller.statuses(10) == [200] * 10
        assert asked == []
        monkeypatch.undo()
        caller.redis.go_on()
        await caller.until_back()
        assert await caller.statuses(1) == [200]
        assert caller.bucket("requests_per_minute").used >= 20
