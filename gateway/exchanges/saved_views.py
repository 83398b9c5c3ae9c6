"""Filters under a name: everybody in the project has the same."""

from typing import Any

from sqlalchemy import Select, func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.tables import SavedViewRow
from gateway.errors import Conflict, InvalidRequest, NotFound

MOST = 200
"""In a project."""
LOCK = text("SELECT pg_advisory_xact_lock(hashtext(:name))")


def matching(project_id: str, page: str | None = None) -> Select[Any]:
    query = select(SavedViewRow).where(SavedViewRow.project_id == project_id)
    return query.where(SavedViewRow.page == page) if page is not None else query


async def find(session: AsyncSession, project_id: str, view_id: str) -> SavedViewRow:
    """Raises NotFound."""
    row = await session.scalar(matching(project_id).where(SavedViewRow.id == view_id).with_for_update())
    if row is None:
        raise NotFound(f"No saved view with id '{view_id[:100]}'.", param="view_id")
    return row


async def check_name(session: AsyncSession, project_id: str, page: str, name: str, *, but: str = "") -> None:
    """Whoever takes a name in this project waits for the end of this transaction. Args: but: the view that has it already.

    Raises:
        Conflict: another has it.
        InvalidRequest: the project has too many.
    """
    await session.execute(LOCK, {"name": f"saved views:{project_id}"})
    taken = matching(project_id, page).where(SavedViewRow.name == name, SavedViewRow.id != but)
    if await session.scalar(taken) is not None:
        raise Conflict(f"There is a view '{name}' already: choose another name, or delete it.", param="name")
    count = await session.scalar(select(func.count()).select_from(matching(project_id).subquery())) or 0
    if not but and count >= MOST:
        raise InvalidRequest(f"A project has {MOST} saved views at most: delete some.", param="name")
