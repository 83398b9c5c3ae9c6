"""/v1/files"""

import re
from collections.abc import AsyncIterator
from typing import Any

from litestar import Request, delete, get, post
from litestar.params import FromPath, QueryParams
from litestar.response import Stream

from gateway.db.pages import fetch_page
from gateway.db.tables import FileRow
from gateway.errors import InvalidRequest, RangeNotSatisfiable
from gateway.files import repository, service
from gateway.files.store import too_large
from gateway.kit.clock import unix
from gateway.protocol.decode import convert
from gateway.protocol.files import ExpiresAfter, File
from gateway.protocol.lists import CursorList, Deleted, cursor_list
from gateway.protocol.queries import cursor, text
from gateway.routes.callers import Caller, Sv
from gateway.routes.forms import FileForm
from gateway.settings import FileSettings

_range = re.compile(r"bytes=(\d{0,19})-(\d{0,19})", re.ASCII)


@post("/v1/files", status_code=200, request_max_body_size=None)
async def create_file(sv: Sv, caller: Caller, request: Request[Any, Any, Any]) -> File:
    """Multipart; streamed into the store while it arrives. Its limit is `files.max_bytes`, not that of JSON bodies.

    What is wrong with its fields is told before the content is read, where they come first.
    """
    limits = sv.settings.files
    form = FileForm(request, "file", limits.max_bytes)
    await form.open()
    if "purpose" in form.fields:
        service.check_name(form.filename, form.text("purpose"))
    async with sv.database.session() as session:
        await service.check_room(session, caller.project_id, request.content_length or 0, limits)
    row = await service.store_arriving(
        sv.database,
        sv.files,
        caller.project_id,
        form.pieces(),
        lambda size: _description(form, size, limits),
        max_bytes=limits.max_bytes,
    )
    return file(row)


@get("/v1/files")
async def list_files(sv: Sv, caller: Caller, query: QueryParams) -> CursorList:
    rows = repository.of_project(caller.project_id)
    if purpose := text(query, "purpose"):
        rows = rows.where(FileRow.purpose == purpose)
    async with sv.database.session() as session:
        page = await fetch_page(session, rows, FileRow, cursor(query, limit=10_000, highest=10_000))
    return cursor_list([file(row) for row in page.rows], has_more=page.has_more)


@get("/v1/files/{file_id:str}")
async def retrieve_file(sv: Sv, caller: Caller, file_id: FromPath[str]) -> File:
    async with sv.database.session() as session:
        return file(await repository.find(session, caller.project_id, file_id))


@get("/v1/files/{file_id:str}/content")
async def retrieve_content(sv: Sv, caller: Caller, file_id: FromPath[str], request: Request[Any, Any, Any]) -> Stream:
    """All of it, or the one range that `Range: bytes=first-last` asks for."""
    async with sv.database.session() as session:
        row = await repository.find(session, caller.project_id, file_id)
    headers = {"accept-ranges": "bytes"}
    start, end = asked = byte_range(request.headers.get("range"), row.bytes)
    partial = asked != (0, row.bytes)
    if partial:
        headers["content-range"] = f"bytes {start}-{end - 1}/{row.bytes}"
    pieces = sv.files.get(row.id, start=start, end=end)
    first = await anext(pieces, b"")  # a missing blob is a 404 now, not a broken 200 later
    return Stream(
        _after(first, pieces),
        media_type="application/octet-stream",
        headers={**headers, "content-length": str(end - start)},
        status_code=206 if partial else 200,
    )


@delete("/v1/files/{file_id:str}", status_code=200)
async def delete_file(sv: Sv, caller: Caller, file_id: FromPath[str]) -> Deleted:
    await service.delete(sv.database, sv.files, caller.project_id, file_id)
    return Deleted(id=file_id, object="file")


def file(row: FileRow) -> File:
    return File(
        id=row.id,
        bytes=row.bytes,
        created_at=unix(row.created_at),
        expires_at=unix(row.expires_at) if row.expires_at else None,
        filename=row.filename,
        purpose=row.purpose,
        status=row.status,
        status_details=row.status_details,
    )


def byte_range(header: str | None, size: int) -> tuple[int, int]:
    """First byte, and the one behind the last, of what is asked for (RFC 9110, 14.1.2).

    Everything for no header, and for one that a server may ignore: another unit, several ranges, nonsense.

    Raises:
        RangeNotSatisfiable: the range begins behind the end.
    """
    match = _range.fullmatch(header.strip()) if header else None
    if match is None or match[0] == "bytes=-":
        return 0, size
    if not match[1]:
        start, end = max(0, size - int(match[2])), size
    else:
        start, end = int(match[1]), min(size, int(match[2]) + 1 if match[2] else size)
    if match[1] and match[2] and int(match[2]) < start:
        return 0, size
    if start >= size:
        raise RangeNotSatisfiable(size)
    return start, end


def _description(form: FileForm, size: int, limits: FileSettings) -> service.Description:
    """Of a form that was read to its end. Raises InvalidRequest, ContentTooLarge."""
    purpose = form.text("purpose")
    if purpose == "batch" and size > limits.max_batch_bytes:
        raise too_large(limits.max_batch_bytes)
    return service.Description(filename=form.filename, purpose=purpose, expires_after=_expires_after(form.fields))


def _expires_after(fields: dict[str, str]) -> int | None:
    """`expires_after[anchor]` and `expires_after[seconds]`, both or none."""
    names = ("anchor", "seconds")
    given = {name: fields[f"expires_after[{name}]"] for name in names if f"expires_after[{name}]" in fields}
    if not given:
        return None
    try:
        return convert(given, ExpiresAfter).seconds
    except InvalidRequest as refusal:
        raise InvalidRequest(f"expires_after: {refusal}", param=f"expires_after.{refusal.param}") from None


async def _after(first: bytes, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for piece in pieces:
        yield piece
