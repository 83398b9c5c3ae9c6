"""/v1/datasets/{dataset_id}/versions/{number}/export: a built file as other trainers read it."""

from contextlib import ExitStack
from typing import Any

import msgspec
from litestar import post
from litestar.params import FromPath, QueryParams

from gateway.datasets import versions
from gateway.datasets.isolated import fill, path_of, pieces_of, temporary
from gateway.db.tables import DatasetVersionRow, FileRow
from gateway.errors import Conflict, InvalidRequest, NotFound
from gateway.files import repository, service
from gateway.keys.ring import ApiKey
from gateway.protocol.dataset_versions import EXPORT_FORMATS, DatasetExport
from gateway.protocol.queries import choice, text
from gateway.routes.callers import Caller, Sv
from gateway.routes.dataset_versions import ONE
from gateway.routes.file_reports import WORKPLACE
from gateway.routes.files import file
from gateway.services import Services

SUFFIXES: dict[str, str] = {"openai": "jsonl", "parquet": "parquet", "csv": "csv"}
"""Others are JSONL that says what it is."""


@post(ONE + "/export", status_code=200)
async def export_version(
    sv: Sv, caller: Caller, dataset_id: FromPath[str], number: FromPath[str], query: QueryParams
) -> DatasetExport:
    """`format`, and `split=validation` for that file. What is written is a file of purpose user_data.

    Raises:
        NotFound: there is no such version, or no such split in it.
        Conflict: it is not built, or its file was deleted.
    """
    if text(query, "format") is None:
        raise InvalidRequest(f"Missing 'format': one of {', '.join(EXPORT_FORMATS)}.", param="format")
    wanted = choice(query, "format", EXPORT_FORMATS, "")
    split = choice(query, "split", ("training", "validation"), "training")
    async with sv.database.session() as session:
        row = await versions.find_version(session, caller.project_id, dataset_id, number)
        source = await repository.find(session, caller.project_id, _file_of(row, split))
    return await _export(sv, caller, source, wanted)


def _file_of(row: DatasetVersionRow, split: str) -> str:
    """Raises Conflict, NotFound."""
    if row.status != "completed":
        raise Conflict(f"This version has no files: it is {row.status}.", code="version_not_completed")
    found = row.training_file_id if split == "training" else row.validation_file_id
    if found is None:
        raise NotFound("This version has no validation file.", param="split")
    return found


async def _export(sv: Services, caller: ApiKey, source: FileRow, wanted: str) -> DatasetExport:
    directory = sv.settings.data_dir / WORKPLACE
    with ExitStack() as stack:
        content, output = (stack.enter_context(temporary(directory)) for _ in range(2))
        arguments = ["export", path_of(content), "--format", wanted, "--output", path_of(output)]
        printed = await sv.datasets.run(
            arguments, [content, output], first=lambda: fill(content, sv.files.get(source.id))
        )
        told: dict[str, Any] = msgspec.json.decode(printed)
        async with sv.database.session() as session:
            await service.check_room(session, caller.project_id, output.seek(0, 2), sv.settings.files)
        stem = source.filename.removesuffix(".jsonl")
        name = f"{stem}.{SUFFIXES.get(wanted, f'{wanted}.jsonl')}"
        upload = service.Upload(filename=name, purpose="user_data", pieces=pieces_of(output), expires_after=None)
        row = await service.store(sv.database, sv.files, caller.project_id, upload, max_bytes=service.LARGEST)
    return DatasetExport(file=file(row), format=wanted, rows=told["rows"], skipped=told["skipped"])  # type: ignore[arg-type]
