"""Contents of files: blobs in a directory or an S3-compatible bucket, through obstore.

obstore takes 5 MB. A gateway whose files are in a directory imports it with the first one: those that only serve models, and
keep no large bodies, do without. Hence the imports inside functions.
"""

import hashlib
import logging
import os
import time
from collections.abc import AsyncIterable, AsyncIterator, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from gateway.errors import ContentTooLarge, NotFound, Unavailable
from gateway.settings import FileSettings

if TYPE_CHECKING:
    from obstore.store import ObjectStore

log = logging.getLogger(__name__)

PART = 8 * 1024 * 1024
PARTS = 2
"""At most these many parts of these many bytes are on their way, and in memory, while a file is stored."""
PIECE = 1024 * 1024
"""Bytes handed on at once: the HTTP server takes about ten pieces before it waits for a slow client."""
REFUSED = ("AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken")
"""S3's codes for credentials that are not taken; obstore has classes for them, but not in answers to a list request."""
NOWHERE = ".nothing"
"""No blob is named so: asking for what begins with it shows whether the bucket answers, and costs nothing."""


@dataclass(frozen=True)
class Stored:
    """What was written."""

    bytes: int
    sha256: str


class FileStore:
    """Blobs by key. A blob is visible only once it is complete, so a cut upload leaves none.

    Args:
        settings: where, and with which credentials.
        data_dir: used when `settings.url` is empty.

    Raises:
        SettingsError: `settings.url` cannot be used.
    """

    def __init__(self, settings: FileSettings, data_dir: Path) -> None:
        self.place = settings.url or str(data_dir / "blobs")
        self._settings, self._data_dir = settings, data_dir
        self._directory = directory_of(settings, data_dir)
        if self._directory is None:
            self._store  # noqa: B018 opened now, so that what is wrong with it is told at the start
        else:
            self._directory.mkdir(parents=True, exist_ok=True)

    @cached_property
    def _store(self) -> "ObjectStore":
        from gateway.files.buckets import open_store

        return open_store(self._settings, self._data_dir)

    async def put(self, key: str, pieces: AsyncIterable[bytes], *, max_bytes: int) -> Stored:
        """Store a stream of any length in bounded memory.

        Raises:
            ContentTooLarge: more than `max_bytes`; nothing is kept.
            Unavailable: the storage does not take it; nothing is kept.
            Whatever `pieces` raises; nothing is kept.
        """
        import obstore

        digest, size = hashlib.sha256(), 0

        async def counted() -> AsyncIterator[bytes]:
            nonlocal size
            async for piece in pieces:
                size += len(piece)
                if size > max_bytes:
                    raise too_large(max_bytes)
                digest.update(piece)
                yield piece

        rest = counted()
        head = [piece async for piece in _upto(rest, PART)]
        with _mapped():
            if size < PART:  # one request instead of three
                await obstore.put_async(self._store, key, b"".join(head), use_multipart=False)
            else:
                whole = _chained(head, rest)
                await obstore.put_async(self._store, key, whole, chunk_size=PART, max_concurrency=PARTS)
        return Stored(size, digest.hexdigest())

    async def get(self, key: str, *, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """The bytes from `start` up to `end` (exclusive), in pieces of at most PIECE; all of them when left out.

        Every PART is a request of its own, so that a reader may take any time over it.

        Raises:
            NotFound: there is no such blob (any more).
            Unavailable: the storage does not answer.
        """
        import obstore

        try:
            with _mapped():
                size = (await obstore.head_async(self._store, key))["size"]
            stop = size if end is None else min(end, size)
            while start < stop:
                length = min(PART, stop - start)
                with _mapped():
                    part = memoryview(await obstore.get_range_async(self._store, key, start=start, length=length))
                for offset in range(0, length, PIECE):
                    yield bytes(part[offset : offset + PIECE])
                start += length
        except FileNotFoundError:
            raise NotFound("The content of this file is gone; upload it again.") from None

    async def delete(self, *keys: str) -> None:
        """Remove blobs; one that is not there is no error. Raises Unavailable; some may be gone then."""
        import obstore

        for key in keys:
            try:
                with _mapped():
                    await obstore.delete_async(self._store, key)
            except FileNotFoundError:
                continue

    async def ping(self) -> None:
        """Raises Unavailable: no answer, no such bucket or wrong credentials; the message says which, its cause more."""
        if self._directory is not None and os.access(self._directory, os.R_OK | os.W_OK | os.X_OK):
            return
        import obstore
        from obstore.exceptions import BaseError

        try:
            async for _ in obstore.list(self._store, NOWHERE):
                return
        except (BaseError, OSError) as error:
            raise Unavailable(f"The file storage {self.place} {_diagnosis(error)}") from error

    def remove_unfinished(self, seconds: float) -> int:
        """Remove what processes left on disk that died while they wrote: nothing was added to it for `seconds`.

        Returns how many. In a bucket a lifecycle rule does this (buckets.py).
        """
        if self._directory is None:
            return 0
        removed = 0
        for path in self._directory.rglob("*#*"):  # obstore's name for what is not complete
            with suppress(FileNotFoundError):  # it was just completed
                if time.time() - path.stat().st_mtime > seconds:
                    path.unlink()
                    removed += 1
        return removed


def directory_of(settings: FileSettings, data_dir: Path) -> Path | None:
    """Where contents live on this machine; None: in a bucket."""
    if not settings.url:
        return data_dir / "blobs"
    return Path(unquote(urlsplit(settings.url).path)) if settings.url.startswith("file:") else None


def too_large(max_bytes: int, param: str = "file") -> ContentTooLarge:
    """The refusal of a file, or of a part of one (`param` is "data" then)."""
    limit = f"{max_bytes // 1024**2} MB" if max_bytes >= 1024**2 else f"{max_bytes} bytes"
    what = "file" if param == "file" else "part"
    return ContentTooLarge(f"The {what} is larger than the limit of {limit}. Split it into smaller ones.", param=param)


async def _upto(pieces: AsyncIterator[bytes], size: int) -> AsyncIterator[bytes]:
    """The first pieces, until they are `size` bytes or more."""
    while size > 0 and (piece := await anext(pieces, None)) is not None:
        size -= len(piece)
        yield piece


async def _chained(head: list[bytes], rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    while head:
        yield head.pop(0)
    async for piece in rest:
        yield piece


@contextmanager
def _mapped() -> Generator[None]:
    """The storage's own failures; a blob that is missing stays a FileNotFoundError."""
    from obstore.exceptions import BaseError

    try:
        yield
    except (BaseError, OSError) as error:
        if isinstance(error, FileNotFoundError) and "NoSuchBucket" not in str(error):
            raise
        log.error("file storage: %s", first_line(error))
        raise Unavailable("The file storage cannot be reached or is full right now; please retry.") from error


def _diagnosis(error: BaseException) -> str:
    from obstore.exceptions import PermissionDeniedError, UnauthenticatedError

    text = str(error)
    if "NoSuchBucket" in text:
        return "has no such bucket: create it, or correct files.url."
    if isinstance(error, PermissionDeniedError | UnauthenticatedError) or any(code in text for code in REFUSED):
        return (
            "refuses the credentials: correct files.s3_access_key_id and files.s3_secret_access_key"
            " (or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY), or what they may do."
        )
    return "does not answer."


def first_line(error: BaseException | None) -> str:
    """What obstore says, without the whole reply and the debug rendering behind it."""
    return str(error).partition("\n")[0][:500]
