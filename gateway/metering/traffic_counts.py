"""What a batch of exchanges adds to the sums of traffic (traffic_rollups.py): counted here, so that the database adds a few rows
for thousands of calls, and not twelve for each of them to four tables.

It counts as the statements of traffic_rollups.py do, which make the sums anew from the log: tests hold one against the other.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from math import floor, log
from operator import add
from typing import Any

from gateway.kit.clock import from_unix
from gateway.metering.traffic_rollups import COUNTS, GROWTH, MEASURES, TABLES, TrafficTable

Cell = tuple[str, str, datetime, str]
"""Scope, dimension, when its hour or day starts, value."""
Sums = Mapping[Cell, Sequence[int]]
Histograms = Mapping[tuple[Cell, str], Mapping[int, int]]
"""By cell and measure: how many answers are in each bucket."""
_Group = tuple[datetime, str, str, str, str, str]
_log_growth = log(GROWTH)

_SUMS = (
    "SELECT * FROM unnest($1::text[], $2::text[], $3::timestamptz[], $4::text[], "  # noqa: S608 names of this package
    + ", ".join(f"${number}::bigint[]" for number in range(5, 5 + len(COUNTS)))
    + ") ORDER BY 1, 2, 3, 4"
)
_HISTOGRAMS = """
SELECT scope, dimension, start, value, measure, array_agg(bucket ORDER BY bucket), array_agg(n ORDER BY bucket)
FROM unnest($1::text[], $2::text[], $3::timestamptz[], $4::text[], $5::text[], $6::bigint[], $7::bigint[])
    AS counted (scope, dimension, start, value, measure, bucket, n)
GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3, 4, 5
"""


async def post_traffic(connection: Any, exchanges: Sequence[Any]) -> None:
    """Add what new exchanges are to the sums.

    Args:
        connection: asyncpg's, in the transaction that writes the log.
        exchanges: new in it, none twice (records of gateway/exchanges/record.py).
    """
    if not exchanges:
        return
    sums, histograms = sums_of(exchanges), histograms_of(exchanges)
    for table in TABLES:
        if table.is_histogram:
            await _add_histograms(connection, table, histograms)
        else:
            await _add_sums(connection, table, sums)


def sums_of(exchanges: Iterable[Any]) -> Sums:
    """By hour, in the order of COUNTS."""
    grouped: dict[_Group, tuple[int, ...]] = {}
    for each in exchanges:
        group, counts = _group(each), _counts(each)
        known = grouped.get(group)
        grouped[group] = tuple(map(add, known, counts)) if known else counts
    found: dict[Cell, tuple[int, ...]] = {}
    for group, counts in grouped.items():
        for cell in _cells(group):
            known = found.get(cell)
            found[cell] = tuple(map(add, known, counts)) if known else counts
    return found


def histograms_of(exchanges: Iterable[Any]) -> Histograms:
    """By hour; of completed calls only."""
    grouped: dict[tuple[_Group, str], dict[int, int]] = defaultdict(lambda: defaultdict(int))
    for each in exchanges:
        if each.outcome == "completed" and each.status < 400:
            group = _group(each)
            for measure, name in MEASURES.items():
                if (ms := getattr(each, name)) is not None:
                    grouped[group, measure][bucket(ms)] += 1
    found: dict[tuple[Cell, str], dict[int, int]] = defaultdict(lambda: defaultdict(int))
    for (group, measure), counts in grouped.items():
        for cell in _cells(group):
            here = found[cell, measure]
            for each, n in counts.items():
                here[each] += n
    return found


def bucket(ms: float) -> int:
    """As `BUCKET` of traffic_rollups.py says in SQL, where not-a-number is larger than any number."""
    return floor(log(min(max(ms, 1.0), 1e9) if ms == ms else 1e9) / _log_growth)


def _counts(each: Any) -> tuple[int, ...]:
    """In the order of COUNTS, which say the same in SQL."""
    status, outcome = each.status, each.outcome
    of_client = 400 <= status <= 499
    return (
        1,
        of_client and outcome != "client_left",
        status >= 500 and outcome != "failed",
        outcome == "failed" and not of_client,
        outcome == "client_left",
        each.attempts is not None and each.attempts.lstrip()[:1] == b"[",
        each.input_tokens or 0,
        each.cached_input_tokens or 0,
        each.output_tokens or 0,
        each.cost_nano or 0,
        each.input_tokens is not None and not each.priced,
    )


def _group(each: Any) -> _Group:
    hour = from_unix(each.created_at).replace(minute=0, second=0, microsecond=0)
    return (
        hour,
        each.project_id,
        each.api_key_id,
        (each.served_model or "").replace("\x00", "\ufffd"),
        each.upstream or "",
        each.purpose,
    )


def _cells(group: _Group) -> Iterator[Cell]:
    """Of everything, of its project, and of each dimension, of both."""
    hour, project, key, model, upstream, purpose = group
    for scope in ("", project):
        yield scope, "total", hour, ""
        yield scope, "project_id", hour, project
        yield scope, "api_key_id", hour, key
        yield scope, "model", hour, model
        yield scope, "upstream", hour, upstream
        yield scope, "purpose", hour, purpose


def _started(cell: Cell, unit: str) -> Cell:
    scope, dimension, hour, value = cell
    return (scope, dimension, hour.replace(hour=0), value) if unit == "day" else cell


async def _add_sums(connection: Any, table: TrafficTable, sums: Sums) -> None:
    folded: dict[Cell, Sequence[int]] = {}
    for cell, counts in sums.items():
        start = _started(cell, table.unit)
        known = folded.get(start)
        folded[start] = tuple(map(add, known, counts)) if known else counts
    rows = [(*cell, *map(int, counts)) for cell, counts in folded.items()]
    await connection.fetch(table.adding(_SUMS), *map(list, zip(*rows, strict=True)))


async def _add_histograms(connection: Any, table: TrafficTable, histograms: Histograms) -> None:
    folded: dict[tuple[Cell, str], dict[int, int]] = defaultdict(lambda: defaultdict(int))
    for (cell, measure), counts in histograms.items():
        here = folded[_started(cell, table.unit), measure]
        for each, n in counts.items():
            here[each] += n
    rows = [(*cell, measure, each, n) for (cell, measure), counts in folded.items() for each, n in counts.items()]
    if rows:
        await connection.fetch(table.adding(_HISTOGRAMS), *map(list, zip(*rows, strict=True)))
