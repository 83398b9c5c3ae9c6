"""Waiting for what another task or process does: as long as it takes, up to a deadline."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable

SECONDS = 20.0


async def until(condition: Callable[[], object | Awaitable[object]], seconds: float = SECONDS) -> None:
    """Return once `condition()` (plain or async) is true. Raises TimeoutError."""
    async with asyncio.timeout(seconds):
        while not await _value(condition()):  # noqa: ASYNC110 what is waited for happens elsewhere
            await asyncio.sleep(0.01)


async def _value(value: object | Awaitable[object]) -> object:
    return await value if inspect.isawaitable(value) else value
