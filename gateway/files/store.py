"""Contents of files: a directory or an S3-compatible bucket, through obstore."""

import hashlib
from collections.abc import AsyncIterable, AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import obstore
from obstore.store import LocalStore, ObjectStore, from_url

from gateway.errors import ContentTooLarge, NotFound

PART = 8 * 1024 * 1024
"""Bytes held in memory while a file is stored."""


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
        """
        digest, size = hashlib.sha256(), 0

        async def counted() -> AsyncIterator[bytes]:
            nonlocal size
            async for piece in pieces:
                size += len(piece)
                if size > max_bytes:
                    raise ContentTooLarge(
                        f"The file is larger than the limit of {max_bytes // 1024**2} MB.", param="file"
                    )
                digest.update(piece)
                yield piece

        await obstore.put_async(self._store, key, counted(), chunk_size=PART)
        return Stored(size, digest.hexdigest())

    async def get(self, key: str) -> AsyncIterator[bytes]:
        """The contents, in pieces. Raises NotFound."""
        try:
            result = await obstore.get_async(self._store, key)
        except FileNotFoundError:
            raise NotFound("The content of this file is gone.") from None
        async for piece in result.stream(min_chunk_size=PART // 8):
            yield bytes(piece)

    async def delete(self, key: str) -> None:
        """Remove a blob; one that is not there is no error."""
        try:
            await obstore.delete_async(self._store, key)
        except FileNotFoundError:
            return


def _local(directory: Path) -> LocalStore:
    directory.mkdir(parents=True, exist_ok=True)
    return LocalStore(directory)
