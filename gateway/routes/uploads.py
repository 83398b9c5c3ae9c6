"""/v1/uploads"""

from typing import Any

import msgspec
from litestar import Request, post
from litestar.params import FromPath, RawBody

from gateway.db.tables import FileRow, UploadRow
from gateway.files import uploads
from gateway.kit.clock import unix
from gateway.protocol.decode import decode
from gateway.protocol.files import CompleteUpload, CreateUpload, FileUpload, UploadPart
from gateway.routes.callers import Caller, Sv
from gateway.routes.files import file
from gateway.routes.forms import FileForm

decode_create = msgspec.json.Decoder(CreateUpload)
decode_complete = msgspec.json.Decoder(CompleteUpload)


@post("/v1/uploads", status_code=200)
async def create_upload(sv: Sv, caller: Caller, body: RawBody) -> FileUpload:
    wanted = decode(decode_create, body)
    return upload(await uploads.create(sv.database, caller.project_id, wanted, sv.settings.files))


@post("/v1/uploads/{upload_id:str}/parts", status_code=200, request_max_body_size=None)
async def create_part(sv: Sv, caller: Caller, upload_id: FromPath[str], request: Request[Any, Any, Any]) -> UploadPart:
    """Multipart with one file, `data`; streamed into the store while it arrives, any number at a time."""
    pending = await uploads.find_pending(sv.database, caller.project_id, upload_id)
    limit = sv.settings.files.max_part_bytes
    form = FileForm(request, "data", limit)
    await form.open()
    part = await uploads.add_part(sv.database, sv.files, pending, form.pieces(), max_bytes=limit)
    return UploadPart(id=part.id, created_at=unix(part.created_at), upload_id=upload_id)


@post("/v1/uploads/{upload_id:str}/complete", status_code=200)
async def complete_upload(sv: Sv, caller: Caller, upload_id: FromPath[str], body: RawBody) -> FileUpload:
    wanted = decode(decode_complete, body)
    done = await uploads.complete(sv.database, sv.files, caller.project_id, upload_id, wanted)
    return upload(done.upload, done.file)


@post("/v1/uploads/{upload_id:str}/cancel", status_code=200)
async def cancel_upload(sv: Sv, caller: Caller, upload_id: FromPath[str]) -> FileUpload:
    return upload(await uploads.cancel(sv.database, caller.project_id, upload_id))


def upload(row: UploadRow, made: FileRow | None = None) -> FileUpload:
    return FileUpload(
        id=row.id,
        bytes=row.bytes,
        created_at=unix(row.created_at),
        expires_at=unix(row.expires_at),
        filename=row.filename,
        purpose=row.purpose,
        status=uploads.status_of(row),
        file=file(made) if made else msgspec.UNSET,
    )
