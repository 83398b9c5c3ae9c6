"""/v1/organization/costs: what it cost, to the nano-dollar, as it was charged at the time"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from litestar import get
from litestar.params import QueryParams

from gateway.kit.money import usd_from_nano
from gateway.metering import cost_report
from gateway.metering.cost_report import line_items, models_of
from gateway.metering.usage_report import CostSum, cost_sums
from gateway.protocol.usage import Amount, BucketPage, Costs
from gateway.routes.callers import Admin, Sv
from gateway.routes.usage_queries import ReportQuery, read_query

LIMITS = {"1d": (7, 180)}
GROUPS = ("project_id", "line_item", "api_key_id", "user_id", "api_source")


@dataclass(slots=True)
class _Total:
    """Of one bucket and group."""

    nano: int = 0
    quantity: int = 0
    unpriced: int = 0
    unit: str | None = None
    line_item: str | None = None


_Key = tuple[int, tuple[str, ...], str | None]
"""Bucket, group and line item."""


@get("/v1/organization/costs")
async def costs(sv: Sv, admin: Admin, query: QueryParams) -> BucketPage:
    """Also filters by models, people and batch, and by `line_items` as OpenAI's newest SDK does."""
    asked = read_query(query, GROUPS, limits=LIMITS)
    itemised = "line_item" in asked.groups or bool(asked.line_items)
    groups = [*asked.stored_groups, *(cost_report.GROUPS if itemised else ())]
    filters = asked.filters
    if asked.line_items and not filters.models:
        filters = replace(filters, models=models_of(asked.line_items))
    async with sv.database.session() as session:
        sums = await cost_sums(session, asked.buckets, groups, filters)
    totals = _itemised(sums, asked) if itemised else _plain(sums, asked)
    results: dict[int, list[Costs]] = {}
    for (bucket, group, _), total in totals.items():
        results.setdefault(bucket, []).append(_result(group, total, asked))
    return asked.page(results)


def _plain(sums: Sequence[CostSum], asked: ReportQuery) -> dict[_Key, _Total]:
    return {_key(each, asked, None): _Total(each.cost_nano, 0, each.unpriced) for each in sums}


def _itemised(sums: Sequence[CostSum], asked: ReportQuery) -> dict[_Key, _Total]:
    """Line items, added up where they are not what was grouped by."""
    totals: dict[_Key, _Total] = {}
    for each in sums:
        touched: dict[int, _Total] = {}
        for item in line_items(each):
            if asked.line_items and item.name not in asked.line_items:
                continue
            name, unit = (item.name, item.unit) if "line_item" in asked.groups else (None, None)
            total = totals.setdefault(_key(each, asked, name), _Total(unit=unit, line_item=name))
            total.nano += item.nano
            total.quantity += item.quantity
            touched[id(total)] = total
        for total in touched.values():  # not once for each of its items
            total.unpriced += each.unpriced
    return totals


def _key(each: CostSum, asked: ReportQuery, line_item: str | None) -> _Key:
    return each.bucket, tuple(each.group[name] for name in asked.stored_groups), line_item


def _result(group: tuple[str, ...], total: _Total, asked: ReportQuery) -> Costs:
    named: dict[str, Any] = {name: value or None for name, value in zip(asked.stored_groups, group, strict=True)}
    return Costs(
        amount=Amount(value=usd_from_nano(total.nano)),
        line_item=total.line_item,
        api_source=asked.api_source,
        quantity=total.quantity if total.unit else None,
        quantity_unit=total.unit,
        unpriced_requests=total.unpriced,
        **named,
    )
