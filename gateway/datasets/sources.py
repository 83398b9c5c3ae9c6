"""Rows of whatever was sent: CSV, a JSON array, JSON lines or Parquet, one after the other in bounded memory."""

import codecs
import csv
import io
import itertools
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Literal

import ijson
import msgspec

from gateway.datasets.columns import TOOLS, turns_of
from gateway.datasets.lines import BOM, MAX_LINE, read_lines
from gateway.datasets.tables import Fault, csv_rows, parquet_rows, sniff
from gateway.datasets.unusable import Unusable

Container = Literal["csv", "json", "jsonl", "parquet"]

HEAD = 64 * 1024
"""Bytes that decide what a file is."""
LATIN = "windows-1252"
SAID = frozenset({"content", "value", "text", "tool_calls", "function_call"})
"""What a turn of a conversation has beside its role."""


@dataclass(frozen=True)
class Row:
    """One record, or what is wrong with it."""

    number: int
    """From 1, a heading not counted."""
    values: dict[str, Any]
    fault: str = ""


@dataclass
class Source:
    """A file whose kind is known."""

    path: Path
    container: Container
    encoding: str | None = None
    dialect: type[csv.Dialect] | None = None
    place: str = "item"
    """Of JSON: where the rows are, as ijson names it. `item`: in the outermost array; `data.item`: in an array of the
    outermost object; empty: that object is the only row."""
    notes: list[str] = field(default_factory=list[str])

    def rows(self) -> Generator[Row]:
        """From the beginning; close it where it is not read to the end. Raises Unusable where the file is broken in a way that hides what follows."""
        match self.container:
            case "parquet":
                found = parquet_rows(self.path)
            case "csv":
                assert self.dialect is not None
                found = csv_rows(self.path, self.encoding or "utf-8", self.dialect)
            case "json":
                found = _json_values(self)
            case "jsonl":
                found = _json_lines(self)
        with closing(found):
            for number, value in enumerate(found, start=1):
                match value:
                    case dict():
                        yield Row(number, value)
                    case Fault(message):
                        yield Row(number, {}, message)
                    case _:
                        yield Row(number, {}, "is not an object with named values")


def open_source(path: Path) -> Source:
    """Find out what a file is. Raises Unusable."""
    with path.open("rb") as file:
        head = file.read(HEAD)
    if head.startswith(b"PAR1"):
        return Source(path, "parquet")
    if head.startswith((b"\x1f\x8b", b"PK\x03\x04", b"7z\xbc\xaf", b"BZh", b"\x28\xb5\x2f\xfd")):
        raise Unusable("The file is compressed (or an Excel workbook). Unpack it, or save the sheet as CSV.")
    if not head.strip():
        raise Unusable("The file is empty.")
    encoding, notes = _encoding(path, head)
    text = codecs.getincrementaldecoder(encoding)("replace").decode(head).lstrip("\ufeff \t\r\n")
    if text.startswith("["):
        return Source(path, "json", encoding, notes=notes)
    if text.startswith("{"):
        return _json_object(Source(path, "jsonl", encoding, notes=notes))
    return Source(path, "csv", encoding, sniff(text), notes=notes)


def _encoding(path: Path, head: bytes) -> tuple[str, list[str]]:
    """-> a codec that reads the whole file, and what its owner should know about it."""
    for mark, name in ((codecs.BOM_UTF32_LE, "utf-32"), (BOM, "utf-8-sig")):
        if head.startswith(mark):
            return name, []
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16", []
    sample = head[:1000]
    if sample[1::2].count(0) > len(sample) // 4:
        return "utf-16-le", []
    if sample[0::2].count(0) > len(sample) // 4:
        return "utf-16-be", []
    if _reads(path, "utf-8"):
        return "utf-8", []
    name = LATIN if _reads(path, LATIN) else "latin-1"
    told = f"The file is not in UTF-8 and was read as {name}: look for damaged letters in the examples."
    return name, [told]


def _reads(path: Path, encoding: str) -> bool:
    decoder = codecs.getincrementaldecoder(encoding)()
    with path.open("rb") as file:
        try:
            while piece := file.read(1024 * 1024):
                decoder.decode(piece)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return False
    return True


def _json_object(source: Source) -> Source:
    """JSON lines, unless the whole file is one object: around an array of rows, or the only row, in several lines."""
    with _utf8(source) as file:
        lines = (line for _, line in read_lines(file) if line.strip())
        opening = [_object(line) for line in itertools.islice(lines, 2)]
    alone = opening[0] if len(opening) == 1 else None
    if any(opening) and (alone is None or not _holds_rows(alone)):
        return source
    source.container = "json"
    source.place = "" if _is_only_row(source) else _array_below(source)
    return source


def _is_only_row(source: Source) -> bool:
    """Whether the file is one conversation, laid out for people. One that is longer than any line is not looked at."""
    with _utf8(source) as file:
        whole = file.read(MAX_LINE + 1)
    value = _object(whole) if len(whole) <= MAX_LINE else None
    return value is not None and _is_conversation(value)


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        return msgspec.json.decode(line, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _holds_rows(value: dict[str, Any]) -> bool:
    """Around an array of objects, unless these are one conversation's: its messages, its tools, or what goes with them."""
    arrays = (each for name, each in value.items() if name not in TOOLS and isinstance(each, list))
    return not _is_conversation(value) and any(each and isinstance(each[0], dict) for each in arrays)


def _is_conversation(value: dict[str, Any]) -> bool:
    """A list of turns in which something is said: people and their roles are a table as any other."""
    turns = [turns_of(each) or [] for each in value.values() if isinstance(each, list)]
    return any(SAID & turn.keys() for conversation in turns for turn in conversation)


def _array_below(source: Source) -> str:
    """The place of the first array of objects in the outermost object. Raises Unusable."""
    try:
        with _utf8(source) as file:
            for prefix, event, _ in ijson.parse(file, use_float=True):
                if event == "start_map" and prefix.count(".") == 1 and prefix.endswith(".item"):
                    return prefix
    except (ijson.JSONError, UnicodeDecodeError) as error:
        raise _broken_json(0, error) from None
    raise Unusable("The JSON object has no array of objects in it. Send an array, or one object a line.")


def _json_values(source: Source) -> Generator[Any]:
    number = 0
    try:
        with _utf8(source) as file:
            for value in ijson.items(file, source.place, use_float=True):
                number += 1
                yield value
    except (ijson.JSONError, UnicodeDecodeError) as error:
        raise _broken_json(number, error) from None


def _broken_json(rows: int, error: Exception) -> Unusable:
    what = " ".join(str(error).split())[:120]
    return Unusable(f"The JSON cannot be read beyond row {rows}: {what}. Mend it there and send it again.")


def _json_lines(source: Source) -> Generator[Any]:
    """Values, and faults for lines that cannot be read."""
    with _utf8(source) as file:
        for _, line in read_lines(file):
            if line.strip():
                yield _json_value(line)


def _json_value(line: bytes) -> Any:
    if len(line) > MAX_LINE:
        return Fault(f"is longer than {MAX_LINE // 1024**2} MB")
    try:
        return msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return Fault(f"is not valid JSON: {str(error)[:120]}")


def _utf8(source: Source) -> BinaryIO:
    """The file's bytes as UTF-8, without a byte order mark."""
    if source.encoding == "utf-8":
        return source.path.open("rb")
    return io.BufferedReader(_Transcoded(source.path, source.encoding or "utf-8"), 256 * 1024)  # pyright: ignore[reportReturnType]


class _Transcoded(io.RawIOBase):
    def __init__(self, path: Path, encoding: str) -> None:
        self._text = path.open(encoding=encoding, newline="")
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._rest:
            self._rest = self._text.read(len(buffer)).encode()
        piece, self._rest = self._rest[: len(buffer)], self._rest[len(buffer) :]
        buffer[: len(piece)] = piece
        return len(piece)

    def close(self) -> None:
        self._text.close()
        super().close()
