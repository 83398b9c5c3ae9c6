"""Sums per time bucket and group: what was used and what it cost, exact to the call and the nano-dollar.

The time asked for is cut into pieces, and each piece is answered by the widest rollup that lies in it whole: midnights
by days, hours by hours, and what is left at the ragged ends by the ledger itself; who asks for no keys and no people gets
the rollups that do not have them, and are so much smaller. It is one statement, so it sees one
state: a call that is posted in this moment is in all of it or in none.

A call counts once an upstream answered it with usage, reported or estimated, also when its client left or its stream
broke: it was used, and it is billed. Money stays integer nano-dollars; only the wire format converts it.
"""

from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, case, cast, func, literal, literal_column, select, union_all
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.tables import LedgerRow, ProjectDayRow, ProjectHourRow, UsageDayRow, UsageHourRow
from gateway.kit.clock import from_unix
from gateway.metering import charges
from gateway.metering.rollups import DAYS, HOURS, PER_KEY, PROJECT_DAYS, PROJECT_HOURS, ROLLUPS
from gateway.metering.time_buckets import Buckets

COMPLETION_ENDPOINTS = ("/chat/completions", "/completions")
EMBEDDING_ENDPOINTS = ("/embeddings",)
MODERATION_ENDPOINTS = ("/moderations",)
TRAINING_ENDPOINTS = (charges.ENDPOINT,)

Rows = type[LedgerRow | UsageHourRow | UsageDayRow | ProjectHourRow | ProjectDayRow]
TABLES: dict[str, Rows] = {row.__tablename__: row for row in (UsageHourRow, UsageDayRow, ProjectHourRow, ProjectDayRow)}
MOMENTS: dict[Any, str] = {LedgerRow: "created_at"} | {TABLES[each.name]: each.unit for each in ROLLUPS}
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

    @property
    def per_key(self) -> bool:
        return bool(self.api_key_ids or self.user_ids)

    def conditions(self, rows: Rows) -> Iterator[Any]:
        pairs = (
            ("project_id", self.project_ids),
            ("api_key_id", self.api_key_ids),
            ("user_id", self.user_ids),
            ("model", self.models),
            ("endpoint", self.endpoints),
        )
        yield from (getattr(rows, name).in_(allowed) for name, allowed in pairs if allowed)
        if self.batch is not None:
            yield rows.batch.is_(self.batch)


class Sum(NamedTuple):
    """What was used of one bucket and group. Cached input is part of input."""

    bucket: int
    """When its uncut bucket starts (Unix seconds)."""
    requests: int
    input_tokens: int
    cached_input_tokens: int
    output_tokens: int
    group: tuple[Any, ...]
    """The values of what was grouped by, in its order: ids and names are text, `batch` is bool."""


class CostSum(NamedTuple):
    """What one bucket and group cost. Nano-dollars."""

    bucket: int
    unpriced: int
    """Requests that met no price."""
    cost_nano: int
    group: tuple[Any, ...]


class ItemisedSum(NamedTuple):
    """The same in parts: `cost_nano` is exactly the sum of the four that follow it."""

    bucket: int
    unpriced: int
    cost_nano: int
    input_nano: int
    cached_input_nano: int
    output_nano: int
    request_nano: int
    requests: int
    input_tokens: int
    cached_input_tokens: int
    output_tokens: int
    group: tuple[Any, ...]


class TrainingSum(NamedTuple):
    """What was trained in one bucket, by group."""

    bucket: int
    requests: int
    """Trainings that were charged."""
    input_tokens: int
    """That were trained on."""
    device_ms: int
    cost_nano: int
    group: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of the time (Unix seconds, the end exclusive), and the table that answers it."""

    rows: Rows
    start: int
    end: int


def pieces(buckets: Buckets, *, per_key: bool) -> list[Piece]:
    """What answers a report, oldest first: no rollup is wider than a bucket, and none is cut."""
    known = (DAYS, HOURS) if per_key else (PROJECT_DAYS, PROJECT_HOURS)
    rollups = [each for each in known if not buckets.width % each.seconds]
    edges = {buckets.start, buckets.end}
    for rollup in rollups:
        first, last = -(-buckets.start // rollup.seconds), buckets.end // rollup.seconds
        edges |= {first * rollup.seconds, last * rollup.seconds} if first < last else set()
    found: list[Piece] = []
    for start, end in pairwise(sorted(edges)):
        whole = (each for each in rollups if not start % each.seconds and not end % each.seconds)
        rollup = next(whole, None)
        found.append(Piece(TABLES[rollup.name] if rollup else LedgerRow, start, end))
    return found


async def usage_sums(session: AsyncSession, buckets: Buckets, groups: Sequence[str], filters: Filters) -> list[Sum]:
    """By bucket and by each of `groups` (columns of the rollups), sorted by them."""
    return [Sum._make((*sums, group)) async for sums, group in _rows(session, Sum, buckets, groups, filters)]


async def cost_sums(session: AsyncSession, buckets: Buckets, groups: Sequence[str], filters: Filters) -> list[CostSum]:
    """The same in money."""
    return [CostSum._make((*sums, group)) async for sums, group in _rows(session, CostSum, buckets, groups, filters)]


async def itemised_sums(
    session: AsyncSession, buckets: Buckets, groups: Sequence[str], filters: Filters
) -> list[ItemisedSum]:
    """The same in money and its parts."""
    return [
        ItemisedSum._make((*sums, group)) async for sums, group in _rows(session, ItemisedSum, buckets, groups, filters)
    ]


async def training_sums(
    session: AsyncSession, buckets: Buckets, groups: Sequence[str], filters: Filters
) -> list[TrainingSum]:
    """Args: filters: with TRAINING_ENDPOINTS."""
    return [
        TrainingSum._make((*sums, group)) async for sums, group in _rows(session, TrainingSum, buckets, groups, filters)
    ]


async def _rows(
    session: AsyncSession, shape: type[tuple[Any, ...]], buckets: Buckets, groups: Sequence[str], filters: Filters
) -> AsyncIterator[tuple[Sequence[int], tuple[Any, ...]]]:
    """Of each row bucket and sums, in the order of `shape`, and the group."""
    names: tuple[str, ...] = shape._fields[1:-1]  # type: ignore[attr-defined]
    count = 1 + len(names)
    for row in await session.execute(_statement(buckets, names, groups, filters)):
        yield [int(value) for value in row[:count]], tuple(row[count:])


def _statement(buckets: Buckets, names: Sequence[str], groups: Sequence[str], filters: Filters) -> Any:
    """Bucket, the sums of these names, groups. A sum may be more than its column could hold, so it is no bigint."""
    cut = pieces(buckets, per_key=filters.per_key or any(name in PER_KEY for name in groups))
    used = union_all(*(_of_piece(piece, names, groups, filters) for piece in cut)).subquery("used")
    width = literal_column(f"interval '{buckets.width} seconds'")
    start = func.date_bin(width, used.c.moment, literal_column("timestamptz 'epoch'"))
    columns = [used.c[name] for name in groups]
    sums = [func.sum(used.c[name]) for name in names]
    bucket = cast(func.extract("epoch", start), BigInteger)
    return select(bucket, *sums, *columns).group_by(start, *columns).order_by(start, *columns)


def _of_piece(piece: Piece, names: Sequence[str], groups: Sequence[str], filters: Filters) -> Any:
    rows = piece.rows
    moment = getattr(rows, MOMENTS[rows])
    columns: list[Any] = [_column(rows, name) for name in (*names, *groups)]
    return select(moment.label("moment"), *columns).where(
        moment >= from_unix(piece.start), moment < from_unix(piece.end), *filters.conditions(rows)
    )


def _column(rows: Rows, name: str) -> Any:
    """A row of the ledger is one request."""
    requests = literal(1, BigInteger) if rows is LedgerRow else getattr(rows, "requests")  # noqa: B009
    if name == "requests":
        return requests.label(name)
    if name == "unpriced":
        return case((rows.priced, 0), else_=requests).label(name)
    return getattr(rows, name)
