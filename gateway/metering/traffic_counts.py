"""What a batch of exchanges adds to the sums of traffic (traffic_rollups.py): counted here, so that the database adds a few rows
for thousands of calls, and not twelve for each of them to four tables.

It counts as the statements of traffic_rollups.py do, which make the sums anew from the log: tests hold one against the other.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from math import floor, log
from operator import add
from typing import Any

from gateway.db.copying import written
from gateway.kit.clock import from_unix
from gateway.metering.traffic_rollups import COUNTS, GROWTH, MEASURES, TABLES, TrafficTable

Cell = tuple[str, str, datetime, str]
"""Scope, dimension, when its hour or day starts, value."""
Sums = Mapping[Cell, Sequence[int]]
Histograms = Mapping[tuple[Cell, str], Mapping[int, int]]
"""By cell and measure: how many answers are in each bucket."""
_Group = tuple[datetime, str, str, str | None, str | None, str]
Groups = Mapping[_Group, Sequence[Any]]
"""Exchanges that count in the same cells."""
_log_growth = log(GROWTH)

_SUMS = (
    "SELECT * FROM unnest($1::text[], $2::text[], $3::timestamptz[], $4::text[], "  # noqa: S608 names of this package
    + ", ".join(f"${number}::text::bigint[]" for number in range(5, 5 + len(COUNTS)))
    + ") ORDER BY 1, 2, 3, 4"
)
_HISTOGRAMS = """
SELECT scope, dimension, start, value, measure, buckets::bigint[], counts::bigint[]
FROM unnest($1::text[], $2::text[], $3::timestamptz[], $4::text[], $5::text[], $6::text[], $7::text[])
    AS counted (scope, dimension, start, value, measure, buckets, counts)
ORDER BY 1, 2, 3, 4, 5
"""


async def post_traffic(connection: Any, exchanges: Sequence[Any]) -> None:
    """Add what new exchanges are to the sums.

    Args:
        connection: asyncpg's, in the transaction that writes the log.
        exchanges: new in it, none twice (records of gateway/exchanges/record.py).
    """
    if not exchanges:
        return
    groups = grouped(exchanges)
    sums, histograms = sums_of(groups), histograms_of(groups)
    for table in TABLES:
        if table.is_histogram:
            await _add_histograms(connection, table, histograms)
        else:
            await _add_sums(connection, table, sums)


def grouped(exchanges: Sequence[Any]) -> Groups:
    found: dict[_Group, list[Any]] = defaultdict(list)
    for each in exchanges:
        hour = from_unix(each.created_at).replace(minute=0, second=0, microsecond=0)
        group = hour, each.project_id, each.api_key_id, each.served_model, each.upstream, each.purpose
        found[group].append(each)
    return found


def sums_of(groups: Groups) -> Sums:
    """By hour, in the order of COUNTS."""
    found: dict[Cell, tuple[int, ...]] = {}
    for group, exchanges in groups.items():
        counts = _counts(exchanges)
        for cell in _cells(group):
            known = found.get(cell)
            found[cell] = tuple(map(add, known, counts)) if known else counts
    return found


def histograms_of(groups: Groups) -> Histograms:
    """By hour; of completed calls only."""
    found: dict[tuple[Cell, str], dict[int, int]] = defaultdict(lambda: defaultdict(int))
    for group, exchanges in groups.items():
        answered = [each for each in exchanges if each.outcome == "completed" and each.status < 400]
        for measure, name in MEASURES.items():
            times = [ms for each in answered if (ms := getattr(each, name)) is not None]
            if times:
                counts = Counter(map(bucket, times))
                for cell in _cells(group):
                    _add(found[cell, measure], counts)
    return found


def _add(here: dict[int, int], counts: Mapping[int, int]) -> None:
    for each, n in counts.items():
        here[each] += n


def bucket(ms: float) -> int:
    """As `BUCKET` of traffic_rollups.py says in SQL, where not-a-number is larger than any number."""
    return floor(log(min(max(ms, 1.0), 1e9) if ms == ms else 1e9) / _log_growth)


def _counts(exchanges: Sequence[Any]) -> tuple[int, ...]:
    """In the order of COUNTS, which say the same in SQL. Nearly all are answers: the others are looked at by themselves."""
    others = [each for each in exchanges if each.outcome != "completed" or each.status >= 400]
    return (
        len(exchanges),
        sum(_is_of_client(each) and each.outcome != "client_left" for each in others),
        sum(each.status >= 500 and each.outcome != "failed" for each in others),
        sum(each.outcome == "failed" and not _is_of_client(each) for each in others),
        sum(each.outcome == "client_left" for each in others),
        sum(each.attempts is not None and each.attempts.lstrip()[:1] == b"[" for each in exchanges),
        sum([each.input_tokens or 0 for each in exchanges]),
        sum([each.cached_input_tokens or 0 for each in exchanges]),
        sum([each.output_tokens or 0 for each in exchanges]),
        sum([each.cost_nano or 0 for each in exchanges]),
        sum([each.input_tokens is not None and not each.priced for each in exchanges]),
    )


def _is_of_client(each: Any) -> bool:
    return 400 <= each.status <= 499


def _cells(group: _Group) -> Iterator[Cell]:
    """Of everything, of its project, and of each dimension, of both."""
    hour, project, key, served, asked, purpose = group
    model, upstream = (served or "").replace("\x00", "\ufffd"), asked or ""
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
    cells, counts = map(list, zip(*folded, strict=True)), map(written, zip(*folded.values(), strict=True))
    await connection.fetch(table.adding(_SUMS), *cells, *counts)


async def _add_histograms(connection: Any, table: TrafficTable, histograms: Histograms) -> None:
    folded: dict[tuple[Cell, str], dict[int, int]] = defaultdict(lambda: defaultdict(int))
    for (cell, measure), counts in histograms.items():
        _add(folded[_started(cell, table.unit), measure], counts)
    folded = {place: dict(sorted(counts.items())) for place, counts in folded.items()}
    rows = [(*cell, measure, written(counts), written(counts.values())) for (cell, measure), counts in folded.items()]
    if rows:
        await connection.fetch(table.adding(_HISTOGRAMS), *map(list, zip(*rows, strict=True)))
