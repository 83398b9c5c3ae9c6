"""The metrics of a run. Needs scipy, so it runs in gateway/eval_process.py."""

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import numpy as np
from sacrebleu.metrics.bleu import BLEU

from gateway.evals import figures
from gateway.evals.figures import CriterionFigures, CriterionSpec, Estimate, Graded, RunFigures, RunMetrics
from judges.metrics.corpus import labelling
from judges.metrics.quality import ALERT, quality
from judges.statistics import intervals
from judges.statistics.repeats import steadiness

RESAMPLES = 1000
MAX_LABELS = 50


def measure(run: RunFigures) -> RunMetrics:
    """Everything that can be said of it; what could not be graded is in no mean, and is told by `coverage`."""
    graded = [item for item in run.items if item.status != "error"]
    exact, f1, rouge_l = (of_numbers(graded, name) for name in ("exact_match", "token_f1", "rouge_l"))
    judge, length = _judge(run.criteria, graded), _length(graded)
    found = quality(_accuracy(run.criteria, graded, f1), judge and judge.value, length and length.median)
    return RunMetrics(
        primary=next((each.name for each in run.criteria if each.id == run.primary), "pass_rate"),
        coverage=len(graded) / len(run.items) if run.items else 0.0,
        pass_rate=rate([item.status == "pass" for item in graded], graded),
        criteria=[_criterion(each, graded) for each in run.criteria],
        judge=judge,
        exact_match=exact,
        token_f1=f1,
        rouge_l=rouge_l,
        bleu=_bleu(graded),
        length_ratio=length,
        labels=_labels(graded),
        perplexity=_perplexity(graded),
        steadiness=_steadiness(graded, run.repeats),
        latency=_latency(run.items),
        quality=figures.QualityFigures(
            score=found.score, verdict=found.verdict, reasons=found.reasons, next_step=found.next_step
        ),
    )


def rate(passed: Sequence[bool], items: Sequence[Graded]) -> Estimate:
    return _shown(intervals.proportion(passed, _clusters(items)))


def mean(values: Sequence[float], items: Sequence[Graded], *, at_most: float = math.inf) -> Estimate:
    """Of values from 0 to `at_most`. What is only yes and no gets a proportion's interval; of any other, what of Student's
    interval is possible."""
    if all(value in (0, 1) for value in values):
        return rate([value == 1 for value in values], items)
    found = intervals.mean(values, _clusters(items))
    if found.low is None or found.high is None:
        return _shown(found)
    return Estimate(
        value=found.value, low=max(0.0, found.low), high=min(at_most, found.high), n=found.n, clusters=found.clusters
    )


def of_numbers(items: Sequence[Graded], name: str) -> Estimate | None:
    """Mean of one of the items' metrics; None where no item has it."""
    having = [item for item in items if name in numbers(item)]
    return mean([numbers(item)[name] for item in having], having, at_most=1) if having else None


def numbers(item: Graded) -> dict[str, float]:
    return item.metrics.get("numbers", {})


def _criterion(criterion: CriterionSpec, items: Sequence[Graded]) -> CriterionFigures:
    having = [item for item in items if criterion.id in item.scores]
    return CriterionFigures(
        id=criterion.id,
        name=criterion.name,
        type=criterion.type,
        pass_rate=rate([item.scores[criterion.id][1] for item in having], having),
        score=mean([item.scores[criterion.id][0] for item in having], having, at_most=1),
    )


def _judge(criteria: Sequence[CriterionSpec], items: Sequence[Graded]) -> Estimate | None:
    """The mean of each answer's mean."""
    judges = [each.id for each in criteria if each.is_judge]
    having = [item for item in items if any(id in item.scores for id in judges)]
    scores = [[item.scores[id][0] for id in judges if id in item.scores] for item in having]
    return mean([sum(each) / len(each) for each in scores], having, at_most=1) if having else None


def _accuracy(criteria: Sequence[CriterionSpec], items: Sequence[Graded], f1: Estimate | None) -> float | None:
    """Of the quality score: the share that passes every criterion that is no model; without one, the overlap with the
    references."""
    plain = [each.id for each in criteria if not each.is_judge]
    having = [item for item in items if plain and all(id in item.scores for id in plain)]
    if not having:
        return f1.value if f1 else None
    return sum(all(item.scores[id][1] for id in plain) for item in having) / len(having)


def _length(items: Sequence[Graded]) -> figures.LengthFigures | None:
    having = [item for item in items if "length_ratio" in numbers(item)]
    if not having:
        return None
    ratios = [numbers(item)["length_ratio"] for item in having]
    middle = float(median(ratios))
    low, high = ALERT
    alert = None if low <= middle <= high else f"half of the answers are {middle:.2f} times as long as their references"
    longer = sum(ratio > 1 for ratio in ratios) / len(ratios)
    return figures.LengthFigures(median=middle, mean=mean(ratios, having), share_longer=longer, alert=alert)


def _labels(items: Sequence[Graded]) -> figures.LabelFigures | None:
    """None where the references do not look like labels: more than 50 of them, or hardly any of them twice."""
    pairs = [item.metrics["labels"] for item in items if "labels" in item.metrics]
    truths = {truth for _, truth in pairs}
    if not 2 <= len(truths) <= min(MAX_LABELS, len(pairs) / 2) or len(pairs) < len(items):
        return None
    found = labelling([said for said, _ in pairs], [truth for _, truth in pairs])
    return figures.LabelFigures(
        precision=found.precision, recall=found.recall, f1=found.f1, labels=len(truths), n=found.n
    )


def _steadiness(items: Sequence[Graded], repeats: int) -> figures.SteadinessFigures | None:
    if repeats < 2:
        return None
    by_number: dict[int, list[bool]] = defaultdict(list)
    for item in items:
        by_number[item.number].append(item.status == "pass")
    found = steadiness(list(by_number.values()), repeats)
    return figures.SteadinessFigures(
        k=found.k,
        pass_at_k=found.pass_at_k,
        pass_all_k=found.pass_all_k,
        flip_rate=found.flip_rate,
        items=found.items,
    )


def _bleu(items: Sequence[Graded]) -> figures.BleuFigures | None:
    """Corpus BLEU out of what the items counted: sacreBLEU's own sum."""
    having = [item for item in items if "bleu" in item.metrics]
    if not having:
        return None
    counts = _by_cluster(having, lambda item: item.metrics["bleu"])
    low, high = _interval(counts, _bleu_of)
    tokenizers = "+".join(sorted({item.metrics["tokenizer"] for item in having}))
    return figures.BleuFigures(
        value=_bleu_of(counts.sum(axis=0)),
        low=low,
        high=high,
        n=len(having),
        signature=f"nrefs:1|case:mixed|eff:no|tok:{tokenizers}|smooth:exp",
    )


def _bleu_of(total: Any) -> float:
    whole = [int(each) for each in total]
    return float(BLEU.compute_bleu(whole[:4], whole[4:8], whole[8], whole[9], smooth_method="exp").score)


def _latency(items: Sequence[Graded]) -> figures.LatencyFigures | None:
    """Also of answers that could not be graded: they took their time, too."""
    took = [float(item.metrics["took_ms"]) for item in items if "took_ms" in item.metrics]
    if not took:
        return None
    middle, slow = np.quantile(took, (0.5, 0.95))
    return figures.LatencyFigures(p50_ms=float(middle), p95_ms=float(slow), n=len(took))


def _perplexity(items: Sequence[Graded]) -> figures.PerplexityFigures | None:
    having = [item for item in items if "log_probabilities" in item.metrics]
    if not having:
        return None
    sums = _by_cluster(having, lambda item: item.metrics["log_probabilities"])
    low, high = _interval(sums, _perplexity_of)
    total, tokens, size = sums.sum(axis=0)
    return figures.PerplexityFigures(
        value=_perplexity_of((total, tokens, size)),
        low=low,
        high=high,
        tokens=int(tokens),
        bits_per_byte=float(-total / math.log(2) / size) if size else None,
    )


def _perplexity_of(sums: Any) -> float:
    return math.exp(min(-float(sums[0]) / float(sums[1]), 700.0))


def _by_cluster(items: Sequence[Graded], counts: Callable[[Graded], Sequence[float]]) -> np.ndarray:
    """One row of sums for each cluster."""
    _, places = np.unique(np.asarray(_clusters(items)), return_inverse=True)
    each = np.asarray([counts(item) for item in items], dtype=float)
    sums = np.zeros((int(places.max()) + 1, each.shape[1]))
    np.add.at(sums, places, each)
    return sums


def _interval(sums: np.ndarray, figure: Callable[[Any], float]) -> tuple[float | None, float | None]:
    """Percentiles of the figure over resampled clusters; none of one cluster."""
    count = len(sums)
    if count < 2:
        return None, None
    random = np.random.default_rng(0)
    drawn = [figure(random.multinomial(count, [1 / count] * count) @ sums) for _ in range(RESAMPLES)]
    low, high = np.quantile(drawn, (0.025, 0.975))
    return float(low), float(high)


def _clusters(items: Sequence[Graded]) -> list[str]:
    return [item.cluster for item in items]


def _shown(found: intervals.Estimate) -> Estimate:
    return Estimate(value=found.value, low=found.low, high=found.high, n=found.n, clusters=found.clusters)
