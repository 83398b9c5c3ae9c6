"""Writing the ledger, and in the same transaction everything that follows from a row of it.

A row is posted once: one whose id the ledger has is left out, with everything that would follow. What follows is a
posting: it is given the rows that are really new, and adds them up before it tells the database what they change: a few
sums for thousands of calls. Postings lock what they change in a fixed order, so that two of them cannot wait
for each other; those whose locks are wanted most come last.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any

from gateway.db.copying import copy_new
from gateway.db.locks import SHARE_LEDGER

COLUMNS = (
    "id", "created_at", "kind", "project_id", "api_key_id", "user_id", "holder", "model", "endpoint", "batch", "priced",
    "input_tokens", "cached_input_tokens", "output_tokens", "device_ms", "cost_nano", "input_nano",
    "cached_input_nano", "output_nano", "request_nano",
)  # fmt: skip
"""Of `ledger`."""
_values = itemgetter(*COLUMNS)

Row = Mapping[str, Any]
"""Every column of `ledger` by name."""
Posting = Callable[[Any, Sequence[Row]], Awaitable[None]]
"""Given asyncpg's connection, inside the transaction, and rows that are new; at least one."""


class Ledger:
    """The ledger with the postings that follow from it, in their order."""

    def __init__(self, postings: Sequence[Posting]) -> None:
        self._postings = postings

    async def post(self, connection: Any, rows: Sequence[Row]) -> None:
        """Write rows, and what follows from them; at most once in a transaction.

        Args:
            connection: asyncpg's, inside a transaction (`Database.raw`).
            rows: ids differ.

        Raises:
            asyncpg.DataError, ValueError, OverflowError, TypeError: a value that cannot be stored. Nothing is posted.
        """
        if not rows:
            return
        await connection.execute(SHARE_LEDGER)
        new = await copy_new(connection, "ledger", COLUMNS, [_values(row) for row in rows])
        posted = rows if len(new) == len(rows) else [row for row in rows if row["id"] in new]
        if posted:
            for posting in self._postings:
                await posting(connection, posted)
