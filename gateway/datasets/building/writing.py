"""The files of a version: a line for each candidate that is left, in the order of selection."""

import hashlib
import itertools
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.datasets.building.candidate import Candidate
from gateway.datasets.building.caps import leave_out
from gateway.datasets.building.messages import line_of
from gateway.datasets.building.selection import Ground
from gateway.datasets.building.unusable import UNUSABLE
from gateway.datasets.building.workplace import decode
from gateway.datasets.checking import check
from gateway.datasets.found import Found
from gateway.datasets.quality import Quality
from gateway.datasets.tokens import Sample, TokenCounter
from gateway.datasets.validation import Interrupted, Reader, report_of
from gateway.datasets.versions import SPLITS
from gateway.protocol.datasets import Format, Report

FORMATS: dict[str, Format] = {"sft": "chat", "preference": "preference"}
PAGE = 1000

Redact = Callable[[dict[str, Any]], dict[str, Any]]
"""A line without personal data."""


class SplitFile:
    """One of the two files."""

    def __init__(self, path: Path, format: Format, counter: TokenCounter) -> None:
        self.path = path
        self.lines = self.bytes = 0
        self.sha256 = hashlib.sha256()
        self.reader = Reader(format, Quality(counter))
        self._file = path.open("wb")

    def write(self, raw: bytes) -> bool:
        """Whether it is a good line; else nothing is written."""
        example = check(raw, self.reader.format, Found())
        if example is None:
            return False
        self._file.write(raw)
        self.sha256.update(raw)
        self.lines += 1
        self.bytes += len(raw)
        self.reader.examples += 1
        self.reader.quality.add(self.lines, raw, example)
        return True

    def close(self) -> None:
        self._file.close()

    def report(self) -> Report:
        return report_of(self.reader, lines=self.lines, blank_lines=0, size=self.bytes)


@dataclass
class Written:
    """What lies on disk."""

    files: dict[str, SplitFile]
    answers: Sample
    """Of pairs: the chosen and the rejected answers."""
    characters: tuple[int, int] = (0, 0)
    """Of all chosen, and of all rejected answers."""

    @property
    def content_sha256(self) -> str:
        """Of the training file's bytes, then the validation file's."""
        whole = hashlib.sha256()
        for split in SPLITS:
            with self.files[split].path.open("rb") as file:
                while piece := file.read(1 << 20):
                    whole.update(piece)
        return whole.hexdigest()


def write_files(ground: Ground, redact: Redact, counter: TokenCounter, stop: threading.Event) -> Written:
    """Write them, and note in the workplace which line each candidate became. Raises Interrupted."""
    format = FORMATS[ground.recipe.kind]
    files = {split: SplitFile(ground.work.directory / f"{split}.jsonl", format, counter) for split in SPLITS}
    try:
        return _write(ground, redact, Written(files, Sample()), stop)
    finally:
        for file in files.values():
            file.close()


def _write(ground: Ground, redact: Redact, written: Written, stop: threading.Event) -> Written:
    bad: list[int] = []
    chosen = rejected = 0
    in_order = _in_order(ground)
    while page := list(itertools.islice(in_order, PAGE)):
        noted: list[tuple[int, str, int]] = []
        for number, split, candidate in page:
            raw = _line(redact, candidate)
            file = written.files[split]
            if raw is None or not file.write(raw):
                bad.append(number)
                continue
            noted.append((file.lines, hashlib.sha256(raw).hexdigest(), number))
            chosen, rejected = chosen + len(candidate.answer), rejected + len(candidate.rejected)
            written.answers.add(candidate.answer, candidate.rejected, 0)
        with ground.work.writing():
            ground.work.db.executemany("UPDATE candidates SET line = ?, sha256 = ? WHERE number = ?", noted)
        if stop.is_set():
            raise Interrupted
    leave_out(ground, bad, "unusable")
    written.characters = chosen, rejected
    return written


def _line(redact: Redact, candidate: Candidate) -> bytes | None:
    try:
        return line_of(redact(candidate.line))
    except UNUSABLE:
        return None


def _in_order(ground: Ground) -> Iterator[tuple[int, str, Candidate]]:
    query = "SELECT number, split, content FROM kept ORDER BY number"
    for number, split, content in ground.work.db.execute(query):
        yield number, split, decode(content)
