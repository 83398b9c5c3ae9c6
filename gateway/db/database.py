"""The connection pool, and the only place where a database failure becomes a refusal."""

import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

from gateway.errors import InvalidRequest, Unavailable

log = logging.getLogger(__name__)

UNSTORABLE = {"22021", "22P05"}
"""SQLSTATEs of a text that holds the character NUL, and of a JSON text that does."""

AWAY = (OperationalError, InterfaceError, PoolTimeout, OSError, asyncpg.PostgresConnectionError, asyncpg.InterfaceError)


class Database:
    """PostgreSQL. One `session()` is one transaction: committed at its end, rolled back on an exception."""

    def __init__(self, url: str, *, pool_size: int, timeout: float) -> None:
        self.engine = create_async_engine(
            url,
            pool_size=pool_size,
            max_overflow=pool_size,
            pool_timeout=timeout,
            pool_pre_ping=True,
            connect_args={"timeout": timeout},
        )
        self._sessions = async_sessionmaker(self.engine, expire_on_commit=False)

    @asynccontextmanager
    async def session(self) -> AsyncGenerator[AsyncSession]:
        """One transaction.

        Raises:
            Unavailable: the server cannot be reached, or no connection became free in time.
            InvalidRequest: a text of the client's holds the character NUL, which PostgreSQL's text cannot.
        """
        try:
            async with self._sessions() as session, session.begin():
                yield session
        except AWAY as error:
            log.warning("database away: %s", error)
            raise Unavailable("The database cannot be reached right now. Nothing was changed; please retry.") from error
        except DBAPIError as error:
            if error.connection_invalidated:
                raise Unavailable("The database connection was lost. Please retry.") from error
            if getattr(error.orig, "sqlstate", None) in UNSTORABLE:
                raise InvalidRequest("A text in the request holds the character NUL (\\u0000).") from error
            raise

    @asynccontextmanager
    async def raw(self) -> AsyncGenerator[Any]:
        """asyncpg's own connection inside a transaction, for COPY. Raises Unavailable."""
        try:
            async with self.engine.connect() as connection:
                driver: Any = (await connection.get_raw_connection()).driver_connection
                async with driver.transaction():
                    yield driver
        except AWAY as error:
            raise Unavailable("The database cannot be reached right now.") from error

    async def ping(self) -> None:
        """Raises Unavailable when the server does not answer."""
        async with self.session() as session:
            await session.execute(text("SELECT 1"))

    async def close(self) -> None:
        await self.engine.dispose()
