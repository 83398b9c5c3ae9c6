"""Kept replies in Redis."""

import asyncio
import itertools
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from gateway.reply_cache.shared import Shared
from tests.polling import until

pytestmark = pytest.mark.anyio

SECRET = "k" * 40
_numbers = itertools.count()


@pytest.fixture
def prefix() -> str:
    return f"{{test:replies:{next(_numbers)}}}"


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    redis = Redis.from_url(redis_url)
    yield redis
    await redis.aclose()


@pytest.fixture
async def shared(redis_url: str, prefix: str) -> AsyncIterator[Shared]:
    shared = Shared(redis_url, SECRET, answer_seconds=10, limit=10_000, prefix=prefix)
    yield shared
    await shared.close()


async def keys(redis: Redis, prefix: str) -> set[bytes]:
    return {key.removeprefix(prefix.encode()) async for key in redis.scan_iter(f"{prefix}*")}


class TestGetAndPut:
    async def test_another_process_finds_it(self, shared: Shared, redis_url: str, prefix: str) -> None:
        await shared.put("p:0:a", b"said", 60)
        other = Shared(redis_url, SECRET, answer_seconds=10, limit=10_000, prefix=prefix)
        assert await other.get("p:0:a") == b"said"
        assert await other.get("p:0:b") is None
        await other.close()

    async def test_it_is_sealed(self, shared: Shared, redis: Redis, prefix: str) -> None:
        await shared.put("p:0:a", b"what was said", 60)
        sealed = await redis.get(f"{prefix}:reply:p:0:a")
        assert sealed is not None
        assert b"what was said" not in sealed

    async def test_what_was_changed_or_moved_is_not_there(self, shared: Shared, redis: Redis, prefix: str) -> None:
        await shared.put("p:0:a", b"what was said", 60)
        sealed = await redis.get(f"{prefix}:reply:p:0:a")
        assert isinstance(sealed, bytes)
        await redis.set(f"{prefix}:reply:q:0:a", sealed)
        await redis.set(f"{prefix}:reply:p:0:c", b"short")
        await redis.set(f"{prefix}:reply:p:0:a", sealed[:-1] + bytes([sealed[-1] ^ 1]))
        assert [await shared.get(name) for name in ("p:0:a", "q:0:a", "p:0:c")] == [None, None, None]

    async def test_another_secret_key_reads_nothing(self, shared: Shared, redis_url: str, prefix: str) -> None:
        await shared.put("p:0:a", b"said", 60)
        other = Shared(redis_url, "j" * 40, answer_seconds=10, limit=10_000, prefix=prefix)
        assert await other.get("p:0:a") is None
        await other.close()

    async def test_it_ends(self, shared: Shared, redis: Redis, prefix: str) -> None:
        await shared.put("p:0:a", b"said", 60)
        assert 0 < await redis.pttl(f"{prefix}:reply:p:0:a") <= 60_000

    async def test_what_has_ended_is_counted_no_more(self, shared: Shared, redis: Redis, prefix: str) -> None:
        await shared.put("p:0:a", b"said", 0.001)

        async def is_gone() -> bool:
            return not await redis.exists(f"{prefix}:reply:p:0:a")

        await until(is_gone)
        await shared.put("p:0:b", b"more", 60)
        assert await redis.smembers(f"{prefix}:of:p") == {b"p:0:b"}
        assert int(await redis.get(f"{prefix}:bytes") or 0) == int(await redis.hget(f"{prefix}:sizes", "p:0:b") or 0)

    async def test_those_that_end_next_leave_first(self, shared: Shared, redis: Redis, prefix: str) -> None:
        for name, seconds in (("a", 300), ("b", 100), ("c", 200)):
            await shared.put(f"p:0:{name}", b"x" * 2800, seconds)
        await shared.put("p:0:d", b"x" * 2800, 50)
        assert [name for name in "abcd" if await shared.get(f"p:0:{name}")] == ["a", "c", "d"]
        assert int(await redis.get(f"{prefix}:bytes") or 0) <= 10_000

    async def test_what_is_kept_again_counts_once(self, shared: Shared) -> None:
        for _ in range(5):
            await shared.put("p:0:a", b"x" * 5000, 60)
        await shared.put("p:0:b", b"x" * 3000, 60)
        assert await shared.get("p:0:a")
        assert await shared.get("p:0:b")

    async def test_what_is_too_large_takes_no_other_s_room(self, shared: Shared) -> None:
        await shared.put("p:0:a", b"said", 60)
        await shared.put("p:0:b", b"x" * 20_000, 60)
        assert await shared.get("p:0:a") == b"said"
        assert await shared.get("p:0:b") is None

    async def test_a_count_that_was_lost_is_begun_anew(self, shared: Shared, redis: Redis, prefix: str) -> None:
        await redis.set(f"{prefix}:bytes", 1_000_000)
        await shared.put("p:0:a", b"said", 60)
        assert await shared.get("p:0:a") == b"said"


class TestDrop:
    async def test_removes_other_generations_of_a_project_alone(
        self, shared: Shared, redis: Redis, prefix: str
    ) -> None:
        for name in ("p:0:a", "p:1:b", "p:2:c", "q:0:d"):
            await shared.put(name, b"said", 60)
        await shared.drop("p", 2)
        assert [name for name in ("p:0:a", "p:1:b", "p:2:c", "q:0:d") if await shared.get(name)] == ["p:2:c", "q:0:d"]
        assert await redis.smembers(f"{prefix}:of:p") == {b"p:2:c"}

    async def test_leaves_nothing_behind(self, shared: Shared, redis: Redis, prefix: str) -> None:
        for number in range(3):
            await shared.put(f"p:0:{number}", b"said", 60)
        await shared.drop("p", 1)
        assert await keys(redis, prefix) == {b":bytes"}
        assert await redis.get(f"{prefix}:bytes") == b"0"


class TestAway:
    async def test_it_is_asked_once_and_then_left_alone(self) -> None:
        shared = Shared("redis://127.0.0.1:1/0", SECRET, answer_seconds=10, limit=10_000)
        assert await shared.get("p:0:a") is None
        assert shared.away
        await shared.put("p:0:a", b"said", 60)
        await shared.drop("p", 1)
        assert await shared.get("p:0:a") is None
        assert shared.asked == 1
        await shared.close()

    async def test_it_is_asked_again_later(self, shared: Shared) -> None:
        shared._away_until = 1e18
        assert await shared.get("p:0:a") is None
        shared._away_until, shared._told = 0.0, True
        await shared.put("p:0:a", b"said", 60)
        assert await shared.get("p:0:a") == b"said"
        assert not shared._told


class TestCancelled:
    async def test_at_whatever_moment_it_ends(self, redis_url: str, prefix: str) -> None:
        """Or else a shutdown waits for it for ever."""
        for steps in range(60):
            shared = Shared(redis_url, "secret", answer_seconds=30, limit=10**6, prefix=prefix)
            asked = asyncio.ensure_future(shared.get("name"))
            for _ in range(steps):
                await asyncio.sleep(0)
            told = asked.cancel()
            await asyncio.wait([asked])
            assert asked.cancelled() == told, steps
            await shared.close()
