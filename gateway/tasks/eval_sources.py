"""The data of a run, a file or stored completions, becomes output items that wait for their answer. Repeating it changes
nothing. Inline data is there from the beginning (gateway/routes/eval_runs.py)."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import select

from gateway.datasets.fitting import lines_of
from gateway.datasets.isolated import fill, path_of, temporary
from gateway.db.large_bodies import load_pair
from gateway.db.tables import EvalRow, EvalRunRow, ExchangeRow, StoredCompletionRow
from gateway.errors import InvalidRequest, NotFound
from gateway.evals import claims, data_sources, output_items
from gateway.evals.data_sources import DIRECTORY, MAX_OUTPUT_ITEMS
from gateway.evals.output_items import SourceItem
from gateway.exchanges.erased import hold_off
from gateway.exchanges.subjects import subject
from gateway.files import repository as files
from gateway.files.service import one_piece
from gateway.kit.clock import from_unix
from gateway.protocol.evals import FileId, Line, StoredCompletions
from gateway.services import WorkerServices
from judges.subject import Subject, text_of

BATCH = 200


class RunFailed(Exception):
    """Nothing more can be done for a run; the message is for its owner."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class RunLost(Exception):
    """The run was canceled, or another worker has it."""


@dataclass(frozen=True, slots=True)
class Held:
    """A run that this worker does."""

    of: EvalRow
    run: EvalRunRow
    holder: str
    lease_seconds: float


async def read_source(wv: WorkerServices, held: Held) -> None:
    """Add an output item for each item and repeat, and say how many there are.

    Raises:
        RunFailed, RunLost
        Unavailable: the database or the file storage is away.
    """
    number = 0
    batch: list[SourceItem] = []
    async for each in _items(wv, held):
        batch.append(each)
        if len(batch) == BATCH:
            await _add(wv, held, number, batch)
            number, batch = number + len(batch), []
            if number * held.run.repeats > MAX_OUTPUT_ITEMS:
                raise RunFailed("too_many_items", f"The data has more than {MAX_OUTPUT_ITEMS} items times repeats.")
    await _add(wv, held, number, batch)
    number += len(batch)
    if not number:
        raise RunFailed("no_data", "The data source has no item: nothing that it names is there.")
    async with wv.database.session() as session:
        total = number * held.run.repeats
        if not await claims.set_values(session, held.run.id, held.holder, total=total):
            raise RunLost


async def _items(wv: WorkerServices, held: Held) -> AsyncIterator[SourceItem]:
    source = data_sources.read(held.run.data_source).source
    match source:
        case FileId():
            async for line in _of_file(wv, held, source.id):
                yield SourceItem(line.item, line.sample)
        case StoredCompletions():
            async for each in _of_stored(wv, held, source):
                yield each
        case _:
            raise RunFailed("invalid_source", "There is nothing to read.")


async def _of_file(wv: WorkerServices, held: Held, file_id: str) -> AsyncIterator[Line]:
    directory = wv.settings.data_dir / DIRECTORY
    with temporary(directory) as content, temporary(directory) as schema:
        try:
            async with wv.database.session() as session:
                await files.find(session, held.run.project_id, file_id)
            await fill(content, wv.files.get(file_id))
        except NotFound:
            raise RunFailed("file_not_found", f"The file {file_id} does not exist any more.") from None
        config = held.of.data_source_config
        await fill(schema, one_piece(msgspec.json.encode(config["schema"]["properties"]["item"])))
        limit = str(MAX_OUTPUT_ITEMS // held.run.repeats)
        try:
            await wv.datasets.run(
                ["fit", path_of(content), "--schema", path_of(schema), "--max-lines", limit], [content, schema]
            )
        except InvalidRequest as refusal:
            raise RunFailed("invalid_data", str(refusal)) from None
        await asyncio.to_thread(content.seek, 0)
        lines = lines_of(Path(path_of(content)))
        while batch := await asyncio.to_thread(lambda: list(islice(lines, BATCH))):
            for _, line in batch:
                yield line


async def _of_stored(wv: WorkerServices, held: Held, source: StoredCompletions) -> AsyncIterator[SourceItem]:
    """Oldest first. What was deleted or not kept is passed over."""
    query = _stored_query(held, source)
    after: tuple[Any, str] | None = None
    left = source.limit if source.limit is not None else MAX_OUTPUT_ITEMS + 1
    while left > 0:
        page = query
        if after is not None:
            later = StoredCompletionRow.created_at > after[0]
            same = (StoredCompletionRow.created_at == after[0]) & (StoredCompletionRow.exchange_id > after[1])
            page = page.where(later | same)
        async with wv.database.session() as session:
            found = list(await session.execute(page.limit(BATCH)))
            rows: list[Any] = [(stored, *await load_pair(session, *bodies)) for stored, *bodies in found]
        if not rows:
            return
        after = (rows[-1][0].created_at, rows[-1][0].exchange_id)
        for stored, request, reply in rows:
            if left > 0 and (said := subject(request, reply)) is not None:
                left -= 1
                yield _stored_item(stored, said)


def _stored_query(held: Held, source: StoredCompletions) -> Any:
    """By what the run filters; the eval's own metadata hold too."""
    row = StoredCompletionRow
    query = (
        select(row, ExchangeRow.request, ExchangeRow.reply)
        .join(ExchangeRow, ExchangeRow.id == row.exchange_id)
        .where(row.project_id == held.run.project_id, row.deleted_at.is_(None))
    )
    if metadata := (held.of.data_source_config.get("metadata") or {}) | (source.metadata or {}):
        query = query.where(row.completion_metadata.contains(metadata))
    if source.model is not None:
        query = query.where(row.model == source.model)
    if source.created_after is not None:
        query = query.where(row.created_at >= from_unix(source.created_after))
    if source.created_before is not None:
        query = query.where(row.created_at < from_unix(source.created_before + 1))
    return query.order_by(row.created_at, row.exchange_id)


def _stored_item(row: StoredCompletionRow, said: Subject) -> SourceItem:
    item = {
        "input": said.messages,
        "output": [said.answer],
        "tools": said.tools,
        "completion_id": row.completion_id,
        "model": row.model,
        "metadata": row.completion_metadata or {},
    }
    choice = {"index": 0, "message": said.answer, "finish_reason": said.finish_reason}
    sample = {"choices": [choice], "model": row.model, "input": said.messages}
    return SourceItem(item, sample, _opening(said), row.exchange_id)


def _opening(said: Subject) -> str:
    """Alike for the turns of one conversation: up to the first thing that a user says, they begin alike."""
    opening: list[str] = []
    for message in said.messages:
        opening += [str(message.get("role")), text_of(message)]
        if message.get("role") == "user":
            break
    return output_items.short_hash("\0".join(opening))


def _emptied(each: SourceItem) -> SourceItem:
    """Of an exchange that was erased since it was read: as `gateway/exchanges/erasure.py` leaves it. It keeps its place, so
    that all others keep theirs."""
    return SourceItem({"completion_id": each.item["completion_id"]}, exchange_id=each.exchange_id)


async def _add(wv: WorkerServices, held: Held, first: int, items: Sequence[SourceItem]) -> None:
    if not items:
        return
    try:
        async with wv.database.session() as session:
            if not await claims.extend(session, held.run.id, held.holder, held.lease_seconds):
                raise RunLost
            erased = await hold_off(session, [each.exchange_id for each in items if each.exchange_id])
            left = [_emptied(each) if each.exchange_id in erased else each for each in items]
            await output_items.add(session, held.of, held.run, first, left)
    except InvalidRequest as refusal:
        raise RunFailed("invalid_data", f"Items {first} to {first + len(items) - 1}: {refusal}") from None
