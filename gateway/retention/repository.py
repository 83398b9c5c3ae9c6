"""SQL of periods, and of what is gone already."""

from collections.abc import Mapping
from datetime import datetime
from typing import Literal

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.tables import ProjectRetentionRow, ProjectRow, RetentionMarkRow
from gateway.protocol.retention import Periods
from gateway.retention.periods import in_force
from gateway.retention_settings import RetentionSettings

Kind = Literal["bodies", "exchanges"]
BODIES: Kind = "bodies"
EXCHANGES: Kind = "exchanges"
EVERYBODY = ""
"""Project of a mark that is everybody's."""


async def own_periods(session: AsyncSession, project_id: str) -> ProjectRetentionRow | None:
    return await session.get(ProjectRetentionRow, project_id)


async def change_periods(
    session: AsyncSession, project_id: str, changes: Mapping[str, int | None]
) -> ProjectRetentionRow:
    """Args: changes: days by name; None: as the settings say."""
    unset = {"body_days": None, "exchange_days": None, "training_log_days": None}
    statement = insert(ProjectRetentionRow).values(project_id=project_id, **unset | dict(changes))
    if changes:
        statement = statement.on_conflict_do_update(index_elements=["project_id"], set_=dict(changes))
    else:
        statement = statement.on_conflict_do_nothing()
    await session.execute(statement)
    row = await session.get(ProjectRetentionRow, project_id, populate_existing=True)
    assert row is not None
    return row


async def of_projects(session: AsyncSession, settings: RetentionSettings) -> dict[str, Periods]:
    """Of every one, archived ones too."""
    query = select(ProjectRow.id, ProjectRetentionRow).outerjoin(
        ProjectRetentionRow, ProjectRetentionRow.project_id == ProjectRow.id
    )
    rows = await session.execute(query.order_by(ProjectRow.id))
    return {project_id: in_force(own, settings) for project_id, own in rows}


async def announce(session: AsyncSession, project_id: str, kind: Kind, until: datetime) -> None:
    """Say that what is older goes. In a transaction that ends before the first row does."""
    statement = insert(RetentionMarkRow).values(project_id=project_id, kind=kind, until=until)
    later = {"until": func.greatest(RetentionMarkRow.until, statement.excluded.until)}
    await session.execute(statement.on_conflict_do_update(index_elements=["project_id", "kind"], set_=later))


async def finish(session: AsyncSession, project_id: str, kind: Kind, until: datetime) -> None:
    """All of it is gone."""
    own = (RetentionMarkRow.project_id == project_id, RetentionMarkRow.kind == kind)
    done = func.greatest(func.coalesce(RetentionMarkRow.done, until), until)
    await session.execute(update(RetentionMarkRow).where(*own).values(done=done))


async def marks(session: AsyncSession, kind: Kind) -> dict[str, RetentionMarkRow]:
    """By project."""
    rows = await session.scalars(select(RetentionMarkRow).where(RetentionMarkRow.kind == kind))
    return {row.project_id: row for row in rows}
