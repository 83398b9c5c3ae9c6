"""A source of any kind -> a training file, with what was found on the way. Rows are read twice: the first ones to see what
they are, then all of them."""

import itertools
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from gateway.datasets import columns
from gateway.datasets.checking import check
from gateway.datasets.columns import SURE, Detection, Table, plain
from gateway.datasets.conversations import Unconvertible
from gateway.datasets.conversion import Conversion
from gateway.datasets.found import Found
from gateway.datasets.one_example import FAULTS, Seen, graded, see
from gateway.datasets.quality import Quality
from gateway.datasets.sources import Row, Source, open_source
from gateway.datasets.tokens import TokenCounter
from gateway.datasets.unusable import Unusable
from gateway.datasets.validation import Reader, report_of
from gateway.protocol import datasets as wire
from gateway.protocol.datasets import ROLES, ConvertedExample, Import, ImportOptions, Role, SkippedRow

SHOWN_EXAMPLES = 10
SHOWN_SKIPPED = 20
MOST_REMEMBERED = 1 << 21
"""Rows whose repeats are left out; of those behind them repeats stay, so that memory is bounded."""
SHOWN_TEXT = 2000
"""Characters of a text in a shown example."""
Outputs = tuple[Path | None, Path | None]


def import_file(
    path: Path, options: ImportOptions, *, counter: TokenCounter, outputs: Outputs = (None, None)
) -> Import:
    """Look at a file, and write what it converts to.

    Args:
        outputs: where training and validation examples go; None keeps nothing.

    Raises:
        Unusable: the file cannot be read, the mapping does not fit it, or it is to be stored and nobody can say what the
            columns are.
    """
    source = open_source(path)
    table = _table(source)
    detection = _detection(table, options)
    found = _Importing(source, table, detection, options)
    if detection.confidence < SURE:
        if options.store:
            raise Unusable(f"{_uncertain(table, detection)} Nothing was stored.", "mapping")
        return found.uncertain()
    with ExitStack() as stack:
        files = [stack.enter_context(output.open("wb")) if output else None for output in outputs]
        found.convert(Conversion(detection, options.system), counter, files, options.split)
    return found.result(options)


class _Importing:
    def __init__(self, source: Source, table: Table, detection: Detection, options: ImportOptions) -> None:
        self._source, self._table, self._detection = source, table, detection
        self._unwanted = _Unwanted(options)
        self._examples: list[ConvertedExample] = []
        self._skipped: list[SkippedRow] = []
        self._skipped_count = self._rows = self._size = 0
        self._written = [0, 0]
        self._reader: Reader | None = None

    def convert(
        self, conversion: Conversion, counter: TokenCounter, files: Sequence[BinaryIO | None], split: float | None
    ) -> None:
        """Read every row to the end."""
        self._reader = Reader(conversion.format, Quality(counter))
        with closing(self._source.rows()) as rows:
            for row in rows:
                self._rows = row.number
                try:
                    self._unwanted.check_row(row)
                    raw = _line(conversion, row)
                    place = _place(self._take(row, raw), split)
                except Unconvertible as reason:
                    self._skip(row, str(reason))
                    continue
                self._written[place] += 1
                self._size += len(raw)
                if (file := files[place]) is not None:
                    file.write(raw)

    def _take(self, row: Row, raw: bytes) -> Seen:
        """One converted row. Raises Unconvertible when it is not good to train on."""
        assert self._reader is not None
        found = Found(row.number, row.number)
        example = check(raw, self._reader.format, found)
        if example is None:
            first = found.kept[0]
            more = f" (and {found.count - 1} more)" if found.count > 1 else ""
            raise Unconvertible(f"{first.path}: {first.message}. {first.fix}{more}".removeprefix(": "))
        seen = see(raw, example)
        self._unwanted.check(seen)
        self._reader.examples += 1
        self._reader.quality.count(row.number, seen)
        if len(self._examples) < SHOWN_EXAMPLES:
            self._examples.append(_shown(row, raw, seen))
        return seen

    def _skip(self, row: Row, reason: str) -> None:
        self._skipped_count += 1
        if len(self._skipped) < SHOWN_SKIPPED:
            self._skipped.append(SkippedRow(row=row.number, reason=reason))

    def uncertain(self) -> Import:
        """Nothing was converted."""
        self._rows = sum(1 for _ in self._source.rows())
        message = _uncertain(self._table, self._detection)
        return self._answer(message, mapping_required=True)

    def result(self, options: ImportOptions) -> Import:
        """Raises Unusable when nothing is left to store."""
        good = sum(self._written)
        if not good and options.store:
            why = f": row {self._skipped[0].row} {self._skipped[0].reason}" if self._skipped else ""
            raise Unusable(f"None of the {self._rows:,} rows can be converted{why}. Nothing was stored.")
        skipped = f", {self._skipped_count:,} were skipped" if self._skipped_count else ""
        message = f"{good:,} of {self._rows:,} rows were converted{skipped}."
        answer = self._answer(message if options.store else f"{message} Nothing was stored; send store=true for that.")
        if options.split and not self._written[1]:
            answer.notes.append("The split left no example for validation: there are too few rows.")
        return answer

    def _answer(self, message: str, *, mapping_required: bool = False) -> Import:
        reader, source = self._reader, self._source
        report = report_of(reader, lines=reader.examples, blank_lines=0, size=self._size) if reader else None
        return Import(
            source=wire.Source(
                container=source.container,
                encoding="utf-8" if source.encoding == "utf-8-sig" else source.encoding,
                delimiter=source.dialect.delimiter if source.dialect else None,
                rows=self._rows,
                columns=self._table.columns(),
            ),
            layout=self._detection.layout,
            format=reader.format if reader else None,
            confidence=self._detection.confidence,
            mapping=self._detection.mapping,
            mapping_required=mapping_required,
            message=message,
            notes=[*source.notes, *_unused(self._table, self._detection)],
            examples=self._examples,
            skipped=wire.Skipped(count=self._skipped_count, rows=self._skipped),
            report=report,
            training_examples=self._written[0],
            validation_examples=self._written[1],
        )


class _Unwanted:
    """What was asked to be left out."""

    def __init__(self, options: ImportOptions) -> None:
        self._faults, self._rows = frozenset[str](options.leave_out), frozenset(options.excluded_rows)
        self._known: set[int] = set()

    def check_row(self, row: Row) -> None:
        """Raises Unconvertible."""
        if row.number in self._rows:
            raise Unconvertible("excluded by its number")

    def check(self, seen: Seen) -> None:
        """Raises Unconvertible."""
        for mark in seen.marks:
            if mark in self._faults:
                raise Unconvertible(f"left out: {FAULTS[mark][1]}")
        if "duplicates" not in self._faults:
            return
        content = hash((seen.given, seen.learnt))
        if content in self._known:
            raise Unconvertible("left out: the same as an earlier row")
        if len(self._known) < MOST_REMEMBERED:
            self._known.add(content)


def _table(source: Source) -> Table:
    with closing(source.rows()) as rows:
        sound = (row.values for row in rows if not row.fault)
        return Table(list(itertools.islice(sound, columns.LOOKED_AT)))


def _detection(table: Table, options: ImportOptions) -> Detection:
    """What was asked for, else what is likeliest. Raises Unusable."""
    if options.mapping:
        return _mapped(table, options.mapping)
    match options.format:
        case "auto":
            return columns.detect(table)
        case "table":
            return columns.detect_table(table)
        case "messages":
            return columns.detect_messages(table)
        case "chat":
            return Detection("openai-chat", {"messages": "messages"}, 100)
        case "preference":
            return Detection("openai-preference", {"messages": "input"}, 100)


def _mapped(table: Table, asked: dict[str, str]) -> Detection:
    mapping: dict[Role, str] = {role: asked[role] for role in ROLES if role in asked}
    for role, name in asked.items():
        if role not in ROLES:
            raise Unusable(f"'{role[:50]}' is not one of {', '.join(ROLES)}.", f"mapping.{role[:50]}")
        if name not in table.names:
            raise Unusable(f"There is no column '{name[:100]}'. {_listed(table)}", f"mapping.{role}")
    layout = columns.layout_of(mapping)
    if layout is None:
        raise Unusable(
            "A mapping names the columns of `user` and `assistant`, of `messages`, or of `preferred` and `non_preferred` "
            "together with `user` or `messages`.",
            "mapping",
        )
    return Detection(layout, mapping, 100)


def _uncertain(table: Table, detection: Detection) -> str:
    how = f"The columns were recognized with {detection.confidence}% confidence only" if detection.mapping else (
        "The columns were not recognized"
    )  # fmt: skip
    return f'{how}; send a mapping such as {{"user": "...", "assistant": "..."}}. {_listed(table)}'


def _listed(table: Table) -> str:
    told = [
        f"'{column.name[:60]}'" + (f" (such as '{column.samples[0][:40]}')" if column.samples else " (empty)")
        for column in table.columns()[:20]
    ]
    return f"The columns are {', '.join(told)}." if told else "No row could be read."


def _unused(table: Table, detection: Detection) -> Iterator[str]:
    known = {*detection.mapping.values(), "tools", "parallel_tool_calls", "functions", "messages"}
    if not detection.layout.startswith("openai"):
        known = set(detection.mapping.values())
    unused = [name for name in table.names if name not in known]
    if unused and detection.mapping:
        yield f"Columns that are not used: {', '.join(name[:60] for name in unused[:20])}."


def _line(conversion: Conversion, row: Row) -> bytes:
    """Raises Unconvertible."""
    if row.fault:
        raise Unconvertible(row.fault)
    return msgspec.json.encode(conversion.convert(row.values), enc_hook=plain) + b"\n"


def _place(seen: Seen, split: float | None) -> int:
    """0 for training, 1 for validation: by content, so that an example and its duplicate are on the same side."""
    if not split:
        return 0
    return int(zlib.crc32(f"{seen.given}\0{seen.learnt}".encode()) < split * 2**32)


def _shown(row: Row, raw: bytes, seen: Seen) -> ConvertedExample:
    score, note = graded(seen)
    return ConvertedExample(row=row.number, example=_cut(msgspec.json.decode(raw)), score=score, note=note)


def _cut(value: Any) -> Any:
    if isinstance(value, str):
        return value if len(value) <= SHOWN_TEXT else f"{value[:SHOWN_TEXT]} ..."
    if isinstance(value, dict):
        return {name: _cut(each) for name, each in value.items()}
    return [_cut(each) for each in value] if isinstance(value, list) else value
