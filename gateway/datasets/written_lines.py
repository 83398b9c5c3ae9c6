"""Lines that people wrote one by one, held to the rules of training files (checking.py)."""

import re
from collections.abc import Iterator
from typing import Any, BinaryIO, cast

import msgspec

from gateway.datasets.checking import check
from gateway.datasets.found import Found
from gateway.datasets.lines import foreign, read_lines
from gateway.datasets.problems import format_of
from gateway.protocol.datasets import Format, Problem
from gateway.protocol.training_examples import Kind

_escaped_nul = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")

LINE_BYTES = 256 * 1024
"""Of one example: pages of them are shown."""
KINDS: dict[Format, Kind] = {"chat": "sft", "preference": "preference"}


def problem_of(line: dict[str, Any]) -> tuple[Format, Problem | None]:
    """The format that a line means to be in (chat where it is in none), and the first thing that is wrong with it."""
    found = Found()
    wanted = _format(line)
    _check(msgspec.json.encode(line), wanted, found)
    return wanted, found.kept[0] if found.count else None


def read(file: BinaryIO) -> Iterator[tuple[int, dict[str, Any] | None, Format, Problem | None]]:
    """Number and content of every line that is not blank, its format, and what is wrong with it: then it has no content."""
    opening = file.read(4)
    file.seek(0)
    if what := foreign(opening):
        yield 1, None, "chat", Problem(line=1, example=1, path="", message=what[0], fix=what[1])
        return
    for number, raw in read_lines(file):
        if raw.strip():
            yield number, *_one(number, raw)


def _one(number: int, raw: bytes) -> tuple[dict[str, Any] | None, Format, Problem | None]:
    try:
        value = msgspec.json.decode(raw)
    except (ValueError, RecursionError):
        value = None
    found, wanted = Found(number, number), _format(value)
    _check(raw, wanted, found)
    if found.count:
        return None, wanted, found.kept[0]
    return cast("dict[str, Any]", value), wanted, None


def _format(value: Any) -> Format:
    return "preference" if format_of(value) == "preference" else "chat"


def _check(raw: bytes, wanted: Format, found: Found) -> None:
    check(raw, wanted, found)
    if len(raw) > LINE_BYTES:
        found.add("", f"the line is longer than {LINE_BYTES // 1024} kB", "Keep it in a training file.")
    if _escaped_nul.search(raw):
        found.add("", "the line holds the character NUL (\\u0000)", "Remove it.")
