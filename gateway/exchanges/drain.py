"""From the spool into PostgreSQL: batches by COPY, each exchange once, in the background.

A batch is one transaction: the exchange log, stored completions, the ledger with whatever follows from it, and the sums of
traffic. An exchange that the log has is posted to the ledger no second time, so that a segment may be read again. One that was deleted meanwhile
comes without its bodies (gateway/exchanges/deletions.py).
"""

import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, Protocol

import asyncpg

from gateway.db.copying import copy_new
from gateway.errors import Unavailable
from gateway.exchanges import bodies, deletions, record, storing
from gateway.exchanges.policy import erased
from gateway.exchanges.record import Record
from gateway.exchanges.rows import COLUMNS, exchange_row, ledger_row, storable, stored_row
from gateway.exchanges.segments import Segment, orphan_segments, remove_empty
from gateway.kit.pauses import with_pauses

log = logging.getLogger(__name__)

BATCH_RECORDS = 4000
BATCH_BYTES = 4 * 1024 * 1024
REFUSED = (asyncpg.DataError, asyncpg.ProgramLimitExceededError, ValueError, OverflowError, TypeError)
"""A value that the server or the driver does not take; one of them is too large for an index, or a row."""
UNREAD = ("exchange_id",)
"""Column of `unread_exchanges`: what a worker is to read, so that it can be searched."""
REJECTED = "rejected"
"""Directory under DATA_DIR for what the database will never take (a torn or unstorable record): kept, never dropped."""

Row = Mapping[str, Any]
"""Columns by name."""

Post = Callable[[Any, Sequence[Row]], Awaitable[None]]
"""Writes rows to the ledger, given asyncpg's connection inside the transaction (gateway/metering/ledger.py)."""
Count = Callable[[Any, Sequence[Record]], Awaitable[None]]
"""Counts new exchanges, given the connection (gateway/metering/traffic_counts.py)."""
Released = Callable[[str], Awaitable[None]]
"""Told that a process has ended, by the name of its spool, once all that it spent is in the ledger; maybe twice."""


class Judgments(Protocol):
    """Makes judgments of what rules said of answers before they left (gateway/rule_judgments.py)."""

    async def of(self, records: Sequence[Record]) -> list[dict[str, Any]]:
        """Rows to be written in the transaction of the log. Raises Unavailable."""
        ...

    async def write(self, connection: Any, rows: Sequence[Row]) -> None:
        """Args: connection: asyncpg's, in that transaction."""
        ...


class Source(Protocol):
    """A spool: that of this process, or of the one that it follows (followed.py)."""

    directory: Path

    @property
    def size(self) -> int:
        """Bytes that the database does not have."""
        ...

    def pending(self) -> list[Segment]: ...

    def drained(self, segment: Segment, offset: int) -> None: ...

    def gone(self, segment: Segment) -> None: ...

    def orphans(self) -> Iterator[Path]: ...

    def close(self, *, leave: bool = False) -> None: ...


async def _nothing_held(holder: str) -> None: ...


async def _nothing_counted(connection: Any, exchanges: Sequence[Record]) -> None: ...


@dataclass(frozen=True, slots=True)
class Rows:
    """Of one exchange."""

    record: Record
    exchange: dict[str, Any]
    """In the log."""
    charge: Row | None
    """In the ledger."""
    stored: Row | None
    """Among the stored completions."""

    @classmethod
    def of(cls, each: Record, holder: str) -> "Rows":
        return cls(each, exchange_row(each), ledger_row(each, holder), stored_row(each))


class Drain:
    """Empties one process's spool and those of dead processes.

    The name of a spool's directory is the `holder` of what its process spends (gateway/db/tables/ledger.py).
    """

    def __init__(
        self,
        spool: Source,
        database: bodies.Transactions,
        *,
        post: Post,
        count: Count = _nothing_counted,
        released: Released = _nothing_held,
        judgments: Judgments | None = None,
    ) -> None:
        self._spool = spool
        self._database = database
        self._post = post
        self._count = count
        self._released = released
        self._judgments = judgments

    async def drain(self) -> None:
        """Write everything that was appended before this call. Raises Unavailable while the database is away.

        What comes meanwhile waits for the next round: under load it would be ever smaller batches, and those are dear.
        """
        for segment in self._spool.pending():
            if segment.sealed:
                await self._drain_segment(segment)
                self._discard(segment)
                self._spool.gone(segment)
            else:
                await self._drain_segment(segment, until=segment.path.stat().st_size)

    async def adopt_orphans(self) -> int:
        """Drain what dead processes left, and remove it; returns the number of exchanges found.

        Raises:
            Unavailable: the database is away.
            OSError: of the first that cannot be read; those behind it were not held up.
        """
        found, refused = 0, list[OSError]()
        try:
            for directory in self._spool.orphans():
                try:
                    found += await self._adopt(directory)
                except OSError as error:
                    refused.append(error)
        finally:
            if found:
                log.info("recovered %d exchanges from the spool of a process that died", found)
        if refused:
            raise refused[0]
        return found

    async def _adopt(self, directory: Path) -> int:
        found = 0
        for segment in orphan_segments(directory):
            found += await self._drain_segment(segment, own=False)
            self._discard(segment)
        await self._released(directory.name)
        remove_empty(directory)
        return found

    async def close(self) -> None:
        """The last drain of this process; where it does not come to its end, the next process does what is left of it."""
        done = False
        try:
            await self.drain()
            if not self._spool.size:
                await self._released(self._spool.directory.name)
                done = True
        except Unavailable as away:
            log.warning("left to the next process: the exchange log in %s (%s)", self._spool.directory, away)
        except Exception:  # whatever it is, there is more to be closed than this
            log.exception("left to the next process: the exchange log in %s", self._spool.directory)
        finally:
            self._spool.close(leave=not done)

    async def _drain_segment(self, segment: Segment, *, own: bool = True, until: int | None = None) -> int:
        """How many records it had. Args: until: an offset where the rest may wait."""
        count = 0
        while until is None or segment.offset < until:
            payloads, offset = segment.read(max_records=BATCH_RECORDS, max_bytes=BATCH_BYTES)
            if not payloads:
                break
            calmly = until is not None and offset >= until  # nothing waits behind these
            await self._store(payloads, segment.path.parent.name, calmly=calmly)
            count += len(payloads)
            if own:
                self._spool.drained(segment, offset)
            else:
                segment.offset = offset
        return count

    def _discard(self, segment: Segment) -> None:
        """Remove a drained segment; one with an unreadable end (the record that death tore) is kept aside."""
        unread = segment.path.stat().st_size - segment.offset
        if unread:
            log.warning("%d unreadable bytes at the end of %s, kept in %s", unread, segment.path, self._rejected)
            self._rejected.mkdir(exist_ok=True)
            segment.path.rename(self._rejected / f"{segment.path.parent.name}-{segment.path.name}")
        else:
            segment.path.unlink()

    async def _store(self, payloads: Sequence[bytes], holder: str, *, calmly: bool) -> None:
        """Args: calmly: with pauses, in which calls are answered (gateway/kit/pauses.py)."""
        if calmly:
            found = [self._rows(payload, holder) async for payload in with_pauses(payloads)]
        else:
            found = [self._rows(payload, holder) for payload in payloads]
        rows = [each for each in found if each is not None]
        try:
            await self._insert(rows, holder, calmly=calmly)
        except REFUSED:
            for payload in payloads:
                await self._store_alone(payload, holder)

    async def _store_alone(self, payload: bytes, holder: str) -> None:
        if (rows := self._rows(payload, holder)) is None:
            return
        try:
            await self._insert([rows], holder)
        except REFUSED as error:
            self._reject(payload, error)

    def _rows(self, payload: bytes, holder: str) -> Rows | None:
        """None for a record that cannot be read; it is kept aside, so that it does not hold up the others."""
        try:
            return Rows.of(storable(record.decode(payload)), holder)
        except Exception as error:  # noqa: BLE001 whatever is wrong with it, the others must go on
            self._reject(payload, error)
            return None

    def _reject(self, payload: bytes, error: Exception) -> None:
        name = blake2b(payload, digest_size=16).hexdigest()
        log.critical("an exchange cannot be stored, kept as %s: %s", self._rejected / name, error)
        self._rejected.mkdir(exist_ok=True)
        (self._rejected / name).write_bytes(payload)

    async def _insert(self, rows: Sequence[Rows], holder: str, *, calmly: bool = False) -> None:
        """All of it or nothing. Of rows with one id the first counts."""
        by_id: dict[str, Rows] = {}
        for each in rows:
            by_id.setdefault(each.record.id, each)
        judged = await self._judged(by_id)
        blobs = await bodies.move(self._database, [each.exchange for each in by_id.values()])
        async with self._database.raw() as connection:
            for id in await deletions.deleted(connection, [each.record for each in by_id.values()]):
                by_id[id] = Rows.of(erased(by_id[id].record), holder)
            records = [tuple(each.exchange.values()) for each in by_id.values()]
            new = [by_id[id] for id in await copy_new(connection, "exchanges", COLUMNS, records, calmly=calmly)]
            await bodies.settle(connection, blobs, [each.exchange for each in new])
            await storing.write(connection, [each.stored for each in new if each.stored is not None])
            unread = [(each.record.id,) for each in new if each.record.logging == "full"]
            await copy_new(connection, "unread_exchanges", UNREAD, unread)
            await self._post(connection, [each.charge for each in new if each.charge is not None])
            if self._judgments and judged:
                told = {each.record.id for each in new if each.record.verdicts}
                await self._judgments.write(connection, [each for each in judged if each["exchange_id"] in told])
            await self._count(connection, [each.record for each in new])  # last: it locks what all count in

    async def _judged(self, by_id: Mapping[str, Rows]) -> list[dict[str, Any]]:
        """Before the transaction: what judges are needed for it is made in another."""
        said = [each.record for each in by_id.values() if each.record.verdicts]
        return await self._judgments.of(said) if self._judgments and said else []

    @property
    def _rejected(self) -> Path:
        return self._spool.directory.parent.parent / REJECTED
