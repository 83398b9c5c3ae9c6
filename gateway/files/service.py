"""Storing and removing files: the content first, then the row, so that a file that is listed can be read."""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.database import Database
from gateway.db.tables import FileRow
from gateway.errors import InvalidRequest, Refusal, Unavailable, Unconfirmed
from gateway.files import repository
from gateway.files.store import FileStore, Stored
from gateway.kit.clock import now
from gateway.kit.ids import new_id
from gateway.protocol.files import INTERNAL_PURPOSES, PURPOSES
from gateway.settings import FileSettings

log = logging.getLogger(__name__)

BATCH_EXPIRY_SECONDS = 30 * 24 * 3600
"""OpenAI's default for purpose batch; other files do not expire unless asked."""
FILENAME_LIMIT = 512
LARGEST = 8 * 1024**3
"""Bytes; OpenAI's limit of one file that arrives in parts, and ours of any."""

ASKED_SECONDS = 10.0
"""The database has these to say whether a row was committed."""


@dataclass(frozen=True, kw_only=True)
class Description:
    """What is known of a file beside its content."""

    filename: str
    purpose: str
    expires_after: int | None
    """Seconds."""


@dataclass(frozen=True, kw_only=True)
class Upload(Description):
    """A file on its way in."""

    pieces: AsyncIterable[bytes]


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


async def store_arriving(
    database: Database,
    files: FileStore,
    project_id: str,
    pieces: AsyncIterable[bytes],
    describe: Callable[[int], Description],
    *,
    max_bytes: int,
) -> FileRow:
    """Store what a client uploads and describes only behind the content, as a form may.

    Args:
        describe: called with the number of bytes when the last piece has arrived; what it raises leaves nothing stored.

    Raises: like `store`.
    """
    described: list[Description] = []

    async def until_described() -> AsyncIterator[bytes]:
        size = 0
        async for piece in pieces:
            size += len(piece)
            yield piece
        description = describe(size)
        check_name(description.filename, description.purpose)
        described.append(description)

    file_id = new_id("file-")
    stored = await files.put(file_id, until_described(), max_bytes=max_bytes)
    row = _row(file_id, project_id, described[0], stored)
    await _show(database, files, row)
    return row


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
async def written(
    database: Database,
    files: FileStore,
    project_id: str,
    upload: Upload,
    *,
    max_bytes: int,
    file_id: str | None = None,
) -> AsyncGenerator[FileRow]:
    """Write a file's content; inside, its row is to be added and flushed in a transaction that is committed inside too.

    When the body fails, the content is removed again, unless the row was committed: the answer to that may be what was lost.
    The purpose and the name are the caller's to check.

    Args:
        file_id: one that no file has, of a caller who can tell it again and `discard` what a process leaves that dies in
            the body; by default a random one.

    Raises:
        ContentTooLarge: more than `max_bytes`.
        Unavailable: the storage is away.
    """
    id = file_id or new_id("file-")
    row = _row(id, project_id, upload, await files.put(id, upload.pieces, max_bytes=max_bytes))
    async with _kept(database, files, row):
        yield row


async def one_piece(content: bytes) -> AsyncIterator[bytes]:
    """Content that is in memory anyway, as the pieces of an Upload."""
    yield content


async def _store(database: Database, files: FileStore, project_id: str, upload: Upload, *, max_bytes: int) -> FileRow:
    row = _row(id := new_id("file-"), project_id, upload, await files.put(id, upload.pieces, max_bytes=max_bytes))
    await _show(database, files, row)
    return row


async def _show(database: Database, files: FileStore, row: FileRow) -> None:
    async with _kept(database, files, row), database.session() as session:
        session.add(row)
        await session.flush()


@asynccontextmanager
async def _kept(database: Database, files: FileStore, row: FileRow) -> AsyncGenerator[None]:
    """Content that is written stays if the body commits its row, and goes if not."""
    try:
        yield
    except BaseException as error:
        await asyncio.shield(_discard_unnamed(database, files, row, error))
        raise


async def _discard_unnamed(database: Database, files: FileStore, row: FileRow, error: BaseException) -> None:
    """Remove content after `error`, unless a committed row names it, or may: only a COMMIT that was cut off leaves that open."""
    try:
        async with asyncio.timeout(ASKED_SECONDS), database.session() as session:
            is_there = await repository.is_there(session, row)
    except (Refusal, SQLAlchemyError, TimeoutError) as unanswered:
        is_there = isinstance(error, Unconfirmed) or not isinstance(error, Exception)
        if is_there:
            log.error("whether %s was committed is not known: its content stays (%s)", row.id, unanswered)
    if not is_there:
        await discard(files, row.id)


def _row(file_id: str, project_id: str, description: Description, stored: Stored) -> FileRow:
    created = now()
    lifetime = description.expires_after or (BATCH_EXPIRY_SECONDS if description.purpose == "batch" else None)
    return FileRow(
        id=file_id,
        project_id=project_id,
        created_at=created,
        expires_at=created + timedelta(seconds=lifetime) if lifetime else None,
        filename=clean_name(description.filename),
        purpose=description.purpose,
        bytes=stored.bytes,
        sha256=stored.sha256,
        status="processed",
    )


def clean_name(filename: str) -> str:
    """As it is stored: any text, of bounded length and without the one character that PostgreSQL does not take."""
    return filename.replace("\x00", "")[:FILENAME_LIMIT]


async def check_room(
    session: AsyncSession, project_id: str, more: int, limits: FileSettings, *, param: str = "file"
) -> None:
    """Raises InvalidRequest when `more` bytes do not fit into what one project may store.

    Files that arrive in one piece at the same time are not counted: a bound against filling the storage, not an account.

    Args:
        param: the field that says or brings the bytes.
    """
    used = await repository.bytes_of(session, project_id)
    if used + more > limits.max_project_bytes:
        raise InvalidRequest(
            f"This project stores {used} bytes of at most {limits.max_project_bytes}, pending uploads included;"
            f" {more} more do not fit. Delete files and cancel uploads that are not needed.",
            param=param,
            code="storage_limit_exceeded",
        )


async def delete(database: Database, files: FileStore, project_id: str, file_id: str) -> None:
    """Remove a file: first from sight, then its content. Raises NotFound."""
    async with database.session() as session:
        await _hide(session, project_id, file_id)
    await discard(files, file_id)


async def remove_expired(database: Database, files: FileStore) -> int:
    """Remove the contents of files that expired; how many. Raises Unavailable; the next call goes on."""
    async with database.session() as session:
        expired = list(await session.scalars(repository.expired()))
    for row in expired:
        await files.delete(row.id)
        async with database.session() as session:
            await repository.hide(session, row.id)
    return len(expired)


async def discard(files: FileStore, file_id: str) -> None:
    """Remove content that no row shows any more; when the storage is away it stays, and only the log knows."""
    try:
        await files.delete(file_id)
    except Unavailable:
        log.error("the content of %s could not be removed from the storage", file_id)


async def _hide(session: AsyncSession, project_id: str, file_id: str) -> None:
    row = await repository.find(session, project_id, file_id)
    row.deleted_at = now()


def check_name(filename: str, purpose: str, *, param: str = "file") -> None:
    """Raises InvalidRequest: a purpose that clients may not upload, or a name that does not fit it."""
    if purpose not in PURPOSES:
        raise InvalidRequest(f"'{purpose[:50]}' is not one of {list(PURPOSES)} - 'purpose'", param="purpose")
    if purpose in ("fine-tune", "batch") and not filename.lower().endswith(".jsonl"):
        raise InvalidRequest(
            f"Invalid file format for purpose '{purpose}': '{filename[:100]}' must be a .jsonl file, one JSON object a line.",
            param=param,
        )
