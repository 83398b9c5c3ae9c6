"""Rows kept in memory: a chat call looks up its key and its model without a query.

1. Whoever changes such rows calls `touch(session, name)` in the same transaction: it raises the version in `changes`.
2. Every process polls that tiny table four times a second and reloads what moved (`Mirrors.refresh`).
3. The process that made the change does not wait: it calls `catch_up()` itself after the commit.

So a revoked key is refused everywhere within a second, no message can be lost, and when the database is away the last
known rows go on serving. Why not pub/sub: docs/decisions/0005-mirrors-by-version.md.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Protocol

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.database import Database
from gateway.db.tables import ChangeRow
from gateway.errors import Unavailable

POLL_SECONDS = 0.25


class Mirror(Protocol):
    """Something that loads all its rows at once and swaps them in."""

    name: str

    async def load(self, session: AsyncSession) -> None: ...


async def touch(session: AsyncSession, name: str) -> None:
    """Tell every process, once this transaction commits, that the rows behind `name` changed."""
    raised = insert(ChangeRow).values(name=name, version=1)
    await session.execute(
        raised.on_conflict_do_update(index_elements=[ChangeRow.name], set_={"version": ChangeRow.version + 1})
    )


class Mirrors:
    """Every mirror of this process and the versions they show."""

    def __init__(self, database: Database, mirrors: Sequence[Mirror]) -> None:
        self._database = database
        self._mirrors = mirrors
        self._seen: dict[str, int] = {}
        self._one_at_a_time = asyncio.Lock()

    async def catch_up(self) -> None:
        """Show a change that was just committed. It stands whatever happens now, so a database that goes away at this
        moment is no error: the next poll shows it."""
        with suppress(Unavailable):
            await self.refresh()

    async def refresh(self) -> None:
        """Reload what changed since the last look; at the first call, everything."""
        async with self._one_at_a_time, self._database.session() as session:
            versions = {row.name: row.version for row in await session.scalars(select(ChangeRow))}
            for mirror in self._mirrors:
                version = versions.get(mirror.name, 0)
                if self._seen.get(mirror.name) != version:
                    await mirror.load(session)
                    self._seen[mirror.name] = version
