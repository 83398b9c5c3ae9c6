"""A file of any kind -> items of an eval, with the schema that they fit."""

import math
from contextlib import closing
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from gateway.datasets.columns import plain
from gateway.datasets.held_out import of_example
from gateway.datasets.lines import MAX_LINE
from gateway.datasets.sources import Row, Source, open_source
from gateway.datasets.unusable import Unusable
from gateway.protocol.datasets import Skipped, SkippedRow
from gateway.protocol.eval_items import MOST_ITEMS, ImportedItems, Layout

SHOWN_ITEMS = 5
SHOWN_SKIPPED = 20
SHOWN_TEXT = 500
"""Characters of a text in a shown item."""
MOST_FIELDS = 200
"""That the schema describes; items may have more."""
LINE = frozenset({"item", "sample"})


class _Unfit(Exception):
    """A row that is no item."""


def import_items(path: Path, output: Path | None, *, limit: int | None = None) -> ImportedItems:
    """Look at a file, and write its items.

    Args:
        output: JSONL, `{"item": {...}, "sample": {...}}` a line; None keeps nothing.
        limit: how many items at most.

    Raises:
        Unusable: the file cannot be read, or nothing in it is an item.
    """
    source = open_source(path)
    found = _Importing(source, limit or MOST_ITEMS + 1)
    if output is None:
        found.read(None)
    else:
        with output.open("wb") as file:
            found.read(file)
    return found.result()


class _Importing:
    def __init__(self, source: Source, most: int) -> None:
        self._source, self._most = source, most
        self._layout: Layout | None = None
        self._rows = self._items = self._with_sample = self._skipped_count = 0
        self._skipped: list[SkippedRow] = []
        self._examples: list[dict[str, Any]] = []
        self._schema = Schema()

    def read(self, file: BinaryIO | None) -> None:
        """Raises Unusable."""
        with closing(self._source.rows()) as rows:
            for row in rows:
                if self._items == self._most:
                    break
                self._rows = row.number
                try:
                    line = self._line(row)
                except _Unfit as reason:
                    self._skip(row, str(reason))
                    continue
                if file is not None:
                    file.write(line)
        if self._items > MOST_ITEMS:
            raise Unusable(f"The file has more than {MOST_ITEMS:,} items. Split it, or name a limit.", "limit")

    def _line(self, row: Row) -> bytes:
        """Raises _Unfit."""
        if row.fault:
            raise _Unfit(row.fault)
        layout = self._layout or _layout(row.values)
        item, sample = _item(row.values, layout)
        if not item:
            raise _Unfit("is empty")
        line = _written({"item": item} | ({"sample": sample} if sample else {}))
        read = msgspec.json.decode(line)["item"]  # as JSON has it: a table's dates are texts now
        self._layout = layout
        self._items += 1
        self._with_sample += bool(sample)
        self._schema.add(read)
        if len(self._examples) < SHOWN_ITEMS:
            self._examples.append(_cut(read))
        return line

    def _skip(self, row: Row, reason: str) -> None:
        self._skipped_count += 1
        if len(self._skipped) < SHOWN_SKIPPED:
            self._skipped.append(SkippedRow(row=row.number, reason=reason))

    def result(self) -> ImportedItems:
        """Raises Unusable."""
        if self._layout is None:
            why = f": row {self._skipped[0].row} {self._skipped[0].reason}" if self._skipped else ""
            raise Unusable(f"None of the {self._rows:,} rows is an item{why}.", "file_id")
        is_lines = self._source.container == "jsonl" and self._source.encoding == "utf-8" and self._layout == "items"
        return ImportedItems(
            layout=self._layout,
            rows=self._rows,
            items=self._items,
            with_sample=self._with_sample,
            item_schema=self._schema.written(),
            examples=self._examples,
            skipped=Skipped(count=self._skipped_count, rows=self._skipped),
            notes=list(self._source.notes),
            ready=is_lines and not self._skipped_count and self._items < self._most,
        )


class Schema:
    """The JSON Schema of all items that were added."""

    def __init__(self) -> None:
        self._count = 0
        self._seen: dict[str, int] = {}
        self._types: dict[str, set[str]] = {}
        self._of_objects: dict[str, bool] = {}

    def add(self, item: dict[str, Any]) -> None:
        self._count += 1
        for name, value in item.items():
            if name not in self._seen and len(self._seen) == MOST_FIELDS:
                continue
            self._seen[name] = self._seen.get(name, 0) + 1
            self._types.setdefault(name, set()).add(_type(value))
            if isinstance(value, list):
                objects = all(isinstance(each, dict) for each in value)
                self._of_objects[name] = self._of_objects.get(name, True) and objects

    def written(self) -> dict[str, Any]:
        always = [name for name, count in self._seen.items() if count == self._count]
        return {
            "type": "object",
            "properties": {name: self._described(name) for name in self._seen},
            "required": always,
        }

    def _described(self, name: str) -> dict[str, Any]:
        types = self._types[name]
        if "number" in types:
            types = types - {"integer"}
        if len(types) > 1:
            return {"type": sorted(types)}
        items = {"items": {"type": "object"}} if self._of_objects.get(name) else {}
        return {"type": next(iter(types))} | items


def _written(line: dict[str, Any]) -> bytes:
    """Raises _Unfit."""
    try:
        written = msgspec.json.encode(line, enc_hook=plain) + b"\n"
    except (msgspec.MsgspecError, TypeError, ValueError, RecursionError) as error:
        raise _Unfit(f"cannot be written as JSON: {str(error)[:120]}") from None
    if len(written) > MAX_LINE:
        raise _Unfit(f"is longer than {MAX_LINE // 1024**2} MB")
    return written


def _layout(row: dict[str, Any]) -> Layout:
    """What the first row says that all of them are."""
    if isinstance(row.get("item"), dict) and row.keys() <= LINE:
        return "items"
    return "examples" if of_example(row) else "table"


def _item(row: dict[str, Any], layout: Layout) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Raises _Unfit."""
    match layout:
        case "items":
            item, sample = row.get("item"), row.get("sample")
            if not isinstance(item, dict) or not row.keys() <= LINE or not isinstance(sample, dict | None):
                raise _Unfit('is not {"item": {...}}, with a "sample" or without')
            return item, sample
        case "examples":
            example = of_example(row)
            if example is None:
                raise _Unfit("holds no answer in words that a model's could be compared with")
            return example, None
        case "table":
            return {name: value for name, value in row.items() if not _is_missing(value)}, None


def _is_missing(value: Any) -> bool:
    """Templates say so of a field that is not there; of an empty text they cannot."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def _type(value: Any) -> str:
    match value:
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "number"
        case str():
            return "string"
        case list():
            return "array"
        case dict():
            return "object"
        case _:
            return "null"


def _cut(value: Any) -> Any:
    if isinstance(value, str):
        return value if len(value) <= SHOWN_TEXT else f"{value[:SHOWN_TEXT]} ..."
    if isinstance(value, dict):
        return {name: _cut(each) for name, each in value.items()}
    return [_cut(each) for each in value] if isinstance(value, list) else value
