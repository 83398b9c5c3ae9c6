"""Keyset paging over (created_at, id): stable while rows are added, and fast at any depth."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sqlalchemy import Select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.errors import InvalidRequest
from gateway.protocol.lists import Cursor

Row = TypeVar("Row")


@dataclass(frozen=True)
class Page(Generic[Row]):
    """One page of rows in the asked order."""

    rows: list[Row]
    has_more: bool


async def fetch_page(
    session: AsyncSession, query: Select[Any], table: Any, cursor: Cursor, *, order: Sequence[Any] | None = None
) -> Page[Any]:
    """One page of the rows of `query`.

    Args:
        order: columns that sort the list and are unique together; (created_at, id) when left out.

    Raises:
        InvalidRequest: no row of the query has the id `cursor.after`.
    """
    columns = tuple(order or (table.created_at, table.id))
    place = tuple_(*columns)
    if cursor.after is not None:
        edge = (await session.execute(query.with_only_columns(*columns).where(table.id == cursor.after))).first()
        if edge is None:
            raise InvalidRequest(f"Invalid 'after': no object with id '{cursor.after}' is in this list.", param="after")
        query = query.where(place < tuple_(*edge) if cursor.descending else place > tuple_(*edge))
    directed = [column.desc() if cursor.descending else column.asc() for column in columns]
    rows = list(await session.scalars(query.order_by(*directed).limit(cursor.limit + 1)))
    return Page(rows[: cursor.limit], len(rows) > cursor.limit)
