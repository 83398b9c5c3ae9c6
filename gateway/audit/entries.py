"""Reads the audit log."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, select
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.pages import Page, fetch_page
from gateway.db.tables import AuditLogRow, ProjectRow
from gateway.protocol.lists import Cursor

ORDER = (AuditLogRow.effective_at, AuditLogRow.id)
FILTERS = {
    "project_ids": AuditLogRow.project_id,
    "event_types": AuditLogRow.type,
    "actor_ids": AuditLogRow.actor_id,
    "actor_emails": AuditLogRow.actor_email,
    "resource_ids": AuditLogRow.resource_id,
}
"""Each has an index that ends in the order of the list."""


@dataclass(frozen=True)
class Wanted:
    """Which entries."""

    among: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    """Name of a filter -> the values that it takes; empty: all."""
    since: datetime | None = None
    """At this moment or later."""
    before: datetime | None = None
    """Earlier than this."""


async def page(session: AsyncSession, wanted: Wanted, cursor: Cursor) -> Page[AuditLogRow]:
    """Raises InvalidRequest."""
    conditions: list[ColumnElement[bool]] = [
        FILTERS[name].in_(values) if len(values) > 1 else FILTERS[name] == values[0]
        for name, values in wanted.among.items()
        if values
    ]
    if wanted.since is not None:
        conditions.append(AuditLogRow.effective_at >= wanted.since)
    if wanted.before is not None:
        conditions.append(AuditLogRow.effective_at < wanted.before)
    query: Select[Any] = select(AuditLogRow).where(*conditions)
    return await fetch_page(session, query, AuditLogRow, cursor, order=ORDER)


async def project_names(session: AsyncSession, rows: Sequence[AuditLogRow]) -> dict[str, str]:
    """Those of archived ones, too."""
    ids = {row.project_id for row in rows if row.project_id is not None}
    projects = await session.scalars(select(ProjectRow).where(ProjectRow.id.in_(ids)))
    return {row.id: row.name for row in projects}
