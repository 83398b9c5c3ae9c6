"""/v1/model_traffic (an extension): which models answer the newest calls of a project, how fast, how surely, at what cost."""

from litestar import get
from litestar.params import QueryParams

from gateway.judgments.summary import wilson
from gateway.kit.clock import from_unix, unix
from gateway.kit.money import usd_from_nano
from gateway.metering.model_traffic import SAMPLE, Row, TrafficFilters, traffic
from gateway.protocol.model_traffic import ModelTraffic, ModelTrafficList, Share
from gateway.protocol.queries import choice, integer, text, timestamp
from gateway.routes.callers import Caller, Sv

LAST_REVISION = 2**31


@get("/v1/model_traffic")
async def model_traffic(sv: Sv, caller: Caller, query: QueryParams) -> ModelTrafficList:
    """Filters: created_after (inclusive), created_before (exclusive), route, revision. `group_by=route` tells the models of
    each revision of each route apart. Calls that judges and evals made are left out."""
    filters = read_filters(query)
    async with sv.database.session() as session:
        rows, looked = await traffic(session, caller.project_id, filters)
    return ModelTrafficList(
        data=[shown(row) for row in rows],
        looked_at=looked.calls,
        since=unix(looked.since) if looked.since else None,
        complete=looked.calls < SAMPLE,
    )


def read_filters(query: QueryParams) -> TrafficFilters:
    """Raises InvalidRequest."""
    after, before = timestamp(query, "created_after"), timestamp(query, "created_before")
    named = text(query, "revision") is not None
    return TrafficFilters(
        created_after=from_unix(after) if after is not None else None,
        created_before=from_unix(before) if before is not None else None,
        route=text(query, "route"),
        revision=integer(query, "revision", default=0, lowest=0, highest=LAST_REVISION) if named else None,
        by_route=choice(query, "group_by", ("model", "route"), "model") == "route",
    )


def shown(row: Row) -> ModelTraffic:
    decided = row.succeeded + row.failed
    interval = wilson(row.succeeded / decided, decided) if decided else None
    return ModelTraffic(
        model=row.model,
        route=row.route,
        calls=row.calls,
        succeeded=row.succeeded,
        failed=row.failed,
        success=Share(value=row.succeeded / decided, low=interval.low, high=interval.high) if interval else None,
        p50_ms=row.p50_ms,
        p95_ms=row.p95_ms,
        first_token_ms=row.first_token_ms,
        tokens_per_second=row.tokens_per_second,
        input_tokens=row.input_tokens,
        output_tokens=row.output_tokens,
        cost_usd=usd_from_nano(row.cost_nano),
        mean_cost_usd=usd_from_nano(row.cost_nano) / row.priced if row.priced else None,
        unpriced=row.unpriced,
        last_at=unix(row.last_at) if row.last_at else None,
    )
