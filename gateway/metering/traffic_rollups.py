"""Sums of the exchange log, and how long its answers took, by hour and by day (UTC): what a page of traffic is answered from.

How long answers took is kept as a histogram: bucket b holds those of 1.1^b up to 1.1^(b+1) ms, and its middle (1.1^(b+0.5))
stands for all of them, which is off by at most 4.9%. What took less than a millisecond is in bucket 0.

A call counts when it is written to the log, in the same transaction, also one that was refused (traffic_counts.py). Rows are locked in the order of
their key, table after table, behind everything else that the transaction locks: rows of the whole organisation are everybody's.
"""

from collections.abc import Sequence
from dataclasses import dataclass

GROWTH = 1.1
"""Of one bucket to the next."""
DIMENSIONS = ("project_id", "api_key_id", "model", "upstream", "purpose")
CELL = ("project_id", "dimension", "value")
UNITS = ("hour", "day")

COUNTS = {
    "requests": "count(*)",
    "client_errors": "count(*) FILTER (WHERE status BETWEEN 400 AND 499 AND outcome <> 'client_left')",
    "server_errors": "count(*) FILTER (WHERE status >= 500 AND outcome <> 'failed')",
    "upstream_errors": "count(*) FILTER (WHERE outcome = 'failed' AND NOT status BETWEEN 400 AND 499)",
    "client_left": "count(*) FILTER (WHERE outcome = 'client_left')",
    "fallbacks": "count(*) FILTER (WHERE coalesce(jsonb_typeof(attempts), 'null') = 'array')",
    "input_tokens": "coalesce(sum(input_tokens), 0)",
    "cached_input_tokens": "coalesce(sum(cached_input_tokens), 0)",
    "output_tokens": "coalesce(sum(output_tokens), 0)",
    "cost_nano": "coalesce(sum(cost_nano), 0)",
    "unpriced": "count(*) FILTER (WHERE input_tokens IS NOT NULL AND NOT priced)",
}
"""Columns of the sums, and what each is of rows of the log."""
ANSWERED = "outcome = 'completed' AND status < 400"
MEASURES = {"latency": "duration_ms", "first_token": "first_token_ms"}
BUCKET = f"floor(ln(least(greatest(ms, 1), 1e9)::float8) / ln({GROWTH}::float8))::bigint"
MIDDLE = f"power({GROWTH}::float8, bucket + 0.5)"
"""Milliseconds that stand for a bucket."""


def _cells() -> str:
    """A call's rows: of everything, of its project, and of each dimension, of both."""
    pairs = ["('', 'total', '')", "(project_id, 'total', '')"]
    for name in DIMENSIONS:
        value = f"coalesce({'served_model' if name == 'model' else name}, '')"
        pairs += [f"('', '{name}', {value})", f"(project_id, '{name}', {value})"]
    return f"(VALUES {', '.join(pairs)}) cell (scope, dimension, value)"


@dataclass(frozen=True, slots=True)
class TrafficTable:
    """One of the tables: what its rows are of exchanges, and how such rows are added to those that it has."""

    name: str
    unit: str
    is_histogram: bool

    @property
    def keys(self) -> tuple[str, ...]:
        return ("project_id", "dimension", self.unit, "value", *(("measure",) if self.is_histogram else ()))

    @property
    def values(self) -> tuple[str, ...]:
        return ("buckets", "counts") if self.is_histogram else tuple(COUNTS)

    @property
    def columns(self) -> str:
        return ", ".join((*self.keys, *self.values))

    def of(self, rows: str) -> str:
        """A query: this table's columns, of `rows`, which has those of the exchange log; sorted by key."""
        start = f"date_trunc('{self.unit}', created_at, 'UTC')"
        return (_histograms if self.is_histogram else _sums)(rows, start)

    def adding(self, rows: str) -> str:
        """A statement: adds what `of` answered to what the table has."""
        return f"INSERT INTO {self.name} AS kept ({self.columns}) {rows} ON CONFLICT ({', '.join(self.keys)}) DO UPDATE SET {self._added}"

    @property
    def _added(self) -> str:
        if not self.is_histogram:
            return ", ".join(f"{name} = kept.{name} + excluded.{name}" for name in COUNTS)
        return f"(buckets, counts) = ({added_up('kept', 'excluded')})"


def added_up(one: str, other: str, sign: str = "+") -> str:
    """A query: buckets and counts of two histograms together. Args: columns of those names, of two tables; no bucket twice in
    either."""
    buckets = "unnest({table}.buckets, {table}.counts) AS {table}_each (bucket, n)"
    return (
        "SELECT array_agg(bucket ORDER BY bucket), array_agg(n ORDER BY bucket) FROM"  # noqa: S608 names of this package
        f" (SELECT bucket, coalesce({one}_each.n, 0) {sign} coalesce({other}_each.n, 0) AS n"
        f" FROM {buckets.format(table=one)} FULL JOIN {buckets.format(table=other)} USING (bucket)) merged"
    )


def _sums(rows: str, start: str) -> str:
    sums = ", ".join(f"{expression} AS {name}" for name, expression in COUNTS.items())
    places = "1, 2, 3, 4"
    return (
        f"SELECT scope, dimension, {start}, value, {sums} FROM {rows}"  # noqa: S608 names of this module
        f" CROSS JOIN LATERAL {_cells()} GROUP BY {places} ORDER BY {places}"
    )


def _histograms(rows: str, start: str) -> str:
    measures = ", ".join(f"('{name}', {column})" for name, column in MEASURES.items())
    places = "1, 2, 3, 4, 5"
    counted = (
        f"SELECT scope, dimension, {start} AS start, value, measure, {BUCKET} AS bucket, count(*) AS n FROM {rows}"  # noqa: S608
        f" CROSS JOIN LATERAL (VALUES {measures}) measured (measure, ms) CROSS JOIN LATERAL {_cells()}"
        f" WHERE {ANSWERED} AND ms IS NOT NULL GROUP BY {places}, 6"
    )
    return (
        "SELECT scope, dimension, start, value, measure, array_agg(bucket ORDER BY bucket),"  # noqa: S608
        f" array_agg(n ORDER BY bucket) FROM ({counted}) counted GROUP BY {places} ORDER BY {places}"
    )


TABLES: Sequence[TrafficTable] = (
    TrafficTable("traffic_hours", "hour", is_histogram=False),
    TrafficTable("traffic_days", "day", is_histogram=False),
    TrafficTable("answer_times_hours", "hour", is_histogram=True),
    TrafficTable("answer_times_days", "day", is_histogram=True),
)
