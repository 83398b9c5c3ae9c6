"""Reading the exchange log: everything is a project's own."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import defer

from gateway.db.tables import ExchangeRow

HIDDEN = "off"
"""The logging policy of calls that only the bill knows."""


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
    query = _shown(project_id).options(*bodies)
    if filters.model is not None:
        query = query.where(
            (ExchangeRow.requested_model == filters.model) | (ExchangeRow.served_model == filters.model)
        )
    if filters.status is not None:
        query = query.where(ExchangeRow.status == filters.status)
    if filters.outcome is not None:
        query = query.where(ExchangeRow.outcome == filters.outcome)
    if filters.metadata:
        query = query.where(ExchangeRow.request_metadata.contains(dict(filters.metadata)))
    if filters.created_after is not None:
        query = query.where(ExchangeRow.created_at >= filters.created_after)
    if filters.created_before is not None:
        query = query.where(ExchangeRow.created_at < filters.created_before)
    return query


async def find(session: AsyncSession, project_id: str, exchange_id: str) -> ExchangeRow | None:
    """The exchange with that id."""
    return await session.scalar(_shown(project_id).where(ExchangeRow.id == exchange_id))


async def find_by_reply(session: AsyncSession, project_id: str, reply_id: str) -> ExchangeRow | None:
    """The newest exchange whose reply has that id: upstreams choose it, and it may repeat."""
    query = _shown(project_id).where(ExchangeRow.reply_id == reply_id)
    return await session.scalar(query.order_by(ExchangeRow.id.desc()).limit(1))


def _shown(project_id: str) -> Select[ExchangeRow]:
    """Not what a key keeps out of the log: of that, only the ledger tells."""
    return select(ExchangeRow).where(ExchangeRow.project_id == project_id, ExchangeRow.logging != HIDDEN)
