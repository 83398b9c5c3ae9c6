"""/v1/organization/costs: what it cost, to the nano-dollar, as it was charged at the time"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from litestar import get
from litestar.params import QueryParams

from gateway.kit.money import usd_from_nano
from gateway.metering import cost_report
from gateway.metering.cost_report import line_items, models_of
from gateway.metering.usage_report import ItemisedSum, cost_sums, itemised_sums
from gateway.protocol.usage import Amount, BucketPage, Costs
from gateway.routes.callers import Admin, Sv
from gateway.routes.usage_queries import ReportQuery, read_query
from gateway.services import Services

LIMITS = {"1d": (7, 180)}
Results = dict[int, list[Costs]]
"""By the start of the uncut bucket."""
GROUPS = ("project_id", "line_item", "api_key_id", "user_id", "api_source")


@dataclass(slots=True)
class _Total:
    """Of one bucket, group and line item."""

    nano: int = 0
    quantity: int = 0
    unpriced: int = 0


@get("/v1/organization/costs")
async def costs(sv: Sv, admin: Admin, query: QueryParams) -> BucketPage:
    """Also filters by models, people and batch, and by `line_items` as OpenAI's newest SDK does."""
    asked = read_query(query, GROUPS, limits=LIMITS)
    itemised = "line_item" in asked.groups or bool(asked.line_items)
    return asked.page(await (_itemised if itemised else _plain)(sv, asked))


async def _plain(sv: Services, asked: ReportQuery) -> Results:
    async with sv.database.session() as session:
        sums = await cost_sums(session, asked.buckets, asked.stored_groups, asked.filters)
    results: Results = {}
    for each in sums:
        result = _result(asked, each.group, each.cost_nano, each.unpriced)
        results.setdefault(each.bucket, []).append(result)
    return results


async def _itemised(sv: Services, asked: ReportQuery) -> Results:
    """Line items, added up where they are not what was grouped by."""
    filters = asked.filters
    if asked.line_items and not filters.models:
        filters = replace(filters, models=models_of(asked.line_items))
    async with sv.database.session() as session:
        sums = await itemised_sums(session, asked.buckets, [*asked.stored_groups, *cost_report.GROUPS], filters)
    results: Results = {}
    for (bucket, group, item, unit), total in _totals(sums, asked).items():
        result = _result(asked, group, total.nano, total.unpriced)
        if item is not None:
            result.line_item, result.quantity, result.quantity_unit = item, total.quantity, unit
        results.setdefault(bucket, []).append(result)
    return results


def _totals(
    sums: Sequence[ItemisedSum], asked: ReportQuery
) -> dict[tuple[int, tuple[Any, ...], str | None, str | None], _Total]:
    """By bucket, group, and line item with its unit."""
    totals: dict[tuple[int, tuple[Any, ...], str | None, str | None], _Total] = {}
    shown, depth = "line_item" in asked.groups, len(asked.stored_groups)
    for each in sums:
        group = each.group[:depth]
        touched: dict[int, _Total] = {}
        for item in line_items(each):
            if asked.line_items and item.name not in asked.line_items:
                continue
            name, unit = (item.name, item.unit) if shown else (None, None)
            total = totals.setdefault((each.bucket, group, name, unit), _Total())
            total.nano += item.nano
            total.quantity += item.quantity
            touched[id(total)] = total
        for total in touched.values():  # not once for each of its items
            total.unpriced += each.unpriced
    return totals


def _result(asked: ReportQuery, group: tuple[Any, ...], nano: int, unpriced: int) -> Costs:
    named: dict[str, Any] = {name: value or None for name, value in zip(asked.stored_groups, group, strict=True)}
    amount = Amount(value=usd_from_nano(nano))
    return Costs(amount=amount, api_source=asked.api_source, unpriced_requests=unpriced, **named)
