"""The sums of traffic compared with the exchange log, and made what the log says.

To mend them they are locked, so calls that end meanwhile come to the log once it is done (until then the spool keeps them):
whatever was counted before is in the log, and nothing is counted in between.
"""

from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.metering.rebuild import TOLD, Compared, Difference
from gateway.metering.traffic_rollups import TABLES, TrafficTable

LOCK = f"LOCK TABLE {', '.join(table.name for table in TABLES)} IN SHARE ROW EXCLUSIVE MODE"


async def compare_traffic(session: AsyncSession) -> list[Compared]:
    """Every table with the log; each in one statement, so it sees one state."""
    return [await _compare(session, table) for table in TABLES]


async def rebuild_traffic(session: AsyncSession) -> list[Compared]:
    """The same, and every difference is mended."""
    await session.execute(text(LOCK))
    found = await compare_traffic(session)
    for table in TABLES:
        for statement in _mend(table):
            await session.execute(text(statement))
    return found


async def _compare(session: AsyncSession, table: TrafficTable) -> Compared:
    await session.execute(text(_different(table)))
    different = await session.scalar(text(f"SELECT count(*) FROM {_wrong(table)}")) or 0  # noqa: S608 names of the module
    count = await session.scalar(text(f"SELECT count(*) FROM {table.name}")) or 0  # noqa: S608
    told = f"SELECT * FROM {_wrong(table)} ORDER BY {', '.join(table.keys)} LIMIT {TOLD}"  # noqa: S608
    rows = (await session.execute(text(told))).mappings()
    return Compared(table.name, count, different, [_difference(table, dict(row)) for row in rows])


def _different(table: TrafficTable) -> str:
    """Statement: a temporary table of the keys whose values are different, with both; null where there is no row."""
    keys = ", ".join(table.keys)
    named = f"truly ({', '.join((*table.keys, *table.values))})"
    both = ", ".join(f"before.{name} AS before_{name}, truly.{name} AS truly_{name}" for name in table.values)
    before, truly = (", ".join(f"{side}.{name}" for name in table.values) for side in ("before", "truly"))
    return (
        f"CREATE TEMP TABLE {_wrong(table)} ON COMMIT DROP AS SELECT {keys}, {both} FROM {table.name} before"  # noqa: S608
        f" FULL JOIN ({table.of('exchanges')}) {named} USING ({keys}) WHERE ({before}) IS DISTINCT FROM ({truly})"
    )


def _mend(table: TrafficTable) -> tuple[str, str]:
    same = " AND ".join(f"kept.{name} = wrong.{name}" for name in table.keys)
    truly = ", ".join((*table.keys, *(f"truly_{name}" for name in table.values)))
    return (
        f"DELETE FROM {table.name} kept USING {_wrong(table)} wrong WHERE {same}",  # noqa: S608 names of the module
        f"INSERT INTO {table.name} ({table.columns}) SELECT {truly} FROM {_wrong(table)}"  # noqa: S608
        f" WHERE truly_{table.values[0]} IS NOT NULL",
    )


def _wrong(table: TrafficTable) -> str:
    return f"wrong_{table.name}"


def _difference(table: TrafficTable, row: dict[str, Any]) -> Difference:
    what = " ".join(
        [row[table.unit].isoformat(), *(f"{name}={row[name]}" for name in table.keys if name != table.unit)]
    )
    return Difference(what, _side(table, row, "before"), _side(table, row, "truly"))


def _side(table: TrafficTable, row: dict[str, Any], side: str) -> dict[str, int] | None:
    """The values that are different; of a histogram, how many answers it has."""
    if row[f"{side}_{table.values[0]}"] is None:
        return None
    if table.is_histogram:
        return {"answers": int(sum(row[f"{side}_counts"]))}
    return {name: int(row[f"{side}_{name}"]) for name in table.values if row[f"before_{name}"] != row[f"truly_{name}"]}
