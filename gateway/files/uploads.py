"""Files that arrive in parts (OpenAI's Uploads API): any number of parts at a time, put in order when completed.

    pending ──complete──> completed        every part may be sent at the same time and more than once
       ├─────cancel─────> cancelled        only what `part_ids` names becomes the file
       └──────1 h───────> expired

Each part is a blob with a row. Completing copies the parts, one after the other, into the file's own blob, and only then
shows the file and closes the upload in one transaction: a process that dies before has shown nothing, and the next
`complete` begins anew. What is left of parts and of uploads past their time is removed by the expiry round.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterable, AsyncIterator
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.database import Database
from gateway.db.tables import FileRow, UploadPartRow, UploadRow
from gateway.errors import InvalidRequest, NotFound, Unavailable
from gateway.files import repository, service
from gateway.files.store import FileStore
from gateway.kit.clock import now
from gateway.kit.ids import new_id
from gateway.protocol.files import CompleteUpload, CreateUpload
from gateway.settings import FileSettings

PARTS_LIMIT = 10_000
"""Parts of one upload, repeated ones included."""
COMPLETING_SECONDS = 3600
"""An upload that expires is kept this long: it may be in the middle of being completed."""


async def create(database: Database, project_id: str, wanted: CreateUpload, limits: FileSettings) -> UploadRow:
    """Announce a file.

    Raises:
        InvalidRequest: a purpose, name or size that no file may have; `param` names it.
    """
    service.check_name(wanted.filename, wanted.purpose, param="filename")
    _check_size(wanted, limits)
    created = now()
    row = UploadRow(
        id=new_id("upload_"),
        project_id=project_id,
        created_at=created,
        expires_at=created + timedelta(seconds=limits.upload_seconds),
        filename=service.clean_name(wanted.filename),
        purpose=wanted.purpose,
        bytes=wanted.bytes,
        mime_type=wanted.mime_type,
        status="pending",
        file_expires_after=wanted.expires_after.seconds if wanted.expires_after else None,
    )
    async with database.session() as session:
        await service.check_room(session, project_id, wanted.bytes, limits, param="bytes")
        session.add(row)
    return row


async def find_pending(database: Database, project_id: str, upload_id: str) -> UploadRow:
    """Raises NotFound; InvalidRequest when it takes no parts any more."""
    async with database.session() as session:
        row = await repository.find_upload(session, project_id, upload_id)
    _check_pending(row)
    return row


async def add_part(
    database: Database, files: FileStore, upload: UploadRow, pieces: AsyncIterable[bytes], *, max_bytes: int
) -> UploadPartRow:
    """Store one part of a pending upload.

    Raises:
        ContentTooLarge: more than `max_bytes`.
        InvalidRequest: the upload ended meanwhile, or has too many parts.
        Unavailable: the database or the storage is away.
        After any of them nothing is stored.
    """
    part_id = new_id("part_")
    stored = await files.put(part_id, pieces, max_bytes=max_bytes)
    part = UploadPartRow(id=part_id, upload_id=upload.id, created_at=now(), bytes=stored.bytes)
    try:
        async with database.session() as session:
            _check_pending(await repository.lock_upload(session, upload.id))
            _check_parts(upload, *await repository.parts_so_far(session, upload.id))
            session.add(part)
    except BaseException:
        await asyncio.shield(service.discard(files, part_id))
        raise
    return part


@dataclass(frozen=True)
class Completed:
    """An upload and the file it became."""

    upload: UploadRow
    file: FileRow


async def complete(
    database: Database, files: FileStore, project_id: str, upload_id: str, wanted: CompleteUpload
) -> Completed:
    """Make the file out of the parts, in the order of `wanted.part_ids`. Done before, it is the same file again.

    obstore cannot compose blobs on the server, so every byte is read from the storage and written to it once more, in
    bounded memory (two parts of store.PART, and one piece being read): for 8 GB on one disk a minute or so, and until
    the next expiry round the parts take their room too. Two calls at a time both copy; one of them wins.

    Raises:
        NotFound: no such upload.
        InvalidRequest: it was cancelled or expired; `part_ids` names a part twice, or one that is not of this upload;
            the parts are not the announced number of bytes; `md5` is another. The upload stays as it was.
        Unavailable: the database or the storage is away; nothing is visible, and the call can be repeated.
    """
    async with database.session() as session:
        upload = await repository.find_upload(session, project_id, upload_id)
        if upload.status == "completed":
            return await _completed(session, upload)
        _check_pending(upload)
        parts = await repository.parts_of(session, upload_id)
    _check_order(upload, wanted.part_ids, {part.id: part.bytes for part in parts})
    arriving = _arriving(files, upload, wanted)
    try:
        async with (
            service.written(database, files, project_id, arriving, max_bytes=upload.bytes) as file,
            database.session() as session,
        ):
            upload = await repository.lock_upload(session, upload_id)
            if upload.status != "pending":
                raise _Overtaken
            session.add(file)
            await session.flush()
            upload.status, upload.file_id = "completed", file.id
    except (_Overtaken, NotFound):  # another call completed or cancelled it, and its parts may be gone already
        return await _as_others_left_it(database, upload_id)
    return Completed(upload, file)


def _arriving(files: FileStore, upload: UploadRow, wanted: CompleteUpload) -> service.Upload:
    return service.Upload(
        filename=upload.filename,
        purpose=upload.purpose,
        expires_after=upload.file_expires_after,
        pieces=_in_order(files, upload, wanted),
    )


async def cancel(database: Database, project_id: str, upload_id: str) -> UploadRow:
    """No part is taken any more; repeating it is harmless. Raises NotFound; InvalidRequest when it is completed."""
    async with database.session() as session:
        await repository.find_upload(session, project_id, upload_id)
        upload = await repository.lock_upload(session, upload_id)
        if status_of(upload) != "cancelled":
            _check_pending(upload)
            upload.status = "cancelled"
    return upload


def status_of(upload: UploadRow) -> str:
    """As clients see it: expired from the very second, whether or not the expiry round has been there."""
    return "expired" if upload.status == "pending" and upload.expires_at <= now() else upload.status


async def remove_leftovers(database: Database, files: FileStore) -> int:
    """Close uploads past their time, and remove the parts of uploads that ended; how many. Raises Unavailable."""
    async with database.session() as session:
        await repository.expire_uploads(session, now() - timedelta(seconds=COMPLETING_SECONDS))
        leftovers = await repository.leftover_parts(session)
    if leftovers:
        await files.delete(*leftovers)
        async with database.session() as session:
            await repository.forget_parts(session, leftovers)
    return len(leftovers)


class _Overtaken(Exception):
    """The upload ended while its parts were copied."""


async def _as_others_left_it(database: Database, upload_id: str) -> Completed:
    async with database.session() as session:
        upload = await repository.lock_upload(session, upload_id)
        if upload.status == "completed":
            return await _completed(session, upload)
        _check_pending(upload)
    raise Unavailable("A part of this upload cannot be read from the file storage; please retry.")


async def _completed(session: AsyncSession, upload: UploadRow) -> Completed:
    file = await session.get_one(FileRow, upload.file_id)
    return Completed(upload, file)


async def _in_order(files: FileStore, upload: UploadRow, wanted: CompleteUpload) -> AsyncIterator[bytes]:
    """The content of the file; an error before its end, which keeps it from being stored, when it is not as announced."""
    digest, size = hashlib.md5(usedforsecurity=False), 0
    for part_id in wanted.part_ids:
        async for piece in files.get(part_id):
            digest.update(piece)
            size += len(piece)
            yield piece
    if size != upload.bytes:
        raise Unavailable("A part of this upload was cut in the file storage; send it again.")
    if wanted.md5 and digest.hexdigest() != wanted.md5.lower():
        raise InvalidRequest(
            f"The parts in this order have the MD5 checksum {digest.hexdigest()}, not {wanted.md5}."
            " Check 'part_ids', or send the parts again.",
            param="md5",
        )


def _check_size(wanted: CreateUpload, limits: FileSettings) -> None:
    limit = limits.max_batch_bytes if wanted.purpose == "batch" else limits.max_upload_bytes
    if wanted.bytes > limit:
        raise InvalidRequest(
            f"Invalid 'bytes': a file with purpose '{wanted.purpose}' may have {limit} bytes, not {wanted.bytes}.",
            param="bytes",
        )


def _check_pending(upload: UploadRow) -> None:
    if (status := status_of(upload)) != "pending":
        raise InvalidRequest(f"Upload {upload.id} is {status}; create a new one.", param="upload_id")


def _check_parts(upload: UploadRow, count: int, size: int) -> None:
    """Repeated parts are normal (an SDK sends one again whose answer was lost), endless ones would fill the storage."""
    if count >= PARTS_LIMIT or size > 2 * upload.bytes:
        raise InvalidRequest(
            f"Upload {upload.id} has {count} parts of {size} bytes already, for a file of {upload.bytes}."
            " Complete it, or create a new one with larger parts.",
            param="data",
        )


def _check_order(upload: UploadRow, part_ids: list[str], sizes: dict[str, int]) -> None:
    seen: set[str] = set()
    for index, part_id in enumerate(part_ids):
        if part_id in seen:
            raise InvalidRequest(f"'part_ids' names {part_id[:50]} more than once.", param=f"part_ids[{index}]")
        if part_id not in sizes:
            raise InvalidRequest(f"Upload {upload.id} has no part {part_id[:50]}.", param=f"part_ids[{index}]")
        seen.add(part_id)
    total = sum(sizes[part_id] for part_id in part_ids)
    if total != upload.bytes:
        raise InvalidRequest(
            f"The parts add up to {total} bytes, but {upload.bytes} were announced when the upload was created."
            " Send what is missing, or create a new upload with the right number.",
            param="part_ids",
        )
