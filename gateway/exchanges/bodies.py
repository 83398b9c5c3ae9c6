"""Large bodies of the log live in the file storage: written behind the calls, before the log, and
read back by gateway/db/large_bodies.py. What is left of them: left_bodies.py.

    a row of exchange_blobs ──> the blob ──> the transaction of the log, which settles the row: the exchange names the blob,
                                             or (it was in the log already, or erased meanwhile) the blob is doomed

Whoever dies on the way leaves a row, so that a worker finds every blob that nobody names. Each attempt has keys of its own:
what removes the blobs of one never meets another that writes. Where the storage does not answer, the body stays in its row:
the log waits for nothing but the database.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from secrets import token_hex
from typing import Any, Protocol

from gateway.db.blobs import AT_ONCE, COLUMNS, LargeBodies
from gateway.kit.packing import HEAD, MARKS, MOST_BYTES, MOVED, MovedBody

log = logging.getLogger(__name__)

PREFIX = "bodies/"
PATIENCE_SECONDS = 30.0
"""For one blob to be written."""
REST_SECONDS = 30.0
"""For which a storage that did not answer is not asked again."""

NOTE = """INSERT INTO exchange_blobs (key, exchange_id, created_at, settled)
SELECT key, exchange_id, now(), false FROM unnest($1::text[], $2::text[]) AS new (key, exchange_id)"""
SETTLE = """INSERT INTO exchange_blobs AS known (key, exchange_id, created_at, settled, doomed_at)
SELECT key, exchange_id, now(), true, CASE WHEN named THEN NULL ELSE now() END
FROM unnest($1::text[], $2::text[], $3::bool[]) AS new (key, exchange_id, named)
ON CONFLICT (key) DO UPDATE SET settled = true, doomed_at = coalesce(known.doomed_at, excluded.doomed_at)"""


class Transactions(Protocol):
    """Of asyncpg's connections: gateway/db/database.py, or gateway/db/connection.py alone."""

    large_bodies: LargeBodies | None

    def raw(self) -> AbstractAsyncContextManager[Any]:
        """One of them. Raises Unavailable."""
        ...


@dataclass(frozen=True, slots=True)
class Blob:
    """One that was begun for a body of a row."""

    key: str
    exchange_id: str


async def move(database: Transactions, rows: Sequence[dict[str, Any]]) -> list[Blob]:
    """Write the large bodies of rows that are about to be written to the log, and put what names them in their places.

    Args:
        rows: columns by name, bodies as `gateway.kit.packing.pack` has them; changed where a body was moved.

    Returns what `settle` is to be told of. Raises Unavailable: the database is away.
    """
    place = database.large_bodies
    if place is None or not place.from_bytes:
        return []
    large = [(row, name) for row in rows for name in COLUMNS if len(row[name] or b"") >= place.from_bytes]
    if not large or time.monotonic() < place.rests_until:
        return []
    blobs = [Blob(f"{PREFIX}{row['id']}.{name}.{token_hex(4)}", row["id"]) for row, name in large]
    async with database.raw() as connection:
        await connection.execute(NOTE, [each.key for each in blobs], [each.exchange_id for each in blobs])
    turns = asyncio.Semaphore(AT_ONCE)
    moves = [_move_one(place, turns, each, row, name) for each, (row, name) in zip(blobs, large, strict=True)]
    await asyncio.gather(*moves)
    return blobs


async def _move_one(place: LargeBodies, turns: asyncio.Semaphore, blob: Blob, row: dict[str, Any], name: str) -> None:
    async with turns:
        if time.monotonic() < place.rests_until:
            return
        kept: bytes = row[name]
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await place.blobs.put(blob.key, _pieces(kept), max_bytes=MOST_BYTES)
        except Exception as error:  # noqa: BLE001 whatever it is, the log goes on
            place.rests_until = time.monotonic() + REST_SECONDS
            why = str(error) or repr(error)
            log.warning("large bodies of the log stay in the database while the file storage is away: %s", why)
            return
        row[name] = MovedBody.named(blob.key, _size(kept)).stored


async def _pieces(kept: bytes) -> AsyncIterator[bytes]:
    yield kept


def _size(kept: bytes) -> int:
    return HEAD.unpack_from(kept)[1] if kept.startswith(MARKS) else len(kept)


async def settle(connection: Any, blobs: Sequence[Blob], written: Iterable[Any]) -> None:
    """Args: connection: asyncpg's, in the transaction of the log; written: rows that are new in it."""
    if not blobs:
        return
    named = {row[name][HEAD.size :] for row in written for name in COLUMNS if (row[name] or b"").startswith(MOVED)}
    keys = [each.key for each in blobs]
    await connection.execute(
        SETTLE, keys, [each.exchange_id for each in blobs], [key.encode() in named for key in keys]
    )
