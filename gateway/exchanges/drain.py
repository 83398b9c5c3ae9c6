"""From the spool into PostgreSQL: batches by COPY, each exchange once, in the background."""

import logging
import re
from collections.abc import Sequence
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import Any

import asyncpg
import msgspec

from gateway.db.database import Database
from gateway.db.tables import ExchangeRow
from gateway.exchanges import record
from gateway.exchanges.assemble import assemble
from gateway.exchanges.record import Record
from gateway.exchanges.spool import LOCK, Segment, Spool, orphan_segments
from gateway.kit.clock import from_unix

log = logging.getLogger(__name__)

BATCH_RECORDS = 2000
BATCH_BYTES = 4 * 1024 * 1024
REFUSED = (asyncpg.DataError, ValueError, OverflowError, TypeError)
"""A value that the server or the driver does not take."""
COLUMNS = tuple(column.key for column in ExchangeRow.__table__.columns)
_escaped_nul = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")
REJECTED = "rejected"
"""Directory under DATA_DIR for what the database will never take (a torn or unstorable record): kept, never dropped."""


class Drain:
    """Empties this process's spool and those of dead processes."""

    def __init__(self, spool: Spool, database: Database) -> None:
        self._spool = spool
        self._database = database

    async def drain(self) -> None:
        """Write everything that was appended before this call. Raises Unavailable while the database is away."""
        for segment in list(self._spool.segments):
            await self._drain_segment(segment)
            if segment.sealed:
                self._discard(segment)
                self._spool.segments.remove(segment)

    async def adopt_orphans(self) -> int:
        """Drain what dead processes left, and remove it; returns the number of exchanges found."""
        found = 0
        for directory in self._spool.orphans():
            for segment in orphan_segments(directory):
                found += await self._drain_segment(segment, own=False)
                self._discard(segment)
            (directory / LOCK).unlink(missing_ok=True)
            with suppress(OSError):  # another process looked in at this moment; the next round removes it
                directory.rmdir()
        if found:
            log.info("recovered %d exchanges from the spool of a process that died", found)
        return found

    async def _drain_segment(self, segment: Segment, *, own: bool = True) -> int:
        count = 0
        while True:
            payloads, offset = segment.read(max_records=BATCH_RECORDS, max_bytes=BATCH_BYTES)
            if not payloads:
                return count
            await self._store(payloads)
            count += len(payloads)
            if own:
                self._spool.drained(segment, offset)
            else:
                segment.offset = offset

    def _discard(self, segment: Segment) -> None:
        """Remove a drained segment; one with an unreadable end (the record that death tore) is kept aside."""
        unread = segment.path.stat().st_size - segment.offset
        if unread:
            log.warning("%d unreadable bytes at the end of %s, kept in %s", unread, segment.path, self._rejected)
            self._rejected.mkdir(exist_ok=True)
            segment.path.rename(self._rejected / f"{segment.path.parent.name}-{segment.path.name}")
        else:
            segment.path.unlink()

    async def _store(self, payloads: Sequence[bytes]) -> None:
        rows = [values for payload in payloads if (values := self._row(payload)) is not None]
        try:
            await self._insert(rows)
        except REFUSED:
            for payload in payloads:
                await self._store_alone(payload)

    async def _store_alone(self, payload: bytes) -> None:
        if (values := self._row(payload)) is None:
            return
        try:
            await self._insert([values])
        except REFUSED as error:
            self._reject(payload, error)

    def _row(self, payload: bytes) -> tuple[Any, ...] | None:
        """None for a record that cannot be read; it is kept aside, so that it does not hold up the others."""
        try:
            return row(record.decode(payload))
        except Exception as error:  # noqa: BLE001 whatever is wrong with it, the others must go on
            self._reject(payload, error)
            return None

    def _reject(self, payload: bytes, error: Exception) -> None:
        name = blake2b(payload, digest_size=16).hexdigest()
        log.critical("an exchange cannot be stored, kept as %s: %s", self._rejected / name, error)
        self._rejected.mkdir(exist_ok=True)
        (self._rejected / name).write_bytes(payload)

    async def _insert(self, rows: list[tuple[Any, ...]]) -> None:
        async with self._database.raw() as connection:
            await connection.execute("CREATE TEMP TABLE incoming (LIKE exchanges) ON COMMIT DROP")
            await connection.copy_records_to_table("incoming", records=rows, columns=COLUMNS)
            await connection.execute("INSERT INTO exchanges SELECT * FROM incoming ON CONFLICT (id) DO NOTHING")

    @property
    def _rejected(self) -> Path:
        return self._spool.directory.parent.parent / REJECTED


def row(each: Record) -> tuple[Any, ...]:
    """Values in the order of COLUMNS."""
    values: dict[str, Any] = msgspec.structs.asdict(each) | {
        "created_at": from_unix(each.created_at),
        "error": _json(each.error) if each.error is not None else None,
        "attempts": _json(each.attempts) if each.attempts is not None else None,
        "reply": assemble(each.reply) if each.streamed and each.reply else each.reply,
        "request_metadata": _json(msgspec.json.encode(each.request_metadata)) if each.request_metadata else None,
    }
    return tuple(_text(value) if isinstance(value, str) else value for value in map(values.get, COLUMNS))


def _text(value: str) -> str:
    """PostgreSQL's text holds no NUL character."""
    return value.replace("\x00", "\ufffd")


def _json(value: bytes) -> str:
    """Nor does its jsonb: the escape is replaced, the same letters behind an escaped backslash are not."""
    return _escaped_nul.sub(r"\1\\ufffd", value.decode())
