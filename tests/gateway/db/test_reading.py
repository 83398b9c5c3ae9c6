"""Rows without SQLAlchemy."""

import math

import pytest

from gateway.db.database import Database
from gateway.db.reading import read

pytestmark = pytest.mark.anyio


async def test_columns_are_attributes_and_jsonb_is_read(database: Database) -> None:
    async with database.raw() as connection:
        (row,) = await read(
            connection, "SELECT 1 AS id, '[\"a\"]'::jsonb AS tags, NULL::jsonb AS more", json=("tags", "more")
        )
    assert (row.id, row.tags, row.more) == (1, ["a"], None)


async def test_numbers_that_no_float_holds_are_read_all_the_same(database: Database) -> None:
    """PostgreSQL keeps every digit; one row must not keep a process from knowing the others."""
    async with database.raw() as connection:
        (row,) = await read(connection, "SELECT '[1e999, 1e30]'::jsonb AS line", json=["line"])
    assert row.line[0] == 10**999 or math.isinf(row.line[0])
