"""What runs say beside each other. All extensions."""

from typing import Any

import msgspec

from gateway.protocol.evals import ResultCounts


class Compared(msgspec.Struct, kw_only=True):
    """GET /evals/{id}/runs/{run}/compare?with={run}."""

    object: str = "eval.run.comparison"
    eval_id: str
    run_id: str
    with_run_id: str
    """The base: differences are the run minus it."""
    comparison: dict[str, Any]
    """gateway/evals/figures.py, RunComparison."""


class SampleSize(msgspec.Struct, kw_only=True):
    """GET /evals/{id}/sample_size?effect=: how many items a comparison needs, to be read before it is run."""

    object: str = "eval.sample_size"
    eval_id: str
    effect: float
    """Change of the pass rate that is to be found."""
    baseline: float
    baseline_source: str
    """given, or the id of the run whose pass rate it is; assumed: no run has ended yet."""
    power: float
    significance: float
    items: int
    """In each of two runs on different items."""
    paired_items: int
    """In each of two runs on the same items, if as few verdicts as possible change for the worse."""
    paired_items_at_most: int
    """The same, if the verdicts of both runs had nothing to do with each other."""
    last_run_items: int | None
    """That the last run had; None where there is none."""
    enough: bool | None
    """Whether those are as many as `paired_items_at_most`."""
    message: str


class TrendPoint(msgspec.Struct, kw_only=True):
    """One run that completed."""

    run_id: str
    name: str
    model: str
    step: int | None
    """Of a checkpoint's name."""
    created_at: int
    result_counts: ResultCounts
    metrics: dict[str, Any] | None
    """As in the run."""
    change: float | None
    """Of the primary score since the run before."""
    direction: str
    """improving or regressing where the intervals of both runs do not overlap, else steady; first has none before it."""


class Trend(msgspec.Struct, kw_only=True):
    """GET /evals/{id}/trend: completed runs, oldest first."""

    object: str = "eval.trend"
    eval_id: str
    primary: str
    data: list[TrendPoint]
    has_more: bool
    """Older ones are left out."""
