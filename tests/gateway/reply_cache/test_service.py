"""The reply cache of one process, and of two that share a Redis."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from redis.asyncio import Redis

from gateway.db.database import Database
from gateway.db.reply_generations import forget_replies
from gateway.kit.background import Background
from gateway.reply_cache.memory import Memory
from gateway.reply_cache.service import ReplyCache
from gateway.reply_cache.shared import Shared
from tests.polling import until

pytestmark = pytest.mark.anyio

SECRET = "k" * 40
PARTS = [b"what was asked"]
_numbers = itertools.count()


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


class Gated(Shared):
    """Whose writing waits."""

    def __init__(self, url: str, prefix: str) -> None:
        super().__init__(url, SECRET, answer_seconds=10, limit=100_000, prefix=prefix)
        self.waits, self.gate = asyncio.Event(), asyncio.Event()
        self.gate.set()

    async def put(self, name: str, entry: bytes, seconds: float) -> None:
        self.waits.set()
        await self.gate.wait()
        await super().put(name, entry, seconds)


class World:
    """Processes with a clock in common."""

    def __init__(self, redis_url: str) -> None:
        self.prefix, self.url = f"{{test:reply service:{next(_numbers)}}}", redis_url
        self.clock, self.background = Clock(), Background()
        self.redis = Redis.from_url(redis_url)
        self.opened: list[ReplyCache] = []

    def process(self, shared: Shared | None = None) -> ReplyCache:
        shared = shared or Gated(self.url, self.prefix)
        cache = ReplyCache(SECRET, Memory(100_000), shared, self.background, self.clock)
        self.opened.append(cache)
        return cache

    async def in_redis(self) -> int:
        return len([key async for key in self.redis.scan_iter(f"{self.prefix}:reply:*")])

    async def is_shared(self) -> bool:
        return await self.in_redis() == 1

    async def close(self) -> None:
        await self.background.close()
        for each in self.opened:
            await each.close()
        await self.redis.aclose()


@pytest.fixture
async def world(redis_url: str) -> AsyncIterator[World]:
    world = World(redis_url)
    yield world
    await world.close()


def keep(cache: ReplyCache, project: str = "p", seconds: float = 60) -> None:
    cache.put(cache.name_of(project, PARTS), b"said", "m", "req_1", seconds)


async def has(cache: ReplyCache, project: str = "p") -> bool:
    found = await cache.get(cache.name_of(project, PARTS))
    return found is not None and found.body == b"said"


class TestTime:
    async def test_no_longer_than_it_was_kept_for(self, world: World) -> None:
        """Not in memory; nor in Redis, whose own clock is another one."""
        one, other = world.process(), world.process()
        keep(one, seconds=60)
        await until(world.is_shared)
        world.clock.now += 59
        assert await has(one)
        world.clock.now += 1
        assert not await has(one)
        assert not await has(other)
        assert await world.is_shared()

    async def test_one_that_came_from_redis_ends_with_the_first(self, world: World) -> None:
        one, other = world.process(), world.process()
        keep(one, seconds=60)
        await until(world.is_shared)
        world.clock.now += 59
        assert await has(other)
        assert other.size > 0
        world.clock.now += 1
        assert not await has(other)

    async def test_what_has_ended_leaves_the_memory(self, world: World) -> None:
        cache = world.process()
        keep(cache)
        world.clock.now += 60
        await cache.tend()
        assert cache.size == 0


class TestProjects:
    async def test_share_nothing(self, world: World) -> None:
        one, other = world.process(), world.process()
        keep(one, "p")
        await until(world.is_shared)
        assert [await has(cache, "q") for cache in (one, other)] == [False, False]
        assert [await has(cache, "p") for cache in (one, other)] == [True, True]


class TestErasure:
    async def erase(self, database: Database, *caches: ReplyCache, project: str = "p") -> None:
        async with database.session() as session:
            await forget_replies(session, project)
        await self.load(database, *caches)

    async def load(self, database: Database, *caches: ReplyCache) -> None:
        async with database.raw() as connection:
            for cache in caches:
                await cache.load(connection)

    async def test_nothing_of_before_is_found_or_stays(self, world: World, database: Database) -> None:
        one, other = world.process(), world.process()
        await self.load(database, one, other)
        keep(one)
        await until(world.is_shared)
        assert await has(other)
        await self.erase(database, one, other)
        assert [await has(cache) for cache in (one, other)] == [False, False]
        assert (one.size, other.size) == (0, 0)
        await until(lambda: self.nothing(world))

    async def test_what_redis_could_not_be_told_of_is_not_found(
        self, world: World, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Its name is of before, whoever looks: also a process that starts later."""

        async def never(*_: object) -> None:
            return None

        monkeypatch.setattr(Shared, "drop", never)
        one = world.process()
        await self.load(database, one)
        keep(one)
        await until(world.is_shared)
        await self.erase(database, one)
        late = world.process()
        await self.load(database, late)
        assert [await has(cache) for cache in (one, late)] == [False, False]
        assert await world.is_shared()

    async def test_what_was_on_its_way_to_redis_does_not_stay_there(self, world: World, database: Database) -> None:
        shared = Gated(world.url, world.prefix)
        shared.gate.clear()
        one = world.process(shared)
        await self.load(database, one)
        keep(one)
        await shared.waits.wait()
        await self.erase(database, one)
        shared.gate.set()
        await until(lambda: one._waiting == 0)
        assert await world.in_redis() == 0

    async def nothing(self, world: World) -> bool:
        return await world.in_redis() == 0
