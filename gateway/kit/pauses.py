"""Long work in small pieces, with pauses between: whoever is in a hurry gets the processor meanwhile.

A process that works for 100 ms takes a processor for as long, whatever its priority; and so does who it gives work to (PostgreSQL,
whose priority is nobody's here). On a small machine calls wait for the two of them.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import TypeVar

T = TypeVar("T")

PIECE = 32
"""Items: about 2 ms of work, as rows of the log."""
LONGEST_PAUSE_SECONDS = 0.003
ALL_PAUSES_SECONDS = 0.2


async def with_pauses(items: Sequence[T]) -> AsyncGenerator[T]:
    """Each of them, with a pause behind each piece but the last; all pauses together are ALL_PAUSES_SECONDS at most."""
    pause = min(LONGEST_PAUSE_SECONDS, ALL_PAUSES_SECONDS * PIECE / max(len(items), 1))
    for start in range(0, len(items), PIECE):
        if start:
            await asyncio.sleep(pause)
        for item in items[start : start + PIECE]:
            yield item
