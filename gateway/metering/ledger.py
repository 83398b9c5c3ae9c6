"""Writing the ledger, and in the same transaction everything that follows from a row of it.

A row is posted once: one whose id the ledger has is left out, with everything that would follow. What follows is a
posting: it finds the rows that are really new in the temporary table `posted` (columns of `ledger`), and says what they
change in SQL over that whole table. Postings lock what they change in a fixed order, so that two of them cannot wait
for each other; those whose locks are wanted most come last.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from gateway.db.locks import SHARE_LEDGER
from gateway.db.tables import LedgerRow

COLUMNS = tuple(column.key for column in LedgerRow.__table__.columns)

Posting = Callable[[Any], Awaitable[None]]
"""Given asyncpg's connection, inside the transaction."""

POST = """
WITH new AS (INSERT INTO ledger SELECT * FROM posted ORDER BY id ON CONFLICT (id) DO NOTHING RETURNING id)
DELETE FROM posted WHERE NOT EXISTS (SELECT FROM new WHERE new.id = posted.id)
"""


class Ledger:
    """The ledger with the postings that follow from it, in their order."""

    def __init__(self, postings: Sequence[Posting]) -> None:
        self._postings = postings

    async def post(self, connection: Any, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write rows, and what follows from them; at most once in a transaction.

        Args:
            connection: asyncpg's, inside a transaction (`Database.raw`).
            rows: every column of `ledger` by name; ids differ.

        Raises:
            asyncpg.DataError, ValueError, OverflowError, TypeError: a value that cannot be stored. Nothing is posted.
        """
        if not rows:
            return
        await connection.execute(SHARE_LEDGER)
        await connection.execute("CREATE TEMP TABLE posted (LIKE ledger) ON COMMIT DROP")
        records = [tuple(row[name] for name in COLUMNS) for row in rows]
        await connection.copy_records_to_table("posted", records=records, columns=COLUMNS)
        await connection.execute(POST)
        for posting in self._postings:
            await posting(connection)
