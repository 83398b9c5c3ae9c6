"""Storing and removing files: the content first, then the row, so that a file that is listed can be read."""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.database import Database
from gateway.db.tables import FileRow
from gateway.errors import InvalidRequest, Unavailable
from gateway.files import repository
from gateway.files.store import FileStore
from gateway.kit.clock import now
from gateway.kit.ids import new_id
from gateway.protocol.files import INTERNAL_PURPOSES, PURPOSES

log = logging.getLogger(__name__)

BATCH_EXPIRY_SECONDS = 30 * 24 * 3600
"""OpenAI's default for purpose batch; other files do not expire unless asked."""
FILENAME_LIMIT = 512
LARGEST = 8 * 1024**3
"""Bytes; OpenAI's limit of one file that arrives in parts, and ours of any."""


@dataclass(frozen=True, kw_only=True)
class Upload:
    """A file on its way in."""

    filename: str
    purpose: str
    pieces: AsyncIterable[bytes]
    expires_after: int | None
    """Seconds."""


async def store(database: Database, files: FileStore, project_id: str, upload: Upload, *, max_bytes: int) -> FileRow:
    """Store what a client uploads.

    Raises:
        InvalidRequest: a purpose that is unknown or not for clients, or a name that does not fit it.
        ContentTooLarge: more than `max_bytes`.
        Unavailable: the database or the storage is away.
        After any of them nothing is stored.
    """
    check_name(upload.filename, upload.purpose)
    return await _store(database, files, project_id, upload, max_bytes=max_bytes)


async def store_internal(database: Database, files: FileStore, project_id: str, upload: Upload) -> FileRow:
    """Store a file that the service itself has made: results of a job, output of a batch.

    For routes (`sv.database, sv.files`) and tasks (`wv.database, wv.files`):
    `await store_internal(wv.database, wv.files, project, Upload(filename="step_metrics.csv",
    purpose="fine-tune-results", pieces=one_piece(csv), expires_after=None))`. The project's keys can list, read and
    delete it like any other file; they cannot upload one of these purposes.

    To show the file and what names it (a job's result_files) in one transaction, use `written`.

    Raises:
        ValueError: a purpose that is not internal.
        Unavailable: the database or the storage is away; nothing is stored.
    """
    if upload.purpose not in INTERNAL_PURPOSES:
        raise ValueError(f"{upload.purpose} is not one of {INTERNAL_PURPOSES}")
    return await _store(database, files, project_id, upload, max_bytes=LARGEST)


@asynccontextmanager
async def written(files: FileStore, project_id: str, upload: Upload, *, max_bytes: int) -> AsyncGenerator[FileRow]:
    """Write a file's content; inside, its row is to be added in a transaction that is committed inside too.

    When the body fails, the content is removed again: nobody could name it, so nobody could ever remove it.
    The purpose and the name are the caller's to check.

    Raises:
        ContentTooLarge: more than `max_bytes`.
        Unavailable: the storage is away.
    """
    file_id, created = new_id("file-"), now()
    stored = await files.put(file_id, upload.pieces, max_bytes=max_bytes)
    lifetime = upload.expires_after or (BATCH_EXPIRY_SECONDS if upload.purpose == "batch" else None)
    try:
        yield FileRow(
            id=file_id,
            project_id=project_id,
            created_at=created,
            expires_at=created + timedelta(seconds=lifetime) if lifetime else None,
            filename=upload.filename.replace("\x00", "")[:FILENAME_LIMIT],
            purpose=upload.purpose,
            bytes=stored.bytes,
            sha256=stored.sha256,
            status="processed",
        )
    except BaseException:
        await asyncio.shield(_discard(files, file_id))
        raise


async def one_piece(content: bytes) -> AsyncIterator[bytes]:
    """Content that is in memory anyway, as the pieces of an Upload."""
    yield content


async def _store(database: Database, files: FileStore, project_id: str, upload: Upload, *, max_bytes: int) -> FileRow:
    async with written(files, project_id, upload, max_bytes=max_bytes) as row, database.session() as session:
        session.add(row)
    return row


async def delete(database: Database, files: FileStore, project_id: str, file_id: str) -> None:
    """Remove a file: first from sight, then its content. Raises NotFound."""
    async with database.session() as session:
        await _hide(session, project_id, file_id)
    await _discard(files, file_id)


async def remove_expired(database: Database, files: FileStore) -> int:
    """Remove the contents of files that expired; how many. Raises Unavailable; the next call goes on."""
    async with database.session() as session:
        expired = list(await session.scalars(repository.expired()))
    for row in expired:
        await files.delete(row.id)
        async with database.session() as session:
            await repository.hide(session, row.id)
    return len(expired)


async def _discard(files: FileStore, file_id: str) -> None:
    """Remove content that no row shows any more; when the storage is away it stays, and only the log knows."""
    try:
        await files.delete(file_id)
    except Unavailable:
        log.error("the content of %s could not be removed from the storage", file_id)


async def _hide(session: AsyncSession, project_id: str, file_id: str) -> None:
    row = await repository.find(session, project_id, file_id)
    row.deleted_at = now()


def check_name(filename: str, purpose: str) -> None:
    """Raises InvalidRequest: a purpose that clients may not upload, or a name that does not fit it."""
    if purpose not in PURPOSES:
        raise InvalidRequest(f"'{purpose[:50]}' is not one of {list(PURPOSES)} - 'purpose'", param="purpose")
    if purpose in ("fine-tune", "batch") and not filename.lower().endswith(".jsonl"):
        raise InvalidRequest(
            f"Invalid file format for purpose '{purpose}': '{filename[:100]}' must be a .jsonl file, one JSON object a line.",
            param="file",
        )
