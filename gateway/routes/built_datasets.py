"""/v1/datasets: datasets that are built from the log by a recipe. An extension.

`/v1/datasets/import`, which makes training files of tables and conversations, is in datasets.py.
"""

from math import ceil

import msgspec
from litestar import delete, get, post
from litestar.params import FromPath, QueryParams, RawBody
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.building import means_of
from gateway.datasets import versions
from gateway.datasets.building.grounds import PLACE, ground_of, select
from gateway.datasets.building.reading import Snapshot
from gateway.datasets.building.tally import dropped_of
from gateway.datasets.building.workplace import Workplace
from gateway.datasets.recipe_rules import check_suites, checked
from gateway.datasets.tokens import TokenCounter
from gateway.db.pages import fetch_page
from gateway.db.tables import DatasetRow, DatasetVersionRow
from gateway.errors import InvalidRequest
from gateway.files import service as files
from gateway.keys.ring import ApiKey
from gateway.kit.clock import from_unix, now, unix
from gateway.kit.ids import new_id
from gateway.protocol.dataset_versions import (
    Dataset,
    DatasetCreate,
    DatasetUpdate,
    Preview,
    PreviewCreate,
)
from gateway.protocol.decode import decode
from gateway.protocol.lists import CursorList, Deleted, cursor_list
from gateway.protocol.queries import cursor
from gateway.protocol.recipes import Recipe
from gateway.routes.callers import Caller, Sv
from gateway.routes.dataset_shapes import dataset
from gateway.services import Services

MOST_COUNTED = 100_000
"""Matching exchanges, in a preview: a form asks for one at every change."""

decode_create = msgspec.json.Decoder(DatasetCreate)
decode_update = msgspec.json.Decoder(DatasetUpdate)
decode_preview = msgspec.json.Decoder(PreviewCreate)


@post("/v1/datasets", status_code=200)
async def create_dataset(sv: Sv, caller: Caller, body: RawBody) -> Dataset:
    """With its first version, which a worker builds."""
    wanted = decode(decode_create, body)
    recipe = recipe_of(sv, caller, wanted.recipe)
    moment = now()
    row = DatasetRow(
        id=new_id("dataset_"),
        project_id=caller.project_id,
        name=wanted.name,
        description=wanted.description,
        request_metadata=wanted.metadata,
        created_at=moment,
        updated_at=moment,
    )
    async with sv.database.session() as session:
        session.add(row)
        await session.flush()
        first = await add_version(session, caller, row, recipe, wanted.snapshot_at)
    return dataset(row, first)


@get("/v1/datasets")
async def list_datasets(sv: Sv, caller: Caller, query: QueryParams) -> CursorList:
    """Newest first."""
    async with sv.database.session() as session:
        page = await fetch_page(session, versions.of_project(caller.project_id), DatasetRow, cursor(query))
        newest = await versions.newest(session, [row.id for row in page.rows])
    return cursor_list([dataset(row, newest.get(row.id)) for row in page.rows], has_more=page.has_more)


@get("/v1/datasets/{dataset_id:str}")
async def retrieve_dataset(sv: Sv, caller: Caller, dataset_id: FromPath[str]) -> Dataset:
    async with sv.database.session() as session:
        row = await versions.find(session, caller.project_id, dataset_id)
        return dataset(row, (await versions.newest(session, [row.id])).get(row.id))


@post("/v1/datasets/{dataset_id:str}", status_code=200)
async def update_dataset(sv: Sv, caller: Caller, dataset_id: FromPath[str], body: RawBody) -> Dataset:
    """Its name, description and metadata; what it is built of belongs to its versions."""
    fields = decode(decode_update, body)
    async with sv.database.session() as session:
        row = await versions.find(session, caller.project_id, dataset_id, lock=True)
        for name, column in (("name", "name"), ("description", "description"), ("metadata", "request_metadata")):
            if (value := getattr(fields, name)) is not msgspec.UNSET:
                setattr(row, column, value)
        row.updated_at = now()
        return dataset(row, (await versions.newest(session, [row.id])).get(row.id))


@delete("/v1/datasets/{dataset_id:str}", status_code=200)
async def delete_dataset(sv: Sv, caller: Caller, dataset_id: FromPath[str]) -> Deleted:
    """What is not built yet is cancelled. Its files stay: DELETE /v1/files/{id} removes each."""
    async with sv.database.session() as session:
        row = await versions.find(session, caller.project_id, dataset_id, lock=True)
        row.deleted_at = now()
        cancelled = await versions.cancel_all(session, dataset_id)
    for version_id in cancelled:
        await discard_left(sv, version_id)
    return Deleted(id=dataset_id, object="dataset.deleted")


@post("/v1/datasets/preview", status_code=200)
async def preview_dataset(sv: Sv, caller: Caller, body: RawBody) -> Preview:
    """What selection would take and leave out of the newest exchanges. Nothing is cleaned, split or stored."""
    wanted = decode(decode_preview, body)
    recipe = recipe_of(sv, caller, wanted.recipe)
    means = means_of(sv.database, TokenCounter(None))
    seen = [0]
    work = Workplace(sv.settings.data_dir / PLACE, new_id("preview_"))
    try:
        ground = await ground_of(means, Snapshot(caller.project_id, now()), recipe, work)
        matching = await ground.log.count(MOST_COUNTED) if recipe.sources.exchanges else 0
        await select(means, ground, lambda done: seen.append(done), wanted.sample)
        signals = work.db.execute("SELECT signal, count(*) FROM kept GROUP BY 1 ORDER BY 1").fetchall()
        return Preview(
            sample=seen[-1],
            matching=matching,
            considered=ground.tally.considered,
            taken=work.count(),
            by_signal=dict(signals),
            dropped=dropped_of(ground.tally),
        )
    finally:
        work.close()


def recipe_of(sv: Services, caller: ApiKey, recipe: Recipe) -> Recipe:
    """As it is stored. Raises InvalidRequest."""
    return checked(recipe, caller.project_id, sv.settings.secret_key.reveal())


async def discard_left(sv: Services, version_id: str) -> None:
    """What workers that died have left in the storage of a version that is cancelled; one that lives removes it itself."""
    for file_id in versions.files_left(version_id):
        await files.discard(sv.files, file_id)


async def add_version(
    session: AsyncSession, caller: ApiKey, row: DatasetRow, recipe: Recipe, snapshot_at: int | None
) -> DatasetVersionRow:
    """The next version. Raises InvalidRequest, Conflict."""
    await check_suites(session, caller.project_id, recipe.contamination)
    this_second = ceil(now().timestamp())
    if snapshot_at is not None and snapshot_at > this_second:
        message = f"Invalid 'snapshot_at': {snapshot_at} lies in the future; it is {unix(now())}."
        raise InvalidRequest(message, param="snapshot_at")
    moment = from_unix(this_second if snapshot_at is None else snapshot_at)
    return await versions.add_version(session, row, recipe, moment, caller.id)
