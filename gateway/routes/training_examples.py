"""/v1/training_examples (an extension): examples that people write, choose, edit and validate, one by one."""

from typing import Any, get_args

import msgspec
from litestar import delete, get, post
from litestar.params import FromPath, QueryParams, RawBody

from gateway.datasets.written_lines import KINDS, problem_of
from gateway.db.pages import fetch_page
from gateway.db.tables import TrainingExampleRow
from gateway.errors import InvalidRequest
from gateway.examples import repository
from gateway.examples.lines import NewExample
from gateway.examples.repository import ExampleFilters, Marks
from gateway.kit.clock import now, unix
from gateway.protocol.decode import convert, decode
from gateway.protocol.lists import CursorList, Deleted, cursor_list
from gateway.protocol.queries import array, choice, cursor, text
from gateway.protocol.training_examples import (
    ExampleCreate,
    ExampleUpdate,
    ExampleValidate,
    Kind,
    Score,
    Source,
    Status,
    TrainingExample,
)
from gateway.routes.callers import Caller, Sv

ALL = "/v1/training_examples"
ONE = ALL + "/{example_id:str}"

decode_create = msgspec.json.Decoder(ExampleCreate)
decode_update = msgspec.json.Decoder(ExampleUpdate)
decode_validate = msgspec.json.Decoder(ExampleValidate)


@get(ALL)
async def list_examples(sv: Sv, caller: Caller, query: QueryParams) -> CursorList:
    """Newest first. Filters: status, kind, source, tag (all of several), text, exchange, file, min_score."""
    rows = repository.matching(caller.project_id, _filters(query))
    async with sv.database.session() as session:
        page = await fetch_page(session, rows, TrainingExampleRow, cursor(query), order=(TrainingExampleRow.id,))
    return cursor_list([example(row) for row in page.rows], has_more=page.has_more)


@post(ALL, status_code=200)
async def create_example(sv: Sv, caller: Caller, body: RawBody) -> TrainingExample:
    """A draft. A line that is there already is answered with the example that has it."""
    wanted = decode(decode_create, body)
    new = NewExample(line=wanted.line, kind=kind_of(wanted.line), source="manual")
    async with sv.database.session() as session:
        marks = Marks(by=caller.id, tags=_unique(wanted.tags), note=wanted.note)
        await repository.add(session, caller.project_id, [new], marks)
        row = await repository.find_line(session, caller.project_id, new.sha256)
        assert row is not None, "it was just written"
        return example(row)


@get(ONE)
async def retrieve_example(sv: Sv, caller: Caller, example_id: FromPath[str]) -> TrainingExample:
    async with sv.database.session() as session:
        return example(await repository.find(session, caller.project_id, example_id))


@post(ONE, status_code=200)
async def update_example(sv: Sv, caller: Caller, example_id: FromPath[str], body: RawBody) -> TrainingExample:
    """Tags and notes change; another line is another example with an id of its own, a draft in the place of this one."""
    changes = decode(decode_update, body)
    async with sv.database.session() as session:
        row = await repository.find(session, caller.project_id, example_id, lock=True)
        if changes.line is not msgspec.UNSET:
            if kind_of(changes.line) != row.kind:
                raise InvalidRequest(
                    f"Invalid 'line': this example is of kind '{row.kind}', and stays so.", param="line"
                )
            row = await repository.replace(session, row, changes.line, caller.id)
        if changes.tags is not msgspec.UNSET:
            row.tags = _unique(changes.tags)
        if changes.note is not msgspec.UNSET:
            row.note = changes.note
        row.updated_at = now()
        await repository.changed(session)
        return example(row)


@post(ONE + "/validate", status_code=200)
async def validate_example(sv: Sv, caller: Caller, example_id: FromPath[str], body: RawBody) -> TrainingExample:
    """Whether it may be learnt (validated or rejected), and how good it is: a score from 0 to 1."""
    wanted = decode(decode_validate, body.strip() or b"{}")
    async with sv.database.session() as session:
        row = await repository.find(session, caller.project_id, example_id, lock=True)
        repository.judge(row, wanted.status, wanted.score, caller.id)
        if wanted.note is not msgspec.UNSET:
            row.note = wanted.note
        await repository.changed(session)
        return example(row)


@delete(ONE, status_code=200)
async def delete_example(sv: Sv, caller: Caller, example_id: FromPath[str]) -> Deleted:
    """Files that were built with it keep it until they are built anew."""
    async with sv.database.session() as session:
        await repository.delete(session, await repository.find(session, caller.project_id, example_id, lock=True))
    return Deleted(id=example_id, object="training_example.deleted")


def kind_of(line: dict[str, Any]) -> Kind:
    """Raises InvalidRequest: it is no line of a training file; the message says what is wrong with it."""
    wanted, problem = problem_of(line)
    if problem is not None:
        where = f"line.{problem.path}" if problem.path else "line"
        raise InvalidRequest(f"Invalid '{where}': {problem.message}. {problem.fix}", param=where)
    return KINDS[wanted]


def example(row: TrainingExampleRow) -> TrainingExample:
    return TrainingExample(
        id=row.id,
        created_at=unix(row.created_at),
        updated_at=unix(row.updated_at),
        created_by=row.created_by,
        kind=row.kind,
        line=row.line,
        sha256=row.sha256,
        tags=row.tags,
        source=row.source,
        exchange_id=row.exchange_id,
        file_id=row.file_id,
        status=row.status,
        score=row.score,
        note=row.note,
        validated_by=row.validated_by,
        validated_at=unix(row.validated_at) if row.validated_at else None,
    )


def _filters(query: QueryParams) -> ExampleFilters:
    return ExampleFilters(
        status=_one_of(query, "status", get_args(Status)),
        kind=_one_of(query, "kind", get_args(Kind)),
        source=_one_of(query, "source", get_args(Source)),
        tags=array(query, "tag"),
        text=text(query, "text"),
        exchange_id=text(query, "exchange"),
        file_id=text(query, "file"),
        min_score=_score(query),
    )


class _MinScore(msgspec.Struct):
    min_score: Score


def _score(query: QueryParams) -> float | None:
    given = text(query, "min_score")
    return None if given is None else convert({"min_score": given}, _MinScore).min_score


def _one_of(query: QueryParams, name: str, allowed: tuple[str, ...]) -> str | None:
    return choice(query, name, allowed, "") if text(query, name) else None


def _unique(tags: list[str]) -> list[str]:
    return list(dict.fromkeys(tags))
