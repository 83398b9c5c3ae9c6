"""Rate limits while Redis is stopped, hangs, comes back, and has forgotten everything: keys go on, each process alone."""

import asyncio
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from deploy.redis import Redis, embedded_redis
from gateway.app import App
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


@pytest.fixture
async def caller(app: App, project_key: dict[str, Any]) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(app, project_key["value"]) as client:
        yield client


async def until_away(sv: Services) -> None:
    await until(lambda: sv.limits._counters.away)


async def until_back(sv: Services) -> None:
    await until(lambda: not sv.limits._counters.away)


class TestStopped:
    async def test_calls_go_on_under_the_limit(
        self,
        redis: OwnRedis,
        caller: httpx.AsyncClient,
        admin: httpx.AsyncClient,
        project_key: dict[str, Any],
        sv: Services,
    ) -> None:
        await limit(admin, project_key, max_requests_per_1_minute=8)
        assert await statuses(caller, 3) == [200] * 3
        redis.stop()
        assert await statuses(caller, 8) == [200] * 5 + [429] * 3
        assert sv.limits._counters.away

    async def test_with_several_processes_each_has_its_part(
        self,
        redis: OwnRedis,
        caller: httpx.AsyncClient,
        admin: httpx.AsyncClient,
        project_key: dict[str, Any],
        sv: Services,
    ) -> None:
        await limit(admin, project_key, max_requests_per_1_minute=8)
        redis.stop()
        await until_away(sv)
        sv.limits._counters.processes = 4
        assert await statuses(caller, 5) == [200, 200, 429, 429, 429]

    async def test_what_was_used_meanwhile_counts_when_it_is_back(
        self,
        redis: OwnRedis,
        caller: httpx.AsyncClient,
        admin: httpx.AsyncClient,
        project_key: dict[str, Any],
        sv: Services,
    ) -> None:
        await limit(admin, project_key, max_requests_per_1_day=20)
        assert await statuses(caller, 3) == [200] * 3
        redis.stop()
        assert await statuses(caller, 7) == [200] * 7
        await asyncio.to_thread(redis.start)
        await until_back(sv)
        assert await statuses(caller, 1) == [200]
        assert bucket_of(sv, project_key, "requests_per_day").used == 3 + 7 + 1

    async def test_a_redis_that_has_forgotten_begins_full(
        self,
        redis: OwnRedis,
        caller: httpx.AsyncClient,
        admin: httpx.AsyncClient,
        project_key: dict[str, Any],
        sv: Services,
    ) -> None:
        await limit(admin, project_key, max_requests_per_1_minute=4)
        assert await statuses(caller, 5) == [200] * 4 + [429]
        redis.stop()
        await until_away(sv)
        redis.forget()
        await asyncio.to_thread(redis.start)
        await until_back(sv)
        assert await statuses(caller, 5) == [200] * 4 + [429]

    async def test_places_are_counted_and_come_back(
        self,
        redis: OwnRedis,
        caller: httpx.AsyncClient,
        admin: httpx.AsyncClient,
        project_key: dict[str, Any],
        sv: Services,
        upstream: Upstream,
    ) -> None:
        """A call that began with Redis ends without it, and one that began without it ends with it."""
        await limit(admin, project_key, max_concurrent_requests=2)
        first = asyncio.ensure_future(caller.post(CHAT, json=chat("slow")))
        await until(lambda: len(upstream.requests) == 1)
        redis.stop()
        await until_away(sv)
        second = asyncio.ensure_future(caller.post(CHAT, json=chat("slow")))
        await until(lambda: len(upstream.requests) == 2)
        assert await statuses(caller, 1) == [429]
        await asyncio.to_thread(redis.start)
        await until_back(sv)
        assert await statuses(caller, 1) == [429]
        upstream.release.set()
        assert [answer.status_code for answer in await asyncio.gather(first, second)] == [200, 200]
        places = bucket_of(sv, project_key, "concurrent_requests")
        assert places.outstanding == 0
        assert await statuses(caller, 3) == [200] * 3

    async def test_keys_without_a_limit_never_ask_it(
        self, redis: OwnRedis, caller: httpx.AsyncClient, sv: Services
    ) -> None:
        redis.stop()
        assert await statuses(caller, 3) == [200] * 3
        assert sv.limits._counters.steps == 0

    async def test_a_gateway_that_starts_without_it(
        self,
        redis: OwnRedis,
        app: App,
        caller: httpx.AsyncClient,
        admin: httpx.AsyncClient,
        project_key: dict[str, Any],
    ) -> None:
        redis.stop()
        await limit(admin, project_key, max_requests_per_1_minute=2)
        assert await statuses(caller, 3) == [200, 200, 429]


class TestHanging:
    async def test_costs_one_wait_for_all_calls_together_and_then_none(
        self,
        redis: OwnRedis,
        caller: httpx.AsyncClient,
        admin: httpx.AsyncClient,
        project_key: dict[str, Any],
        sv: Services,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        await limit(admin, project_key, max_requests_per_1_minute=40)
        assert await statuses(caller, 1) == [200]
        redis.hang()
        counters = sv.limits._counters
        answers = await asyncio.gather(*(caller.post(CHAT, json=chat("echo")) for _ in range(10)))
        assert [answer.status_code for answer in answers] == [200] * 10
        assert counters.away
        asked: list[int] = []

        async def step(*arguments: Any, **options: Any) -> Any:
            asked.append(1)
            raise AssertionError("Redis was asked by a call while it is away")

        monkeypatch.setattr(counters, "step", step)
        assert await statuses(caller, 10) == [200] * 10
        assert asked == []
        monkeypatch.undo()
        redis.go_on()
        await until_back(sv)
        assert await statuses(caller, 1) == [200]
        assert bucket_of(sv, project_key, "requests_per_minute").used >= 20
