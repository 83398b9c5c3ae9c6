"""Reading the exchange log: everything is a project's own."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from math import ceil, floor

from sqlalchemy import ColumnElement, Select, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import defer

from gateway.db.tables import ExchangeRow
from gateway.kit.ids import first_request_id

HIDDEN = "off"
"""The logging policy of calls that only the bill knows."""
EARLIER_SECONDS = 3600
"""A call has its id when it begins to come in, and `created_at` when all of its body is there."""
LATER_SECONDS = 60
"""Between the two the clock may be set back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeFilters:
    """Which exchanges to list; None and an empty mapping mean all."""

    model: str | None = None
    """As requested or as served."""
    status: int | None = None
    outcome: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])
    created_after: datetime | None = None
    """Inclusive."""
    created_before: datetime | None = None
    """Exclusive."""


def matching(project_id: str, filters: ExchangeFilters) -> Select[ExchangeRow]:
    """Rows without the bodies."""
    bodies = (defer(ExchangeRow.request, raiseload=True), defer(ExchangeRow.reply, raiseload=True))
    return _shown(project_id).options(*bodies).where(*_of_a_kind(filters), *_of_a_time(filters))


def _of_a_kind(filters: ExchangeFilters) -> Iterator[ColumnElement[bool]]:
    if filters.model is not None:
        yield (ExchangeRow.requested_model == filters.model) | (ExchangeRow.served_model == filters.model)
    if filters.status is not None:
        yield ExchangeRow.status == filters.status
    if filters.outcome is not None:
        yield ExchangeRow.outcome == filters.outcome
    if filters.metadata:
        yield ExchangeRow.request_metadata.contains(dict(filters.metadata))


def _of_a_time(filters: ExchangeFilters) -> Iterator[ColumnElement[bool]]:
    """By `created_at`, exactly, and by id about as much: the list is read in the order of the ids, so that only a bound on
    them spares it what is newer (or older) than it was asked for."""
    if filters.created_after is not None:
        yield ExchangeRow.created_at >= filters.created_after
        yield ExchangeRow.id >= first_request_id(floor(filters.created_after.timestamp()) - EARLIER_SECONDS)
    if filters.created_before is not None:
        yield ExchangeRow.created_at < filters.created_before
        yield ExchangeRow.id < first_request_id(ceil(filters.created_before.timestamp()) + LATER_SECONDS)


async def find(session: AsyncSession, project_id: str, exchange_id: str) -> ExchangeRow | None:
    """The exchange with that id."""
    return await session.scalar(_shown(project_id).where(ExchangeRow.id == exchange_id))


async def find_by_reply(session: AsyncSession, project_id: str, reply_id: str) -> ExchangeRow | None:
    """The newest exchange whose reply has that id: upstreams choose it, and it may repeat."""
    query = _shown(project_id).where(ExchangeRow.reply_id == reply_id)
    return await session.scalar(query.order_by(ExchangeRow.id.desc()).limit(1))


async def ids_of(session: AsyncSession, project_id: str, names: Collection[str]) -> dict[str, str]:
    """Names (ids of exchanges, or of replies) -> ids of exchanges; of several with one reply id the newest. What is not in
    the log is not in the answer."""
    shown = _shown(project_id)
    ids = await session.scalars(shown.with_only_columns(ExchangeRow.id).where(ExchangeRow.id.in_(names)))
    found = {id: id for id in ids}
    left = [name for name in names if name not in found]
    newest = shown.with_only_columns(ExchangeRow.reply_id, func.max(ExchangeRow.id))
    by_reply = await session.execute(newest.where(ExchangeRow.reply_id.in_(left)).group_by(ExchangeRow.reply_id))
    return found | {str(reply_id): id for reply_id, id in by_reply}


def _shown(project_id: str) -> Select[ExchangeRow]:
    """Not what a key keeps out of the log: of that, only the ledger tells."""
    return select(ExchangeRow).where(ExchangeRow.project_id == project_id, ExchangeRow.logging != HIDDEN)
