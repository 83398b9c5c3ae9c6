"""The sums of traffic compared with the exchange log, and made what the log says: a day (UTC) at a time.

What is compared is one statement, so it sees one state: calls come to the log and are counted in one transaction. It reads
the calls of a day once, counts hours, and makes the day of its hours. What sums are off by stays the same while calls go on,
which add to both sides: it is added to them as they are then, and nobody has to wait.

What retention has removed from the log (docs/retention.md) was counted, and cannot be counted again: the sums of such days
are left as they are, those of a project from its own mark on, those of everybody from the last mark of all on.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.database import Database
from gateway.db.locks import OWN_REBUILD
from gateway.metering.rebuild import TOLD, Compared, Difference
from gateway.metering.traffic_rollups import CELL, COUNTS, TABLES, TrafficTable, added_up

DAY = timedelta(days=1)
HOURS, DAYS, TIMES_HOURS, TIMES_DAYS = TABLES
DAYS_THERE = text("""
SELECT DISTINCT date_trunc('day', hour, 'UTC') FROM traffic_hours UNION SELECT day FROM traffic_days
UNION SELECT date_trunc('day', hour, 'UTC') FROM answer_times_hours UNION SELECT day FROM answer_times_days
UNION SELECT generate_series(date_trunc('day', min(created_at), 'UTC'), max(created_at), interval '24 hours') FROM exchanges
ORDER BY 1
""")
WRONG = """CREATE TEMP TABLE wrong (
    "table" text, scope text, dimension text, start timestamptz, value text, measure text,
    before bigint[], before_counts bigint[], truly bigint[], truly_counts bigint[]
) ON COMMIT DROP"""
"""Keys whose sums are different, with both: of counts all of them in their order, of histograms buckets and how many there are
in each. Null where there is no row."""
CALLS = """SELECT created_at, project_id, api_key_id, served_model, upstream, purpose, status, outcome, attempts, input_tokens,
    cached_input_tokens, output_tokens, cost_nano, priced, duration_ms, first_token_ms
FROM exchanges WHERE created_at >= :start AND created_at < :end"""
IS_WHOLE = """NOT EXISTS (
    SELECT FROM retention_marks m WHERE m.kind = 'exchanges' AND m.until > :start AND (scope = '' OR m.project_id IN ('', scope))
)"""


async def compare_traffic(database: Database) -> list[Compared]:
    """Every table with the log. Raises Unavailable."""
    return await _every_day(database, mend=False)


async def rebuild_traffic(database: Database) -> list[Compared]:
    """The same, and every difference is mended, each day in a transaction. Raises Unavailable."""
    return await _every_day(database, mend=True)


async def _every_day(database: Database, *, mend: bool) -> list[Compared]:
    async with database.session() as session:
        days = list(await session.scalars(DAYS_THERE))
    counts = dict.fromkeys((table.name for table in TABLES), 0)
    differences: dict[str, list[Difference]] = {table.name: [] for table in TABLES}
    for day in days:
        async with database.session() as session:
            await session.execute(text(OWN_REBUILD))
            for name, (count, told) in (await _compare(session, day)).items():
                counts[name] += count
                differences[name] += told[: TOLD - len(differences[name])]
            if mend:
                for table in TABLES:
                    await _mend(session, table)
    async with database.session() as session:
        return [Compared(name, await _rows(session, name), counts[name], differences[name]) for name in counts]


async def _rows(session: AsyncSession, table: str) -> int:
    return await session.scalar(text(f"SELECT count(*) FROM {table}")) or 0  # noqa: S608 names of the module


async def _compare(session: AsyncSession, day: datetime) -> dict[str, tuple[int, list[Difference]]]:
    """Of a day: how many rows of each table are different, and the first of them."""
    await session.execute(text("SET LOCAL jit = off"))  # it takes longer to prepare than most days to count
    await session.execute(text(WRONG))
    await session.execute(text(_different()), {"start": day, "end": day + DAY})
    found: dict[str, tuple[int, list[Difference]]] = {}
    for table in TABLES:
        own = {"table": table.name}
        count = await session.scalar(text('SELECT count(*) FROM wrong WHERE "table" = :table'), own) or 0
        told = f'SELECT * FROM wrong WHERE "table" = :table ORDER BY 2, 3, 4, 5, 6 LIMIT {TOLD}'  # noqa: S608
        rows = (await session.execute(text(told), own)).mappings() if count else ()
        found[table.name] = count, [_difference(table, dict(row)) for row in rows]
    return found


def _different() -> str:
    """A statement that fills `wrong`."""
    hours, times = HOURS.of("calls"), TIMES_HOURS.of("calls")
    counts, summed = ", ".join(COUNTS), ", ".join(f"sum({name})::bigint" for name in COUNTS)
    return f"""
    INSERT INTO wrong WITH calls AS MATERIALIZED ({CALLS}),
    true_{HOURS.name} (scope, dimension, start, value, {counts}) AS MATERIALIZED ({hours}),
    true_{TIMES_HOURS.name} (scope, dimension, start, value, measure, buckets, counts) AS MATERIALIZED ({times}),
    true_{DAYS.name} (scope, dimension, start, value, {counts}) AS (
        SELECT scope, dimension, CAST(:start AS timestamptz), value, {summed} FROM true_{HOURS.name} GROUP BY 1, 2, 4
    ),
    true_{TIMES_DAYS.name} (scope, dimension, start, value, measure, buckets, counts) AS (
        SELECT scope, dimension, CAST(:start AS timestamptz), value, measure, array_agg(bucket ORDER BY bucket),
               array_agg(n ORDER BY bucket)
        FROM (SELECT scope, dimension, value, measure, bucket, sum(n)::bigint AS n
              FROM true_{TIMES_HOURS.name} CROSS JOIN LATERAL unnest(buckets, counts) AS each (bucket, n)
              GROUP BY 1, 2, 3, 4, 5) counted
        GROUP BY 1, 2, 4, 5
    )
    {" UNION ALL ".join(_different_rows(table) for table in TABLES)}
    """  # noqa: S608 names of this module


def _different_rows(table: TrafficTable) -> str:
    keys = ", ".join(("scope", "dimension", "start", "value", *(("measure",) if table.is_histogram else ())))
    measure = "measure" if table.is_histogram else "NULL"
    before, truly = (_values(table, side) for side in ("before", "truly"))
    named = "project_id AS scope, dimension, value" + (", measure, buckets, counts" if table.is_histogram else "")
    counts = "" if table.is_histogram else ", " + ", ".join(COUNTS)
    return (
        f"SELECT '{table.name}', scope, dimension, start, value, {measure}, {before}, {truly}"  # noqa: S608 names of this module
        f" FROM (SELECT {named}, {table.unit} AS start{counts} FROM {table.name}"
        f" WHERE {table.unit} >= :start AND {table.unit} < :end) before"
        f" FULL JOIN true_{table.name} truly USING ({keys})"
        f" WHERE ({before}) IS DISTINCT FROM ({truly}) AND {IS_WHOLE}"
    )


def _values(table: TrafficTable, side: str) -> str:
    """Two arrays; null where there is no row."""
    if table.is_histogram:
        return f"{side}.buckets, {side}.counts"
    counts = ", ".join(f"{side}.{name}::bigint" for name in COUNTS)
    return f"CASE WHEN {side}.requests IS NOT NULL THEN ARRAY[{counts}] END, CAST(NULL AS bigint[])"


async def _mend(session: AsyncSession, table: TrafficTable) -> None:
    """Adds what the sums are off by, in the order in which postings lock rows; away with what is nothing."""
    for statement in _mending_histograms(table) if table.is_histogram else _mending_sums(table):
        await session.execute(text(statement), {"table": table.name})


def _mending_sums(table: TrafficTable) -> Sequence[str]:
    off_by = ", ".join(f"coalesce(truly[{n}], 0) - coalesce(before[{n}], 0)" for n in range(1, len(COUNTS) + 1))
    rows = f"SELECT scope, dimension, start, value, {off_by} FROM wrong"  # noqa: S608 names of this module
    return (
        table.adding(f'{rows} WHERE "table" = :table ORDER BY 1, 2, 3, 4'),
        f"{_away(table)} AND kept.requests = 0",
    )


def _mending_histograms(table: TrafficTable) -> Sequence[str]:
    """A bucket that has too many is added with as many less: what is nothing then is left out when all is read."""
    rows = (
        "SELECT scope, dimension, start, value, measure, off_by.buckets, off_by.counts FROM wrong,"  # noqa: S608
        " LATERAL (SELECT wrong.truly, wrong.truly_counts) AS truly (buckets, counts),"
        " LATERAL (SELECT wrong.before, wrong.before_counts) AS before (buckets, counts),"
        f" LATERAL ({added_up('truly', 'before', '-')}) AS off_by (buckets, counts)"
    )
    kept = ", ".join(f"kept.{name}" for name in table.values)
    return (
        table.adding(f'{rows} WHERE "table" = :table ORDER BY 1, 2, 3, 4, 5'),
        f"UPDATE {table.name} kept SET (buckets, counts) = (SELECT coalesce(array_agg(bucket ORDER BY bucket), '{{}}'),"  # noqa: S608
        f" coalesce(array_agg(n ORDER BY bucket), '{{}}') FROM unnest({kept}) AS each (bucket, n) WHERE n <> 0)"
        f" FROM wrong WHERE {_same(table)} AND 0 = ANY(kept.counts)",
        f"{_away(table)} AND kept.counts = '{{}}'",
    )


def _away(table: TrafficTable) -> str:
    return f"DELETE FROM {table.name} kept USING wrong WHERE {_same(table)}"  # noqa: S608 names of this module


def _same(table: TrafficTable) -> str:
    names = {"project_id": "scope", table.unit: "start"}
    same = " AND ".join(f"kept.{name} = wrong.{names.get(name, name)}" for name in table.keys)
    return f'wrong."table" = :table AND {same}'


def _difference(table: TrafficTable, row: dict[str, Any]) -> Difference:
    cell = " ".join(f"{name}={row['scope' if name == 'project_id' else name]}" for name in (*CELL, *table.keys[4:]))
    before, truly = row["before"], row["truly"]
    if table.is_histogram:
        sides = [
            None if each is None else {"answers": sum(each)} for each in (row["before_counts"], row["truly_counts"])
        ]
        return Difference(f"{row['start'].isoformat()} {cell}", *sides)
    wrong = [n for n in range(len(COUNTS)) if (before or [None] * 99)[n] != (truly or [None] * 99)[n]]
    told = [None if each is None else {list(COUNTS)[n]: each[n] for n in wrong} for each in (before, truly)]
    return Difference(f"{row['start'].isoformat()} {cell}", *told)
