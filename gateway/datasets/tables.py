"""Rows of CSV and Parquet tables."""

import csv
import io
from collections import Counter
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from gateway.datasets.unusable import Unusable

DELIMITERS = ",;\t|"
QUOTES = "\"'"
SNIFFED_ROWS = 50
LONGEST_VALUE = 16 * 1024 * 1024
"""Characters of one cell."""
LONGEST_NAME = 80
MOST_COLUMNS = 1000
BATCH = 200
"""Rows of a Parquet file that are unpacked at once."""


@dataclass(frozen=True)
class Fault:
    """Instead of a row that cannot be read."""

    message: str


def sniff(text: str) -> type[csv.Dialect]:
    """Delimiter and quote of a table from its beginning: those with which most rows have the same number of cells."""
    best = max(
        ((delimiter, quote) for delimiter in DELIMITERS for quote in QUOTES),
        key=lambda pair: _evenness(text, *pair),
    )

    class Sniffed(csv.excel):
        delimiter, quotechar = best

    return Sniffed


def csv_rows(path: Path, encoding: str, dialect: type[csv.Dialect]) -> Generator[dict[str, Any] | Fault]:
    """Cells by the names of the first row, or by numbers where it is no heading; a fault for a row of another width.

    Raises:
        Unusable: a quote is never closed, a cell is too long, or there is nothing.
    """
    csv.field_size_limit(LONGEST_VALUE)
    with path.open(encoding=encoding, newline="") as file:
        reader = csv.reader(file, dialect)
        number = 0
        try:
            first = next((cells for cells in reader if any(cell.strip() for cell in cells)), None)
            if first is None:
                raise Unusable("The CSV has no rows. Begin with a row of names.")
            names = _heading(first)
            if names is None:
                names = [f"column_{place}" for place in range(1, len(first) + 1)]
                yield dict(zip(names, first, strict=True))
            for cells in reader:
                number += 1
                if len(cells) == len(names):
                    yield dict(zip(names, cells, strict=True))
                elif cells:
                    yield Fault(f"has {len(cells)} cells, and there are {len(names)} columns")
        except csv.Error as error:
            what = f"The CSV cannot be read beyond row {number}: {error}"
            raise Unusable(f"{what}. Most often a quote that was opened there is never closed.") from None


def parquet_rows(path: Path) -> Generator[dict[str, Any]]:
    """Rows as Python values. Raises Unusable; MemoryError when a part unpacks to more than there is room for."""
    try:
        with pq.ParquetFile(path) as file:
            if len(file.schema_arrow.names) > MOST_COLUMNS:
                raise Unusable(f"The table has more than {MOST_COLUMNS} columns. Keep those with texts.")
            for batch in file.iter_batches(batch_size=BATCH):
                yield from batch.to_pylist()
    except MemoryError:
        raise
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        what = " ".join(str(error).split())[:160]
        raise Unusable(f"The Parquet file cannot be read: {what}. Write it anew.") from None


def _evenness(text: str, delimiter: str, quote: str) -> tuple[float, int]:
    """How even the rows are, and how wide. One cell a row is even for any text, so it counts least."""
    try:
        rows = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, quotechar=quote) if row]
    except csv.Error:
        return 0.0, 0
    rows = (rows[:-1] or rows)[:SNIFFED_ROWS]  # the last one may be cut
    if not rows:
        return 0.0, 0
    width, times = Counter(map(len, rows)).most_common(1)[0]
    outside = sum(cell.count(quote) for row in rows for cell in row)
    return (times / len(rows) - 0.001 * min(outside, 100) if width > 1 else 0.01), width


def _heading(cells: list[str]) -> list[str] | None:
    """Names, if that is what the first row has: short, different, and not numbers. Dataframes leave the first one empty,
    above their index."""
    names = [cell.strip() for cell in cells]
    if len(names) > 1 and not names[0]:
        names[0] = "column_1"
    unlike_names = [name for name in names if not name or len(name) > LONGEST_NAME or name.replace(".", "").isdigit()]
    return None if unlike_names or len(set(names)) < len(names) or len(names) > MOST_COLUMNS else names
