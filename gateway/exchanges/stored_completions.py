"""Completions that their callers asked to be stored (`store: true`), as they are read; written with the log (storing.py)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.large_bodies import fill
from gateway.db.tables import ExchangeRow, StoredCompletionRow
from gateway.errors import NotFound


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFilters:
    """None and an empty mapping mean all."""

    model: str | None = None
    """As requested, or as served."""
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])


def matching(project_id: str, filters: StoredFilters) -> Select[Any]:
    """Rows of `stored_completions`."""
    query = select(StoredCompletionRow).where(
        StoredCompletionRow.project_id == project_id, StoredCompletionRow.deleted_at.is_(None)
    )
    if filters.model is not None:
        served = select(ExchangeRow.id).where(
            ExchangeRow.id == StoredCompletionRow.exchange_id, ExchangeRow.served_model == filters.model
        )
        query = query.where((StoredCompletionRow.model == filters.model) | served.exists())
    if filters.metadata:
        query = query.where(StoredCompletionRow.completion_metadata.contains(dict(filters.metadata)))
    return query


async def find(session: AsyncSession, project_id: str, completion_id: str) -> StoredCompletionRow:
    """Raises NotFound."""
    query = matching(project_id, StoredFilters()).where(StoredCompletionRow.completion_id == completion_id)
    if (row := await session.scalar(query)) is None:
        raise NotFound(
            f"No stored completion with id '{completion_id[:100]}'. Only calls with `store: true` are stored, with the log.",
            param="completion_id",
        )
    return row


async def exchanges_of(session: AsyncSession, rows: Sequence[StoredCompletionRow]) -> list[ExchangeRow]:
    """The logged exchange of each, with its bodies, in their order."""
    ids = [row.exchange_id for row in rows]
    found = {row.id: row for row in await session.scalars(select(ExchangeRow).where(ExchangeRow.id.in_(ids)))}
    await fill(session, *found.values())
    return [found[id] for id in ids]
