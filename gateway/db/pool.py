"""Connections of asyncpg's own, without SQLAlchemy: for what calls wait for (a gateway knows its keys and leases money by them
before the rest is loaded), and for COPY."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import asyncpg

from gateway.db.connection import AWAY, STATEMENT_SECONDS, unavailable

CLOSE_SECONDS = 2.0
LOST = (*AWAY, asyncpg.InternalClientError)
"""The last one: the server has said that it ends, and its end has not come yet."""


class Pool:
    """Opened as they are needed.

    Args:
        arguments: of `asyncpg.connect` (gateway/kit/postgres_url.py).
        answer_seconds: for a connection to come free, and for one to be made.
    """

    def __init__(self, arguments: Mapping[str, Any], *, size: int, answer_seconds: float) -> None:
        self._arguments: dict[str, Any] = {**arguments, "timeout": answer_seconds, "command_timeout": STATEMENT_SECONDS}
        self._size, self._answer_seconds = size, answer_seconds
        self._opening = asyncio.Lock()
        self._open: Any = None

    @asynccontextmanager
    async def raw(self) -> AsyncGenerator[Any]:
        """asyncpg's connection inside a transaction.

        Raises:
            Unavailable: the server cannot be reached, or no connection came free in time.
            asyncpg.DataError, ValueError: it is there, and refuses a value.
        """
        with unavailable():
            pool = await self._opened()
            async with AsyncExitStack() as stack:
                connection = await self._begin(pool, stack)
                try:
                    yield connection
                except asyncpg.ReadOnlySQLTransactionError:
                    await pool.expire_connections()  # the next may be to a server that writes
                    raise

    async def close(self) -> None:
        if self._open is None:
            return
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._open.close()
        except (TimeoutError, *LOST):
            self._open.terminate()

    async def _opened(self) -> Any:
        async with self._opening:
            if self._open is None:
                self._open = await asyncpg.create_pool(
                    min_size=0, max_size=self._size, reset=_leave_as_it_is, **self._arguments
                )
            return self._open

    async def _begin(self, pool: Any, stack: AsyncExitStack) -> Any:
        """BEGIN tells whether a connection is still one. Nothing was done on one that was lost: another takes its place."""
        try:
            return await self._begin_once(pool, stack)
        except LOST as error:
            if isinstance(error, TimeoutError):
                raise
            await stack.aclose()
            await pool.expire_connections()
            return await self._begin_once(pool, stack)

    async def _begin_once(self, pool: Any, stack: AsyncExitStack) -> Any:
        connection = await stack.enter_async_context(pool.acquire(timeout=self._answer_seconds))
        await stack.enter_async_context(connection.transaction())
        return connection


async def _leave_as_it_is(_connection: Any) -> None:
    """What lasts longer than its transaction nobody does here; asyncpg would ask the server to reset it after each."""
