"""Blobs of bodies that nobody names (bodies.py): found, and removed."""

from collections.abc import Collection
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.database import Database
from gateway.kit.packing import HEAD

UNSETTLED_SECONDS = 3600.0
"""After so long whoever wrote a blob has ended."""
AT_A_TIME = 500

LEFT = text("""
SELECT key FROM exchange_blobs
WHERE doomed_at IS NOT NULL AND (settled OR created_at < now() - make_interval(secs => :seconds))
   OR NOT settled AND created_at < now() - make_interval(secs => :seconds)
ORDER BY key LIMIT :most FOR UPDATE SKIP LOCKED
""")
FORGET = text("DELETE FROM exchange_blobs WHERE key = ANY(:keys)")
PAGE = text("""
SELECT key FROM exchange_blobs WHERE key > :behind AND settled AND doomed_at IS NULL ORDER BY key LIMIT :most
""")
DOOM_UNNAMED = text("""
UPDATE exchange_blobs b SET doomed_at = now() WHERE key = ANY(:keys) AND NOT EXISTS (
    SELECT FROM exchanges e WHERE e.id = b.exchange_id AND convert_to(b.key, 'UTF8')
    IN (substring(e.request FROM :head FOR :longest), substring(e.reply FROM :head FOR :longest))
)
""")
LONGEST = 300
"""Of a key."""


async def remove_left(database: Database, *, unsettled_seconds: float = UNSETTLED_SECONDS) -> int:
    """Remove blobs that nothing refers to, AT_A_TIME; returns how many. Raises Unavailable; the next call goes on."""
    if database.large_bodies is None:
        return 0
    async with database.session() as session:
        keys = list(await session.scalars(LEFT, {"seconds": unsettled_seconds, "most": AT_A_TIME}))
        if keys:
            await database.large_bodies.blobs.delete(*keys)
            await session.execute(FORGET, {"keys": keys})
    return len(keys)


async def doom_unnamed(database: Database) -> int:
    """Doom blobs whose exchange is gone from the log, or names them no more: it was past its time. Raises Unavailable."""
    doomed, behind = 0, ""
    while True:
        async with database.session() as session:
            keys = list(await session.scalars(PAGE, {"behind": behind, "most": AT_A_TIME}))
            if not keys:
                return doomed
            doomed += await _doom(session, keys)
        behind = keys[-1]


async def _doom(session: AsyncSession, keys: Collection[str]) -> int:
    where = {"keys": list(keys), "head": HEAD.size + 1, "longest": LONGEST}
    result: Any = await session.execute(DOOM_UNNAMED, where)
    return result.rowcount
