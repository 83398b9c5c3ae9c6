"""POST /v1/training_examples/import (an extension): examples from a stored training file, or from answers of the log."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import IO

import msgspec
from litestar import post
from litestar.params import RawBody
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.datasets.building import rows
from gateway.datasets.building.logged import Bodies, edited, read
from gateway.datasets.building.reading import Log, Sized, Snapshot, batches
from gateway.datasets.building.selection import by_choice
from gateway.datasets.building.unusable import UNUSABLE
from gateway.datasets.building.verdicts import Verdict, newest_edit
from gateway.datasets.isolated import fill, temporary
from gateway.datasets.written_lines import KINDS, problem_of
from gateway.datasets.written_lines import read as read_lines
from gateway.errors import InvalidRequest
from gateway.examples import repository
from gateway.examples.liked import liked
from gateway.examples.lines import NewExample
from gateway.examples.repository import Marks
from gateway.exchanges.erased import hold_off, without_words
from gateway.exchanges.subjects import subject
from gateway.files import repository as files
from gateway.files.store import too_large
from gateway.keys.ring import ApiKey
from gateway.kit.clock import now
from gateway.protocol.decode import decode
from gateway.protocol.recipes import Exchanges, Recipe
from gateway.protocol.training_examples import ExampleImport, ImportCreate, LoggedAnswers, Skipped
from gateway.routes.callers import Caller, Sv
from gateway.routes.file_reports import WORKPLACE
from gateway.routes.new_exchanges import exchanges_named
from gateway.services import Services

FILE_BYTES = 32 * 1024 * 1024
FILE_LINES = 10_000
"""Examples of one file: people look at each."""
PAGE = 500
LOOKED_AT = 10_000
"""Answers of the log, in one call."""
SHOWN = 5

decode_import = msgspec.json.Decoder(ImportCreate)


@post("/v1/training_examples/import", status_code=200)
async def import_examples(sv: Sv, caller: Caller, body: RawBody) -> ExampleImport:
    """All that can be, in one transaction; what cannot is told by its reason. The same call twice adds nothing."""
    wanted = decode(decode_import, body)
    if (wanted.file_id is None) is (wanted.exchanges is None):
        raise InvalidRequest("Send 'file_id' or 'exchanges', one of the two.", param="file_id")
    if wanted.score is not None and not wanted.validated:
        raise InvalidRequest("Invalid 'score': drafts have none; send 'validated': true with it.", param="score")
    found = _Found()
    if wanted.file_id is not None:
        await _from_file(sv, caller, wanted.file_id, found)
    else:
        assert wanted.exchanges is not None
        await _from_log(sv, caller, wanted.exchanges, found)
    return await _write(sv, caller, wanted, found)


@dataclass
class _Found:
    examples: list[NewExample] = field(default_factory=list[NewExample])
    edits: dict[str, NewExample] = field(default_factory=dict[str, NewExample])
    """By the id of the correction that one was made of."""
    skipped: dict[str, Skipped] = field(default_factory=dict[str, Skipped])
    has_more: bool = False

    def skip(self, reason: str, which: str) -> None:
        told = self.skipped.setdefault(reason, Skipped(reason=reason, count=0, first=[]))
        told.count += 1
        if len(told.first) < SHOWN:
            told.first.append(which)


async def _write(sv: Services, caller: ApiKey, wanted: ImportCreate, found: _Found) -> ExampleImport:
    tags = list(dict.fromkeys(wanted.tags))
    marks = Marks(by=caller.id, tags=tags, validated=wanted.validated, score=wanted.score)
    async with sv.database.session() as session:
        kept = await _not_erased(session, found)
        created = await repository.add(session, caller.project_id, kept, marks)
    return ExampleImport(
        created=created,
        duplicates=len(kept) - created,
        skipped=list(found.skipped.values()),
        has_more=found.has_more,
    )


async def _not_erased(session: AsyncSession, found: _Found) -> list[NewExample]:
    """What nobody has erased while it was read, nor erases until the end of the transaction."""
    erased = await hold_off(session, {each.exchange_id for each in found.examples if each.exchange_id})
    silent = await without_words(session, found.edits)
    taken_back = {id(found.edits[each]) for each in silent}
    return [each for each in found.examples if each.exchange_id not in erased and id(each) not in taken_back]


async def _from_file(sv: Services, caller: ApiKey, file_id: str, found: _Found) -> None:
    async with sv.database.session() as session:
        row = await files.find(session, caller.project_id, file_id)
    if row.bytes > FILE_BYTES:
        raise too_large(FILE_BYTES, "file_id")
    with temporary(sv.settings.data_dir / WORKPLACE) as content:
        await fill(content, sv.files.get(row.id))
        content.seek(0)
        await asyncio.to_thread(_read_file, content, file_id, found)


def _read_file(content: IO[bytes], file_id: str, found: _Found) -> None:
    """Raises InvalidRequest: it has too many lines."""
    for number, line, wanted, problem in read_lines(content):  # type: ignore[arg-type]
        if problem is not None:
            found.skip("invalid_line", f"line {number}: {problem.path} {problem.message}. {problem.fix}")
        if line is None:
            continue
        found.examples.append(NewExample(line=line, kind=KINDS[wanted], source="upload", file_id=file_id))
        if len(found.examples) > FILE_LINES:
            raise InvalidRequest(
                f"The file has more than {FILE_LINES:,} examples. Split it, or give it to a fine-tuning job as it is.",
                param="file_id",
            )


async def _from_log(sv: Services, caller: ApiKey, wanted: LoggedAnswers, found: _Found) -> None:
    log = Log(sv.database, Snapshot(caller.project_id, now()), _asked(wanted))
    async for ids in _pages(sv, caller, wanted, found):
        calls, verdicts = await log.calls(ids), await log.verdicts(ids)
        named = wanted.ids is not None
        for id in ids if named else ():
            if id not in calls:
                found.skip("not_learnable", id)
        ordered = [calls[id] for id in ids if id in calls]
        for batch in batches(ordered, lambda each: each.bytes):
            bodies = await log.bodies([each.call.id for each in batch])
            await asyncio.to_thread(_read_batch, batch, bodies, verdicts, wanted, found)
        if len(found.examples) >= wanted.limit and not named:
            found.has_more = found.has_more or len(found.examples) > wanted.limit
            del found.examples[wanted.limit :]
            return


async def _pages(sv: Services, caller: ApiKey, wanted: LoggedAnswers, found: _Found) -> AsyncIterator[list[str]]:
    """Ids of exchanges, newest first or as they were named."""
    if wanted.ids is not None:
        there = await exchanges_named(sv, caller.project_id, set(wanted.ids))
        for name in dict.fromkeys(wanted.ids):
            if name not in there:
                found.skip("not_in_the_log", name)
        yield list(dict.fromkeys(there[name] for name in wanted.ids if name in there))
        return
    before: str | None = None
    for _ in range(0, LOOKED_AT, PAGE):
        async with sv.database.session() as session:
            ids = await liked(session, caller.project_id, wanted, before, PAGE)
        found.has_more = len(ids) == PAGE
        if ids:
            yield ids
        if not found.has_more:
            return
        before = ids[-1]


def _asked(wanted: LoggedAnswers) -> Exchanges:
    if wanted.ids is not None:
        return Exchanges()
    return Exchanges(
        models=wanted.models,
        routes=wanted.routes,
        metadata=wanted.metadata,
        created_after=wanted.created_after,
        created_before=wanted.created_before,
    )


def _read_batch(
    batch: Sequence[Sized],
    bodies: dict[str, Bodies],
    verdicts: dict[str, list[Verdict]],
    wanted: LoggedAnswers,
    found: _Found,
) -> None:
    for sized in batch:
        there = bodies.get(sized.call.id)
        for choice, said in by_choice(verdicts.get(sized.call.id, [])).items():
            edit = newest_edit(said)
            if wanted.ids is None and edit is None and not _is_liked(said, wanted.min_score):
                continue
            if there is None:
                found.skip("deleted", sized.call.id)
                continue
            try:
                _take(sized, there, choice, edit, found)
            except UNUSABLE:
                found.skip("unusable", sized.call.id)


def _is_liked(said: Sequence[Verdict], min_score: float | None) -> bool:
    by_people = [each for each in said if each.source == "human" and each.passed is not None]
    scores = [each.score for each in by_people if each.score is not None]
    good = all(score >= min_score for score in scores) if min_score is not None else True
    return bool(by_people) and all(each.passed for each in by_people) and good


def _take(sized: Sized, bodies: Bodies, choice: int, edit: Verdict | None, found: _Found) -> None:
    """Note one answer, or why it is none that can be learnt."""
    recipe = Recipe(kind="sft")
    logged = read(sized.call, bodies, choice, subject, recipe.system)
    if logged is not None and edit is not None:
        logged = edited(logged, edit.edited_message or {})
    if logged is None:
        return found.skip("not_text", sized.call.id)
    if fault := rows.fault_of(logged, recipe, depth=0, is_edit=edit is not None):
        return found.skip(fault, sized.call.id)
    line = rows.sft(logged, recipe, "edit" if edit else "human", [], depth=0).line
    _, problem = problem_of(line)
    if problem is not None:
        return found.skip("invalid_line", f"{sized.call.id}: {problem.path} {problem.message}. {problem.fix}")
    source = "edit" if edit else "exchange"
    example = NewExample(line=line, kind="sft", source=source, exchange_id=sized.call.id)
    found.examples.append(example)
    if edit is not None:
        found.edits[edit.id] = example
    return None
