"""What goes into the statistics of a run, and what comes out: between the service and gateway/eval_process.py."""

from typing import Any

import msgspec


class CriterionSpec(msgspec.Struct, frozen=True):
    id: str
    name: str
    type: str
    is_judge: bool


class Graded(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One output item."""

    number: int
    repeat: int
    cluster: str
    key: str = ""
    """Alike for the same item in two runs."""
    status: str
    scores: dict[str, tuple[float, bool]] = {}
    """By criterion's id: from 0 to 1, and whether that is a pass; without those that could not grade."""
    metrics: dict[str, Any] = {}


class RunFigures(msgspec.Struct, frozen=True, kw_only=True):
    """All that is asked of one run."""

    criteria: list[CriterionSpec]
    primary: str
    """Id of a criterion; empty: passing all of them."""
    repeats: int
    items: list[Graded]


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Two runs of one eval."""

    run: RunFigures
    base: RunFigures


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """A figure with the interval that it lies in with 95 %. Nulls where nothing was measured, or where one cluster alone
    tells nothing of the spread."""

    value: float | None
    low: float | None
    high: float | None
    n: int
    """Answers."""
    clusters: int
    """Independent ones among them."""


class CriterionFigures(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    name: str
    type: str
    pass_rate: Estimate
    score: Estimate
    """The mean, from 0 to 1."""


class LengthFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Words of the answer for each of the reference."""

    median: float
    mean: Estimate
    share_longer: float
    alert: str | None
    """Outside of 0.7 to 1.3."""


class BleuFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Of the whole set, 0 to 100."""

    value: float
    low: float | None
    high: float | None
    n: int
    signature: str


class PerplexityFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Of the answers' tokens. Comparable between models of one tokenizer; bits per byte between any."""

    value: float
    low: float | None
    high: float | None
    tokens: int
    bits_per_byte: float | None


class LabelFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Answers as labels, macro-averaged, where the references are few and short."""

    precision: float | None
    recall: float | None
    f1: float | None
    labels: int
    n: int


class LatencyFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Milliseconds of the calls that were answered, to the last byte, as the worker saw them: without its own queue, and
    without what a limit made it wait."""

    p50_ms: float
    p95_ms: float
    n: int


class SteadinessFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Of a run with repeats."""

    k: int
    pass_at_k: float | None
    pass_all_k: float | None
    flip_rate: float | None
    items: int
    """With k answers that could all be graded."""


class QualityFigures(msgspec.Struct, frozen=True, kw_only=True):
    score: float | None
    verdict: str | None
    """ready, review or retrain."""
    reasons: list[str]
    next_step: str | None


class RunMetrics(msgspec.Struct, frozen=True, kw_only=True):
    """`metrics` of a run that completed."""

    primary: str
    """`pass_rate`, or the name of a criterion."""
    coverage: float
    """Share of the answers that could be graded: the rest is in no mean."""
    pass_rate: Estimate
    criteria: list[CriterionFigures]
    judge: Estimate | None
    """Mean score of the criteria that models grade."""
    exact_match: Estimate | None
    token_f1: Estimate | None
    rouge_l: Estimate | None
    bleu: BleuFigures | None
    length_ratio: LengthFigures | None
    labels: LabelFigures | None
    perplexity: PerplexityFigures | None
    steadiness: SteadinessFigures | None
    quality: QualityFigures
    latency: LatencyFigures | None = None
    """None where the answers were there already."""


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """The run's mean minus the base's, paired item by item, with a bootstrap interval over clusters."""

    name: str
    run: float | None
    base: float | None
    difference: float | None
    low: float | None
    high: float | None
    n: int
    """Items that both have."""
    clusters: int
    p: float | None
    """McNemar's where both say pass or fail once for each item, else of the paired differences by cluster."""
    p_adjusted: float | None = None
    """Of secondary ones, after Holm."""
    test: str | None = None
    significant: bool = False
    """The adjusted p (of the primary one: p) is below 0.05."""


class Flip(msgspec.Struct, frozen=True, kw_only=True):
    """An item whose verdict changed."""

    datasource_item_id: int
    base_datasource_item_id: int
    change: str
    """pass_to_fail (first in the list) or fail_to_pass."""


class WinRate(msgspec.Struct, frozen=True, kw_only=True):
    """Item by item: who has the higher primary score."""

    rate: float | None
    """Wins and half of the ties."""
    decisive_rate: Estimate
    wins: int
    losses: int
    ties: int


class ComparedRuns(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of two runs (gateway/evals/comparisons.py). Items are named by their place in their run's data."""

    comparison: "RunComparison"
    flips: list[tuple[int, int, bool]]
    """All of them: the run's item, the base's, and whether it got worse (they come first)."""
    elsewhere: list[tuple[int, int | None]]
    """Items of the run that the base has at another place, or (None) not at all."""


class RunComparison(msgspec.Struct, frozen=True, kw_only=True):
    primary: Difference
    secondary: list[Difference]
    win_rate: WinRate
    flips: list[Flip]
    pass_to_fail: int
    fail_to_pass: int
    paired: int
    """Items that both runs have and that were graded in both."""
    left_out: int
    """Items of the run that the base has not, or that could not be graded in one of them."""
    summary: str
