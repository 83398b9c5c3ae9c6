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
    """Beyond this page in the direction of reading: behind it, or, with `before` alone, in front of it."""


async def fetch_page(
    session: AsyncSession, query: Select[Any], table: Any, cursor: Cursor, *, order: Sequence[Any] | None = None
) -> Page[Any]:
    """One page of the rows of `query`: behind `after`, or the one that ends right before `before`, in the same order.

    Args:
        order: columns that sort the list and are unique together; (created_at, id) when left out.

    Raises:
        InvalidRequest: no row of the query has the id `cursor.after` or `cursor.before`.
    """
    columns = tuple(order or (table.created_at, table.id))
    place = tuple_(*columns)
    backwards = cursor.before is not None and cursor.after is None
    descending = cursor.descending is not backwards
    for name, wanted in (("after", cursor.after), ("before", cursor.before)):
        if wanted is not None:
            edge = await _edge(session, query.with_only_columns(*columns).where(table.id == wanted), name, wanted)
            is_below = cursor.descending is (name == "after")
            query = query.where(place < edge if is_below else place > edge)
    directed = [column.desc() if descending else column.asc() for column in columns]
    rows = list(await session.scalars(query.order_by(*directed).limit(cursor.limit + 1)))
    kept, has_more = rows[: cursor.limit], len(rows) > cursor.limit
    return Page(kept[::-1] if backwards else kept, has_more)


async def _edge(session: AsyncSession, query: Any, param: str, wanted: str) -> Any:
    """The place of one row in the list. Raises InvalidRequest."""
    edge = (await session.execute(query)).first()
    if edge is None:
        raise InvalidRequest(f"Invalid '{param}': no object with id '{wanted}' is in this list.", param=param)
    return tuple_(*edge)
