"""Replies in Redis, for every process: sealed, bounded in bytes, and never worth a wait.

Redis may be away or forget: then each process has only what it keeps itself. One question that gets no answer in time is
the last for RETRY_SECONDS.
"""

import asyncio
import logging
import os
import time
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from redis.asyncio import BlockingConnectionPool, Redis
from redis.exceptions import RedisError

from gateway.kit.keyed_hash import keyed_hash
from gateway.reply_cache.names import of_generation, project_of

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

log = logging.getLogger(__name__)

PREFIX = "{tuneway:replies:1}"
"""The number is that of the layout. The braces keep all of it on one node of a Redis Cluster: the bytes are counted together."""
RETRY_SECONDS = 5.0
CONNECTIONS = 8
NONCE_BYTES = 12
AT_A_TIME = 500
PUT = Path(__file__).with_name("put.lua").read_text()
DROP = Path(__file__).with_name("drop.lua").read_text()


class Shared:
    """
    Args:
        secret_key: replies are sealed with a key made of it, each bound to its name (AES-256-GCM).
        answer_seconds: no answer for so long means away.
        limit: bytes of all replies together.
    """

    def __init__(self, url: str, secret_key: str, *, answer_seconds: float, limit: int, prefix: str = PREFIX) -> None:
        # without socket_timeout, for which redis-py uses asyncio.wait_for: `_answered` has one
        pool = BlockingConnectionPool.from_url(
            url,
            socket_connect_timeout=answer_seconds,
            max_connections=CONNECTIONS,
            timeout=answer_seconds,
        )
        self._redis: Any = Redis.from_pool(pool)
        self._put, self._drop = self._redis.register_script(PUT), self._redis.register_script(DROP)
        self._key = keyed_hash("replies", secret_key, "reply cache")
        self._answer_seconds, self._limit, self._prefix = answer_seconds, limit, prefix
        self._away_until = 0.0
        self._told = False
        self.asked = 0
        """Questions so far."""

    @cached_property
    def _cipher(self) -> "AESGCM":
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # 7 MB: most gateways keep no replies

        return AESGCM(self._key)

    @property
    def away(self) -> bool:
        return time.monotonic() < self._away_until

    async def get(self, name: str) -> bytes | None:
        """None where it is not there, or cannot be had now."""
        sealed = await self._answered(self._redis.get, self._entry(name))
        if sealed is None:
            return None
        from cryptography.exceptions import InvalidTag  # as in _cipher

        try:
            return self._cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], name.encode())
        except (InvalidTag, ValueError):  # of another secret key, or not written by us
            return None

    async def put(self, name: str, entry: bytes, seconds: float) -> None:
        nonce = os.urandom(NONCE_BYTES)
        sealed = nonce + self._cipher.encrypt(nonce, entry, name.encode())
        keys = [*self._counts, self._entry(name), self._names(project_of(name))]
        asked = [name, sealed, int(seconds * 1000), self._limit, self._entry(""), self._names("")]
        await self._answered(self._put, keys, asked)

    async def drop(self, project_id: str, generation: int) -> None:
        """Remove what a project has of other generations; what cannot be removed now is found by nobody, and ends by itself."""
        keys, place = [*self._counts, self._names(project_id)], 0
        kept = of_generation(project_id, generation).encode()
        while True:
            page = await self._answered(self._redis.sscan, self._names(project_id), place, None, AT_A_TIME)
            if page is None:
                return
            place, names = page
            if old := [name for name in names if not name.startswith(kept)]:
                await self._answered(self._drop, keys, [self._entry(""), *old])
            if not place:
                return

    async def close(self) -> None:
        await self._redis.aclose()

    @property
    def _counts(self) -> list[str]:
        return [f"{self._prefix}:ends", f"{self._prefix}:sizes", f"{self._prefix}:bytes"]

    def _entry(self, name: str) -> str:
        return f"{self._prefix}:reply:{name}"

    def _names(self, project_id: str) -> str:
        return f"{self._prefix}:of:{project_id}"

    async def _answered(self, ask: Any, *asked: Any) -> Any:
        """None while it is away."""
        if self.away:
            return None
        try:
            async with asyncio.timeout(self._answer_seconds):
                self.asked += 1
                answer = await ask(*asked)
        except (OSError, TimeoutError, RedisError) as error:
            self._away_until = time.monotonic() + RETRY_SECONDS
            if not self._told:
                log.warning("Redis is away: until it answers, each process keeps replies only for itself: %r", error)
            self._told = True
            return None
        if self._told:
            log.warning("Redis answers again: kept replies are shared by all processes")
        self._told = False
        return answer
