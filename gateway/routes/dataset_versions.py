"""/v1/datasets/{dataset_id}/versions: what was built of a dataset, where each row comes from, and exports."""

import msgspec
from litestar import get, post
from litestar.params import FromPath, QueryParams, RawBody
from sqlalchemy import tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.datasets import versions
from gateway.db.pages import fetch_page
from gateway.db.tables import DatasetItemRow, DatasetVersionRow
from gateway.errors import Conflict, InvalidRequest
from gateway.protocol.dataset_versions import DatasetReport, DatasetVersion, VersionCreate
from gateway.protocol.decode import decode
from gateway.protocol.lists import Cursor, CursorList, cursor_list
from gateway.protocol.queries import cursor
from gateway.protocol.recipes import Recipe
from gateway.routes.built_datasets import add_version, discard_left, recipe_of
from gateway.routes.callers import Caller, Sv
from gateway.routes.dataset_shapes import item, version

ALL = "/v1/datasets/{dataset_id:str}/versions"
ONE = ALL + "/{number:str}"

decode_create = msgspec.json.Decoder(VersionCreate)


@post(ALL, status_code=200)
async def create_version(sv: Sv, caller: Caller, dataset_id: FromPath[str], body: RawBody) -> DatasetVersion:
    """Build anew: with the newest version's recipe, or another one."""
    wanted = decode(decode_create, body.strip() or b"{}")
    async with sv.database.session() as session:
        row = await versions.find(session, caller.project_id, dataset_id, lock=True)
        last = (await versions.newest(session, [row.id])).get(row.id)
        recipe = wanted.recipe or (msgspec.convert(last.recipe, Recipe) if last else None)
        assert recipe is not None, "a dataset is made with its first version"
        return version(await add_version(session, caller, row, recipe_of(sv, caller, recipe), wanted.snapshot_at))


@get(ALL)
async def list_versions(sv: Sv, caller: Caller, dataset_id: FromPath[str], query: QueryParams) -> CursorList:
    """Newest first."""
    async with sv.database.session() as session:
        await versions.find(session, caller.project_id, dataset_id)
        rows = versions.of_dataset(dataset_id)
        by_number = (DatasetVersionRow.number,)
        page = await fetch_page(session, rows, DatasetVersionRow, cursor(query), order=by_number)
    return cursor_list([version(row) for row in page.rows], has_more=page.has_more)


@get(ONE)
async def retrieve_version(sv: Sv, caller: Caller, dataset_id: FromPath[str], number: FromPath[str]) -> DatasetVersion:
    async with sv.database.session() as session:
        return version(await versions.find_version(session, caller.project_id, dataset_id, number))


@get(ONE + "/report")
async def retrieve_report(sv: Sv, caller: Caller, dataset_id: FromPath[str], number: FromPath[str]) -> DatasetReport:
    """What was taken, what was left out and why. Raises Conflict: it is not built yet."""
    async with sv.database.session() as session:
        row = await versions.find_version(session, caller.project_id, dataset_id, number)
    if row.report is None:
        raise Conflict(f"This version has no report: it is {row.status}.", code="version_not_completed")
    return msgspec.convert(row.report, DatasetReport)


@post(ONE + "/cancel", status_code=200)
async def cancel_version(sv: Sv, caller: Caller, dataset_id: FromPath[str], number: FromPath[str]) -> DatasetVersion:
    """Its worker stops within seconds. Raises Conflict: it has ended."""
    async with sv.database.session() as session:
        row = await versions.find_version(session, caller.project_id, dataset_id, number)
        await versions.cancel(session, row)
    await discard_left(sv, row.id)
    return version(row)


@get(ONE + "/items")
async def list_items(
    sv: Sv, caller: Caller, dataset_id: FromPath[str], number: FromPath[str], query: QueryParams
) -> CursorList:
    """Where each line comes from, in the order of the files: training, then validation."""
    wanted = cursor(query, order="asc")
    async with sv.database.session() as session:
        row = await versions.find_version(session, caller.project_id, dataset_id, number)
        rows, has_more = await _items(session, row.id, wanted)
    return cursor_list([item(each) for each in rows], has_more=has_more)


async def _items(session: AsyncSession, version_id: str, wanted: Cursor) -> tuple[list[DatasetItemRow], bool]:
    """Items have no id of their own: the split and the line are it."""
    place = tuple_(DatasetItemRow.split, DatasetItemRow.number)
    query = versions.items_of(version_id)
    backwards = wanted.before is not None and wanted.after is None
    for name, id in (("after", wanted.after), ("before", wanted.before)):
        if id is not None:
            edge = tuple_(*_place_of(id, name))
            query = query.where(place < edge if wanted.descending is (name == "after") else place > edge)
    descending = wanted.descending is not backwards
    order = [column.desc() if descending else column.asc() for column in (DatasetItemRow.split, DatasetItemRow.number)]
    rows = list(await session.scalars(query.order_by(*order).limit(wanted.limit + 1)))
    kept = rows[: wanted.limit]
    return kept[::-1] if backwards else kept, len(rows) > wanted.limit


def _place_of(id: str, param: str) -> tuple[str, int]:
    """Raises InvalidRequest."""
    split, _, line = id.rpartition("-")
    if split not in versions.SPLITS or not versions.NUMBER.fullmatch(line):
        raise InvalidRequest(f"Invalid '{param}': no object with id '{id[:100]}' is in this list.", param=param)
    return split, int(line)
