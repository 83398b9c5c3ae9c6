"""Writing the ledger, and in the same transaction everything that follows from a row of it.

A row is posted once: one whose id the ledger has is left out, with everything that would follow. What follows is a
posting: it finds the rows that are really new in the temporary table `posted` (columns of `ledger`), and says what they
change in SQL over that whole table. Postings lock what they change in a fixed order, so that two of them cannot wait
for each other; those whose locks are wanted most come last.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from gateway.db.locks import SHARE_LEDGER

COLUMNS = (
    "id", "created_at", "kind", "project_id", "api_key_id", "user_id", "holder", "model", "endpoint", "batch", "priced",
    "input_tokens", "cached_input_tokens", "output_tokens", "device_ms", "cost_nano", "input_nano",
    "cached_input_nano", "output_nano", "request_nano",
)  # fmt: skip
"""Of `ledger`."""
_columns = ", ".join(COLUMNS)

Posting = Callable[[Any], Awaitable[None]]
"""Given asyncpg's connection, inside the transaction."""

POSTED = "CREATE TEMP TABLE IF NOT EXISTS posted (LIKE ledger INCLUDING DEFAULTS) ON COMMIT DELETE ROWS"
"""Once a connection: to make one for each transaction costs as much as to fill it, and its statements are planned once, too
(`fetch`, because `execute` plans anew)."""
POST = f"""
WITH new AS (
    INSERT INTO ledger ({_columns}) SELECT {_columns} FROM posted ORDER BY id ON CONFLICT (id) DO NOTHING RETURNING id
)
DELETE FROM posted WHERE NOT EXISTS (SELECT FROM new WHERE new.id = posted.id)
"""  # noqa: S608 names of this module


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
        await connection.execute(POSTED)
        records = [tuple(row[name] for name in COLUMNS) for row in rows]
        await connection.copy_records_to_table("posted", records=records, columns=COLUMNS)
        await connection.fetch(POST)
        for posting in self._postings:
            await posting(connection)
