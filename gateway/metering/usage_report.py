"""Sums per time bucket and group: what was used and what it cost, exact to the call and the nano-dollar.

The time asked for is cut into pieces, and each piece is answered by the widest rollup that lies in it whole: midnights
by days, hours by hours, and what is left at the ragged ends by the ledger itself. It is one statement, so it sees one
state: a call that is posted in this moment is in all of it or in none.

A call counts once an upstream answered it with usage, reported or estimated, also when its client left or its stream
broke: it was used, and it is billed. Money stays integer nano-dollars; only the wire format converts it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from sqlalchemy import BigInteger, case, cast, func, literal, literal_column, select, union_all
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.tables import LedgerRow, UsageDayRow, UsageHourRow
from gateway.kit.clock import from_unix
from gateway.metering.rollups import DAYS, HOURS
from gateway.metering.time_buckets import Buckets

COMPLETION_ENDPOINTS = ("/chat/completions", "/completions")
EMBEDDING_ENDPOINTS = ("/embeddings",)
MODERATION_ENDPOINTS = ("/moderations",)

_counts = ("requests", "input_tokens", "cached_input_tokens", "output_tokens")
_money = ("cost_nano", "input_nano", "cached_input_nano", "output_nano", "request_nano")

Rows = type[LedgerRow | UsageHourRow | UsageDayRow]
MOMENTS: dict[Any, str] = {LedgerRow: "created_at"} | {each.table: each.unit for each in (HOURS, DAYS)}
"""The column of each table that says when."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """What to count; an empty list and None mean all."""

    project_ids: Sequence[str] = ()
    api_key_ids: Sequence[str] = ()
    user_ids: Sequence[str] = ()
    models: Sequence[str] = ()
    endpoints: Sequence[str] = ()
    batch: bool | None = None

    def conditions(self, rows: Rows) -> Iterator[Any]:
        pairs = (
            (rows.project_id, self.project_ids),
            (rows.api_key_id, self.api_key_ids),
            (rows.user_id, self.user_ids),
            (rows.model, self.models),
            (rows.endpoint, self.endpoints),
        )
        yield from (column.in_(allowed) for column, allowed in pairs if allowed)
        if self.batch is not None:
            yield rows.batch.is_(self.batch)


@dataclass(frozen=True, slots=True)
class Sum:
    """Of one bucket and group. Cached input is part of input."""

    bucket: int
    """When its uncut bucket starts (Unix seconds)."""
    requests: int
    input_tokens: int
    cached_input_tokens: int
    output_tokens: int
    group: dict[str, Any] = field(default_factory=dict[str, Any])
    """What was grouped by, in its order: ids and names are text, `batch` is bool."""


@dataclass(frozen=True, slots=True)
class CostSum(Sum):
    """Also in nano-dollars; `cost_nano` is exactly the sum of the four others."""

    unpriced: int = 0
    """Requests that met no price."""
    cost_nano: int = 0
    input_nano: int = 0
    cached_input_nano: int = 0
    output_nano: int = 0
    request_nano: int = 0


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of the time (Unix seconds, the end exclusive), and the table that answers it."""

    rows: Rows
    start: int
    end: int


def pieces(buckets: Buckets) -> list[Piece]:
    """What answers a report, oldest first: no rollup is wider than a bucket, and none is cut."""
    rollups = [each for each in (DAYS, HOURS) if not buckets.width % each.seconds]
    edges = {buckets.start, buckets.end}
    for rollup in rollups:
        first, last = -(-buckets.start // rollup.seconds), buckets.end // rollup.seconds
        edges |= {first * rollup.seconds, last * rollup.seconds} if first < last else set()
    found: list[Piece] = []
    for start, end in pairwise(sorted(edges)):
        whole = (each for each in rollups if not start % each.seconds and not end % each.seconds)
        rollup = next(whole, None)
        found.append(Piece(rollup.table if rollup else LedgerRow, start, end))
    return found


async def usage_sums(session: AsyncSession, buckets: Buckets, groups: Sequence[str], filters: Filters) -> list[Sum]:
    """By bucket and by each of `groups` (columns of the rollups), sorted by them."""
    rows = await session.execute(_statement(buckets, groups, filters))
    counts = 1 + len(_counts)
    return [Sum(*row[:counts], group=dict(zip(groups, row[counts:], strict=True))) for row in rows]


async def cost_sums(session: AsyncSession, buckets: Buckets, groups: Sequence[str], filters: Filters) -> list[CostSum]:
    """The same with money."""
    rows = await session.execute(_statement(buckets, groups, filters, money=True))
    names = ("unpriced", *_money)
    counts, sums = 1 + len(_counts), 1 + len(_counts) + len(names)
    found: list[CostSum] = []
    for row in rows:
        money = dict(zip(names, map(int, row[counts:sums]), strict=True))
        found.append(CostSum(*row[:counts], group=dict(zip(groups, row[sums:], strict=True)), **money))
    return found


def _statement(buckets: Buckets, groups: Sequence[str], filters: Filters, *, money: bool = False) -> Any:
    """Bucket, counts, (unpriced requests, money,) groups."""
    used = union_all(*(_of_piece(piece, groups, filters, money=money) for piece in pieces(buckets))).subquery("used")
    width = literal_column(f"interval '{buckets.width} seconds'")
    start = func.date_bin(width, used.c.moment, literal_column("timestamptz 'epoch'"))
    sums: list[Any] = [cast(func.sum(used.c[name]), BigInteger) for name in _counts]
    if money:
        unpriced = case((used.c.priced, 0), else_=used.c.requests)
        sums += [func.sum(unpriced), *(func.sum(used.c[name]) for name in _money)]
    columns = [used.c[name] for name in groups]
    bucket = cast(func.extract("epoch", start), BigInteger)
    return select(bucket, *sums, *columns).group_by(start, *columns).order_by(start, *columns)


def _of_piece(piece: Piece, groups: Sequence[str], filters: Filters, *, money: bool) -> Any:
    rows = piece.rows
    moment = getattr(rows, MOMENTS[rows])
    names = [*_counts, *(("priced", *_money) if money else ()), *groups]
    columns: list[Any] = [_column(rows, name) for name in names]
    return select(moment.label("moment"), *columns).where(
        moment >= from_unix(piece.start), moment < from_unix(piece.end), *filters.conditions(rows)
    )


def _column(rows: Rows, name: str) -> Any:
    """A row of the ledger is one request."""
    if name == "requests" and rows is LedgerRow:
        return literal(1, BigInteger).label(name)
    return getattr(rows, name)
