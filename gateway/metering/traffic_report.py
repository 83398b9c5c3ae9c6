"""What came in, what became of it, how long it took and what it cost, by time and by one thing: project, key, model, ...

Hours and days are read from the sums (gateway/metering/traffic_rollups.py): of groups only those with the most requests, so the
answer stays small. Minutes are counted in the log itself, in its newest calls. Percentiles are by nearest rank: of the sums
with an error of at most 4.9%, of minutes exact.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import ARRAY, String, bindparam, text
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.kit.clock import from_unix
from gateway.kit.ids import first_request_id
from gateway.metering.time_buckets import Buckets
from gateway.metering.traffic_rollups import ANSWERED, COUNTS, MEASURES, MIDDLE

NEWEST = 10_000
"""Calls that minutes are counted in at most."""
EARLIER_SECONDS, LATER_SECONDS = 3600, 60
"""Ids are made when a call begins to come in, `created_at` when all of it is there; the clock may be set back between."""
PERCENTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
TABLES = {3_600: ("hour", "traffic_hours", "answer_times_hours"), 86_400: ("day", "traffic_days", "answer_times_days")}
"""By the width of a bucket."""
TOTAL = "total"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is asked. Buckets are whole; empty projects are all."""

    buckets: Buckets
    project_ids: Sequence[str] = ()
    group: str = TOTAL
    groups: int = 10
    """At most so many of them, those with the most requests."""
    totals_only: bool = False
    """Nothing of single buckets: a third of the work."""

    def sets(self, *columns: int) -> str:
        """What is grouped by, of columns by their place behind that of the bucket: within each bucket, and over all."""
        within = ", ".join(map(str, columns))
        return f"GROUPING SETS (({within}))" if self.totals_only else f"GROUPING SETS ((1, {within}), ({within}))"

    @property
    def per_minute(self) -> bool:
        return self.buckets.width < min(TABLES)


class Figures(NamedTuple):
    """Of one group; in one bucket, or (`start` is None) in all of them."""

    start: int | None
    value: str
    requests: int
    client_errors: int
    server_errors: int
    upstream_errors: int
    client_left: int
    fallbacks: int
    input_tokens: int
    cached_input_tokens: int
    output_tokens: int
    cost_nano: int
    unpriced: int
    times: dict[str, "Times"]
    """By measure: latency, first_token."""


class Times(NamedTuple):
    """Milliseconds, and of how many answers."""

    n: int
    p50: float
    p95: float
    p99: float


class Report(NamedTuple):
    figures: list[Figures]
    groups: int
    """How many there were, shown or not."""
    complete: bool
    """False: there were more calls in the minutes than are counted."""


async def traffic_report(session: AsyncSession, asked: Asked) -> Report:
    """Figures of every bucket and group, and of each group in all of them (`start` is None), most requests first."""
    if asked.per_minute:
        return await _of_minutes(session, asked)
    named, groups = await _groups(session, asked)
    if not named:
        return Report([], 0, True)
    values = _parameters(asked) | {"named": named}
    times = await _times(session, asked, values)
    rows = await session.execute(_bound(_sums(asked)), values)
    return Report([_figures(row, times) for row in rows], groups, True)


async def _groups(session: AsyncSession, asked: Asked) -> tuple[list[str], int]:
    """The values with the most requests, and how many there are."""
    unit, sums, _ = TABLES[asked.buckets.width]
    query = (
        f"SELECT value, count(*) OVER () FROM {sums} WHERE {_where(unit)}"  # noqa: S608 names of this module
        " GROUP BY value ORDER BY sum(requests) DESC, value LIMIT :groups"
    )
    rows: Any = await session.execute(_bound(query, named=False), _parameters(asked) | {"groups": asked.groups})
    found = list(rows)
    return [row[0] for row in found], found[0][1] if found else 0


def _sums(asked: Asked) -> str:
    unit, sums, _ = TABLES[asked.buckets.width]
    columns = ", ".join(f"sum({name})::bigint" for name in COUNTS)
    return (
        f"SELECT {_start(asked, unit)} AS start, value, {columns} FROM {sums}"  # noqa: S608
        f" WHERE {_where(unit)} AND value = ANY(:named) GROUP BY {asked.sets(2)} ORDER BY 1, 3 DESC, 2"
    )


def _start(asked: Asked, unit: str) -> str:
    """Of a bucket, in seconds; null is what all of them together have."""
    return "NULL::bigint" if asked.totals_only else f"(extract(epoch FROM {unit}))::bigint"


async def _times(session: AsyncSession, asked: Asked, values: dict[str, Any]) -> dict[Any, dict[str, Times]]:
    """By start and value."""
    unit, _, histograms = TABLES[asked.buckets.width]
    shares = ", ".join(f"min({MIDDLE}) FILTER (WHERE below >= {share} * n)" for share in PERCENTILES.values())
    query = f"""
    WITH counted AS (
        SELECT {_start(asked, unit)} AS start, value, measure, bucket, sum(count) AS count
        FROM {histograms}, unnest(buckets, counts) AS each (bucket, count)
        WHERE {_where(unit)} AND value = ANY(:named) GROUP BY {asked.sets(2, 3, 4)}
    ), ranked AS (
        SELECT *, sum(count) OVER (PARTITION BY start, value, measure ORDER BY bucket) AS below,
               sum(count) OVER (PARTITION BY start, value, measure) AS n FROM counted
    ) SELECT start, value, measure, max(n)::bigint, {shares} FROM ranked GROUP BY 1, 2, 3
    """  # noqa: S608 names of this module
    return _by_place(await session.execute(_bound(query), values))


async def _of_minutes(session: AsyncSession, asked: Asked) -> Report:
    values, called = _parameters(asked), _called(asked)
    start = _start(asked, "date_trunc('minute', created_at, 'UTC')") + " AS start"
    times = _by_place(await session.execute(_bound(_exact_times(asked, called, start), named=False), values))
    sums = ", ".join(f"({expression})::bigint" for expression in COUNTS.values())
    query = (
        f"{called} SELECT {start}, value, {sums}, (SELECT count(*) FROM newest) FROM called"  # noqa: S608
        f" GROUP BY {asked.sets(2)} ORDER BY 1, 3 DESC, 2"
    )
    rows = list(await session.execute(_bound(query, named=False), values))
    totals = [row.value for row in rows if row[0] is None]
    named = set(totals[: asked.groups])
    figures = [_figures(row, times) for row in rows if row.value in named]
    return Report(figures, len(totals), not rows or rows[0][-1] < NEWEST)


def _called(asked: Asked) -> str:
    """Tables `newest`, the calls that are looked at, and of them `called`, those in the time. Found by their ids, which are in
    the order of the calls; without the bodies, which lie elsewhere."""
    column = {"model": "served_model", TOTAL: "''"}.get(asked.group, asked.group)
    where = "project_id = ANY(:projects) AND " if asked.project_ids else ""
    return f"""
    WITH newest AS MATERIALIZED (
        SELECT created_at, coalesce({column}, '') AS value, status, outcome, attempts, input_tokens, cached_input_tokens,
               output_tokens, cost_nano, priced, duration_ms, first_token_ms
        FROM exchanges WHERE {where}id >= :first AND id < :last ORDER BY id DESC LIMIT {NEWEST}
    ), called AS (SELECT * FROM newest WHERE created_at >= :start AND created_at < :end)
    """  # noqa: S608 names of this module


def _exact_times(asked: Asked, called: str, start: str) -> str:
    measures = ", ".join(f"('{name}', {column})" for name, column in MEASURES.items())
    shares = ", ".join(f"percentile_disc({share}) WITHIN GROUP (ORDER BY ms)" for share in PERCENTILES.values())
    return (
        f"{called} SELECT {start}, value, measure, count(*), {shares} FROM called"  # noqa: S608
        f" CROSS JOIN LATERAL (VALUES {measures}) measured (measure, ms) WHERE {ANSWERED} AND ms IS NOT NULL"
        f" GROUP BY {asked.sets(2, 3)}"
    )


def _by_place(rows: Any) -> dict[Any, dict[str, Times]]:
    found: dict[Any, dict[str, Times]] = {}
    for start, value, measure, *figures in rows:
        found.setdefault((start, value), {})[measure] = Times(*figures)
    return found


def _figures(row: Any, times: dict[Any, dict[str, Times]]) -> Figures:
    return Figures(*row[: 2 + len(COUNTS)], times=times.get((row[0], row[1]), {}))


def _where(unit: str) -> str:
    return f"project_id = ANY(:scopes) AND dimension = :dimension AND {unit} >= :start AND {unit} < :end"


def _parameters(asked: Asked) -> dict[str, Any]:
    """Of either kind of report."""
    times = {"start": from_unix(asked.buckets.start), "end": from_unix(asked.buckets.end)}
    if asked.per_minute:
        first = first_request_id(asked.buckets.start - EARLIER_SECONDS)
        last = first_request_id(asked.buckets.end + LATER_SECONDS)
        projects = {"projects": list(asked.project_ids)} if asked.project_ids else {}
        return times | {"first": first, "last": last} | projects
    return times | {"scopes": list(asked.project_ids) or [""], "dimension": asked.group}


def _bound(query: str, *, named: bool = True) -> Any:
    """Lists are arrays of text."""
    statement = text(query)
    names = [name for name in ("scopes", "projects", *(["named"] if named else [])) if f":{name}" in query]
    return statement.bindparams(*(bindparam(name, type_=ARRAY(String)) for name in names))
