"""Reads what came to the log, so that it can be searched: in batches, behind the calls, each exchange once.

What is to be read is written with the log in one transaction (drain.py), so that nothing is passed over, however late it
comes. Whoever dies in the midst of a batch has taken nothing.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.bodies import Body, size_sql
from gateway.db.large_bodies import load_pair
from gateway.exchanges.erased import hold_off
from gateway.exchanges.texts import first_words, texts_of

AT_A_TIME = 100
READ_BYTES = 1_000_000
"""A larger call is in the log, but not searched: pictures, mostly."""

TAKE = text("""
DELETE FROM unread_exchanges WHERE exchange_id IN (
    SELECT exchange_id FROM unread_exchanges ORDER BY exchange_id DESC LIMIT :most FOR UPDATE SKIP LOCKED
) RETURNING exchange_id
""")
"""The newest first: those are looked for."""
BODIES = text(f"""
SELECT id, project_id, request, reply FROM exchanges
WHERE id = ANY(:ids) AND logging = 'full' AND {size_sql("request")} + coalesce({size_sql("reply")}, 0) <= :bytes
ORDER BY id FOR SHARE
""").columns(request=Body, reply=Body)  # noqa: S608
"""Whoever empties them because they are too old waits, and takes away what is written here."""
WRITE = text("""
INSERT INTO exchange_texts (exchange_id, question, answer, words)
VALUES (:id, :question, :answer, to_tsvector('simple', :searched) || array_to_tsvector(ARRAY[CAST(:project AS text)]))
ON CONFLICT (exchange_id) DO NOTHING
""")


def project_word(project_id: str) -> str:
    """No text gives a word with a colon, so that nobody's text is taken for it."""
    return f"project:{project_id}"


async def read_next(session: AsyncSession) -> int:
    """One batch, in a transaction of its own; how many were taken. Raises Unavailable."""
    taken = list(await session.scalars(TAKE, {"most": AT_A_TIME}))
    if not taken:
        return 0
    gone = await hold_off(session, taken)
    found = await session.execute(BODIES, {"ids": [id for id in taken if id not in gone], "bytes": READ_BYTES})
    await _write(session, [_row(id, project, *await load_pair(session, *both)) for id, project, *both in found])
    return len(taken)


async def _write(session: AsyncSession, rows: Sequence[dict[str, Any]]) -> None:
    if rows:
        await session.execute(WRITE, rows)


def _row(id: str, project_id: str, request: bytes, reply: bytes | None) -> dict[str, Any]:
    texts = texts_of(request, reply)
    return {
        "id": id,
        "question": first_words(texts.question),
        "answer": first_words(texts.answer),
        "searched": texts.searched,
        "project": project_word(project_id),
    }
