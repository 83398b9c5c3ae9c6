"""Rows of training examples: everything is a project's own, and the same line is there once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Select, Text, cast, func, literal, select
from sqlalchemy.dialects.postgresql import JSONPATH, insert
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.changes import touch
from gateway.db.tables import TrainingExampleRow
from gateway.errors import Conflict, InvalidRequest, NotFound
from gateway.examples.lines import NewExample, digest
from gateway.examples.shown import MIRROR
from gateway.kit.clock import now
from gateway.kit.ids import new_sorted_id
from gateway.protocol.training_examples import Status

MOST = 100_000
"""Of a project. Who has more has files, which need no hands."""
AT_A_TIME = 500
"""Rows in one statement."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """What all examples of one call are written down with."""

    by: str
    """An api key."""
    tags: list[str]
    note: str = ""
    validated: bool = False
    score: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExampleFilters:
    """Which to list; None and nothing mean all."""

    status: str | None = None
    kind: str | None = None
    source: str | None = None
    tags: Sequence[str] = ()
    """All of these."""
    text: str | None = None
    """Is somewhere in what a message says, in whatever case."""
    exchange_id: str | None = None
    file_id: str | None = None
    min_score: float | None = None


def matching(project_id: str, filters: ExampleFilters) -> Select[TrainingExampleRow]:
    return _of_project(project_id).where(*_conditions(filters))


def _of_project(project_id: str) -> Select[TrainingExampleRow]:
    return select(TrainingExampleRow).where(
        TrainingExampleRow.project_id == project_id, TrainingExampleRow.deleted_at.is_(None)
    )


def _conditions(filters: ExampleFilters) -> Iterator[ColumnElement[bool]]:
    for name in ("status", "kind", "source", "exchange_id", "file_id"):
        if (value := getattr(filters, name)) is not None:
            yield getattr(TrainingExampleRow, name) == value
    if filters.tags:
        yield TrainingExampleRow.tags.contains(list(filters.tags))
    if filters.text is not None:
        yield func.jsonb_path_exists(TrainingExampleRow.line, cast(literal(_says(filters.text), Text), JSONPATH))
    if filters.min_score is not None:
        yield TrainingExampleRow.score >= filters.min_score


def _says(text: str) -> str:
    """A JSON path that is there when some message's content, or part of it, has the text: literally, in any case."""
    quoted = msgspec.json.encode(text).decode()
    return f'$.** ? (@.content like_regex {quoted} flag "iq" || @.text like_regex {quoted} flag "iq")'


async def find(session: AsyncSession, project_id: str, example_id: str, *, lock: bool = False) -> TrainingExampleRow:
    """Raises NotFound."""
    query = _of_project(project_id).where(TrainingExampleRow.id == example_id)
    row = await session.scalar(query.with_for_update() if lock else query)
    if row is None:
        raise NotFound(f"No training example with id '{example_id}'.", param="example_id")
    return row


async def find_line(session: AsyncSession, project_id: str, sha256: str) -> TrainingExampleRow | None:
    return await session.scalar(_of_project(project_id).where(TrainingExampleRow.sha256 == sha256))


async def add(session: AsyncSession, project_id: str, examples: Sequence[NewExample], marks: Marks) -> int:
    """Those that are not there yet; how many that were.

    Raises InvalidRequest: the project has too many.
    """
    await _check_room(session, project_id, len(examples))
    unique = {each.sha256: each for each in examples}
    rows = [_row(project_id, each, sha256, marks) for sha256, each in unique.items()]
    written = 0
    for start in range(0, len(rows), AT_A_TIME):
        statement = insert(TrainingExampleRow).values(rows[start : start + AT_A_TIME])
        statement = statement.on_conflict_do_nothing(
            index_elements=["project_id", "sha256"], index_where=TrainingExampleRow.deleted_at.is_(None)
        )
        written += len(list(await session.scalars(statement.returning(TrainingExampleRow.id))))
    if written and marks.validated:
        await changed(session)
    return written


async def changed(session: AsyncSession) -> None:
    """Tell every gateway process, once this transaction commits, that validated examples are others now."""
    await touch(session, MIRROR)


async def replace(session: AsyncSession, row: TrainingExampleRow, line: dict[str, Any], by: str) -> TrainingExampleRow:
    """Another example, a draft, in the place of one: what was built of the old one stays what it was.

    Args: line: checked, and of the same kind. Raises Conflict: that line is there already, as another example.
    """
    if row.sha256 == digest(line):
        return row
    there = await find_line(session, row.project_id, digest(line))
    if there is not None:
        raise Conflict(f"The same line is there already, as '{there.id}'.", code="example_exists")
    kept = {name: getattr(row, name) for name in ("project_id", "kind", "tags", "source", "exchange_id", "file_id")}
    await delete(session, row)
    moment = now()
    edited = TrainingExampleRow(
        id=new_sorted_id("example_"), created_at=moment, updated_at=moment, created_by=by, line=line,
        sha256=digest(line), status="draft", note=row.note, **kept,
    )  # fmt: skip
    session.add(edited)
    await session.flush()
    return edited


def judge(row: TrainingExampleRow, status: Status, score: float | None, by: str) -> None:
    """Whoever validates an example says how good it is; a draft has no verdict."""
    if status == "draft" and score is not None:
        raise InvalidRequest("Invalid 'score': a draft has none; validate or reject it.", param="score")
    row.status, row.score, row.updated_at = status, score, now()
    row.validated_by, row.validated_at = (None, None) if status == "draft" else (by, row.updated_at)


async def delete(session: AsyncSession, row: TrainingExampleRow) -> None:
    """The row stays, for the lineage of what was built of it."""
    row.deleted_at = row.updated_at = now()
    await session.flush()
    await changed(session)


async def _check_room(session: AsyncSession, project_id: str, more: int) -> None:
    query = _of_project(project_id).with_only_columns(func.count())
    have = await session.scalar(query) or 0
    if have + more > MOST:
        raise InvalidRequest(
            f"A project has at most {MOST:,} training examples; this one has {have:,}, and {more:,} more were to come. "
            "Delete some, or upload a file for a fine-tuning job: it takes any number of lines.",
            code="too_many_examples",
        )


def _row(project_id: str, each: NewExample, sha256: str, marks: Marks) -> dict[str, Any]:
    moment = now()
    return {
        "id": new_sorted_id("example_"),
        "project_id": project_id,
        "created_at": moment,
        "updated_at": moment,
        "created_by": marks.by,
        "kind": each.kind,
        "line": each.line,
        "sha256": sha256,
        "tags": marks.tags,
        "source": each.source,
        "exchange_id": each.exchange_id,
        "file_id": each.file_id,
        "status": "validated" if marks.validated else "draft",
        "score": marks.score if marks.validated else None,
        "note": marks.note,
        "validated_by": marks.by if marks.validated else None,
        "validated_at": moment if marks.validated else None,
    }
