"""Replies in the memory of one process: those used longest ago leave first, and none stays past its end."""

import heapq
from collections import OrderedDict

from gateway.reply_cache.entry import Entry
from gateway.reply_cache.names import of_project


class Memory:
    """
    Args:
        limit: bytes of all replies together.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._entries: OrderedDict[str, Entry] = OrderedDict()
        self._ends: list[tuple[float, str]] = []
        """A heap; may name what is gone, or was kept again with a later end."""
        self.size = 0
        """Bytes, about."""

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, name: str, now: float) -> Entry | None:
        """Args: now: Unix seconds."""
        entry = self._entries.get(name)
        if entry is None:
            return None
        if entry.ends_at <= now:
            self._remove(name)
            return None
        self._entries.move_to_end(name)
        return entry

    def put(self, name: str, entry: Entry) -> None:
        """What is larger than the limit is not kept."""
        self._remove(name)
        if entry.size > self._limit:
            return
        self._entries[name] = entry
        self.size += entry.size
        heapq.heappush(self._ends, (entry.ends_at, name))
        while self.size > self._limit:
            self._remove(next(iter(self._entries)))
        if len(self._ends) > 2 * len(self._entries) + 1000:  # replies that are kept anew again and again
            self._ends = [(each.ends_at, name) for name, each in self._entries.items()]
            heapq.heapify(self._ends)

    def end(self, now: float) -> None:
        """Remove what has ended."""
        while self._ends and self._ends[0][0] <= now:
            _, name = heapq.heappop(self._ends)
            entry = self._entries.get(name)
            if entry is not None and entry.ends_at <= now:
                self._remove(name)

    def drop(self, project_id: str) -> None:
        """Remove everything of a project."""
        prefix = of_project(project_id)
        for name in [name for name in self._entries if name.startswith(prefix)]:
            self._remove(name)

    def _remove(self, name: str) -> None:
        entry = self._entries.pop(name, None)
        if entry is not None:
            self.size -= entry.size
