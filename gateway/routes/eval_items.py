"""/v1/evals/import: a table or training examples made into the items of an eval. An extension."""

import os
from pathlib import PurePath
from typing import IO

import msgspec
from litestar import post
from litestar.params import RawBody

from gateway.datasets.isolated import fill, path_of, pieces_of, temporary
from gateway.db.tables import FileRow
from gateway.files import repository, service
from gateway.files.store import too_large
from gateway.keys.ring import ApiKey
from gateway.protocol.decode import decode
from gateway.protocol.eval_items import ImportedItems, ItemsImport
from gateway.protocol.files import File
from gateway.routes.callers import Caller, Sv
from gateway.routes.datasets import IMPORT_BYTES, LONGEST_STEM
from gateway.routes.file_reports import WORKPLACE
from gateway.routes.files import file
from gateway.services import Services

PURPOSE = "evals"
decode_import = msgspec.json.Decoder(ItemsImport)


@post("/v1/evals/import", status_code=200)
async def import_items(sv: Sv, caller: Caller, body: RawBody) -> ImportedItems:
    """CSV, JSON, JSONL or Parquet. Without `store` this only shows what would be.

    Raises:
        InvalidRequest: the file cannot be read, or nothing in it is an item.
        ContentTooLarge, NotFound
    """
    wanted = decode(decode_import, body)
    async with sv.database.session() as session:
        row = await repository.find(session, caller.project_id, wanted.file_id)
    if row.bytes > IMPORT_BYTES:
        raise too_large(IMPORT_BYTES, "file_id")
    directory = sv.settings.data_dir / WORKPLACE
    with temporary(directory) as source, temporary(directory) as output:
        arguments = ["items", path_of(source)]
        arguments += ["--limit", str(wanted.limit)] if wanted.limit else []
        arguments += ["--output", path_of(output)] if wanted.store else []
        printed = await sv.datasets.run(arguments, [source, output], first=lambda: fill(source, sv.files.get(row.id)))
        found = msgspec.json.decode(printed, type=ImportedItems)
        found.ready = found.ready and row.purpose == PURPOSE
        if wanted.store:
            found.file = await _store(sv, caller, row, output)
    return found


async def _store(sv: Services, caller: ApiKey, source: FileRow, content: IO[bytes]) -> File:
    async with sv.database.session() as session:
        size = os.fstat(content.fileno()).st_size
        await service.check_room(session, caller.project_id, size, sv.settings.files)
    stem = PurePath(source.filename.replace("\\", "/")).stem[:LONGEST_STEM] or "items"
    upload = service.Upload(
        filename=f"{stem}.items.jsonl", purpose=PURPOSE, pieces=pieces_of(content), expires_after=None
    )
    return file(await service.store(sv.database, sv.files, caller.project_id, upload, max_bytes=service.LARGEST))
