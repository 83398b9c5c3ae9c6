"""What one worker remembers of one replica between two rounds."""

import asyncio
import secrets
from dataclasses import dataclass, field

PLACING = 4
"""Models that one worker loads on one replica at a time: so many more than `engine.max_adapters` it may hold for a moment."""


@dataclass
class Watch:
    """Of one replica, by one worker."""

    watcher: str = field(default_factory=lambda: secrets.token_hex(8))
    """This worker's name in the replica's row."""
    seen: object = None
    """What was served, and the versions of the tables, when there was nothing left to do: as long as both stay, there still
    is nothing."""
    look_again_at: float = 0.0
    """Monotonic seconds: something that was refused is worth another try then, whatever stays."""
    evicting: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Two that make room at once would unload twice as many."""
    placing: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(PLACING))
    """Held from before a model is loaded until what it drives out is gone."""
    _changing: dict[str, asyncio.Lock] = field(default_factory=dict[str, asyncio.Lock])

    def changing(self, model: str) -> asyncio.Lock:
        """Held by whoever loads or unloads `model` on this replica."""
        return self._changing.setdefault(model, asyncio.Lock())
