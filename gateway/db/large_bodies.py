"""How bodies of calls that are too large for a column are read back."""

import asyncio
import logging
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm.attributes import set_committed_value

from gateway.db.blobs import AT_ONCE, COLUMNS, LargeBodies
from gateway.db.database import DATABASE
from gateway.errors import NotFound, Unavailable
from gateway.kit.packing import MovedBody, unpack

log = logging.getLogger(__name__)


async def load(session: AsyncSession, body: bytes | None) -> bytes | None:
    """The body itself, wherever it is; empty when its blob is gone: it was erased just now. Raises Unavailable."""
    if not isinstance(body, MovedBody):
        return body
    place: LargeBodies | None = session.info[DATABASE].large_bodies
    if place is None:
        raise Unavailable("The texts of this call are in the file storage, which is not open here.")
    try:
        kept = b"".join([piece async for piece in place.blobs.get(body.key)])
    except NotFound:
        log.warning("the blob %s of the log is gone", body.key)
        return b""
    whole = unpack(kept)
    return b"" if isinstance(whole, MovedBody) else whole


async def load_pair(session: AsyncSession, request: bytes, reply: bytes | None) -> tuple[bytes, bytes | None]:
    """Both bodies of an exchange. Raises Unavailable."""
    if not isinstance(request, MovedBody) and not isinstance(reply, MovedBody):
        return request, reply
    return await load(session, request) or b"", await load(session, reply)


async def fill(session: AsyncSession, *rows: Any) -> None:
    """Give rows of the log (ExchangeRow, or None) whose bodies were read those that are elsewhere. Raises Unavailable."""
    wanted = [(row, name) for row in rows if row is not None for name in COLUMNS if _is_moved(row, name)]
    turns = asyncio.Semaphore(AT_ONCE)

    async def fill_one(row: Any, name: str) -> None:
        async with turns:
            set_committed_value(row, name, await load(session, getattr(row, name)))

    if wanted:
        await asyncio.gather(*(fill_one(row, name) for row, name in wanted))


def _is_moved(row: Any, name: str) -> bool:
    """A body that was not read stays so."""
    return isinstance(row.__dict__.get(name), MovedBody)
