"""/v1/model_traffic (an extension): how the models of a project answer, of its newest calls."""

import msgspec


class Share(msgspec.Struct, frozen=True, kw_only=True):
    """A share with its 95% interval (Wilson)."""

    value: float
    low: float
    high: float


class ModelTraffic(msgspec.Struct, kw_only=True):
    """Calls that one model answered, or that came to nobody (`model` is null)."""

    object: str = "model.traffic"
    model: str | None
    route: str | None
    """`name@revision`, where it is grouped by."""
    calls: int
    succeeded: int
    """Completed, with a status below 400."""
    failed: int
    """By the upstream, or refused; without calls whose client left."""
    success: Share | None
    """Of succeeded and failed."""
    p50_ms: float | None
    """Of completed calls."""
    p95_ms: float | None
    first_token_ms: float | None
    """The median, of streams."""
    tokens_per_second: float | None
    """Output tokens over the time of the answers, of completed calls."""
    input_tokens: int
    output_tokens: int
    cost_usd: float
    mean_cost_usd: float | None
    """Of the calls that were priced."""
    unpriced: int
    last_at: int | None


class ModelTrafficList(msgspec.Struct, kw_only=True):
    object: str = "list"
    data: list[ModelTraffic]
    looked_at: int
    """The newest calls of the project that were looked at, whoever answered them."""
    since: int | None
    """The oldest of them; null: there were none."""
    complete: bool
    """There were no more calls in the time that was asked for."""
