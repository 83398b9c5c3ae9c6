"""How models answered the newest calls of a project: success, latency and cost, by model and, where asked, by route.

The log has millions of rows and no sums of latencies, so the newest SAMPLE calls of a project are looked at, whatever they
asked for: an indexed read of so many rows, whose answer says how far back it reaches.
"""

from dataclasses import dataclass
from datetime import datetime
from math import ceil, floor
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, Float, and_, cast, func, literal, null, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.tables import ExchangeRow
from gateway.kit.ids import first_request_id

SAMPLE = 5000
EARLIER_SECONDS, LATER_SECONDS = 3600, 60
"""Ids are made when a call begins to come in, `created_at` when all of it is there; the clock may be set back between."""
OWN_CALLS = ("judge", "eval", "guidance")
"""Made by Tuneway itself: no traffic."""
ANSWERED = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficFilters:
    created_after: datetime | None = None
    created_before: datetime | None = None
    route: str | None = None
    """Its name; with `revision`, that revision alone."""
    revision: int | None = None
    by_route: bool = False


class Row(NamedTuple):
    """Of one model and, where asked, route."""

    model: str | None
    route: str | None
    calls: int
    succeeded: int
    failed: int
    p50_ms: float | None
    p95_ms: float | None
    first_token_ms: float | None
    tokens_per_second: float | None
    input_tokens: int
    output_tokens: int
    cost_nano: int
    priced: int
    unpriced: int
    last_at: datetime | None


class Looked(NamedTuple):
    """What was looked at."""

    calls: int
    since: datetime | None


async def traffic(
    session: AsyncSession, project_id: str, filters: TrafficFilters, sample: int = SAMPLE
) -> tuple[list[Row], Looked]:
    """Those with the most calls first. The newest `sample` calls in the time are looked at, then filtered."""
    newest = _newest(project_id, filters, sample).cte("newest")
    looked = (await session.execute(select(func.count(), func.min(newest.c.created_at)))).one()
    rows = await session.execute(_by_model(newest.c, filters))
    return [Row(*row) for row in rows], Looked(*looked)


def _newest(project_id: str, filters: TrafficFilters, sample: int) -> Any:
    """Without the bodies, which lie elsewhere."""
    row = ExchangeRow
    columns = [row.id, row.created_at, row.served_model, row.route, row.outcome, row.status, row.duration_ms]
    measured = [row.first_token_ms, row.input_tokens, row.output_tokens, row.cost_nano, row.priced]
    query = select(*columns, *measured).where(row.project_id == project_id, row.purpose.not_in(OWN_CALLS))
    if (after := filters.created_after) is not None:
        query = query.where(row.created_at >= after)
        query = query.where(row.id >= first_request_id(floor(after.timestamp()) - EARLIER_SECONDS))
    if (before := filters.created_before) is not None:
        query = query.where(row.created_at < before)
        query = query.where(row.id < first_request_id(ceil(before.timestamp()) + LATER_SECONDS))
    return query.order_by(row.id.desc()).limit(sample)


def _by_model(row: Any, filters: TrafficFilters) -> Any:
    done = and_(row.outcome == "completed", row.status < ANSWERED)
    failed = and_(row.outcome != "client_left", ~done)
    route = row.route if filters.by_route else null()
    spent = func.sum(row.duration_ms).filter(done, row.output_tokens > 0)
    columns = [
        func.count().label("calls"),
        func.count().filter(done),
        func.count().filter(failed),
        _quantile(0.5, row.duration_ms, done),
        _quantile(0.95, row.duration_ms, done),
        _quantile(0.5, row.first_token_ms, and_(done, row.first_token_ms.is_not(None))),
        func.sum(row.output_tokens).filter(done) * literal(1000.0) / func.nullif(spent, 0),
        *(cast(func.coalesce(func.sum(each), 0), BigInteger) for each in (row.input_tokens, row.output_tokens)),
        cast(func.coalesce(func.sum(row.cost_nano), 0), BigInteger),
        func.count(row.cost_nano),
        func.count().filter(~row.priced),
        func.max(row.created_at),
    ]
    groups = [row.served_model, *([row.route] if filters.by_route else [])]
    query = select(row.served_model, route, *columns).where(*_of_route(row, filters)).group_by(*groups)
    return query.order_by(func.count().desc(), *groups)


def _quantile(share: float, column: Any, condition: Any) -> Any:
    return cast(func.percentile_cont(share).within_group(column).filter(condition), Float)


def _of_route(row: Any, filters: TrafficFilters) -> list[Any]:
    if filters.route is None:
        return []
    if filters.revision is not None:
        return [row.route == f"{filters.route}@{filters.revision}"]
    return [or_(row.route == filters.route, func.split_part(row.route, "@", 1) == filters.route)]
