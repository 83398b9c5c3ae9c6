"""/v1/files"""

from collections.abc import AsyncIterator
from typing import Any

from litestar import Request, delete, get, post
from litestar.datastructures import FormMultiDict, UploadFile
from litestar.exceptions import ClientException
from litestar.params import FromPath, QueryParams
from litestar.response import Stream

from gateway.db.pages import fetch_page
from gateway.db.tables import FileRow
from gateway.errors import InvalidRequest, MissingParameter
from gateway.files import repository, service
from gateway.files.store import too_large
from gateway.kit.clock import unix
from gateway.protocol.decode import convert
from gateway.protocol.files import ExpiresAfter, File
from gateway.protocol.lists import CursorList, Deleted, cursor_list
from gateway.protocol.queries import cursor, text
from gateway.routes.callers import Caller, Sv

PIECE = 1024 * 1024
FORM_BYTES = 64 * 1024
"""What a form may hold besides its file."""


@post("/v1/files", status_code=200, request_max_body_size=None)
async def create_file(sv: Sv, caller: Caller, request: Request[Any, Any, Any]) -> File:
    """Multipart; spooled to a temporary file and streamed to the store, never held in memory.

    Its limit is `files.max_bytes`, not that of JSON bodies.
    """
    form = await _form(request, sv.settings.files.max_bytes)
    try:
        upload, purpose = _only(form, "file"), _only(form, "purpose")
        if not isinstance(upload, UploadFile):
            raise InvalidRequest("'file' must be a file, sent as multipart/form-data with a filename.", param="file")
        if not isinstance(purpose, str):
            raise InvalidRequest("'purpose' must be a text field without a filename.", param="purpose")
        wanted = service.Upload(
            filename=upload.filename, purpose=purpose, pieces=_pieces(upload), expires_after=_expires_after(form)
        )
        row = await service.store(
            sv.database, sv.files, caller.project_id, wanted, max_bytes=sv.settings.files.max_bytes
        )
    finally:
        await form.close()
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
async def retrieve_content(sv: Sv, caller: Caller, file_id: FromPath[str]) -> Stream:
    async with sv.database.session() as session:
        row = await repository.find(session, caller.project_id, file_id)
    pieces = sv.files.get(row.id)
    first = await anext(pieces, b"")  # a missing blob is a 404 now, not a broken 200 later
    headers = {"content-length": str(row.bytes)}
    return Stream(_after(first, pieces), media_type="application/octet-stream", headers=headers)


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


async def _form(request: Request[Any, Any, Any], max_bytes: int) -> FormMultiDict:
    """The form. Raises InvalidRequest, and ContentTooLarge before more than the limit has been written down."""
    limit = max_bytes + FORM_BYTES
    if (request.content_length or 0) > limit:
        raise too_large(max_bytes)
    body = _Body(request.receive, limit)
    request.receive = body.receive
    try:
        return await request.form()
    except ClientException as error:
        if body.too_large:
            raise too_large(max_bytes) from None
        raise InvalidRequest(f"The body is not a complete multipart/form-data form: {error.detail}.") from None
    except (UnicodeDecodeError, LookupError):
        raise InvalidRequest("A text field of the form is not in UTF-8.") from None


def _only(form: FormMultiDict, name: str) -> Any:
    match form.getall(name, []):
        case []:
            raise MissingParameter(name)
        case [one]:
            return one
        case _:
            raise InvalidRequest(f"'{name}' was sent more than once.", param=name)


class _Body:
    """A body that ends at a limit: an upload without Content-Length must not fill the disk."""

    def __init__(self, receive: Any, limit: int) -> None:
        self._receive = receive
        self._left = limit
        self.too_large = False

    async def receive(self) -> Any:
        event = await self._receive()
        self._left -= len(event.get("body", b""))
        if self._left >= 0:
            return event
        self.too_large = True
        return {"type": "http.request", "body": b"", "more_body": False}


def _expires_after(form: Any) -> int | None:
    """`expires_after[anchor]` and `expires_after[seconds]`, both or none."""
    given = {name: form[f"expires_after[{name}]"] for name in ("anchor", "seconds") if f"expires_after[{name}]" in form}
    if not given:
        return None
    try:
        return convert(given, ExpiresAfter).seconds
    except InvalidRequest as refusal:
        raise InvalidRequest(f"expires_after: {refusal}", param=f"expires_after.{refusal.param}") from None


async def _pieces(upload: UploadFile) -> AsyncIterator[bytes]:
    while piece := await upload.read(PIECE):
        yield piece


async def _after(first: bytes, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for piece in pieces:
        yield piece
