"""Processes that have not been heard of for a while, for tests."""

from sqlalchemy import text

from gateway.db.database import Database

SILENT = "UPDATE budget_holders SET seen_at = now() - make_interval(secs => :seconds) WHERE id = :id"
WITNESS = """
INSERT INTO budget_holders (id, host, created_at, since, seen_at)
VALUES ('witness', 'b', now() - interval '1 day', now() - make_interval(secs => :seconds), now())
ON CONFLICT (id) DO UPDATE SET since = excluded.since, seen_at = excluded.seen_at
"""


async def silence(database: Database, holder: str, seconds: int = 301) -> None:
    """It last said so long ago that it runs."""
    async with database.session() as session:
        await session.execute(text(SILENT), {"id": holder, "seconds": seconds})


async def add_witness(database: Database, seconds: int = 301) -> None:
    """Another process, which has been in touch with the database for so long, and is now."""
    async with database.session() as session:
        await session.execute(text(WITNESS), {"seconds": seconds})
