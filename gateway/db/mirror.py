"""Rows kept in memory: a chat call looks up its key and its model without a query.

1. Whoever changes such rows calls `touch(session, name)` (gateway/db/changes.py) in the same transaction: it raises the version in
   the table `changes`.
2. Every process polls that tiny table four times a second and reloads what moved (`Mirrors.refresh`).
3. The process that made the change does not wait: it calls `catch_up()` itself after the commit.

So a revoked key is refused everywhere within a second, no message can be lost, and when the database is away the last
known rows go on serving. Why not pub/sub: docs/decisions/0005-mirrors-by-version.md.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Protocol

from gateway.db.database import Database
from gateway.errors import Unavailable

POLL_SECONDS = 0.25
REPLIES = "reply_cache"
"""The mirror of gateway/reply_cache/service.py; those who erase touch it (gateway/db/reply_generations.py)."""
VERSIONS = "SELECT name, version FROM changes"
LOOK_SECONDS = 2 * POLL_SECONDS
MOST_WAITING = 1000
"""Calls, for the next look: whoever tries out keys is no reason to hold more of them."""


class Mirror(Protocol):
    """Something that loads all its rows at once and swaps them in."""

    name: str

    async def load(self, connection: Any) -> None:
        """Args: connection: asyncpg's, in a transaction (gateway/db/reading.py)."""
        ...


class Mirrors:
    """Every mirror of this process and the versions they show."""

    def __init__(self, database: Database, mirrors: Sequence[Mirror]) -> None:
        self._database = database
        self._mirrors = mirrors
        self._seen: dict[str, int] = {}
        self._one_at_a_time = asyncio.Lock()
        self._waiting: list[asyncio.Future[None]] = []
        """For a look that has not begun."""

    async def catch_up(self) -> None:
        """Show a change that was just committed. It stands whatever happens now, so a database that goes away at this
        moment is no error: the next poll shows it."""
        with suppress(Unavailable):
            await self.refresh()

    async def next_look(self) -> None:
        """Once a look that begins from now on has ended, whatever came of it, or after half a second. It asks for none: the
        database is not asked more often for it."""
        if len(self._waiting) >= MOST_WAITING:
            return
        looked: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(looked)
        await asyncio.wait([looked], timeout=LOOK_SECONDS)

    async def refresh(self) -> None:
        """Reload what changed since the last look; at the first call, everything."""
        async with self._one_at_a_time:
            waiting, self._waiting = self._waiting, []
            try:
                await self._look()
            finally:
                for looked in waiting:
                    looked.set_result(None)

    async def _look(self) -> None:
        versions: dict[str, int] = dict(await self._database.fetch(VERSIONS))
        moved = [each for each in self._mirrors if self._seen.get(each.name) != versions.get(each.name, 0)]
        if not moved:
            return
        async with self._database.raw() as connection:
            for mirror in moved:
                await mirror.load(connection)
                self._seen[mirror.name] = versions.get(mirror.name, 0)
