"""Sums over the exchange log, per time bucket and group: what was used and what it cost.

An exchange counts once an upstream answered it with usage, reported or estimated, also when its client left or its
stream broke: it was used, and it is billed. Money stays integer nano-dollars; only the wire format converts it.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, literal_column, select
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.tables import ExchangeRow, ModelRow
from gateway.kit.clock import from_unix
from gateway.metering.prices import Price
from gateway.metering.time_buckets import Buckets

COMPLETION_ENDPOINTS = ("/chat/completions", "/completions")

_groups: dict[str, Any] = {
    "project_id": ExchangeRow.project_id,
    "api_key_id": ExchangeRow.api_key_id,
    "model": ExchangeRow.served_model,
}
_tokens = (
    func.count().label("requests"),
    func.sum(ExchangeRow.input_tokens).label("input_tokens"),
    func.sum(ExchangeRow.cached_input_tokens).label("cached_input_tokens"),
    func.sum(ExchangeRow.output_tokens).label("output_tokens"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """Which exchanges to count; an empty list means all."""

    project_ids: Sequence[str] = ()
    api_key_ids: Sequence[str] = ()
    models: Sequence[str] = ()
    endpoints: Sequence[str] = ()

    def conditions(self) -> Iterator[Any]:
        pairs = (
            (ExchangeRow.project_id, self.project_ids),
            (ExchangeRow.api_key_id, self.api_key_ids),
            (ExchangeRow.served_model, self.models),
            (ExchangeRow.endpoint, self.endpoints),
        )
        return (column.in_(allowed) for column, allowed in pairs if allowed)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenSum:
    """Tokens of one bucket and group. Cached input is part of input."""

    bucket: int
    """When its uncut bucket starts (Unix seconds)."""
    requests: int
    input_tokens: int
    cached_input_tokens: int
    output_tokens: int
    project_id: str | None = None
    api_key_id: str | None = None
    model: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CostSum(TokenSum):
    """Cost of one bucket, group and model."""

    base_model: str | None
    """What a fine-tuned model was made from."""
    priced: bool
    """False: these requests met no price, and `cost_nano` is 0."""
    cost_nano: int


@dataclass(frozen=True, slots=True)
class LineItem:
    """A part of a cost."""

    name: str
    nano: int
    tokens: int


PriceOf = Callable[[str, str | None], Price | None]
"""The price of a model, given what it was tuned from."""


async def token_sums(
    session: AsyncSession, buckets: Buckets, groups: Sequence[str], filters: Filters
) -> list[TokenSum]:
    """Tokens by bucket and by each of `groups` (project_id, api_key_id, model), sorted by them."""
    columns = [_groups[name].label(name) for name in groups]
    return [TokenSum(**row) for row in await _sums(session, buckets, filters, columns, _tokens)]


async def cost_sums(session: AsyncSession, buckets: Buckets, groups: Sequence[str], filters: Filters) -> list[CostSum]:
    """Costs by bucket, by each of `groups` (project_id, api_key_id) and always by model, sorted by them."""
    names = [*dict.fromkeys([*groups, "model"])]
    columns = [*(_groups[name].label(name) for name in names), ModelRow.base_model, ExchangeRow.priced]
    cost = func.coalesce(func.sum(ExchangeRow.cost_nano), 0).label("cost_nano")
    return [CostSum(**row) for row in await _sums(session, buckets, filters, columns, (*_tokens, cost))]


async def _sums(
    session: AsyncSession, buckets: Buckets, filters: Filters, groups: Sequence[Any], sums: Sequence[Any]
) -> Iterable[dict[str, Any]]:
    """The one statement: `sums` per bucket and `groups`, as plain integers."""
    width = f"interval '{buckets.width} seconds'"
    start = literal_column(f"date_bin({width}, exchanges.created_at, timestamptz 'epoch')")
    bucket = func.extract("epoch", start).label("bucket")
    query = (
        select(bucket, *groups, *sums)
        .select_from(ExchangeRow)
        .outerjoin(ModelRow, ModelRow.id == ExchangeRow.served_model)
        .where(
            ExchangeRow.created_at >= from_unix(buckets.start),
            ExchangeRow.created_at < from_unix(buckets.end),
            ExchangeRow.input_tokens.is_not(None),
            *filters.conditions(),
        )
        .group_by(start, *groups)
        .order_by(start, *groups)
    )
    whole = {"bucket", *(each.key for each in sums)}
    rows = (await session.execute(query)).mappings()
    return [{name: int(value) if name in whole else value for name, value in row.items()} for row in rows]


def line_items(cost: CostSum, price_of: PriceOf) -> list[LineItem]:
    """A cost split into input, cached input and output; the parts add up to it to the nano-dollar.

    The log keeps each exchange's cost, not the prices behind it. The sum is split in proportion to tokens x today's
    prices, rounded down, and the rest goes to the largest part. So the split of a time before a price change follows
    the new prices, while the total stays what was charged. Without a price today it is split by tokens.
    """
    fresh = cost.input_tokens - cost.cached_input_tokens
    tokens = {"input": fresh, "cached input": cost.cached_input_tokens, "output": cost.output_tokens}
    if not cost.cached_input_tokens:
        del tokens["cached input"]
    shares = split(cost.cost_nano, _weights(tokens, price_of(cost.model or "", cost.base_model)))
    return [LineItem(f"{cost.model}, {name}", shares[name], count) for name, count in tokens.items()]


def split(total: int, weights: dict[str, int]) -> dict[str, int]:
    """`total` in proportion to `weights`, each part rounded down, the rest to the heaviest; all to the first at 0."""
    sum_of_weights = sum(weights.values())
    shares = {name: total * weight // sum_of_weights if sum_of_weights else 0 for name, weight in weights.items()}
    heaviest = max(weights, key=lambda name: weights[name])
    shares[heaviest] += total - sum(shares.values())
    return shares


def _weights(tokens: dict[str, int], price: Price | None) -> dict[str, int]:
    if price is None:
        return tokens
    rates = {"input": price.input, "cached input": price.cached_input, "output": price.output}
    weights = {name: count * rates[name] for name, count in tokens.items()}
    return weights if any(weights.values()) else tokens
