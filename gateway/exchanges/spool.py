"""The spool: an exchange is on local disk before the last byte of its reply leaves, whatever the database does.

    DATA_DIR/spool/<process>/lock           held (flock) while the process lives
    DATA_DIR/spool/<process>/reserve        room on the disk, for the calls that are under way when it is full
    DATA_DIR/spool/<process>/00000001.seg   records, appended; a segment is deleted once the database has all of it

A record is `length (4 bytes) | CRC-32 (4 bytes) | payload`, little-endian, written by one `write`. What the kernel has
survives a kill of the process (design decision 5); a torn last record is one whose reply never ended, and is skipped.
What shall survive the loss of power too is waited for with `synced`. All segments but the last one are complete.
A segment left behind by a dead process is adopted by whoever can take its lock (segments.py). Reading a segment again is
harmless: the database ignores an id that it has.

Where the spool is full, or the disk refuses, calls are refused before anybody is asked (`check`): what cannot be recorded
must not be paid for.
"""

import logging
import os
import secrets
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Literal, NoReturn

from gateway.errors import SpoolFull, Unavailable
from gateway.exchanges.group_commit import GroupCommit
from gateway.exchanges.segments import HEADER, RESERVE, SUFFIX, Segment, orphans, remove_empty, try_lock

log = logging.getLogger(__name__)

DIRECTORY = "spool"
RESERVE_BYTES = 4 * 1024 * 1024
"""For what calls under way bring when the disk is full."""
LOOK_AGAIN_SECONDS = 1.0
"""Whether a disk that refused takes something again."""
WARN_SHARE = 0.8
"""Of the most that it may hold: from here on it is told of."""
UNBOUNDED = 1 << 62
REFUSED = "The exchange log cannot be written, so this call was not answered."


class Spool:
    """This process's own segments, appended by one writer and drained by gateway/exchanges/drain.py, here or in a process
    of its own (gateway/draining.py).

    Args:
        max_bytes: from here on calls are refused; those under way are still recorded.
        sync: whether `synced` waits for the disk itself ("group").
    """

    def __init__(
        self, root: Path, *, segment_bytes: int, max_bytes: int = UNBOUNDED, sync: Literal["os", "group"] = "os"
    ) -> None:
        self._root = root
        self._segment_bytes = segment_bytes
        self.max_bytes = max_bytes
        self.grouped = sync == "group"
        self._commit = GroupCommit(self._files_to_sync, self._stop)
        name = f"{os.getpid()}-{secrets.token_hex(4)}"
        hidden = root / f".{name}"  # invisible to others until it is locked
        hidden.mkdir(parents=True, mode=0o700)
        self._lock = try_lock(hidden)
        self.directory = hidden.rename(root / name)
        self._number = 0
        self._file = -1
        self._unsynced: list[int] = []
        """Files of earlier segments, open until they are on the disk."""
        self.segments: list[Segment] = []
        self.size = 0
        """Bytes appended and not yet drained."""
        self.appended = 0
        """Bytes ever."""
        self.refused = 0
        """Calls, by `check`."""
        self._trouble: str | None = None
        self._look_at = 0.0
        self._tell_at = self._warn_at
        self._open_segment()
        try:
            self._make_reserve()
        except OSError as error:
            self._stop(error)
        if self.grouped:
            _sync_directory(root)

    @property
    def lock_file(self) -> int:
        """For the process that follows this one: whoever has inherited it holds the lock too."""
        assert self._lock is not None
        return self._lock

    @property
    def trouble(self) -> str | None:
        """Why the disk refuses; None: it does not, or not any more."""
        if self._trouble is not None and time.monotonic() >= self._look_at:
            self._look_again()
        return self._trouble

    def check(self) -> None:
        """Before a call costs anything.

        Raises:
            SpoolFull: it could not be recorded.
        """
        if self.size < self.max_bytes and self._trouble is None:
            return
        if self.size >= self.max_bytes:
            self.refused += 1
            raise SpoolFull("The exchange log is full, because the database does not take it.")
        if self.trouble is not None:
            self.refused += 1
            raise SpoolFull("The exchange log cannot be written.")

    def append(self, payload: bytes) -> None:
        """Write one record. A plain function on purpose: nothing can come between it and the reply's end.

        Raises:
            Unavailable: the disk refused; what was written of the record is taken back.
        """
        record = HEADER.pack(len(payload), zlib.crc32(payload)), payload
        length = HEADER.size + len(payload)
        try:
            self._write(record, length)
        except OSError as error:
            self._stop(error)
            self._write_in_reserve(record, length)
        self._length += length
        self.size += length
        self.appended += length
        if self.size >= self._tell_at:
            self._tell()
        if self._length >= self._segment_bytes:
            with suppress(OSError):  # the record is safe; the segment grows until a new one can be opened
                self._open_segment()

    def turn(self) -> None:
        """Begin a new segment, unless nothing was written to this one: what the database has does not lie here for long, not
        even where calls are few, and what is erased there is gone here, too."""
        if self._length:
            with suppress(OSError):
                self._open_segment()

    async def synced(self) -> None:
        """Once everything that was appended is on the disk itself; one `fdatasync` serves all that wait.

        Raises:
            Unavailable: the disk failed.
        """
        if self.grouped:
            await self._commit.wait()

    def pending(self) -> list[Segment]:
        """Everything that was appended until now is in these, or drained."""
        return list(self.segments)

    def drained(self, segment: Segment, offset: int) -> None:
        """The database has everything before `offset`."""
        self.size -= offset - segment.offset
        segment.offset = offset
        if self.size < self._warn_at / 2:
            self._tell_at = self._warn_at

    def gone(self, segment: Segment) -> None:
        """It is drained but for what cannot be read, and was removed."""
        self.drained(segment, max(segment.length, segment.offset))
        self.segments.remove(segment)

    def orphans(self) -> Iterator[Path]:
        """Directories of dead processes, each locked for as long as the caller looks at it."""
        return orphans(self._root, self.directory)

    def end(self) -> None:
        """Nothing is appended any more."""
        for file in (self._file, *self._unsynced):
            if file >= 0:
                os.close(file)
        self._file = -1
        self._unsynced.clear()
        self._commit.close()

    def close(self, *, leave: bool = False) -> None:
        """Let go of the directory; an empty one is removed, a full one is adopted by the next process.

        Args:
            leave: let that one adopt an empty directory too.
        """
        self.end()
        if not self.size and not leave:
            for segment in self.segments:
                segment.path.unlink(missing_ok=True)
            remove_empty(self.directory)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    @property
    def _warn_at(self) -> int:
        return int(self.max_bytes * WARN_SHARE)

    def _write(self, record: tuple[bytes, bytes], length: int) -> None:
        """Raises OSError."""
        if self._spoiled:
            self._open_segment()
        written = os.writev(self._file, record)
        if written != length:
            self._take_back(written, length)

    def _write_in_reserve(self, record: tuple[bytes, bytes], length: int) -> None:
        """Nobody takes new calls, and what was kept for those under way is free."""
        try:
            self._write(record, length)
        except OSError as error:
            log.critical("an exchange cannot be written to the log: %s", error)
            raise Unavailable(REFUSED) from error

    def _take_back(self, written: int, wanted: int) -> NoReturn:
        """Remove half a record. A segment where even that fails ends there: its reader stops at what is broken."""
        self._spoiled = True
        os.ftruncate(self._file, self._length)
        self._spoiled = False
        raise OSError(f"wrote {written} of {wanted} bytes")

    def _open_segment(self) -> None:
        path = self.directory / f"{self._number + 1:08d}{SUFFIX}"
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        if self.segments:
            self.segments[-1].sealed, self.segments[-1].length = True, self._length
        if self.grouped and self._file >= 0:
            self._unsynced.append(self._file)
        elif self._file >= 0:
            os.close(self._file)
        self._file = file
        self._number += 1
        self._length = 0
        self._spoiled = False
        self._is_new = True
        self.segments.append(Segment(path))

    def _files_to_sync(self) -> Callable[[], None]:
        """What a thread has to do so that all that was appended is on the disk. Raises OSError."""
        files, self._unsynced = [*self._unsynced, os.dup(self._file)], []
        directory, self._is_new = self.directory if self._is_new else None, False

        def sync() -> None:
            try:
                for file in files:
                    _fdatasync(file)
                if directory is not None:
                    _sync_directory(directory)
            finally:
                for file in files:
                    os.close(file)

        return sync

    def _stop(self, error: OSError) -> None:
        """The disk refuses: no new calls, and room for those under way."""
        if self._trouble is None:
            log.critical("the exchange log cannot be written, calls are refused until it can: %s", error)
        self._trouble = error.strerror or str(error)
        self._look_at = time.monotonic() + LOOK_AGAIN_SECONDS
        self._spoiled = self._spoiled or self.grouped  # what a failed fdatasync did not write, no later one will
        with suppress(OSError):
            (self.directory / RESERVE).unlink(missing_ok=True)

    def _look_again(self) -> None:
        self._look_at = time.monotonic() + LOOK_AGAIN_SECONDS
        try:
            self._make_reserve()
        except OSError as error:
            self._trouble = error.strerror or str(error)
            return
        self._trouble = None
        log.warning("the exchange log can be written again: calls are answered")

    def _make_reserve(self) -> None:
        """Raises OSError: there is no room for it."""
        path = self.directory / RESERVE
        file = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            _allocate(file, RESERVE_BYTES)
        except OSError:
            path.unlink(missing_ok=True)
            raise
        finally:
            os.close(file)

    def _tell(self) -> None:
        """Once at each of both marks, until it is half empty again."""
        share = self.size / self.max_bytes
        level = logging.CRITICAL if share >= 1 else logging.WARNING
        log.log(level, "the exchange log on this disk is %.0f%% full: the database does not take it", share * 100)
        self._tell_at = self.max_bytes if share < 1 else UNBOUNDED * 2


def _allocate(file: int, length: int) -> None:
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file, 0, length)
    else:  # macOS
        os.pwrite(file, bytes(length), 0)


def _fdatasync(file: int) -> None:
    getattr(os, "fdatasync", os.fsync)(file)  # macOS has only the other


def _sync_directory(path: Path) -> None:
    """So that the names in it are there after the loss of power."""
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
