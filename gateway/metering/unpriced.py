"""Which models were used without a price."""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.tables import ProjectDayRow


class Unpriced(NamedTuple):
    model: str
    project_id: str
    requests: int
    last_day: datetime
    """Its midnight (UTC)."""


async def unpriced(session: AsyncSession, since: datetime, limit: int) -> list[Unpriced]:
    """The most called first. Args: since: from that day on."""
    row = ProjectDayRow
    requests = func.sum(row.requests)
    query = (
        select(row.model, row.project_id, requests, func.max(row.day))
        .where(row.day >= since, row.priced.is_(False))
        .group_by(row.model, row.project_id)
        .order_by(requests.desc(), row.model, row.project_id)
        .limit(limit)
    )
    return [
        Unpriced(model, project_id, int(count), last) for model, project_id, count, last in await session.execute(query)
    ]
