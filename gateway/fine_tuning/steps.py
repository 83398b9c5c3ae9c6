"""What the steps of a training measured: all of one job, and the last of several."""

from collections.abc import Collection
from typing import Any

from sqlalchemy import lateral, select, true
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.tables import FineTuningEventRow, FineTuningJobRow

MOST = 5000
"""A run tells about 500 steps, those with validation beside them (trainer/progress.py)."""

Event = FineTuningEventRow


async def measured(session: AsyncSession, job_id: str) -> list[dict[str, Any]]:
    """The values of each step that was told, in their order; the newest MOST of them."""
    rows = select(Event).where(Event.job_id == job_id, Event.type == "metrics").order_by(Event.number.desc())
    told = [(row.values or {}) | {"created_at": row.created_at} for row in await session.scalars(rows.limit(MOST))]
    return sorted(told, key=lambda each: each.get("step", 0))


async def last_of(session: AsyncSession, job_ids: Collection[str]) -> dict[str, dict[str, Any]]:
    """Job -> the values of its last step; a job without a step is left out. One statement, a short look for each job."""
    own = select(Event.values).where(Event.job_id == FineTuningJobRow.id, Event.type == "metrics")
    last = lateral(own.order_by(Event.number.desc()).limit(1)).alias("last")
    query = select(FineTuningJobRow.id, last.c["values"]).join(last, true()).where(FineTuningJobRow.id.in_(job_ids))
    return {job_id: values or {} for job_id, values in await session.execute(query)}
