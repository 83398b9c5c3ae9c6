"""One connection of asyncpg's without SQLAlchemy: for a process that is to be small (gateway/drain_process.py), and for what is asked
all the time (`Database.fetch`)."""

import asyncio
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import asyncpg

from gateway.db.blobs import LargeBodies
from gateway.errors import Unavailable

STATEMENT_SECONDS = 120.0
"""A server that says nothing for longer, in the middle of a statement, is gone."""
AWAY = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.InterfaceError,
    asyncpg.ReadOnlySQLTransactionError,
)
"""The last one: after a failover a name may still be that of the server before, which only reads now."""


def refuses_a_value(error: BaseException) -> bool:
    """The driver could not encode it (it calls that an interface error, and a ValueError). A certificate that is no longer valid,
    or cannot be read, is a ValueError as well: then there is no connection at all, and no value is at fault."""
    return isinstance(error, ValueError) and not isinstance(error, (OSError, asyncpg.ClientConfigurationError))


class Connection:
    """Opened when it is needed, and again where it was lost. One transaction at a time; others wait.

    Args:
        arguments: of `asyncpg.connect` (`Database.arguments`).
    """

    def __init__(self, arguments: Mapping[str, Any], answer_seconds: float) -> None:
        self._arguments: dict[str, Any] = {**arguments, "timeout": answer_seconds, "command_timeout": STATEMENT_SECONDS}
        self._turn = asyncio.Lock()
        self._open: Any = None
        self.large_bodies: LargeBodies | None = None

    @asynccontextmanager
    async def raw(self) -> AsyncGenerator[Any]:
        """asyncpg's connection inside a transaction, as `Pool.raw`.

        Raises:
            Unavailable: the server cannot be reached.
            asyncpg.DataError, ValueError: it is there, and refuses a value.
        """
        async with self._turn:
            with unavailable():
                connection = await self._connected()
                try:
                    async with connection.transaction():
                        yield connection
                except asyncpg.ReadOnlySQLTransactionError:
                    connection.terminate()  # the next may be to a server that writes
                    raise

    async def fetch(self, statement: str) -> list[Any]:
        """The rows of one query, outside of any transaction; asked once more where the connection turns out to be lost.

        Raises as `raw`.
        """
        async with self._turn:
            with unavailable():
                connection = await self._connected()
                try:
                    return await connection.fetch(statement)
                except asyncpg.InternalClientError:  # the server has said that it ends, and its end has not come yet
                    connection.terminate()
                except AWAY:
                    if not connection.is_closed():
                        raise
                return await (await self._connected()).fetch(statement)

    async def close(self) -> None:
        if self._open is not None:
            self._open.terminate()

    async def _connected(self) -> Any:
        if self._open is None or self._open.is_closed():
            self._open = await asyncpg.connect(**self._arguments)
        return self._open


@contextmanager
def unavailable() -> Generator[None]:
    """What shows that the server is away becomes Unavailable; what it, or the driver, says of a value stays what it is."""
    try:
        yield
    except AWAY as error:
        if refuses_a_value(error):
            raise
        raise Unavailable("The database cannot be reached right now.") from error
