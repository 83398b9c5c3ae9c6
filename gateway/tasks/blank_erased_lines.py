"""Lines of datasets that were made of what was erased leave their files, too.

A line becomes as many spaces: all others keep their numbers and their places, so that whoever reads the file at this
moment reads whole lines, and every reader of training files passes blank ones over. That a line was there, and when it was
erased, stays among the version's items, without the hash of what it said.
"""

import hashlib
import logging
from collections.abc import AsyncIterator, Callable, Collection
from dataclasses import dataclass

from sqlalchemy import ColumnElement, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.datasets.versions import SPLITS
from gateway.db.tables import DatasetItemRow, DatasetVersionRow, FileRow
from gateway.errors import NotFound
from gateway.files.service import LARGEST
from gateway.files.store import FileStore
from gateway.services import WorkerServices

log = logging.getLogger(__name__)

Counted = Callable[[bytes], object]
"""Takes the bytes of a file as they are now."""
BLANK = ""
"""In the place of the hash of a line that is no more."""


async def blank_erased_lines(wv: WorkerServices) -> None:
    """Raises Unavailable; the next round goes on."""
    while True:
        async with wv.database.session() as session:
            version = await _next(session)
            if version is None:
                return
            await _blank(session, wv.files, version)


async def _next(session: AsyncSession) -> DatasetVersionRow | None:
    """A version with lines to blank. One at which another worker is, is passed over."""
    left = select(DatasetItemRow.version_id).where(*_to_blank())
    waiting = select(DatasetVersionRow).where(DatasetVersionRow.id.in_(left), DatasetVersionRow.status == "completed")
    return await session.scalar(waiting.limit(1).with_for_update(skip_locked=True))


def _to_blank() -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    """As the index has it."""
    return DatasetItemRow.erased_at.is_not(None), DatasetItemRow.sha256 != BLANK


async def _blank(session: AsyncSession, files: FileStore, version: DatasetVersionRow) -> None:
    """Whoever dies before the transaction ends does it again. What is erased while a file is written is not noted here: that
    is the next round's."""
    noted = update(DatasetItemRow).where(DatasetItemRow.version_id == version.id, *_to_blank())
    done = await session.scalars(noted.values(sha256=BLANK).returning(DatasetItemRow.number))
    log.info("blanks %s erased lines of version %s of dataset %s", len(done.all()), version.number, version.dataset_id)
    whole, there = hashlib.sha256(), True
    for split in SPLITS:
        file_id = version.training_file_id if split == "training" else version.validation_file_id
        if file_id is not None:
            there &= await _blank_file(
                session, files, file_id, await _numbers(session, version.id, split), whole.update
            )
    version.content_sha256 = whole.hexdigest() if there else None


async def _numbers(session: AsyncSession, version_id: str, split: str) -> frozenset[int]:
    """Of all lines of a file that are noted as blank, now or before."""
    query = select(DatasetItemRow.number).where(
        DatasetItemRow.version_id == version_id, DatasetItemRow.split == split,
        DatasetItemRow.erased_at.is_not(None), DatasetItemRow.sha256 == BLANK,
    )  # fmt: skip
    return frozenset(await session.scalars(query))


async def _blank_file(
    session: AsyncSession, files: FileStore, file_id: str, numbers: Collection[int], counted: Counted
) -> bool:
    """Whether it is there. Its row is locked: whoever deletes it waits, and then removes what was written here."""
    row = await session.get(FileRow, file_id, with_for_update=True)
    if row is None or row.deleted_at is not None:
        return False
    writing = _Writing(files, file_id, numbers, counted)
    try:
        stored = await files.put(file_id, writing.pieces(), max_bytes=LARGEST)
    except NotFound:  # its content is gone
        return False
    row.sha256, row.report = stored.sha256, None  # a report is made anew when somebody asks
    return True


@dataclass
class _Writing:
    """A file without some of its lines."""

    files: FileStore
    file_id: str
    numbers: Collection[int]
    counted: Counted

    async def pieces(self) -> AsyncIterator[bytes]:
        number, rest = 0, b""
        async for piece in self.files.get(self.file_id):
            *lines, rest = (rest + piece).split(b"\n")
            kept: list[bytes] = []
            for line in lines:
                number += 1
                kept.append((b" " * len(line) if number in self.numbers else line) + b"\n")
            if kept:
                yield self._counted(b"".join(kept))
        if rest:
            yield self._counted(b" " * len(rest) if number + 1 in self.numbers else rest)

    def _counted(self, piece: bytes) -> bytes:
        self.counted(piece)
        return piece
