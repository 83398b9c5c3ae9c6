"""Rows of CSV that a spreadsheet takes for text alone."""

import csv
import io
from collections.abc import Iterable, Sequence

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""A spreadsheet would run what begins so (OWASP, CSV injection)."""


def lines(rows: Iterable[Sequence[str]]) -> bytes:
    written = io.StringIO()
    csv.writer(written).writerows([_safe(value) for value in row] for row in rows)
    return written.getvalue().encode()


def _safe(value: str) -> str:
    return f"'{value}" if value.startswith(FORMULA) else value
