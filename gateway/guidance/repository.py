"""Reports of guidance as they are kept: one for each set of filters that somebody asked for lately."""

from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

import msgspec
from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.guidance_lock import hold_while_adding
from gateway.db.tables import GuidanceReportRow
from gateway.errors import Unavailable
from gateway.kit.clock import now
from gateway.protocol.guidance import GuidanceFilters, Report

FRESH = timedelta(minutes=1)
"""An older report is shown, and another one is asked for."""
EMPTY = timedelta(seconds=2)
"""The same of one for which there was nothing to look at: whoever looks again has just made some calls."""
KEPT = timedelta(days=1)
"""Since somebody last asked for it."""
MOST_WAITING = 20
"""Of one project: each takes a worker a second or more."""
WAITS = 2 * FRESH
"""Whoever waits asks again, and again; a report that nobody has asked for since then is computed when somebody does."""

Row = GuidanceReportRow


def key_of(filters: GuidanceFilters) -> str:
    return sha256(msgspec.json.encode(filters, order="deterministic")).hexdigest()[:32]


async def ask(session: AsyncSession, project_id: str, filters: GuidanceFilters) -> tuple[Row, bool]:
    """The row, made where there is none, and whether a worker has to compute it.

    Raises:
        Unavailable: too many others of the project wait.
    """
    key, moment = key_of(filters), now()
    row = await session.get(Row, (project_id, key))
    if row is None:
        await hold_while_adding(session, project_id)
        await _check_waiting(session, project_id, moment)
        values: dict[str, Any] = {"filters": msgspec.to_builtins(filters), "asked_at": moment, "computed_at": None}
        new = insert(Row).values(project_id=project_id, filters_key=key, **values).on_conflict_do_nothing()
        await session.execute(new)
        row = await session.get_one(Row, (project_id, key))
    elif moment - row.asked_at > FRESH:  # not with each look: it would be a write for each
        row.asked_at = moment
    return row, is_due(row, moment)


def is_due(row: Row, moment: datetime) -> bool:
    if row.computed_at is None or row.report is None:
        return True
    looked_at = row.report["looked_at"]["since"] is not None
    return moment - row.computed_at > (FRESH if looked_at else EMPTY)


async def _check_waiting(session: AsyncSession, project_id: str, moment: datetime) -> None:
    """An erasure empties every report of the project, of which few are wanted again."""
    lately = (Row.computed_at.is_(None), Row.asked_at > moment - WAITS)
    waiting = select(func.count()).where(Row.project_id == project_id, *lately)
    if (await session.scalar(waiting) or 0) >= MOST_WAITING:
        raise Unavailable(
            "Guidance is being computed for many other filters of this project; please retry.", retry_after=5
        )


async def find(session: AsyncSession, project_id: str, key: str) -> Row | None:
    return await session.get(Row, (project_id, key))


async def store(session: AsyncSession, project_id: str, key: str, generation: int, report: Report) -> bool:
    """False: exchanges were erased since its material was read, so that it may name what is gone. Nothing is stored then."""
    own = (Row.project_id == project_id, Row.filters_key == key, Row.generation == generation)
    values = {"report": msgspec.to_builtins(report), "computed_at": now()}
    stored = await session.execute(update(Row).where(*own).values(**values).returning(Row.filters_key))
    return stored.first() is not None


async def remove_old(session: AsyncSession) -> None:
    """Of all projects: what nobody has asked for."""
    await session.execute(delete(Row).where(Row.asked_at < now() - KEPT))
