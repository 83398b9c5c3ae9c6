"""One pass over a training file: every problem of every line, and what the good examples are like.

Bounded memory: one line, the first problems, hashes of the examples and a sample of their texts.
"""

import threading
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from gateway.datasets import findings
from gateway.datasets.checking import check
from gateway.datasets.found import Found
from gateway.datasets.lines import BOM, MAX_LINE, foreign, read_lines
from gateway.datasets.problems import AnyFormat, format_of
from gateway.datasets.quality import Mark, Quality
from gateway.datasets.tokens import TokenCounter
from gateway.protocol.datasets import Format, Method, Problem, Report

MAX_PROBLEMS = 100
"""Kept; all are counted."""
FORMATS: dict[Method, Format] = {"supervised": "chat", "dpo": "preference"}
METHODS: dict[Format, Method] = {"chat": "supervised", "preference": "dpo"}


class Reader:
    """Reads lines of one format, keeps what is wrong, and gathers what the rest is like."""

    def __init__(self, wanted: Format, quality: Quality) -> None:
        self.format: Format = wanted
        self.quality = quality
        self.examples = 0
        self.bad = Mark()
        self.problem_count = 0
        self.problems: list[Problem] = []
        self.others: dict[AnyFormat, int] = {}
        """Lines that are in another format."""

    def read(self, line: int, raw: bytes) -> None:
        """One line that is not blank."""
        self.examples += 1
        found = Found(line, self.examples)
        example = check(raw, self.format, found)
        if example is not None:
            self.quality.add(line, raw, example)
            return
        self.bad.add(line)
        self.problem_count += found.count
        self.problems += found.kept[: MAX_PROBLEMS - len(self.problems)]
        self._note_format(raw)

    def _note_format(self, raw: bytes) -> None:
        actual = _format_of_line(raw)
        if actual is not None and actual != self.format:
            self.others[actual] = self.others.get(actual, 0) + 1

    @property
    def other_format(self) -> AnyFormat | None:
        """The format of the file, when it is not at all in the one that was wanted."""
        most = max(self.others, key=lambda name: self.others[name], default=None)
        return most if most is not None and sum(self.others.values()) == self.examples else None


class Interrupted(Exception):
    """Somebody no longer wants to know."""


def validate_file(
    file: BinaryIO,
    method: Method | None = None,
    *,
    counter: TokenCounter | None = None,
    context_length: int | None = None,
    stop: threading.Event | None = None,
) -> Report:
    """Read a whole file. Blank lines and the byte order mark of the file are skipped; CRLF is fine.

    Args:
        file: in binary mode, seekable, at its beginning.
        method: whose format is wanted; None means that of the first line.
        counter: of the base model's tokens; by default they are estimated.
        context_length: of the job, when it is not the base model's.
        stop: set by another thread, it ends this one soon.

    Raises:
        Interrupted: it was stopped.
    """
    opening = file.read(4)
    file.seek(0)
    wanted = FORMATS[method] if method else _format_of_file(file)
    reader = Reader(wanted, Quality(counter or TokenCounter(None), context_length))
    number = blank = 0
    if what := foreign(opening):
        reader.examples, reader.problem_count = 1, 1
        reader.bad.add(1)
        reader.problems = [Problem(line=1, example=1, path="", message=what[0], fix=what[1])]
    else:
        for number, line in read_lines(file):
            if stop is not None and stop.is_set():
                raise Interrupted
            if line.isspace() or not line:
                blank += 1
            else:
                reader.read(number, line)
    return report_of(reader, lines=number, blank_lines=blank, size=file.seek(0, 2))


def validate_path(path: Path, method: Method | None = None, **options: Any) -> Report:
    """`validate_file` of a path, with its options."""
    with path.open("rb") as file:
        return validate_file(file, method, **options)


def report_of(reader: Reader, *, lines: int, blank_lines: int, size: int) -> Report:
    """What has been read so far."""
    quality = reader.quality
    tokens = quality.tokens()
    found = findings.findings_of(quality, tokens, examples=reader.examples, bad=reader.bad, wanted=reader.format)
    return Report(
        method=METHODS[reader.format],
        format=reader.format,
        bytes=size,
        lines=lines,
        blank_lines=blank_lines,
        examples=reader.examples,
        bad_examples=reader.bad.count,
        problem_count=reader.problem_count,
        problems=reader.problems,
        other_format=reader.other_format,
        roles=dict(quality.roles),
        with_tools=quality.with_tools,
        duplicates=quality.exact.repeats,
        repeated_answers=quality.repeated_answers,
        tokens=tokens,
        findings=found,
        score=findings.score_of(found),
        suggested_split=findings.suggested_split(quality.examples),
    )


def _format_of_file(file: BinaryIO) -> Format:
    """Of the first line that has one."""
    for _, line in read_lines(file):
        actual = _format_of_line(line)
        if actual in ("chat", "preference"):
            file.seek(0)
            return actual
        if actual is not None:
            break
    file.seek(0)
    return "chat"


def _format_of_line(raw: bytes) -> AnyFormat | None:
    if len(raw) > MAX_LINE:
        return None
    try:
        return format_of(msgspec.json.decode(raw.removeprefix(BOM)))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
