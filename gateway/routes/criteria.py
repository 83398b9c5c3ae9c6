"""/v1/criteria (an extension): what answers are judged by. A change makes the next version; no version ever changes."""

import msgspec
from litestar import delete, get, post
from litestar.params import FromPath, QueryParams, RawBody
from sqlalchemy import select

from gateway.db.pages import fetch_page
from gateway.db.tables import CriterionRow
from gateway.judgments import criteria
from gateway.protocol.criteria import Criterion, CriterionSpec, CriterionUpdate
from gateway.protocol.decode import decode
from gateway.protocol.lists import CursorList, Deleted, cursor_list
from gateway.protocol.queries import cursor, flag, text
from gateway.routes.callers import Caller, Sv
from gateway.routes.judgment_objects import criterion

decode_create = msgspec.json.Decoder(CriterionSpec)
decode_update = msgspec.json.Decoder(CriterionUpdate)


@get("/v1/criteria")
async def list_criteria(sv: Sv, caller: Caller, query: QueryParams) -> CursorList:
    """Newest first: the version in force of each (versions=true: all versions; archived=true: also archived ones), or those
    with a `name`. The built-in ones appear once they were used."""
    rows = select(CriterionRow).where(CriterionRow.project_id == caller.project_id)
    if name := text(query, "name"):
        rows = rows.where(CriterionRow.name == name)
    if not flag(query, "archived"):
        rows = rows.where(CriterionRow.archived_at.is_(None))
    if not flag(query, "versions"):
        rows = rows.where(criteria.is_newest())
    async with sv.database.session() as session:
        page = await fetch_page(session, rows, CriterionRow, cursor(query))
    return cursor_list([criterion(row) for row in page.rows], has_more=page.has_more)


@post("/v1/criteria", status_code=200)
async def create_criterion(sv: Sv, caller: Caller, body: RawBody) -> Criterion:
    """The first version; with a name that there is the next one; and one that says the same as the last is that one."""
    spec = decode(decode_create, body)
    async with sv.database.session() as session:
        return criterion(await criteria.find_or_make(session, caller.project_id, spec, caller.id))


@get("/v1/criteria/{criterion_id:str}")
async def retrieve_criterion(sv: Sv, caller: Caller, criterion_id: FromPath[str]) -> Criterion:
    """One version."""
    async with sv.database.session() as session:
        return criterion(await criteria.find(session, caller.project_id, criterion_id))


@post("/v1/criteria/{criterion_id:str}", status_code=200)
async def update_criterion(sv: Sv, caller: Caller, criterion_id: FromPath[str], body: RawBody) -> Criterion:
    """Makes the next version, of the newest one and what the body changes; its id is another."""
    changes = decode(decode_update, body)
    given = {
        name: value for name in changes.__struct_fields__ if (value := getattr(changes, name)) is not msgspec.UNSET
    }
    async with sv.database.session() as session:
        row = await criteria.find(session, caller.project_id, criterion_id)
        newest = await criteria.newest_of(session, row)
        spec = msgspec.structs.replace(criteria.spec_of(newest), **given)
        return criterion(await criteria.find_or_make(session, caller.project_id, spec, caller.id))


@delete("/v1/criteria/{criterion_id:str}", status_code=200)
async def archive_criterion(sv: Sv, caller: Caller, criterion_id: FromPath[str]) -> Deleted:
    """All its versions: it cannot be judged by any more. What was judged by it stays."""
    async with sv.database.session() as session:
        row = await criteria.find(session, caller.project_id, criterion_id)
        await criteria.archive(session, caller.project_id, row.name)
    return Deleted(id=criterion_id, object="criterion.deleted")
