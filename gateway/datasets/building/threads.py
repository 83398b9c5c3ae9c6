"""Long computations beside the event loop, which end soon when nobody wants them any more."""

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")


async def in_thread(work: Callable[[], Result], stop: threading.Event) -> Result:
    """What `work` returns. When this is cancelled, `stop` is set and the thread is waited for: what it uses is closed
    only behind it."""
    begun = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(begun)
    except asyncio.CancelledError:
        stop.set()
        await asyncio.wait({begun})
        begun.exception()
        raise
