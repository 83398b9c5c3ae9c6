"""The rollups made anew from the ledger, and the ledger compared with the exchange log.

What is compared is one statement, so it sees one state: postings change the ledger and the rollups in one transaction.
A sum that agrees is what making it anew would give, so only those that do not are written. What they are off by stays the
same while postings go on, which add to both sides: it is added to the sum as it is then, and nobody has to wait.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.locks import OWN_REBUILD
from gateway.metering.rollups import ROLLUPS, SUMS, Rollup

TOLD = 1000
"""Differences of a table that are told one by one; of more than that, how many."""

UNLIKE_THE_LOG = """
SELECT coalesce(e.id, l.id) AS id, l.cost_nano AS before,
       CASE WHEN e.id IS NULL THEN l.input_nano + l.cached_input_nano + l.output_nano + l.request_nano
            ELSE coalesce(e.cost_nano, 0) END AS truly
FROM (SELECT id, cost_nano FROM exchanges WHERE input_tokens IS NOT NULL) e FULL JOIN ledger l USING (id)
WHERE e.id IS NOT NULL AND l.cost_nano IS DISTINCT FROM coalesce(e.cost_nano, 0)
   OR l.cost_nano <> l.input_nano + l.cached_input_nano + l.output_nano + l.request_nano
"""


@dataclass(frozen=True, slots=True)
class Difference:
    """One row that was not what it should be."""

    what: str
    """Which row, for people."""
    before: dict[str, int] | None
    """The sums that are different, as they were; None where there was no row."""
    truly: dict[str, int] | None
    """What they are by the ledger; None where there should be no row."""


@dataclass(frozen=True, slots=True)
class Compared:
    """How a table agrees with what it follows from."""

    table: str
    rows: int
    different: int
    differences: list[Difference]
    """The first of them."""


async def compare(session: AsyncSession) -> list[Compared]:
    """Every rollup with the ledger."""
    return [await _compare(session, rollup) for rollup in ROLLUPS]


async def rebuild(session: AsyncSession) -> list[Compared]:
    """The same, and every difference is mended."""
    await session.execute(text(OWN_REBUILD))
    found = await compare(session)
    await mend(session)
    return found


async def mend(session: AsyncSession) -> None:
    """What `compare` found in this transaction; nobody else mends meanwhile."""
    for rollup in ROLLUPS:
        for statement in _mend(rollup):
            await session.execute(text(statement))


async def compare_with_exchanges(session: AsyncSession) -> Compared:
    """Exchanges with usage that are not in the ledger, or with another cost; and costs that are not their parts."""
    count = await session.scalar(text("SELECT count(*) FROM ledger"))
    rows = list(await session.execute(text(f"{UNLIKE_THE_LOG} LIMIT {TOLD}")))
    different = len(rows)
    if different == TOLD:
        different = await session.scalar(text(f"SELECT count(*) FROM ({UNLIKE_THE_LOG}) each")) or 0  # noqa: S608
    return Compared(
        "ledger", count or 0, different, [Difference(row.id, _cost(row.before), _cost(row.truly)) for row in rows]
    )


async def _compare(session: AsyncSession, rollup: Rollup) -> Compared:
    await session.execute(text(_different(rollup)))
    name = _wrong(rollup)
    different = await session.scalar(text(f"SELECT count(*) FROM {name}")) or 0  # noqa: S608 names of this module
    count = await session.scalar(text(f"SELECT count(*) FROM {rollup.name}")) or 0  # noqa: S608
    told = f"SELECT * FROM {name} ORDER BY {rollup.key} LIMIT {TOLD}"  # noqa: S608
    rows = (await session.execute(text(told))).mappings()
    return Compared(rollup.name, count, different, [_difference(rollup, dict(row)) for row in rows])


def _different(rollup: Rollup) -> str:
    """Statement: a temporary table of the keys whose sums are different, with both; null where there is no row."""
    sums = ", ".join(f"before.{name} AS before_{name}, truly.{name}::bigint AS truly_{name}" for name in SUMS)
    both = [", ".join(f"{side}.{name}" for name in SUMS) for side in ("before", "truly")]
    return (
        f"CREATE TEMP TABLE {_wrong(rollup)} ON COMMIT DROP AS SELECT {rollup.key}, {sums}"  # noqa: S608
        f" FROM {rollup.name} before FULL JOIN ({rollup.sums_of('ledger')}) truly USING ({rollup.key})"
        f" WHERE ({both[0]}) IS DISTINCT FROM ({both[1]})"
    )


def _mend(rollup: Rollup) -> tuple[str, str]:
    """Statements, in the order in which postings lock rows: add what the sums are off by; away with what is nothing."""
    wrong = _wrong(rollup)
    off_by = ", ".join(f"coalesce(truly_{name}, 0) - coalesce(before_{name}, 0)" for name in SUMS)
    same = " AND ".join(f"kept.{name} = wrong.{name}" for name in (rollup.unit, *rollup.keys))
    off = f"SELECT {rollup.key}, {off_by} FROM {wrong} ORDER BY {rollup.key}"  # noqa: S608 names of this module
    return (
        rollup.adding(off),
        f"DELETE FROM {rollup.name} kept USING {wrong} wrong"  # noqa: S608
        f" WHERE {same} AND wrong.truly_requests IS NULL AND kept.requests = 0",
    )


def _wrong(rollup: Rollup) -> str:
    return f"wrong_{rollup.name}"


def _difference(rollup: Rollup, row: dict[str, Any]) -> Difference:
    names = [name for name in SUMS if row[f"before_{name}"] != row[f"truly_{name}"]]
    before, truly = ({name: row[f"{side}_{name}"] for name in names} for side in ("before", "truly"))
    what = " ".join([row[rollup.unit].isoformat(), *(f"{name}={row[name]}" for name in rollup.keys)])
    there = {side: row[f"{side}_requests"] is not None for side in ("before", "truly")}
    return Difference(what, before if there["before"] else None, truly if there["truly"] else None)


def _cost(nano: int | None) -> dict[str, int] | None:
    return None if nano is None else {"cost_nano": nano}
