"""What runs say beside each other. All extensions."""

from typing import Any

import msgspec

from gateway.protocol.evals import OutputItem, ResultCounts


class Compared(msgspec.Struct, kw_only=True):
    """GET /evals/{id}/runs/{run}/compare?with={run}."""

    object: str = "eval.run.comparison"
    eval_id: str
    run_id: str
    with_run_id: str
    """The base: differences are the run minus it."""
    comparison: dict[str, Any]
    """gateway/evals/figures.py, RunComparison."""


class ComparedItem(msgspec.Struct, kw_only=True):
    """GET /evals/{id}/runs/{run}/compare/items?with={run}: what both answered to one item."""

    object: str = "eval.run.compared_item"
    id: str
    """Of the run's first answer to it: what `after` names."""
    datasource_item_id: int
    base_datasource_item_id: int | None
    """Null where the base has no such item."""
    change: str | None
    """pass_to_fail, fail_to_pass, or null."""
    items: list[OutputItem]
    """The run's, one for each repeat."""
    base_items: list[OutputItem]


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


class RunStanding(msgspec.Struct, kw_only=True):
    """A run in short."""

    id: str
    name: str
    model: str
    status: str
    created_at: int
    finished_at: int | None
    total: int | None
    """Answers, once the data was read."""
    result_counts: ResultCounts
    score: dict[str, Any] | None
    """The figure that decides, with its interval and n (gateway/evals/figures.py, Estimate)."""
    quality: dict[str, Any] | None
    """gateway/evals/figures.py, QualityFigures."""


class EvalStanding(msgspec.Struct, kw_only=True):
    """GET /eval_standings: one eval, and how its runs stand; those of one `model` if it is named."""

    object: str = "eval.standing"
    id: str
    """The eval's."""
    name: str
    created_at: int
    metadata: dict[str, Any] | None
    primary: str
    """What decides: `pass_rate`, or the name of a criterion."""
    runs: int
    unfinished: int
    last_run: RunStanding | None
    """Whatever became of it."""
    last_completed_run: RunStanding | None
    run_before: RunStanding | None
    """The completed run before that measured something."""
    change: float | None
    """Of the score, since that run."""
    direction: str | None
    """As in the trend; None: no run completed."""
