"""PostgreSQL: the only place where a failure of its becomes a refusal.

What calls need of it goes by asyncpg itself (`raw`, `fetch`). Everything else has sessions of SQLAlchemy's, which is loaded with the
first one (gateway/db/sessions.py).
"""

import asyncio
import importlib
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any, Self

from gateway.db.blobs import LargeBodies
from gateway.db.connection import Connection
from gateway.db.pool import Pool
from gateway.kit.postgres_url import connect_arguments
from gateway.settings import Settings

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

    from gateway.db.sessions import Sessions

DATABASE = "database"
"""In the `info` of every session: the Database that it is of."""
LEAST_RAW = 2
"""Who waits for a lock on one connection must not keep whoever holds it from getting another."""
OF_SQLALCHEMY = ("prepared_statement_cache_size", "prepared_statement_name_func", "async_creator_fn", "async_fallback")
"""Of a URL, and not asyncpg's."""


class Database:
    """One `session()`, or one `raw()`, is one transaction: committed at its end, rolled back on an exception.

    Args:
        pool_size: connections for sessions; as many again for what comes at once, half of them for `raw`.

    Raises ValueError: the URL is none (gateway/kit/postgres_url.py).
    """

    def __init__(self, url: str, *, pool_size: int, timeout: float) -> None:
        self._given = connect_arguments(url)
        self._pool_size, self._timeout = pool_size, timeout
        self._apart = Connection(self.arguments, timeout)
        self._pool = Pool(self.arguments, size=max(pool_size // 2, LEAST_RAW), answer_seconds=timeout)
        self._loading = asyncio.Lock()
        self._loaded: Sessions | None = None
        self.large_bodies: LargeBodies | None = None
        """Whoever opens the database says so; without it bodies stay in their rows, and those elsewhere cannot be read."""

    @classmethod
    def of(cls, settings: Settings) -> Self:
        return cls(settings.database.url, pool_size=settings.database.pool_size, timeout=settings.timeouts.database)

    @property
    def arguments(self) -> dict[str, Any]:
        """What asyncpg connects with."""
        return {name: value for name, value in self._given.items() if name not in OF_SQLALCHEMY}

    @property
    def engine(self) -> "AsyncEngine":
        """SQLAlchemy's."""
        return self._sessions.engine

    @asynccontextmanager
    async def session(self) -> "AsyncGenerator[AsyncSession]":
        """One transaction.

        Raises:
            Unavailable: the server cannot be reached, or no connection became free in time.
            Unconfirmed: it went away after the body, and may have committed; what was not flushed in the body counts in.
            InvalidRequest: a value of the client's cannot be stored: NUL in a text, or a number out of range.
        """
        if self._loaded is None:
            async with self._loading:  # not in the event loop, where calls would wait for it
                await asyncio.to_thread(importlib.import_module, "gateway.db.sessions")
        async with self._sessions.session() as session:
            yield session

    def raw(self) -> AbstractAsyncContextManager[Any]:
        """asyncpg's own connection inside a transaction. Raises as `Pool.raw`."""
        return self._pool.raw()

    async def fetch(self, statement: str) -> list[Any]:
        """The rows of one query outside of any transaction, on a connection that is kept for such: 0.1 ms of CPU, where a session
        takes 1.4.

        Raises:
            Unavailable: the server cannot be reached.
        """
        return await self._apart.fetch(statement)

    async def ping(self) -> None:
        """Raises Unavailable when the server does not answer."""
        async with self.raw() as connection:
            await connection.fetchval("SELECT 1")

    async def close(self) -> None:
        await self._apart.close()
        await self._pool.close()
        if self._loaded is not None:
            await self._loaded.engine.dispose()

    @property
    def _sessions(self) -> "Sessions":
        if self._loaded is None:
            from gateway.db.sessions import Sessions  # with the first session, not with the first call

            self._loaded = Sessions(
                self._given,
                size=self._pool_size,
                overflow=self._pool_size - self._pool_size // 2,
                timeout=self._timeout,
                info={DATABASE: self},
            )
        return self._loaded
