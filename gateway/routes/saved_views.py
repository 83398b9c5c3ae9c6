"""/v1/saved_views (an extension): filters of a page of the console, under a name, for everybody in the project."""

from typing import get_args

import msgspec
from litestar import delete, get, post
from litestar.params import FromPath, QueryParams, RawBody

from gateway.db.pages import fetch_page
from gateway.db.tables import SavedViewRow
from gateway.exchanges import saved_views
from gateway.kit.clock import now, unix
from gateway.kit.ids import new_id
from gateway.protocol.decode import decode
from gateway.protocol.lists import CursorList, Deleted, cursor_list
from gateway.protocol.queries import choice, cursor, text
from gateway.protocol.saved_views import Page, SavedView, SavedViewCreate, SavedViewUpdate
from gateway.routes.callers import Caller, Sv

ALL = "/v1/saved_views"
ONE = ALL + "/{view_id:str}"
PAGES: tuple[str, ...] = get_args(Page)

decode_create = msgspec.json.Decoder(SavedViewCreate)
decode_update = msgspec.json.Decoder(SavedViewUpdate)


@get(ALL)
async def list_views(sv: Sv, caller: Caller, query: QueryParams) -> CursorList:
    """Newest first. Filter: page."""
    wanted = choice(query, "page", PAGES, "") if text(query, "page") else None
    async with sv.database.session() as session:
        page = await fetch_page(session, saved_views.matching(caller.project_id, wanted), SavedViewRow, cursor(query))
    return cursor_list([_view(row) for row in page.rows], has_more=page.has_more)


@post(ALL, status_code=200)
async def create_view(sv: Sv, caller: Caller, body: RawBody) -> SavedView:
    wanted = decode(decode_create, body)
    async with sv.database.session() as session:
        await saved_views.check_name(session, caller.project_id, wanted.page, wanted.name)
        row = SavedViewRow(
            id=new_id("view_"),
            project_id=caller.project_id,
            created_at=now(),
            created_by=caller.id,
            page=wanted.page,
            name=wanted.name,
            query=wanted.query,
        )
        session.add(row)
    return _view(row)


@get(ONE)
async def retrieve_view(sv: Sv, caller: Caller, view_id: FromPath[str]) -> SavedView:
    async with sv.database.session() as session:
        return _view(await saved_views.find(session, caller.project_id, view_id))


@post(ONE, status_code=200)
async def update_view(sv: Sv, caller: Caller, view_id: FromPath[str], body: RawBody) -> SavedView:
    """Another name, or other filters."""
    changes = decode(decode_update, body)
    async with sv.database.session() as session:
        row = await saved_views.find(session, caller.project_id, view_id)
        if changes.name is not msgspec.UNSET:
            await saved_views.check_name(session, caller.project_id, row.page, changes.name, but=row.id)
            row.name = changes.name
        if changes.query is not msgspec.UNSET:
            row.query = changes.query
        return _view(row)


@delete(ONE, status_code=200)
async def delete_view(sv: Sv, caller: Caller, view_id: FromPath[str]) -> Deleted:
    async with sv.database.session() as session:
        await session.delete(await saved_views.find(session, caller.project_id, view_id))
    return Deleted(id=view_id, object="saved_view.deleted")


def _view(row: SavedViewRow) -> SavedView:
    return SavedView(
        id=row.id,
        created_at=unix(row.created_at),
        created_by=row.created_by,
        page=row.page,
        name=row.name,
        query=row.query,
    )
