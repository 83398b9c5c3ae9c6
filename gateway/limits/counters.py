"""The buckets of every process together, in Redis: one atomic step for all the buckets and calls of a moment.

Redis may be away or lose what it knew: keys then go on, limited by each process alone, and nobody waits for it. One step
that gets no answer in time is the last until `beat`, which runs in the background, gets one.
"""

import asyncio
import logging
import os
import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from redis.asyncio import BlockingConnectionPool, Redis
from redis.exceptions import RedisError

from gateway.limits.bucket import Bucket
from gateway.limits.buckets import Buckets

log = logging.getLogger(__name__)

PREFIX = "tuneway:limits:1"
"""The number is that of the layout: processes of different versions never share a key that they read differently."""
LEASE_SECONDS = 6.0
"""What a process has leased is nobody's that long after its last step."""
ALIVE_SECONDS = 10.0
"""A process counts as running that long after its last beat."""
CONNECTIONS = 16
TAKE = Path(__file__).with_name("take.lua").read_text()
BEAT = """local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
redis.call('ZADD', KEYS[1], now + tonumber(ARGV[2]), ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return redis.call('ZCARD', KEYS[1])"""
"""Says that this process runs; how many do."""

_encode = msgspec.msgpack.Encoder().encode


class Away(Exception):
    """Redis did not answer. Whether it did what it was asked is not known."""


class Need(msgspec.Struct, frozen=True):
    """What one call needs: all of it or nothing."""

    api_key_id: str
    buckets: Buckets
    tokens: int = 0
    """What it is counted with until it has ended; at least 1 where tokens are limited."""
    again: bool = False
    """It was refused a moment ago, and that is known."""
    unpaid: bool = False
    """It may yet be refused by its budget, and then counts nowhere."""

    @property
    def takes(self) -> list[tuple[Bucket, int]]:
        return self.buckets.takes(self.tokens)


@dataclass(frozen=True, slots=True)
class Shortage:
    """Why a call gets nothing."""

    bucket: Bucket
    need: int
    wait: float
    """Seconds until there is enough; 0 where only the end of another call helps."""
    held_back: bool
    """There is enough, but other keys of the project come first."""
    used: int


class Counters:
    """
    Args:
        answer_seconds: no answer for so long means away.
        clock: microseconds; in place of the clock of the Redis server.
    """

    def __init__(self, url: str, *, answer_seconds: float = 0.5, clock: Callable[[], int] | None = None) -> None:
        self._answer_seconds = answer_seconds
        # without socket_timeout, for which redis-py uses asyncio.wait_for: `_answered` has one
        pool = BlockingConnectionPool.from_url(
            url,
            socket_connect_timeout=answer_seconds,
            max_connections=CONNECTIONS,
            timeout=answer_seconds,
        )
        self._redis: Any = Redis.from_pool(pool)
        self._take = self._redis.register_script(TAKE)
        self._beat = self._redis.register_script(BEAT)
        self._clock = clock
        self.process = f"{os.getpid()}-{secrets.token_hex(6)}"
        self.processes = 1
        """That run, as far as Redis last told."""
        self.away = False
        self.steps = 0
        """Round trips so far."""

    async def step(
        self, project_id: str, buckets: Sequence[Bucket], needs: Sequence[Need], *, keep: bool = False
    ) -> list[Shortage | None]:
        """Tell what this process used, give back what it holds, and lease what these calls need.

        Every bucket then shows what is used and what is held. What the calls of the result got is counted as theirs.

        Args:
            keep: lease ahead of every bucket, not only of those that a call needs now.

        Raises:
            Away: nothing has changed in `buckets`, but they hold nothing any more.
        """
        told = [_Told(bucket) for bucket in buckets]
        place = {id(bucket): number for number, bucket in enumerate(buckets, 1)}
        calls = [_call(need, place) for need in needs]
        wants = {id(bucket) for need in needs for bucket in need.buckets.every}
        shown = [each.wire(ahead=keep or id(each.bucket) in wants) for each in told]
        ask = [self.process, int(LEASE_SECONDS * 1e6), self._clock() if self._clock else 0, shown, calls]
        keys = [name for bucket in buckets for name in _keys(project_id, bucket)]
        try:
            states, answers = await self._answered(self._take(keys, [_encode(ask)]))
        except BaseException:
            for each in told:
                each.take_back()
            raise
        for bucket, (used, surplus, rivalry) in zip(buckets, states, strict=True):
            bucket.hear(used, surplus, rivalry)
        return [_shortage(need, buckets, answer) for need, answer in zip(needs, answers, strict=True)]

    async def beat(self) -> None:
        """Say that this process runs, and learn how many do; that Redis answers ends `away`. Raises Away."""
        keys = [f"{PREFIX}:processes"]
        self.processes = max(1, await self._answered(self._beat(keys, [self.process, int(ALIVE_SECONDS * 1000)])))
        if self.away:
            log.warning("Redis answers again: rate limits are shared by all processes")
        self.away = False

    async def close(self) -> None:
        """This process does not count any more."""
        if not self.away:
            with suppress(Away):
                await self._answered(self._redis.zrem(f"{PREFIX}:processes", self.process))
        await self._redis.aclose()

    async def _answered(self, work: Any) -> Any:
        try:
            async with asyncio.timeout(self._answer_seconds):
                self.steps += 1
                return await work
        except (OSError, TimeoutError, RedisError) as error:
            if not self.away:
                log.warning(
                    "Redis is away: until it answers, each process keeps its own part of every rate limit: %r", error
                )
            self.away = True
            raise Away from error


class _Told:
    """What a bucket had to tell when a step began."""

    def __init__(self, bucket: Bucket) -> None:
        self.bucket = bucket
        self._consumed, bucket.consumed = bucket.consumed, 0
        self._by_key, bucket.by_key = bucket.by_key, {}
        bucket.let_go()

    def wire(self, *, ahead: bool) -> list[Any]:
        bucket, limit = self.bucket, self.bucket.limit
        shared = self._by_key if limit.kind.period else bucket.places
        return [
            limit.amount,
            limit.kind.period,
            int(limit.kind.is_held),
            self._consumed,
            bucket.outstanding,
            bucket.slice if ahead else 0,
            shared if limit.is_shared else False,
        ]

    def take_back(self) -> None:
        """It may have been heard: then it counts twice, which lets nobody have more than the limit."""
        self.bucket.consumed += self._consumed
        for key_id, used in self._by_key.items():
            self.bucket.by_key[key_id] = self.bucket.by_key.get(key_id, 0) + used


def _keys(project_id: str, bucket: Bucket) -> tuple[str, str]:
    """The braces keep the buckets of a project on one node of a Redis Cluster."""
    name = f"{PREFIX}:{{{project_id}}}:{bucket.limit.name}"
    return name, f"{name}:keys"


def _call(need: Need, place: dict[int, int]) -> list[Any]:
    takes = [[place[id(bucket)], n] for bucket, n in need.takes]
    return [need.api_key_id, takes, int(need.again), int(need.unpaid)]


def _shortage(need: Need, buckets: Sequence[Bucket], answer: list[int]) -> Shortage | None:
    number, wait, held_back, used = answer
    if not number:
        for bucket, amount in need.takes:
            bucket.granted(need.api_key_id, amount, unpaid=need.unpaid)
        return None
    short = buckets[number - 1]
    amount = next(amount for bucket, amount in need.takes if bucket is short)
    return Shortage(short, amount, wait / 1e6, bool(held_back), used)
