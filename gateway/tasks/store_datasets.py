"""What was built of a dataset becomes visible: files, rows and report in one transaction, or nothing."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

import msgspec
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.datasets import versions
from gateway.datasets.building.build import Built
from gateway.datasets.building.workplace import Workplace, decode
from gateway.datasets.building.writing import SplitFile
from gateway.datasets.isolated import PIECE
from gateway.datasets.validation import Interrupted
from gateway.db.driver import driver_of
from gateway.db.tables import DatasetItemRow, DatasetRow, DatasetVersionRow, ExchangeDeletionRow, FileRow
from gateway.exchanges.deletions import LOCK, USER
from gateway.files import service as files
from gateway.fine_tuning.lease import to_its_end
from gateway.protocol.dataset_versions import Progress
from gateway.services import WorkerServices

log = logging.getLogger(__name__)

ROWS_AT_ONCE = 5000
COLUMNS = tuple(column.key for column in DatasetItemRow.__table__.columns)
SKEW = timedelta(minutes=1)
"""Between the clocks of machines."""
MOST_ANEW = 2
"""Times that a version is built anew because something in it was deleted meanwhile; then such lines are marked, and blanked like those
of what is deleted later. Where somebody always deletes, no version would ever end, nor those that wait for it."""
LONGEST_ERASING = timedelta(hours=6)
"""Of all that is somebody's, from its announcement on: after that nothing of theirs is read any more."""
MARK_ERASED = text("""
UPDATE dataset_items AS item SET erased_at = gone.deleted_at FROM exchange_deletions AS gone
WHERE item.version_id = :version AND item.erased_at IS NULL
    AND gone.exchange_id IN (item.exchange_id, item.other_exchange_id)
""")
MARK_USERS = text(f"""
UPDATE dataset_items AS item SET erased_at = gone.deleted_at FROM exchanges AS call, exchange_deletions AS gone
WHERE item.version_id = :version AND item.erased_at IS NULL AND call.id IN (item.exchange_id, item.other_exchange_id)
    AND gone.exchange_id = '{USER}' || call.end_user AND gone.project_id = call.project_id
    AND call.created_at <= gone.deleted_at AND gone.deleted_at >= :since
""")  # noqa: S608
"""Of people of whom everything is being erased, page by page."""
MARK_WORDS = text("""
UPDATE dataset_items AS item SET erased_at = now() FROM judgments AS word
WHERE item.version_id = :version AND item.erased_at IS NULL AND item.judgment_ids ? word.id
    AND word.project_id = :project AND word.kind = 'edit' AND word.edited_message IS NULL AND word.exchange_id = item.exchange_id
""")
"""Corrections that lost their words while the version was built."""

MARK_EXAMPLES = text("""
UPDATE dataset_items AS item SET erased_at = example.deleted_at FROM training_examples AS example
WHERE item.version_id = :version AND item.erased_at IS NULL AND example.id = item.example_id AND example.line = '{}'
    AND example.deleted_at IS NOT NULL
""")
"""Examples that were erased."""


class Anew(Exception):
    """What was built holds an exchange that was deleted meanwhile."""


@dataclass
class Held:
    """A version that this worker builds."""

    row: DatasetVersionRow
    holder: str
    tries: int
    begun_at: datetime
    progress: Progress | None = None
    anew: int = 0
    """How often it was begun again because of a deletion."""

    def tell(self, progress: Progress) -> None:
        self.progress = progress


async def store_dataset(wv: WorkerServices, held: Held, built: Built) -> None:
    """Files, rows and report in one transaction.

    Raises:
        Anew: an exchange in it was deleted meanwhile.
        InvalidRequest: there is no room for the files.
        Interrupted: the version was cancelled, or another worker has it.
    """
    held.tell(Progress(stage="storing", done=0, total=built.report.rows))
    row, sizes = held.row, built.report.training.bytes + built.report.validation.bytes
    async with wv.database.session() as session:
        await files.check_room(session, row.project_id, sizes, wv.settings.files)
        name = (await session.get_one(DatasetRow, row.dataset_id)).name
    sha256 = await asyncio.to_thread(lambda: built.written.content_sha256)
    async with AsyncExitStack() as stack:
        stored: dict[str, FileRow] = {}
        for split, file in built.written.files.items():
            if file.lines or split == "training":
                writing = _writing(wv, held, file, split, name)
                stored[split] = await stack.enter_async_context(writing)
        showing = _shown(wv, held, built, stored, sha256, stack.pop_all())
        await to_its_end(showing, seconds=None)  # what is committed is not to be cut off before it is known to be


async def _shown(
    wv: WorkerServices, held: Held, built: Built, stored: dict[str, FileRow], sha256: str, writing: AsyncExitStack
) -> None:
    """The one transaction, inside of what removes the contents if it fails."""
    async with writing, wv.database.session() as session:
        await _show(session, held, built, stored, sha256)
        await _mark_erased(session, held)
    log.info("version %s of dataset %s has %s rows", held.row.number, held.row.dataset_id, built.report.rows)


async def _mark_erased(session: AsyncSession, held: Held) -> None:
    """What was erased before. No erasing begins until the end of this transaction: one that begins then finds the rows itself."""
    await session.execute(text("SELECT pg_advisory_xact_lock_shared(:key)"), {"key": LOCK})
    where = {"version": held.row.id}
    await session.execute(MARK_ERASED, where)
    await session.execute(MARK_USERS, where | {"since": held.begun_at - LONGEST_ERASING})
    await session.execute(MARK_EXAMPLES, where)
    await session.execute(MARK_WORDS, where | {"project": held.row.project_id})


def _writing(
    wv: WorkerServices, held: Held, file: SplitFile, split: str, name: str
) -> AbstractAsyncContextManager[FileRow]:
    filename = _filename(name, held.row.number, split)
    upload = files.Upload(filename=filename, purpose="fine-tune", pieces=_pieces(file), expires_after=None)
    file_id = versions.file_id(held.row.id, held.tries, split)
    return files.written(wv.database, wv.files, held.row.project_id, upload, max_bytes=files.LARGEST, file_id=file_id)


async def discard_left(wv: WorkerServices, held: Held) -> None:
    """What earlier tries have left in the storage, whose workers died."""
    for file_id in versions.files_left(held.row.id, held.tries - 1):
        await files.discard(wv.files, file_id)


async def _show(session: AsyncSession, held: Held, built: Built, stored: dict[str, FileRow], sha256: str) -> None:
    if held.anew < MOST_ANEW:
        await _refuse_deleted(session, held, built)
    session.add_all(stored.values())
    await session.flush()
    is_ours = await versions.complete(
        session,
        held.row.id,
        held.holder,
        report=msgspec.to_builtins(built.report),
        content_sha256=sha256,
        training_file_id=stored["training"].id,
        validation_file_id=stored["validation"].id if "validation" in stored else None,
    )
    if not is_ours:
        raise Interrupted
    connection = await driver_of(session)
    items = _items(held.row.id, built.work)
    while records := await asyncio.to_thread(lambda: list(islice(items, ROWS_AT_ONCE))):
        await connection.copy_records_to_table("dataset_items", records=records, columns=COLUMNS)
        held.tell(Progress(stage="storing", done=records[-1][1], total=built.report.rows))


async def _refuse_deleted(session: AsyncSession, held: Held, built: Built) -> None:
    """Raises Anew."""
    deleted = select(ExchangeDeletionRow.exchange_id).where(
        ExchangeDeletionRow.project_id == held.row.project_id,
        ExchangeDeletionRow.deleted_at >= held.begun_at - SKEW,
    )
    gone = set(await session.scalars(deleted))
    if gone and await asyncio.to_thread(_holds_any, built.work, gone):
        raise Anew


def _holds_any(work: Workplace, exchanges: set[str]) -> bool:
    kept = (each.candidate for each in work.candidates())
    return any({each.exchange_id, each.other_exchange_id} & exchanges for each in kept)


def _items(version_id: str, work: Workplace) -> Iterator[tuple[Any, ...]]:
    """Rows of dataset_items, in the order of COLUMNS."""
    query = "SELECT split, line, sha256, cluster, content FROM kept ORDER BY number"
    for split, line, sha256, cluster, content in work.db.execute(query):
        made = decode(content)
        yield (
            version_id,
            line,
            split,
            made.kind,
            sha256,
            cluster,
            made.exchange_id,
            made.other_exchange_id,
            made.example_id,
            json.dumps(made.judgment_ids),
            made.origin_model,
            made.end_user,
            None,
        )


def _filename(name: str, number: int, split: str) -> str:
    stem = "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in name)[:100]
    return f"{stem}-v{number}{'.validation' if split == 'validation' else ''}.jsonl"


async def _pieces(file: SplitFile) -> AsyncIterator[bytes]:
    with file.path.open("rb") as content:
        while piece := await asyncio.to_thread(content.read, PIECE):
            yield piece
