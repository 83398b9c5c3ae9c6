"""Rows of CSV that a spreadsheet takes for text alone."""

import csv
import io
from collections.abc import Iterable, Sequence

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""A spreadsheet would run what begins so (OWASP, CSV injection)."""


def lines(rows: Iterable[Sequence[str | float | None]]) -> bytes:
    """Figures stay figures; None is an empty cell."""
    written = io.StringIO()
    csv.writer(written).writerows([_safe(value) for value in row] for row in rows)
    return written.getvalue().encode()


def _safe(value: str | float | None) -> str | float | None:
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value
