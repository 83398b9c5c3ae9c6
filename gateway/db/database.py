"""The connection pool, and the only place where a database failure becomes a refusal."""

import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, Self

import asyncpg
from sqlalchemy import event, text
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

from gateway.db.blobs import LargeBodies
from gateway.db.connection import Connection, refuses_a_value
from gateway.db.large_bodies import DATABASE
from gateway.errors import InvalidRequest, Unavailable
from gateway.settings import Settings

log = logging.getLogger(__name__)

UNSTORABLE = {"22021", "22P05"}
"""SQLSTATEs of a text that holds the character NUL, and of a JSON text that does."""

OF_SQLALCHEMY = ("prepared_statement_cache_size", "prepared_statement_name_func", "async_creator_fn", "async_fallback")
"""Of a URL, and not asyncpg's."""

AWAY = (
    OperationalError,
    InterfaceError,
    PoolTimeout,
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.ReadOnlySQLTransactionError,
)


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
        event.listen(self.engine.sync_engine, "handle_error", _leave_what_only_reads)
        self._apart = Connection(self.arguments, timeout)
        self._sessions = async_sessionmaker(self.engine, expire_on_commit=False, info={DATABASE: self})
        self.large_bodies: LargeBodies | None = None
        """Whoever opens the database says so; without it bodies stay in their rows, and those elsewhere cannot be read."""

    @classmethod
    def of(cls, settings: Settings) -> Self:
        return cls(settings.database.url, pool_size=settings.database.pool_size, timeout=settings.timeouts.database)

    @asynccontextmanager
    async def session(self) -> AsyncGenerator[AsyncSession]:
        """One transaction.

        Raises:
            Unavailable: the server cannot be reached, or no connection became free in time.
            InvalidRequest: a value of the client's cannot be stored: NUL in a text, or a number out of range.
        """
        try:
            async with self._sessions() as session, session.begin():
                yield session
        except (*AWAY, DBAPIError) as error:
            if _refuses_a_value(error):
                raise InvalidRequest("A text in the request holds NUL (\\u0000), or a number is too large.") from error
            if isinstance(error, AWAY) or error.connection_invalidated:
                log.warning("database away: %s", error)
                raise Unavailable("The database cannot be reached right now; please retry.") from error
            raise

    @asynccontextmanager
    async def raw(self) -> AsyncGenerator[Any]:
        """asyncpg's own connection inside a transaction, for COPY.

        Raises:
            Unavailable: the server cannot be reached.
            asyncpg.DataError, ValueError: it is there, and refuses a value.
        """
        try:
            async with self.engine.connect() as connection:
                driver: Any = (await connection.get_raw_connection()).driver_connection
                try:
                    async with driver.transaction():
                        yield driver
                except asyncpg.ReadOnlySQLTransactionError:
                    await connection.invalidate()
                    raise
        except AWAY as error:
            if _refuses_a_value(error):
                raise
            raise Unavailable("The database cannot be reached right now.") from error

    async def fetch(self, statement: str) -> list[Any]:
        """The rows of one query outside of any transaction, on a connection that is kept for such: 0.1 ms of CPU, where a session
        takes 1.4.

        Raises:
            Unavailable: the server cannot be reached.
        """
        return await self._apart.fetch(statement)

    @property
    def arguments(self) -> dict[str, Any]:
        """What asyncpg connects with, for who does without SQLAlchemy (gateway/db/connection.py)."""
        _, arguments = self.engine.dialect.create_connect_args(self.engine.url)
        return {name: value for name, value in arguments.items() if name not in OF_SQLALCHEMY}

    async def ping(self) -> None:
        """Raises Unavailable when the server does not answer."""
        async with self.session() as session:
            await session.execute(text("SELECT 1"))

    async def close(self) -> None:
        await self._apart.close()
        await self.engine.dispose()


def _leave_what_only_reads(context: ExceptionContext) -> None:
    """A server that was the primary until a failover answers each ping: its connections are lost all the same."""
    if getattr(context.original_exception, "sqlstate", None) == asyncpg.ReadOnlySQLTransactionError.sqlstate:
        context.is_disconnect = True


def _refuses_a_value(error: BaseException) -> bool:
    """The server said so, or the driver could not encode it."""
    cause = error.orig.__cause__ if isinstance(error, DBAPIError) and error.orig else error
    return (cause is not None and refuses_a_value(cause)) or getattr(cause, "sqlstate", None) in UNSTORABLE
