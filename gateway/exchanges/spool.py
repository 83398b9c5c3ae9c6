"""The spool: an exchange is on local disk before the last byte of its reply leaves, whatever the database does.

    DATA_DIR/spool/<process>/lock           held (flock) while the process lives
    DATA_DIR/spool/<process>/00000001.seg   records, appended; a segment is deleted once the database has all of it

A record is `length (4 bytes) | CRC-32 (4 bytes) | payload`, little-endian, written by one `write`. What the kernel has
survives a kill of the process (design decision 5); a torn last record is one whose reply never ended, and is skipped.
A segment left behind by a dead process is adopted by whoever can take its lock. Reading a segment again is harmless:
the database ignores an id that it has.
"""

import fcntl
import logging
import os
import secrets
import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from gateway.errors import Unavailable

log = logging.getLogger(__name__)

HEADER = struct.Struct("<II")
SUFFIX = ".seg"
LOCK = "lock"
DIRECTORY = "spool"


@dataclass
class Segment:
    """One file of records, read from `offset` on."""

    path: Path
    offset: int = 0
    sealed: bool = False

    def read(self, *, max_records: int, max_bytes: int) -> tuple[list[bytes], int]:
        """The next complete records and the offset behind them; stops at a torn or broken one."""
        with self.path.open("rb") as file:
            file.seek(self.offset)
            piece = file.read(max_bytes)
            records, length = _parse(piece, max_records)
            if not records and len(piece) == max_bytes:  # one record larger than max_bytes
                piece += file.read()
                records, length = _parse(piece, 1)
        return records, self.offset + length


class Spool:
    """This process's own segments, appended by one writer and drained by `gateway/exchanges/drain.py`."""

    def __init__(self, root: Path, *, segment_bytes: int) -> None:
        self._root = root
        self._segment_bytes = segment_bytes
        name = f"{os.getpid()}-{secrets.token_hex(4)}"
        hidden = root / f".{name}"  # invisible to others until it is locked
        hidden.mkdir(parents=True, mode=0o700)
        self._lock = _try_lock(hidden)
        self.directory = hidden.rename(root / name)
        self._number = 0
        self.segments: list[Segment] = []
        self.size = 0
        """Bytes appended and not yet drained."""
        self._open_segment()

    def append(self, payload: bytes) -> None:
        """Write one record. A plain function on purpose: nothing can come between it and the reply's end.

        Raises:
            Unavailable: the disk refused; what was written of the record is taken back.
        """
        record = HEADER.pack(len(payload), zlib.crc32(payload)) + payload
        try:
            if self._spoiled:
                self._open_segment()
            written = os.write(self._file, record)
            if written != len(record):
                self._take_back(written, len(record))
        except OSError as error:
            log.critical("exchange log cannot be written: %s", error)
            raise Unavailable("The exchange log cannot be written, so this call was not answered.") from error
        self._length += len(record)
        self.size += len(record)
        if self._length >= self._segment_bytes:
            with suppress(OSError):  # the record is safe; the segment grows until a new one can be opened
                self._open_segment()

    def drained(self, segment: Segment, offset: int) -> None:
        """The database has everything before `offset`."""
        self.size -= offset - segment.offset
        segment.offset = offset

    def orphans(self) -> Iterator[Path]:
        """Directories of dead processes, each locked for as long as the caller looks at it."""
        for directory in sorted(self._root.iterdir()):
            if directory == self.directory or directory.name.startswith(".") or not directory.is_dir():
                continue
            lock = _try_lock(directory)
            if lock is not None:
                try:
                    yield directory
                finally:
                    os.close(lock)

    def close(self, *, leave: bool = False) -> None:
        """Let go of the directory; an empty one is removed, a full one is adopted by the next process.

        Args:
            leave: let that one adopt an empty directory too.
        """
        os.close(self._file)
        if not self.size and not leave:
            for segment in self.segments:
                segment.path.unlink()
            (self.directory / LOCK).unlink()
            self.directory.rmdir()
        if self._lock is not None:
            os.close(self._lock)

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
            self.segments[-1].sealed = True
            os.close(self._file)
        self._file = file
        self._number += 1
        self._length = 0
        self._spoiled = False
        self.segments.append(Segment(path))


def orphan_segments(directory: Path) -> list[Segment]:
    return [Segment(path, sealed=True) for path in sorted(directory.glob(f"*{SUFFIX}"))]


def _try_lock(directory: Path) -> int | None:
    """An open, exclusively locked file, or None when another process holds it."""
    try:
        file = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        return None
    return file


def _parse(piece: bytes, max_records: int) -> tuple[list[bytes], int]:
    records: list[bytes] = []
    place = 0
    while len(records) < max_records and place + HEADER.size <= len(piece):
        length, checksum = HEADER.unpack_from(piece, place)
        payload = piece[place + HEADER.size : place + HEADER.size + length]
        if len(payload) < length or zlib.crc32(payload) != checksum:
            break
        records.append(payload)
        place += HEADER.size + length
    return records, place
