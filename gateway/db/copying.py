"""Many rows and numbers at once, with asyncpg: by COPY into a table that must not have one of them twice; and as arrays."""

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import asyncpg

from gateway.kit.pauses import with_pauses

INCOMING = "CREATE TEMP TABLE incoming_{table} (LIKE {table} INCLUDING DEFAULTS) ON COMMIT DROP"
STORE = """
INSERT INTO {table} ({columns}) SELECT {columns} FROM incoming_{table} ORDER BY {key} ON CONFLICT ({key}) DO NOTHING RETURNING {key}
"""


async def copy_new(
    connection: Any, table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], *, calmly: bool = False
) -> Collection[str]:
    """Write those of `rows` that the table does not have; at most once in a transaction for a table.

    Nearly always it has none of them: then they go there directly, which costs half. Whoever writes one of them at the same
    time is waited for. Rows are written in the order of their key, so that two of us cannot wait for each other.

    Args:
        connection: asyncpg's, inside a transaction.
        columns: of the table; the first one is its primary key, a text.
        rows: with these columns; no key twice.
        calmly: with pauses (gateway/kit/pauses.py).

    Returns the keys of those that are new.

    Raises:
        asyncpg.DataError, ValueError, OverflowError, TypeError: a value that cannot be stored.
    """
    rows = sorted(rows, key=_key)
    try:
        async with connection.transaction():  # a savepoint
            records = with_pauses(rows) if calmly else rows
            await connection.copy_records_to_table(table, records=records, columns=columns)
    except asyncpg.UniqueViolationError:
        return await _copy_unknown(connection, table, columns, rows)
    return [_key(row) for row in rows]


async def _copy_unknown(
    connection: Any, table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]
) -> Collection[str]:
    names = {"table": table, "columns": ", ".join(columns), "key": columns[0]}
    await connection.execute(INCOMING.format(**names))
    await connection.copy_records_to_table(f"incoming_{table}", records=rows, columns=columns)
    return {each[0] for each in await connection.fetch(STORE.format(**names))}


def _key(row: Sequence[Any]) -> str:
    return row[0]


def written(numbers: Iterable[int]) -> str:
    """As PostgreSQL writes an array of them (`$1::text::bigint[]`): number by number the driver takes ten times as long."""
    return f"{{{','.join([str(int(each)) for each in numbers])}}}"
