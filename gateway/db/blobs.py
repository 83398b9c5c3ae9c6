"""Where bodies of calls are that are too large for a column. No SQLAlchemy here: the process that writes the log has none."""

from collections.abc import AsyncIterable, AsyncIterator
from dataclasses import dataclass
from typing import Any, Protocol

COLUMNS = ("request", "reply")
AT_ONCE = 4
"""Blobs that are read or written at a time."""


class Blobs(Protocol):
    """As gateway/files/store.py has them."""

    async def put(self, key: str, pieces: AsyncIterable[bytes], *, max_bytes: int) -> Any:
        """Raises Unavailable; nothing is kept."""
        ...

    def get(self, key: str) -> AsyncIterator[bytes]:
        """Raises NotFound, Unavailable."""
        ...

    async def delete(self, *keys: str) -> None:
        """One that is not there is no error. Raises Unavailable."""
        ...


@dataclass
class LargeBodies:
    """Of one process."""

    blobs: Blobs
    from_bytes: int
    """As they are kept, compressed; 0: none goes there."""
    rests_until: float = 0.0
    """By time.monotonic(): the storage did not answer, and no body is written to it before then."""
