"""Contents of files: a directory or an S3-compatible bucket, through obstore."""

import hashlib
import logging
from collections.abc import AsyncIterable, AsyncIterator, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, ObjectStore, from_url

from gateway.errors import ContentTooLarge, NotFound, Unavailable

log = logging.getLogger(__name__)

PART = 8 * 1024 * 1024
PARTS = 2
"""At most these many parts of these many bytes are on their way, and in memory, while a file is stored."""


@dataclass(frozen=True)
class Stored:
    """What was written."""

    bytes: int
    sha256: str


class FileStore:
    """Blobs by key. A blob is visible only once it is complete, so a cut upload leaves none."""

    def __init__(self, url: str, data_dir: Path) -> None:
        self._store: ObjectStore = from_url(url) if url else _local(data_dir / "blobs")

    async def put(self, key: str, pieces: AsyncIterable[bytes], *, max_bytes: int) -> Stored:
        """Store a stream of any length in bounded memory.

        Raises:
            ContentTooLarge: more than `max_bytes`; nothing is kept.
            Unavailable: the storage does not take it; nothing is kept.
        """
        digest, size = hashlib.sha256(), 0

        async def counted() -> AsyncIterator[bytes]:
            nonlocal size
            async for piece in pieces:
                size += len(piece)
                if size > max_bytes:
                    raise too_large(max_bytes)
                digest.update(piece)
                yield piece

        with _mapped():
            await obstore.put_async(self._store, key, counted(), chunk_size=PART, max_concurrency=PARTS)
        return Stored(size, digest.hexdigest())

    async def get(self, key: str) -> AsyncIterator[bytes]:
        """The contents, in pieces. Raises NotFound, Unavailable."""
        try:
            with _mapped():
                result = await obstore.get_async(self._store, key)
                async for piece in result.stream(min_chunk_size=PART // 8):
                    yield bytes(piece)
        except FileNotFoundError:
            raise NotFound("The content of this file is gone; upload it again.") from None

    async def delete(self, key: str) -> None:
        """Remove a blob; one that is not there is no error. Raises Unavailable."""
        try:
            with _mapped():
                await obstore.delete_async(self._store, key)
        except FileNotFoundError:
            return


def too_large(max_bytes: int) -> ContentTooLarge:
    limit = f"{max_bytes // 1024**2} MB" if max_bytes >= 1024**2 else f"{max_bytes} bytes"
    return ContentTooLarge(f"The file is larger than the limit of {limit}. Split it into smaller ones.", param="file")


@contextmanager
def _mapped() -> Generator[None]:
    """The storage's own failures; a blob that is missing stays a FileNotFoundError."""
    try:
        yield
    except FileNotFoundError:
        raise
    except (BaseError, OSError) as error:
        log.error("file storage: %s", error)
        raise Unavailable("The file storage cannot be reached or is full right now; please retry.") from error


def _local(directory: Path) -> LocalStore:
    directory.mkdir(parents=True, exist_ok=True)
    return LocalStore(directory)
