"""Rows by asyncpg alone, for what every process knows by heart (gateway/db/mirror.py)."""

from collections.abc import Collection
from types import SimpleNamespace
from typing import Any

import msgspec

_decode = msgspec.json.Decoder().decode


async def read(connection: Any, statement: str, *values: Any, json: Collection[str] = ()) -> list[Any]:
    """Rows whose columns are attributes, as those of gateway/db/tables/ are.

    Args:
        connection: asyncpg's.
        json: the columns of the type jsonb: they come as text.
    """
    rows = [SimpleNamespace(**each) for each in await connection.fetch(statement, *values)]
    for name in json:
        for row in rows:
            if (text := getattr(row, name)) is not None:
                setattr(row, name, _decode(text))
    return rows
