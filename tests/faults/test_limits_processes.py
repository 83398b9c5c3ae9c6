"""Four real gateway processes share every limit; one that is killed gives back its places."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis

from gateway.limits.counters import PREFIX
from tests.conftest import ADMIN_KEY, chat, create_key, own_database
from tests.fakes.upstream import Upstream
from tests.gateway.conftest import RunningGateway, _add_admin_key, _environment
from tests.polling import until

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

CHAT = "/v1/chat/completions"
PROCESSES = 4


@pytest.fixture(scope="module")
def gateways(
    template_url: str, redis_url: str, running_fake: Upstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[RunningGateway]]:
    """With one database."""
    with ExitStack() as cleanup:
        database_url = cleanup.enter_context(own_database(template_url))
        asyncio.run(_add_admin_key(database_url))
        started: list[RunningGateway] = []
        for _ in range(PROCESSES):
            directory = tmp_path_factory.mktemp("gateway")
            environment = _environment(directory, database_url, redis_url, running_fake.url)
            environment["TUNEWAY_LIMITS__ANSWER_SECONDS"] = "20"  # a machine at its limit is no Redis that is away
            gateway = RunningGateway(directory, database_url, environment)
            gateway.start()
            cleanup.callback(gateway.stop)
            started.append(gateway)
        yield started


@asynccontextmanager
async def calling(gateways: list[RunningGateway], key: str) -> AsyncIterator[list[httpx.AsyncClient]]:
    """One client a gateway."""
    async with AsyncExitStack() as stack:
        bounds = httpx.Limits(max_connections=150)
        headers = {"authorization": f"Bearer {key}"}
        yield [
            await stack.enter_async_context(
                httpx.AsyncClient(base_url=each.url, headers=headers, timeout=60, limits=bounds)
            )
            for each in gateways
        ]


@asynccontextmanager
async def limited(
    gateways: list[RunningGateway], *, own: bool = True, **numbers: int
) -> AsyncIterator[tuple[dict[str, Any], httpx.AsyncClient]]:
    """A new key under those limits, known to every process, and an administrator."""
    async with calling(gateways, ADMIN_KEY) as admins:
        admin = admins[0]
        key = await create_key(admin, "limited")
        url = f"/v1/organization/projects/{key['project_id']}/rate_limits"
        query = {"api_key_id": key["id"]} if own else {}
        assert (await admin.post(f"{url}/rl-*", json=numbers, params=query)).status_code == 200
        await until_known(gateways, await create_key(admin, "later"))  # who knows this one knows the limit
        yield key, admin


@dataclass(frozen=True)
class Rush:
    """Many calls at once."""

    answers: list[httpx.Response]
    began: int
    """By the clock of the buckets, in microseconds."""
    ended: int

    @property
    def admitted(self) -> int:
        return sum(answer.status_code == 200 for answer in self.answers)


async def rush(gateways: list[RunningGateway], redis_url: str, key: dict[str, Any], calls: int) -> Rush:
    """So many calls of a key, all at once, over all processes."""
    async with calling(gateways, key["value"]) as clients:
        began = await clock(redis_url)
        answers = await asyncio.gather(*(call(clients, n) for n in range(calls)))
        return Rush(answers, began, await clock(redis_url))


async def call(clients: list[httpx.AsyncClient], number: int, model: str = "echo") -> httpx.Response:
    """The process is chosen by the number of the call."""
    return await clients[number % PROCESSES].post(CHAT, json=chat(model))


async def another_key(gateways: list[RunningGateway], admin: httpx.AsyncClient, key: dict[str, Any]) -> dict[str, Any]:
    """Of the same project, known to every process."""
    url = f"/v1/organization/projects/{key['project_id']}/service_accounts"
    made: dict[str, Any] = (await admin.post(url, json={"name": "modest"})).json()["api_key"]
    await until_known(gateways, made)
    return made


async def until_known(gateways: list[RunningGateway], key: dict[str, Any]) -> None:
    for each in gateways:
        await until(lambda each=each: _knows(each, key["value"]))


async def _knows(gateway: RunningGateway, key: str) -> bool:
    async with calling([gateway], key) as [client]:
        return (await client.get("/v1/models")).status_code == 200


async def bucket(redis_url: str, key: dict[str, Any], kind: str, *, own: bool = True) -> dict[str, int]:
    """A bucket's `used` and `at` (microseconds), as Redis has them."""
    async with Redis.from_url(redis_url) as redis:
        name = f"{PREFIX}:{{{key['project_id']}}}:{key['id'] if own else ''}:{kind}:"
        raw: dict[bytes, bytes] = await redis.hgetall(name)  # type: ignore[misc]
        return {field.decode(): int(value) for field, value in raw.items() if b":" not in value}


async def clock(redis_url: str) -> int:
    """Microseconds, of the server."""
    async with Redis.from_url(redis_url) as redis:
        seconds, microseconds = await redis.time()
        return int(seconds) * 1_000_000 + int(microseconds)


class TestOneKeyOnFourProcesses:
    async def test_has_its_limit_once(self, gateways: list[RunningGateway], redis_url: str) -> None:
        """400 calls at once at 50 a minute: 50, and what came back while they were made, by the clock of the bucket."""
        async with limited(gateways, max_requests_per_1_minute=50) as (key, _):
            made = await rush(gateways, redis_url, key, 400)
            assert {answer.status_code for answer in made.answers} == {200, 429}
            assert 50 <= made.admitted <= 50 + (made.ended - made.began) * 50 // 60_000_000
            state = await bucket(redis_url, key, "requests_per_minute")
            drained = made.admitted - state["used"]
            assert 0 <= drained <= (state["at"] - made.began) * 50 / 60_000_000 + 1

    async def test_slices_of_larger_limits_give_no_more(self, gateways: list[RunningGateway], redis_url: str) -> None:
        async with limited(gateways, max_requests_per_1_minute=200) as (key, _):
            made = await rush(gateways, redis_url, key, 400)
            refilled = (made.ended - made.began) * 200 // 60_000_000
            slices = 4  # 2 % of it, which another process may still have held when the last call was refused
            assert 200 - slices * (PROCESSES - 1) <= made.admitted <= 200 + refilled

    async def test_a_key_that_hammers_leaves_another_its_share(
        self, gateways: list[RunningGateway], redis_url: str
    ) -> None:
        """A project at 60 a minute. One key makes 300 calls before and 300 calls while the other makes its 20."""
        async with limited(gateways, own=False, max_requests_per_1_minute=60) as (greedy, admin):
            modest = await another_key(gateways, admin, greedy)
            began = await clock(redis_url)
            async with calling(gateways, modest["value"]) as few:
                assert (await call(few, 0)).status_code == 200
                first = await rush(gateways, redis_url, greedy, 300)
                hammering = asyncio.ensure_future(rush(gateways, redis_url, greedy, 300))
                answers = [(await call(few, n)).status_code for n in range(20)]
                later = await hammering
            assert answers == [200] * 20
            refilled = (await clock(redis_url) - began) * 60 // 60_000_000
            assert 25 <= first.admitted + later.admitted <= 60 + refilled - 21
            held_back = [answer.json()["error"]["message"] for answer in first.answers if answer.status_code == 429]
            assert all("kept for keys of the project" in message for message in held_back)


class TestPlaces:
    async def test_are_shared_and_those_of_a_killed_process_are_free_again(
        self, gateways: list[RunningGateway], upstream: Upstream
    ) -> None:
        async with (
            limited(gateways, max_concurrent_requests=2) as (key, _),
            calling(gateways, key["value"]) as clients,
        ):
            held = [asyncio.ensure_future(clients[n].post(CHAT, json=chat("slow"))) for n in (0, 1)]
            await until(lambda: len(upstream.requests) == 2)
            for client in clients[1:]:
                assert (await client.post(CHAT, json=chat("echo"))).status_code == 429
            await asyncio.to_thread(gateways[0].kill)

            async def free() -> bool:
                return (await clients[2].post(CHAT, json=chat("echo"))).status_code == 200

            await until(free)
            upstream.release.set()
            await asyncio.wait(held)
            assert held[0].exception() is not None
            assert held[1].result().status_code == 200
            await asyncio.to_thread(gateways[0].start)

    async def test_one_that_comes_free_is_for_the_key_that_was_refused(
        self, gateways: list[RunningGateway], upstream: Upstream
    ) -> None:
        """A project with 4. One key has them all, and as they come free asks for more than that; the other wants one."""
        async with limited(gateways, own=False, max_concurrent_requests=4) as (greedy, admin):
            modest = await another_key(gateways, admin, greedy)
            async with calling(gateways, greedy["value"]) as many, calling(gateways, modest["value"]) as few:
                first = [asyncio.ensure_future(call(many, n, "slow")) for n in range(4)]
                await until(lambda: len(upstream.requests) == 4)
                assert (await call(few, 0)).status_code == 429
                upstream.release.set()
                assert [answer.status_code for answer in await asyncio.gather(*first)] == [200] * 4
                upstream.release.clear()
                running = list[asyncio.Future[httpx.Response]]()
                kept = list[str]()

                async def full() -> bool:
                    running.append(asyncio.ensure_future(call(many, len(running), "slow")))
                    seen = len(upstream.requests)
                    await until(lambda: len(upstream.requests) > seen or running[-1].done())
                    if running[-1].done():
                        kept.append(running[-1].result().json()["error"]["message"])
                    return len(upstream.requests) == 4 + 3 and running[-1].done()

                await until(full)
                assert (await call(few, 1)).status_code == 200
                upstream.release.set()
                done = [answer.status_code for answer in await asyncio.gather(*running)]
            assert done.count(200) == 3
            assert "kept for keys of the project that wait with fewer" in kept[-1]


class TestStopping:
    async def test_a_process_that_ends_gives_its_slices_back(
        self, gateways: list[RunningGateway], redis_url: str
    ) -> None:
        async with limited(gateways, max_requests_per_1_day=50_000) as (key, _):
            async with calling(gateways, key["value"]) as clients:
                assert (await clients[3].post(CHAT, json=chat("echo"))).status_code == 200
            assert (await bucket(redis_url, key, "requests_per_day"))["used"] in (
                1,
                101,
            )  # back already, if it was slow
            gateways[3].terminate()
            assert await asyncio.to_thread(gateways[3].wait) == 0
            assert (await bucket(redis_url, key, "requests_per_day"))["used"] == 1
            await asyncio.to_thread(gateways[3].start)
