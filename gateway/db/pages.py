"""Keyset paging over (created_at, id): stable while rows are added, and fast at any depth."""

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sqlalchemy import Select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.errors import InvalidRequest

Row = TypeVar("Row")


@dataclass(frozen=True)
class Page(Generic[Row]):
    """One page of rows in the asked order."""

    rows: list[Row]
    has_more: bool


async def fetch_page(
    session: AsyncSession, query: Select[Any], table: Any, *, limit: int, after: str | None, descending: bool = True
) -> Page[Any]:
    """The rows of `query` behind the row with id `after` (exclusive), at most `limit`.

    Raises:
        InvalidRequest: no row of the query has the id `after`.
    """
    place = tuple_(table.created_at, table.id)
    if after is not None:
        edge = (await session.execute(query.with_only_columns(table.created_at).where(table.id == after))).first()
        if edge is None:
            raise InvalidRequest(f"Invalid 'after': there is no object with id '{after}' in this list.", param="after")
        bound = tuple_(edge[0], after)
        query = query.where(place < bound if descending else place > bound)
    order = (table.created_at.desc(), table.id.desc()) if descending else (table.created_at, table.id)
    rows = list(await session.scalars(query.order_by(*order).limit(limit + 1)))
    return Page(rows[:limit], len(rows) > limit)
