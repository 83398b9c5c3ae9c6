"""SQLAlchemy's part of a database (gateway/db/database.py), which model calls do without: it takes longer to import than all that they need."""

import logging
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
from sqlalchemy import event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

import gateway.db.tables  # noqa: F401  # pyright: ignore[reportUnusedImport] whoever loads this one does so in a thread
from gateway.db.connection import refuses_a_value
from gateway.errors import InvalidRequest, Unavailable, Unconfirmed

log = logging.getLogger(__name__)

DIALECT = "postgresql+asyncpg://"
UNSTORABLE = {"22021", "22P05"}
"""SQLSTATEs of a text that holds the character NUL, and of a JSON text that does."""
AWAY = (
    OperationalError,
    InterfaceError,
    PoolTimeout,
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.ReadOnlySQLTransactionError,
)


class Sessions:
    """
    Args:
        arguments: of `asyncpg.connect` (gateway/kit/postgres_url.py).
        info: of every session.
    """

    def __init__(
        self, arguments: Mapping[str, Any], *, size: int, overflow: int, timeout: float, info: dict[str, Any]
    ) -> None:
        self.engine = create_async_engine(
            DIALECT,
            pool_size=size,
            max_overflow=overflow,
            pool_timeout=timeout,
            pool_pre_ping=True,
            connect_args={**arguments, "timeout": timeout},
        )
        event.listen(self.engine.sync_engine, "handle_error", _leave_what_only_reads)
        self._sessions = async_sessionmaker(self.engine, expire_on_commit=False, info=info)

    @asynccontextmanager
    async def session(self) -> AsyncGenerator[AsyncSession]:
        """As `Database.session`."""
        committing = False
        try:
            async with self._sessions() as session, session.begin():
                yield session
                committing = True
        except (*AWAY, DBAPIError) as error:
            if _refuses_a_value(error):
                raise InvalidRequest("A text in the request holds NUL (\\u0000), or a number is too large.") from error
            if isinstance(error, AWAY) or error.connection_invalidated:
                log.warning("database away: %s", error)
                away = Unconfirmed if committing else Unavailable
                raise away("The database cannot be reached right now; please retry.") from error
            raise


def _leave_what_only_reads(context: ExceptionContext) -> None:
    """A server that was the primary until a failover answers each ping: its connections are lost all the same."""
    if getattr(context.original_exception, "sqlstate", None) == asyncpg.ReadOnlySQLTransactionError.sqlstate:
        context.is_disconnect = True


def _refuses_a_value(error: BaseException) -> bool:
    """The server said so, or the driver could not encode it."""
    cause = error.orig.__cause__ if isinstance(error, DBAPIError) and error.orig else error
    return (cause is not None and refuses_a_value(cause)) or getattr(cause, "sqlstate", None) in UNSTORABLE
