"""Storing and removing files: the content first, then the row, so that a file that is listed can be read."""

import asyncio
import logging
from collections.abc import AsyncIterable
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
from gateway.protocol.files import PURPOSES

log = logging.getLogger(__name__)

BATCH_EXPIRY_SECONDS = 30 * 24 * 3600
"""OpenAI's default for purpose batch; other files do not expire unless asked."""
FILENAME_LIMIT = 512


@dataclass(frozen=True, kw_only=True)
class Upload:
    """A file on its way in."""

    filename: str
    purpose: str
    pieces: AsyncIterable[bytes]
    expires_after: int | None
    """Seconds."""


async def store(database: Database, files: FileStore, project_id: str, upload: Upload, *, max_bytes: int) -> FileRow:
    """Store one upload.

    Raises:
        InvalidRequest: an unknown purpose, or a name that does not fit it.
        ContentTooLarge: more than `max_bytes`.
        Unavailable: the database or the storage is away.
        After any of them nothing is stored.
    """
    _check(upload.filename, upload.purpose)
    file_id, created = new_id("file-"), now()
    stored = await files.put(file_id, upload.pieces, max_bytes=max_bytes)
    lifetime = upload.expires_after or (BATCH_EXPIRY_SECONDS if upload.purpose == "batch" else None)
    row = FileRow(
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
    try:
        async with database.session() as session:
            session.add(row)
    except BaseException:  # nobody can name this content, so nobody could ever remove it
        await asyncio.shield(_discard(files, file_id))
        raise
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


def _check(filename: str, purpose: str) -> None:
    if purpose not in PURPOSES:
        raise InvalidRequest(f"'{purpose[:50]}' is not one of {list(PURPOSES)} - 'purpose'", param="purpose")
    if purpose in ("fine-tune", "batch") and not filename.lower().endswith(".jsonl"):
        raise InvalidRequest(
            f"Invalid file format for purpose '{purpose}': '{filename[:100]}' must be a .jsonl file, one JSON object a line.",
            param="file",
        )
