"""The reply cache of a gateway process: its own memory first, then Redis.

What is erased is found no more: the names of a project's replies hold its generation, which an erasure raises
(gateway/db/reply_generations.py). Every process learns of it with its mirrors, forgets what it has in memory and removes
what is in Redis.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import msgspec

from gateway.db.mirror import REPLIES
from gateway.kit.background import Background
from gateway.reply_cache.entry import Entry, decode, encode
from gateway.reply_cache.memory import Memory
from gateway.reply_cache.names import name_of
from gateway.reply_cache.shared import Shared

GENERATIONS = "SELECT project_id, generation FROM reply_generations"
MOST_WAITING = 200
"""Replies on their way to Redis; more are kept in memory alone."""


@dataclass(frozen=True, slots=True)
class Name:
    """Where a reply is kept, and the generation of its project when it was asked for."""

    text: str
    project_id: str
    generation: int


class ReplyCache:
    """
    Args:
        shared: None: nothing is kept in Redis.
        clock: Unix seconds.
    """

    name = REPLIES

    def __init__(
        self,
        secret_key: str,
        memory: Memory,
        shared: Shared | None,
        background: Background,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._secret_key = secret_key
        self._memory = memory
        self._shared = shared
        self._background = background
        self._clock = clock
        self._generations: dict[str, int] = {}
        self._loaded = False
        self._waiting = 0

    @property
    def size(self) -> int:
        """Bytes in memory, about."""
        return self._memory.size

    def name_of(self, project_id: str, parts: Iterable[bytes]) -> Name:
        """Args: parts: everything that the answer depends on, beside the project."""
        generation = self._generations.get(project_id, 0)
        return Name(name_of(self._secret_key, project_id, generation, parts), project_id, generation)

    async def get(self, name: Name) -> Entry | None:
        now = self._clock()
        found = self._memory.get(name.text, now)
        if found is not None or self._shared is None:
            return found
        found = _read(await self._shared.get(name.text))
        if found is None or found.ends_at <= now or not self._is_current(name):
            return None
        self._memory.put(name.text, found)
        return found

    def put(self, name: Name, body: bytes, model: str, exchange_id: str, seconds: float) -> None:
        """Keep a reply; what was erased meanwhile is not. It goes to Redis in the background."""
        if not self._is_current(name):
            return
        now = self._clock()
        entry = Entry(body, model, exchange_id, now, now + seconds)
        self._memory.put(name.text, entry)
        if self._shared is not None and not self._shared.away and self._waiting < MOST_WAITING:
            self._waiting += 1
            self._background.spawn(self._share(self._shared, name, entry, seconds), "share a kept reply")

    async def tend(self) -> None:
        """Every few seconds: what has ended leaves the memory, too."""
        self._memory.end(self._clock())

    async def load(self, connection: Any) -> None:
        """What was erased since the last look is forgotten."""
        rows = await connection.fetch(GENERATIONS)
        raised = {id: number for id, number in rows if number != self._generations.get(id, 0)}
        self._generations |= raised
        if not self._loaded:  # this process has nothing yet, and those that erased have removed theirs
            self._loaded = True
            return
        for project_id, generation in raised.items():
            self._memory.drop(project_id)
            if self._shared is not None:
                work = self._shared.drop(project_id, generation)
                self._background.spawn(work, "remove erased replies from Redis")

    async def close(self) -> None:
        if self._shared is not None:
            await self._shared.close()

    def _is_current(self, name: Name) -> bool:
        return name.generation == self._generations.get(name.project_id, 0)

    async def _share(self, shared: Shared, name: Name, entry: Entry, seconds: float) -> None:
        try:
            if self._is_current(name):
                await shared.put(name.text, encode(entry), seconds)
            if not self._is_current(name):  # erased meanwhile: `load` may have removed what was there before this
                await shared.drop(name.project_id, self._generations[name.project_id])
        finally:
            self._waiting -= 1


def _read(found: bytes | None) -> Entry | None:
    """None also for one that another version has written."""
    try:
        return decode(found) if found is not None else None
    except msgspec.MsgspecError:
        return None
