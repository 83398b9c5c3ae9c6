"""Spools on disk, as they are read: gateway/exchanges/spool.py writes them and says what they are.

A process that writes has its spool's lock; so does the process that follows it (gateway/drain_process.py), which inherits the
open file: the lock is free once both have ended, and then whoever takes it may read, and remove, all that is left.
"""

import fcntl
import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

HEADER = struct.Struct("<II")
SUFFIX = ".seg"
LOCK = "lock"
RESERVE = "reserve"
"""A file that keeps room on the disk (spool.py)."""


@dataclass
class Segment:
    """One file of records, read from `offset` on."""

    path: Path
    offset: int = 0
    sealed: bool = False
    length: int = 0
    """In records, once it is sealed; known to its writer."""

    def read(self, *, max_records: int, max_bytes: int) -> tuple[list[bytes], int]:
        """The next complete records and the offset behind them; stops at a torn or broken one."""
        with self.path.open("rb", buffering=0) as file:
            file.seek(self.offset)
            piece = file.read(max_bytes)
            records, length = parse(piece, max_records)
            if not records and len(piece) == max_bytes:  # one record larger than max_bytes
                piece += file.readall()
                records, length = parse(piece, 1)
        return records, self.offset + length


def parse(piece: bytes, max_records: int) -> tuple[list[bytes], int]:
    """Complete records at the beginning of `piece`, and their length."""
    records: list[bytes] = []
    place = 0
    while len(records) < max_records and place + HEADER.size <= len(piece):
        length, checksum = HEADER.unpack_from(piece, place)
        payload = piece[place + HEADER.size : place + HEADER.size + length]
        if not length or len(payload) < length or zlib.crc32(payload) != checksum:
            break  # zeros, as power loss leaves them, would be records of nothing, and their checksum right
        records.append(payload)
        place += HEADER.size + length
    return records, place


def segment_paths(directory: Path) -> list[Path]:
    """Oldest first: their names are their numbers."""
    return sorted(directory.glob(f"*{SUFFIX}"))


def orphan_segments(directory: Path) -> list[Segment]:
    return [Segment(path, sealed=True) for path in segment_paths(directory)]


def orphans(root: Path, own: Path) -> Iterator[Path]:
    """Directories of dead processes, each locked for as long as the caller looks at it. Raises OSError, behind the last one: of one
    that may not be opened (another user's)."""
    refused: OSError | None = None
    for directory in sorted(root.iterdir()):
        if directory == own or directory.name.startswith(".") or not directory.is_dir():
            continue
        try:
            lock = try_lock(directory)
        except OSError as error:
            refused = refused or error
            continue
        if lock is not None:
            try:
                yield directory
            finally:
                os.close(lock)
    if refused:
        raise refused


def remove_empty(directory: Path) -> None:
    """Away with a spool that has no segments. Where another process looks in at this moment, it is removed later."""
    (directory / RESERVE).unlink(missing_ok=True)
    (directory / LOCK).unlink(missing_ok=True)
    with suppress(OSError):
        directory.rmdir()


def try_lock(directory: Path) -> int | None:
    """An open, exclusively locked file, or None when another process holds it. Raises OSError: it may not be opened."""
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
