"""Writing the stored completions (`store: true`), in the transaction of the log."""

from collections.abc import Mapping, Sequence
from typing import Any

WRITE = """
INSERT INTO stored_completions (exchange_id, project_id, completion_id, model, created_at, completion_metadata)
SELECT exchange_id, project_id, completion_id, model, created_at, metadata::jsonb
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::timestamptz[], $6::text[])
    AS new (exchange_id, project_id, completion_id, model, created_at, metadata)
ON CONFLICT DO NOTHING RETURNING exchange_id
"""
FIELDS = ("exchange_id", "project_id", "completion_id", "model", "created_at", "completion_metadata")


async def write(connection: Any, rows: Sequence[Mapping[str, Any]]) -> None:
    """Args: connection: asyncpg's, in the transaction of the log; rows: as `stored_row` makes them.

    Where an upstream used an id before, the exchange's own id names the completion.
    """
    if not rows:
        return
    written = {each["exchange_id"] for each in await connection.fetch(WRITE, *_columns(rows))}
    left = [{**row, "completion_id": row["exchange_id"]} for row in rows if row["exchange_id"] not in written]
    if left:
        await connection.fetch(WRITE, *_columns(left))


def _columns(rows: Sequence[Mapping[str, Any]]) -> list[list[Any]]:
    return [[row[name] for row in rows] for name in FIELDS]
