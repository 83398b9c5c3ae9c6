"""The spool of another process, as the one that drains it sees it (gateway/drain_process.py), and what the two tell each other."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from gateway.exchanges.segments import Segment, orphans, remove_empty, segment_paths


class Begin(msgspec.Struct, kw_only=True):
    """The first line that the follower is sent. Each line after it asks for a round at once; the end of them says that nothing
    is appended any more."""

    directory: str
    offsets: dict[str, int]
    """By name of segment: what the database has of it."""
    connection: dict[str, Any]
    """What asyncpg connects with."""
    url: str
    """The same for SQLAlchemy."""
    seconds: float
    """Between two rounds."""
    answer_seconds: float
    """To wait for a connection."""
    data_dir: str = ""
    files: dict[str, Any] = {}
    """[files] of the settings, its secrets as they are: where large bodies go."""
    blob_bytes: int = 0


class Told(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A line of the follower's."""

    segment: str = ""
    offset: int = 0
    """The database has everything before it."""
    gone: bool = False
    """It was removed."""
    failed: str = ""
    """Why a round did not come to its end."""


class Followed:
    """Segments of a process that goes on to append to the last of them, until `seal`."""

    def __init__(self, begin: Begin, tell: Callable[[Told], object]) -> None:
        self.directory = Path(begin.directory)
        self._tell = tell
        self._sealed = False
        offsets = begin.offsets
        self._known = {name: Segment(self.directory / name, offset) for name, offset in offsets.items()}

    def seal(self) -> None:
        """Its process has ended, or appends nothing any more."""
        self._sealed = True

    @property
    def size(self) -> int:
        return sum(each.path.stat().st_size - each.offset for each in self.pending())

    def pending(self) -> list[Segment]:
        """All but the last are complete: the next one is begun only then."""
        paths = segment_paths(self.directory)
        found = [self._known.setdefault(path.name, Segment(path)) for path in paths]
        for segment in found if self._sealed else found[:-1]:
            segment.sealed = True
        return found

    def drained(self, segment: Segment, offset: int) -> None:
        segment.offset = offset
        self._tell(Told(segment=segment.path.name, offset=offset))

    def gone(self, segment: Segment) -> None:
        self._known.pop(segment.path.name, None)
        self._tell(Told(segment=segment.path.name, offset=segment.offset, gone=True))

    def orphans(self) -> Iterator[Path]:
        return orphans(self.directory.parent, self.directory)

    def close(self, *, leave: bool = False) -> None:
        """Once sealed. Args: leave: the next process does the rest."""
        if not leave:
            remove_empty(self.directory)
