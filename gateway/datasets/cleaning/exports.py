"""A training file as other trainers read it: OpenAI's JSONL, TRL's, ShareGPT, Alpaca, Parquet, CSV.

What is exported is the stored file, redacted when it was built; nothing of the log is read again. Memory holds a thousand
rows, or fewer where they are long. Parquet is heavy to import: a gateway runs this as `python -m gateway.datasets export`.
"""

import csv
from collections.abc import Generator, Iterator
from contextlib import closing
from itertools import chain
from pathlib import Path
from typing import IO, Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from gateway.datasets.cleaning.shapes import Json, Unrepresentable, is_pair, rows_of
from gateway.datasets.lines import MAX_LINE, read_lines
from gateway.datasets.unusable import Unusable
from gateway.protocol.dataset_versions import ExportFormat

SUFFIXES: dict[ExportFormat, str] = {
    "openai": ".jsonl",
    "trl": ".trl.jsonl",
    "sharegpt": ".sharegpt.jsonl",
    "alpaca": ".alpaca.jsonl",
    "parquet": ".parquet",
    "csv": ".csv",
}
"""Of an export's file name."""
ROWS, BYTES = 1000, 8 * 1024 * 1024
"""Of a part of a Parquet file."""

_decode = msgspec.json.Decoder(dict[str, Any]).decode
_encode = msgspec.json.encode

_FUNCTION = pa.struct([("name", pa.string()), ("arguments", pa.string())])
_CALL = pa.struct([("id", pa.string()), ("type", pa.string()), ("function", _FUNCTION)])
_MESSAGES = pa.list_(
    pa.struct(
        [
            ("role", pa.string()),
            ("content", pa.string()),
            ("name", pa.string()),
            ("tool_call_id", pa.string()),
            ("weight", pa.int8()),
            ("tool_calls", pa.list_(_CALL)),
        ]
    )
)
_CHAT = [("messages", _MESSAGES), ("tools", pa.string())]
_PAIR = [("input", pa.struct(_CHAT)), ("preferred_output", _MESSAGES), ("non_preferred_output", _MESSAGES)]


class Exported(msgspec.Struct, frozen=True, kw_only=True):
    """What was written."""

    rows: int
    skipped: int
    """Lines that the format cannot hold: Alpaca's has no tools."""


def export(source: Path, output: Path, format: ExportFormat) -> Exported:
    """Write `source`, a training file, as `output`.

    Raises Unusable: it is no training file.
    """
    with source.open("rb") as file, output.open("wb") as written:
        lines = _Lines(file, format)
        with closing(lines.rows()) as rows:
            match format:
                case "parquet":
                    count = _write_parquet(rows, written)
                case "csv":
                    count = _write_csv(rows, written)
                case _:
                    count = _write_lines(rows, written)
    return Exported(rows=count, skipped=lines.skipped)


class _Lines:
    """What a file holds, in a format's rows."""

    def __init__(self, file: Any, format: ExportFormat) -> None:
        self._file = file
        self._format: ExportFormat = format
        self.skipped = 0

    def rows(self) -> Generator[Json]:
        for number, raw in read_lines(self._file):
            if not raw.strip():
                continue
            try:
                yield from rows_of(_line(number, raw), self._format)
            except Unrepresentable:
                self.skipped += 1
            except (KeyError, TypeError, AttributeError, IndexError) as error:
                raise Unusable(f"Line {number} is no line of a training file: {error!r}.") from None


def _line(number: int, raw: bytes) -> Json:
    if len(raw) > MAX_LINE:
        raise Unusable(f"Line {number} is longer than {MAX_LINE // 1024**2} MB.")
    try:
        return _decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Unusable(f"Line {number} is no JSON object: {str(error)[:120]}.") from None


def _write_lines(rows: Iterator[Json], output: IO[bytes]) -> int:
    count = 0
    for row in rows:
        output.write(_encode(row) + b"\n")
        count += 1
    return count


def _write_csv(rows: Iterator[Json], output: IO[bytes]) -> int:
    """With a byte order mark, without which Excel does not take it for UTF-8."""
    count = 0
    written = _Encoded(output)
    for row in rows:
        if not count:
            output.write(b"\xef\xbb\xbf")
            csv.writer(written, lineterminator="\r\n").writerow(row)
        csv.writer(written, lineterminator="\r\n", quoting=csv.QUOTE_ALL).writerow(row.values())
        count += 1
    return count


class _Encoded:
    """What `csv` writes texts to; a lone surrogate, which JSON may hold and UTF-8 may not, becomes a question mark."""

    def __init__(self, output: IO[bytes]) -> None:
        self._output = output

    def write(self, text: str) -> int:
        return self._output.write(text.encode(errors="replace"))


def _write_parquet(rows: Iterator[Json], output: IO[bytes]) -> int:
    """A part of the file for every thousand rows; a file without rows has columns all the same."""
    first = next(rows, None)
    schema = pa.schema(_PAIR if first is not None and is_pair(first) else _CHAT)
    count = 0
    with pq.ParquetWriter(output, schema, compression="zstd") as writer:
        for part in _parts(chain([first] if first is not None else [], rows)):
            writer.write_table(pa.Table.from_pylist(part, schema=schema))
            count += len(part)
    return count


def _parts(rows: Iterator[Json]) -> Iterator[list[Json]]:
    part: list[Json] = []
    size = 0
    for row in rows:
        part.append(row)
        size += len(_encode(row))
        if len(part) == ROWS or size > BYTES:
            yield part
            part, size = [], 0
    if part:
        yield part
