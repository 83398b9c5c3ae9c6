"""SQL of routes and their revisions."""

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import Select, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.changes import touch
from gateway.db.tables import RouteRevisionRow, RouteRow
from gateway.errors import Conflict, InvalidRequest, NotFound
from gateway.kit.clock import now
from gateway.kit.ids import new_id
from gateway.protocol.lists import Cursor
from gateway.protocol.routes import RouteSpec
from gateway.routing.route_book import MIRROR

FINAL = {"x-should-retry": "false"}
"""SDKs send a call that got 409 again otherwise."""


def stored(spec: RouteSpec) -> dict[str, Any]:
    """A spec as its revision holds it: every field, so that history stays true when a default changes."""
    return msgspec.to_builtins(spec)


def current() -> Select[RouteRow, dict[str, Any]]:
    """Every route that was not deleted, oldest first, with the spec that is in force."""
    revision = RouteRevisionRow
    joined = (revision.route_id == RouteRow.id) & (revision.number == RouteRow.revision)
    query = select(RouteRow, revision.spec).join(revision, joined)
    return query.where(RouteRow.deleted_at.is_(None)).order_by(RouteRow.created_at, RouteRow.id)


async def route(session: AsyncSession, route_id: str, *, lock: bool = False) -> RouteRow:
    """A route that was not deleted; with `lock`, changes by others wait for the end of this transaction.

    Raises:
        NotFound
    """
    query = select(RouteRow).where(RouteRow.id == route_id, RouteRow.deleted_at.is_(None))
    row = await session.scalar(query.with_for_update() if lock else query)
    if row is None:
        raise NotFound(f"No route with id '{route_id}'.", param="route_id")
    return row


async def create(
    session: AsyncSession, name: str, project_id: str | None, spec: RouteSpec, *, created_by: str
) -> RouteRow:
    """A route at revision 1, in force everywhere within a second of the commit.

    Raises:
        Conflict: the project (or the organisation, for None) has a route of that name.
    """
    moment = now()
    values = {"id": new_id("route_"), "name": name, "project_id": project_id, "revision": 1}
    query = insert(RouteRow).values(**values, created_at=moment, updated_at=moment)
    row = await session.scalar(query.on_conflict_do_nothing().returning(RouteRow))
    if row is None:
        raise await _taken(session, name, project_id)
    session.add(_revision(row, spec, created_by, None))
    await touch(session, MIRROR)
    return row


async def revise(
    session: AsyncSession, row: RouteRow, spec: RouteSpec, *, created_by: str, restores: int | None = None
) -> None:
    """The next revision of a route, whose row the caller has locked."""
    row.revision += 1
    row.updated_at = now()
    session.add(_revision(row, spec, created_by, restores))
    await touch(session, MIRROR)


async def delete(session: AsyncSession, row: RouteRow) -> None:
    """Its name is free again; its revisions stay in the database."""
    row.deleted_at = now()
    await touch(session, MIRROR)


async def revision(session: AsyncSession, row: RouteRow, number: int) -> RouteRevisionRow:
    """Raises InvalidRequest: the route never had it."""
    found = await session.get(RouteRevisionRow, (row.id, number)) if 1 <= number <= row.revision else None
    if found is None:
        raise InvalidRequest(
            f"Invalid 'revision': the route `{row.name}` has the revisions 1 to {row.revision}, not {number}.",
            param="revision",
        )
    return found


async def before(session: AsyncSession, row: RouteRow) -> int:
    """The number of the revision before the one that the current one is, or repeats; 0 where there is none.

    So one step back after another goes further back: a rollback that is sent twice never ends at what it was to undo.
    """
    number = row.revision
    while (restores := (await revision(session, row, number)).restores) is not None:
        number = restores
    return number - 1


async def revisions(session: AsyncSession, row: RouteRow, cursor: Cursor, after: int | None) -> Sequence[Any]:
    """One page and, where there are more, one row of the next."""
    number = RouteRevisionRow.number
    query = select(RouteRevisionRow).where(RouteRevisionRow.route_id == row.id)
    if after is not None:
        query = query.where(number < after if cursor.descending else number > after)
    ordered = query.order_by(number.desc() if cursor.descending else number.asc())
    return (await session.scalars(ordered.limit(cursor.limit + 1))).all()


def _revision(row: RouteRow, spec: RouteSpec, created_by: str, restores: int | None) -> RouteRevisionRow:
    return RouteRevisionRow(
        route_id=row.id,
        number=row.revision,
        spec=stored(spec),
        created_at=row.updated_at,
        created_by=created_by,
        restores=restores,
    )


async def _taken(session: AsyncSession, name: str, project_id: str | None) -> Conflict:
    same = RouteRow.project_id.is_(None) if project_id is None else RouteRow.project_id == project_id
    found = await session.scalar(select(RouteRow.id).where(RouteRow.name == name, same, RouteRow.deleted_at.is_(None)))
    which = f": {found}. Change that one (POST /v1/routes/{found}) or delete it" if found else ""
    return Conflict(f"There is a route `{name}` already{which}.", param="name", headers=FINAL)
