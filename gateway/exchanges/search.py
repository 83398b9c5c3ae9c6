"""Lists of the log that cost little, however long it is.

A list is read in the order of the ids, newest first. Where few exchanges match, it would be read to its end; so whoever
wants an answer in time says how many may be looked at, and is told where to go on. A search for words does so always:

1. The newest WALKED are looked at one by one: words that many exchanges have are found there at once.
2. Of other words there are few, or they were frequent once: the index tells all of the project's, in PATIENCE_MS at most.
   Where that is not enough, the answer is what the first step found, and where to go on.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, cast, func, literal, select, text
from sqlalchemy.dialects.postgresql import TSQUERY
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.tables import ExchangeRow, ExchangeTextRow
from gateway.errors import InvalidRequest
from gateway.exchanges.reading import project_word
from gateway.exchanges.repository import ExchangeFilters, ids_of_a_time, matching
from gateway.protocol.lists import Cursor

WALKED = 10_000
FOUND = 2000
"""By the index, before the other filters."""
PATIENCE_MS = 1500
TOO_LONG = "57014"
"""SQLSTATE of a statement that its time limit ended."""
NO_WORD = "Invalid 'q': it has no word that could be searched for."


@dataclass(frozen=True)
class Found:
    rows: list[ExchangeRow]
    """In the order of the list."""
    has_more: bool
    continue_from: str | None = None
    """The last exchange that was looked at, where the look ended before there were enough: `after` of the next page, or
    `before`, when that was given."""


@dataclass(frozen=True)
class Look:
    """One page of a list."""

    session: AsyncSession
    project_id: str
    filters: ExchangeFilters
    cursor: Cursor
    most: int | None = None
    """Exchanges that may be looked at; None for all."""

    async def page(self) -> Found:
        """Raises InvalidRequest: an edge is no exchange of the project's; there is no word to search for."""
        await self._check_edges()
        if self.filters.words is None:
            return await self._walk(self._matching(), self.most)
        if not await self.session.scalar(select(func.numnode(self._wanted))):
            raise InvalidRequest(NO_WORD, param="q")
        walked = await self._walk(self._with_words(), WALKED)
        return walked if walked.continue_from is None else await self._by_index() or walked

    async def _walk(self, query: Select[Any], most: int | None) -> Found:
        end = await self._end(most) if most is not None else None
        if end is not None:
            query = query.where(ExchangeRow.id >= end if self._descending else ExchangeRow.id <= end)
        return self._found(await self._rows(query), end)

    async def _end(self, most: int) -> str | None:
        """The last one that may be looked at; None when there are no more than those."""
        own = (ExchangeRow.project_id == self.project_id, *self._between(ExchangeRow.id))
        place = select(ExchangeRow.id).where(*own).order_by(self._in_order(ExchangeRow.id))
        last = list(await self.session.scalars(place.offset(most - 1).limit(2)))
        return last[0] if len(last) > 1 else None

    async def _by_index(self) -> Found | None:
        """None when it takes too long."""
        try:
            async with self.session.begin_nested():
                await self.session.execute(text(f"SET LOCAL statement_timeout = {PATIENCE_MS}"))
                ids = list(await self.session.scalars(self._candidates()))
                rows = await self._rows(self._matching().where(ExchangeRow.id.in_(ids)))
                await self.session.execute(text("SET LOCAL statement_timeout TO DEFAULT"))
        except DBAPIError as error:
            if getattr(error.orig, "sqlstate", None) != TOO_LONG:
                raise
            return None
        return self._found(rows, ids[-1] if len(ids) == FOUND else None)

    def _matching(self) -> Select[Any]:
        return matching(self.project_id, self.filters).where(*self._beyond_edges(ExchangeRow.id))

    def _with_words(self) -> Select[Any]:
        """One by one: for PostgreSQL this is nothing that the index could tell."""
        has_them = func.coalesce(ExchangeTextRow.words.op("@@")(self._wanted), False)
        return self._matching().join(ExchangeTextRow, ExchangeTextRow.exchange_id == ExchangeRow.id).where(has_them)

    def _candidates(self) -> Select[Any]:
        """Ids, in the order of reading, of those that have the words. The order is by something that no index has, so that
        it is the words' index that is read."""
        word = project_word(self.project_id).replace("\\", "\\\\").replace("'", "''")
        here = self._wanted.op("&&")(cast(literal(f"'{word}'"), TSQUERY))
        id: Any = ExchangeTextRow.exchange_id
        found = select(id).where(ExchangeTextRow.words.op("@@")(here), *self._between(id))
        return found.order_by(self._in_order(id + "")).limit(FOUND)

    async def _rows(self, query: Select[Any]) -> list[ExchangeRow]:
        return list(
            await self.session.scalars(query.order_by(self._in_order(ExchangeRow.id)).limit(self.cursor.limit + 1))
        )

    def _found(self, rows: list[ExchangeRow], end: str | None) -> Found:
        """Args: end: where the look ended, if it did not see everything."""
        is_full = len(rows) > self.cursor.limit
        kept = rows[: self.cursor.limit]
        return Found(kept[::-1] if self._backwards else kept, is_full or end is not None, None if is_full else end)

    @property
    def _wanted(self) -> ColumnElement[Any]:
        return func.websearch_to_tsquery("simple", self.filters.words)

    @property
    def _backwards(self) -> bool:
        return self.cursor.before is not None and self.cursor.after is None

    @property
    def _descending(self) -> bool:
        """In the direction of reading."""
        return self.cursor.descending is not self._backwards

    def _in_order(self, id: Any) -> ColumnElement[Any]:
        return id.desc() if self._descending else id.asc()

    def _between(self, id: Any) -> Iterator[ColumnElement[bool]]:
        """Where the page may lie, by the ids alone."""
        first, last = ids_of_a_time(self.filters)
        if first is not None:
            yield id >= first
        if last is not None:
            yield id < last
        yield from self._beyond_edges(id)

    def _beyond_edges(self, id: Any) -> Iterator[ColumnElement[bool]]:
        if self.cursor.after is not None:
            yield id < self.cursor.after if self.cursor.descending else id > self.cursor.after
        if self.cursor.before is not None:
            yield id > self.cursor.before if self.cursor.descending else id < self.cursor.before

    async def _check_edges(self) -> None:
        for name, wanted in (("after", self.cursor.after), ("before", self.cursor.before)):
            own = (ExchangeRow.project_id == self.project_id, ExchangeRow.id == wanted)
            if wanted is not None and await self.session.scalar(select(ExchangeRow.id).where(*own)) is None:
                raise InvalidRequest(f"Invalid '{name}': no exchange with id '{wanted[:100]}'.", param=name)
