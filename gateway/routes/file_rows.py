"""/v1/files/{file_id}/rows: a training file's lines as people look at them, each with its score. An extension."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

import msgspec
from litestar import get
from litestar.params import FromPath, QueryParams

from gateway.datasets.checking import check
from gateway.datasets.found import Found
from gateway.datasets.lines import BOM
from gateway.datasets.one_example import graded, see
from gateway.datasets.problems import format_of
from gateway.errors import InvalidRequest
from gateway.files import repository
from gateway.protocol.datasets import FileRow, FileRows
from gateway.protocol.queries import text
from gateway.routes.callers import Caller, Sv

MOST_READ = 64 * 1024 * 1024
"""Bytes of a file that one call reads; what lies behind them is downloaded."""
LONGEST = 256 * 1024
"""Bytes of a line that is shown."""
USUAL, MOST = 20, 100


@get("/v1/files/{file_id:str}/rows")
async def list_rows(sv: Sv, caller: Caller, file_id: FromPath[str], query: QueryParams) -> FileRows:
    """`limit` lines (20) behind the line `after` (0). Of purpose fine-tune; blank lines are left out."""
    after, limit = _number(query, "after", 0, 2**53), _number(query, "limit", USUAL, MOST)
    async with sv.database.session() as session:
        row = await repository.find(session, caller.project_id, file_id)
    if row.purpose != "fine-tune":
        message = f"File {file_id} has purpose '{row.purpose}'; only files of purpose 'fine-tune' have rows."
        raise InvalidRequest(message, param="file_id")
    found: list[FileRow] = []
    cut = row.bytes > MOST_READ
    async with aclosing(_lines(sv.files.get(row.id, end=MOST_READ), cut)) as lines:
        async for number, raw in lines:
            if number <= after or raw.isspace() or not raw:
                continue
            if len(found) == limit:
                return FileRows(data=found, has_more=True)
            found.append(_shown(number, raw))
    return FileRows(data=found, has_more=False, cut=cut)


async def _lines(pieces: AsyncIterator[bytes], cut: bool) -> AsyncGenerator[tuple[int, bytes]]:
    """Number, from 1, and bytes of each line, of one that is too long its beginning. Args: cut: the last one is not whole."""
    number, line = 1, bytearray()
    async for piece in pieces:
        *whole, rest = piece.split(b"\n")
        for part in whole:
            yield number, bytes(line + part)
            number, line = number + 1, bytearray()
        if len(line) <= LONGEST:
            line += rest
    if line and not cut:
        yield number, bytes(line)


def _shown(number: int, raw: bytes) -> FileRow:
    if len(raw) > LONGEST:
        return FileRow(
            line=number, example=None, score=None, note=f"longer than {LONGEST // 1024} kB: download the file"
        )
    raw = raw.removeprefix(BOM)
    value, found = _decoded(raw), Found(number, number)
    example = check(raw, "preference" if format_of(value) == "preference" else "chat", found)
    if example is None:
        problem = found.kept[0]
        note = f"{problem.path}: {problem.message}. {problem.fix}".removeprefix(": ")
        return FileRow(line=number, example=value, score=0, note=note)
    score, note = graded(see(raw, example))
    return FileRow(line=number, example=value, score=score, note=note)


def _decoded(raw: bytes) -> Any:
    try:
        return msgspec.json.decode(raw)
    except (ValueError, RecursionError):
        return None


def _number(query: QueryParams, name: str, usual: int, most: int) -> int:
    """Raises InvalidRequest."""
    given = text(query, name)
    if given is None:
        return usual
    if not given.isascii() or not given.isdecimal() or int(given) > most:
        raise InvalidRequest(f"Invalid '{name}': a whole number up to {most}.", param=name)
    return int(given)
