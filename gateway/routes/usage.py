"""/v1/organization/usage/completions and /v1/organization/costs

API keys here belong to service accounts, never to users, and nothing runs as a batch job yet. So `user_ids` and
`batch=true` are understood and match nothing, `batch=false` matches everything, `user_id` and `service_tier` are null
also when grouped by, and `api_source` is "unlabeled".
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

import msgspec
from litestar import get
from litestar.params import QueryParams

from gateway.errors import InvalidRequest, MissingParameter
from gateway.kit.clock import now, unix
from gateway.kit.money import usd_from_nano
from gateway.metering import usage_report
from gateway.metering.time_buckets import SECONDS, Buckets, decode_page, encode_page
from gateway.metering.usage_report import COMPLETION_ENDPOINTS, CostSum, Filters, PriceOf, TokenSum, line_items
from gateway.protocol.queries import array, choice, flag, integer, text, timestamp
from gateway.protocol.usage import Amount, Bucket, BucketPage, CompletionsUsage, Costs
from gateway.routes.callers import Admin, Sv

USAGE_LIMITS = {"1m": (60, 1440), "1h": (24, 168), "1d": (7, 31)}
"""Buckets a page by width: default and most."""
COSTS_LIMITS = {"1d": (7, 180)}
USAGE_GROUPS = ("project_id", "user_id", "api_key_id", "model", "batch", "service_tier", "api_source")
COSTS_GROUPS = ("project_id", "line_item", "api_key_id", "user_id", "api_source")
STORED = ("project_id", "api_key_id", "model")
"""The groups that are columns of the exchange log."""


@dataclass(frozen=True, slots=True)
class ReportQuery:
    """What both endpoints ask."""

    groups: Sequence[str]
    filters: Filters
    matches_nothing: bool
    line_items: Sequence[str]
    buckets: Buckets
    next_page: str | None

    @property
    def stored_groups(self) -> list[str]:
        return [name for name in self.groups if name in STORED]


@get("/v1/organization/usage/completions")
async def completions_usage(sv: Sv, admin: Admin, query: QueryParams) -> BucketPage:
    asked = read_query(query, USAGE_LIMITS, USAGE_GROUPS, endpoints=COMPLETION_ENDPOINTS)
    if asked.matches_nothing:
        return page(asked, {})
    async with sv.database.session() as session:
        sums = await usage_report.token_sums(session, asked.buckets, asked.stored_groups, asked.filters)
    results: dict[int, list[CompletionsUsage]] = {}
    for each in sums:
        results.setdefault(each.bucket, []).append(usage_result(each, asked.groups))
    return page(asked, results)


@get("/v1/organization/costs")
async def costs(sv: Sv, admin: Admin, query: QueryParams) -> BucketPage:
    """Also filters by `line_items`, as OpenAI's newest SDK does."""
    asked = read_query(query, COSTS_LIMITS, COSTS_GROUPS)
    if asked.matches_nothing:
        return page(asked, {})
    async with sv.database.session() as session:
        sums = await usage_report.cost_sums(session, asked.buckets, asked.stored_groups, asked.filters)
    return page(asked, cost_results(sums, asked, sv.prices.find))


def read_query(
    query: QueryParams, limits: dict[str, tuple[int, int]], groups: Sequence[str], *, endpoints: Sequence[str] = ()
) -> ReportQuery:
    """Raises InvalidRequest."""
    width = choice(query, "bucket_width", tuple(limits), "1d")
    default, most = limits[width]
    limit = integer(query, "limit", default=default, highest=most)
    filters = Filters(
        project_ids=array(query, "project_ids"),
        api_key_ids=array(query, "api_key_ids"),
        models=array(query, "models"),
        endpoints=endpoints,
    )
    asked_groups, items = read_groups(query, groups), array(query, "line_items")
    users, batch = array(query, "user_ids"), flag(query, "batch")
    whole = read_range(query, SECONDS[width])
    digest = _digest(query, [width, str(whole.start), filters, asked_groups, items, users, batch])
    rest = decode_page(cursor, whole, digest) if (cursor := text(query, "page")) else whole
    shown = rest.first(limit)
    following = encode_page(Buckets(shown.end, rest.end, rest.width), digest) if shown.end < rest.end else None
    return ReportQuery(asked_groups, filters, bool(users) or batch, items, shown, following)


def read_groups(query: QueryParams, allowed: Sequence[str]) -> list[str]:
    """`group_by`, each name once. Raises InvalidRequest naming the one that is not allowed."""
    names = list(dict.fromkeys(array(query, "group_by")))
    for name in names:
        if name not in allowed:
            raise InvalidRequest(
                f"Invalid 'group_by': '{name[:50]}' is not one of {', '.join(allowed)}.", param="group_by"
            )
    return names


def read_range(query: QueryParams, width: int) -> Buckets:
    """From `start_time` to `end_time`; without one, to the end of the bucket that is now. Raises InvalidRequest."""
    start = timestamp(query, "start_time")
    if start is None:
        raise MissingParameter("start_time")
    present = unix(now())
    end = timestamp(query, "end_time") or present - present % width + width
    if start >= end:
        raise InvalidRequest("Invalid 'start_time': it must be before end_time (by default, now).", param="start_time")
    return Buckets(start, end, width)


def page(asked: ReportQuery, results: dict[int, list[CompletionsUsage]] | dict[int, list[Costs]]) -> BucketPage:
    """Every bucket of the range, with its results or none."""
    data = [
        Bucket(start_time=start, end_time=end, results=list(results.get(asked.buckets.aligned(start), [])))
        for start, end in asked.buckets
    ]
    return BucketPage(data=data, has_more=asked.next_page is not None, next_page=asked.next_page)


def usage_result(each: TokenSum, groups: Sequence[str]) -> CompletionsUsage:
    fresh = each.input_tokens - each.cached_input_tokens
    return CompletionsUsage(
        input_tokens=each.input_tokens,
        input_cached_tokens=each.cached_input_tokens,
        input_uncached_tokens=fresh,
        output_tokens=each.output_tokens,
        input_text_tokens=fresh,
        output_text_tokens=each.output_tokens,
        input_cached_text_tokens=each.cached_input_tokens,
        num_model_requests=each.requests,
        project_id=each.project_id,
        api_key_id=each.api_key_id,
        model=each.model,
        batch=False if "batch" in groups else None,
        api_source="unlabeled" if "api_source" in groups else None,
    )


@dataclass(slots=True)
class _Total:
    nano: int = 0
    tokens: int = 0
    unpriced: int = 0


def cost_results(sums: Sequence[CostSum], asked: ReportQuery, price_of: PriceOf) -> dict[int, list[Costs]]:
    """Line items added up over the groups that were asked for, by bucket."""
    totals: dict[tuple[int, str | None, str | None, str | None], _Total] = {}
    for each in sums:
        touched: dict[int, _Total] = {}
        for item in line_items(each, price_of):
            if asked.line_items and item.name not in asked.line_items:
                continue
            name = item.name if "line_item" in asked.groups else None
            total = totals.setdefault((each.bucket, each.project_id, each.api_key_id, name), _Total())
            total.nano += item.nano
            total.tokens += item.tokens
            touched[id(total)] = total
        for total in touched.values():
            total.unpriced += 0 if each.priced else each.requests
    results: dict[int, list[Costs]] = {}
    for (bucket, project_id, api_key_id, name), total in totals.items():
        results.setdefault(bucket, []).append(_cost_result(project_id, api_key_id, name, total, asked.groups))
    return results


def _cost_result(
    project_id: str | None, api_key_id: str | None, line_item: str | None, total: _Total, groups: Sequence[str]
) -> Costs:
    return Costs(
        amount=Amount(value=usd_from_nano(total.nano)),
        line_item=line_item,
        project_id=project_id,
        api_key_id=api_key_id,
        api_source="unlabeled" if "api_source" in groups else None,
        quantity=total.tokens if line_item else None,
        quantity_unit="tokens" if line_item else None,
        unpriced_requests=total.unpriced,
    )


def _digest(query: QueryParams, parts: Sequence[object]) -> str:
    """Tells one query from another; the page size is not part of it."""
    text_of = msgspec.json.encode([*parts, text(query, "end_time")])
    return blake2b(text_of, digest_size=9).hexdigest()
