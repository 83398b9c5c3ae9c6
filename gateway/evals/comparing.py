"""Two runs on the same items: was the difference more than luck? Needs scipy, so it runs in gateway/eval_process.py."""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec
from scipy import stats

from gateway.evals.figures import (
    ComparedRuns,
    Comparison,
    Difference,
    Estimate,
    Flip,
    Graded,
    RunComparison,
    WinRate,
)
from gateway.evals.measuring import numbers
from judges.metrics.corpus import win_rate
from judges.statistics.corrections import holm
from judges.statistics.intervals import by_cluster, finite, proportion
from judges.statistics.paired import bootstrap, mcnemar_of

LEVEL = 0.05
MAX_FLIPS = 200
GRADUAL = ("text_similarity", "score_model", "python")
"""Criteria whose score says more than whether it is a pass."""
METRICS = ("exact_match", "token_f1", "rouge_l", "length_ratio")
Score = Callable[[Graded], float | None]


@dataclass(frozen=True, slots=True)
class Pair:
    """One item, and all that both runs answered to it."""

    first: list[Graded]
    second: list[Graded]

    @property
    def cluster(self) -> str:
        return self.first[0].cluster

    @property
    def number(self) -> int:
        return self.first[0].number

    @property
    def base_number(self) -> int:
        return self.second[0].number


def compare(wanted: Comparison) -> ComparedRuns:
    """One primary difference that decides; the others are corrected for being many."""
    pairs, alone = _paired(wanted.run.items, wanted.base.items)
    primary_score, _ = _primary(wanted)
    flips = _flips(pairs, primary_score)
    moved = [(each.number, each.base_number) for each in pairs if each.number != each.base_number]
    elsewhere: list[tuple[int, int | None]] = [*moved, *((number, None) for number in alone)]
    return ComparedRuns(
        comparison=_comparison(wanted, pairs, flips, len(alone)),
        flips=[(n, base, change == "pass_to_fail") for n, base, change in map(msgspec.structs.astuple, flips)],
        elsewhere=sorted(elsewhere, key=lambda each: each[0]),
    )


def _comparison(wanted: Comparison, pairs: Sequence[Pair], flips: list[Flip], left_out: int) -> RunComparison:
    primary_score, name = _primary(wanted)
    primary = _difference(name, pairs, primary_score, binary=True)
    secondary = [found for found in _secondary(wanted, pairs, name) if found.n]
    adjusted = holm({each.name: each.p for each in secondary if each.p is not None})
    return RunComparison(
        primary=_judged(primary, primary.p),
        secondary=[_judged(each, adjusted.get(each.name)) for each in secondary],
        win_rate=_wins(pairs, primary_score),
        flips=flips[:MAX_FLIPS],
        pass_to_fail=sum(flip.change == "pass_to_fail" for flip in flips),
        fail_to_pass=sum(flip.change == "fail_to_pass" for flip in flips),
        paired=primary.n,
        left_out=left_out + len(pairs) - primary.n,
        summary=_summary(_judged(primary, primary.p)),
    )


def passed(item: Graded) -> float | None:
    return None if item.status == "error" else float(item.status == "pass")


def _primary(wanted: Comparison) -> tuple[Score, str]:
    """Whether it passed: all criteria, or the one that the eval names."""
    id = wanted.run.primary
    if not id:
        return passed, "pass_rate"
    name = next(each.name for each in wanted.run.criteria if each.id == id)
    return _passed_of(id), name


def _secondary(wanted: Comparison, pairs: Sequence[Pair], primary: str) -> list[Difference]:
    found = [] if primary == "pass_rate" else [_difference("pass_rate", pairs, passed, binary=True)]
    names = Counter(each.name for each in wanted.run.criteria)
    for each in wanted.run.criteria:
        name = each.name if names[each.name] == 1 else each.id
        found.append(_difference(f"{name} (score)", pairs, _score_of(each.id)))
        if each.type in GRADUAL and each.id != wanted.run.primary:
            found.append(_difference(f"{name} (pass rate)", pairs, _passed_of(each.id), binary=True))
    return found + [_difference(name, pairs, _number_of(name)) for name in METRICS]


def _score_of(id: str) -> Score:
    return lambda item: item.scores[id][0] if id in item.scores else None


def _passed_of(id: str) -> Score:
    return lambda item: float(item.scores[id][1]) if id in item.scores else None


def _number_of(name: str) -> Score:
    return lambda item: numbers(item).get(name) if item.status != "error" else None


def _paired(run: Sequence[Graded], base: Sequence[Graded]) -> tuple[list[Pair], list[int]]:
    """By what the items say; of items that are alike, the first with the first. And the numbers of those that found no
    other."""
    others = _by_item(base)
    pairs: list[Pair] = []
    alone: list[int] = []
    for key, answers in _by_item(run).items():
        if key in others:
            pairs.append(Pair(answers, others[key]))
        else:
            alone.append(answers[0].number)
    return pairs, alone


def _by_item(items: Sequence[Graded]) -> dict[tuple[str, int], list[Graded]]:
    """The answers to each item, under its key and which of the items with that key it is."""
    by_number: dict[int, list[Graded]] = defaultdict(list)
    for item in items:
        by_number[item.number].append(item)
    seen: dict[str, int] = defaultdict(int)
    found: dict[tuple[str, int], list[Graded]] = {}
    for number in sorted(by_number):
        key = by_number[number][0].key
        found[key, seen[key]] = by_number[number]
        seen[key] += 1
    return found


def _mean(answers: Sequence[Graded], score: Score) -> float | None:
    """Of the repeats of one item that were measured."""
    values = [value for answer in answers if (value := score(answer)) is not None]
    return sum(values) / len(values) if values else None


def _values(pairs: Sequence[Pair], score: Score) -> list[tuple[Pair, float, float]]:
    both = ((pair, _mean(pair.first, score), _mean(pair.second, score)) for pair in pairs)
    return [(pair, first, second) for pair, first, second in both if first is not None and second is not None]


def _difference(name: str, pairs: Sequence[Pair], score: Score, *, binary: bool = False) -> Difference:
    values = _values(pairs, score)
    first, second = [value for _, value, _ in values], [value for _, _, value in values]
    clusters = [pair.cluster for pair, _, _ in values]
    found = bootstrap(first, second, clusters)
    p, test = _p(values, clusters, binary=binary)
    return Difference(
        name=name,
        run=sum(first) / len(first) if first else None,
        base=sum(second) / len(second) if second else None,
        difference=found.value,
        low=found.low,
        high=found.high,
        n=found.n,
        clusters=found.clusters,
        p=p,
        test=test,
    )


def _p(
    values: Sequence[tuple[Pair, float, float]], clusters: Sequence[str], *, binary: bool
) -> tuple[float | None, str | None]:
    """McNemar's test where every item was answered once in both runs and stands alone; else a t-test of the paired
    differences with standard errors by cluster (Miller 2024, arXiv 2411.00640)."""
    if not values:
        return None, None
    alone = len(set(clusters)) == len(clusters)
    once = all(len(pair.first) == len(pair.second) == 1 for pair, _, _ in values)
    if binary and alone and once:
        return mcnemar_of(
            [bool(first) for _, first, _ in values], [bool(second) for _, _, second in values]
        ).p, "mcnemar"
    x = finite([first - second for _, first, second in values])
    sums, sizes = by_cluster(x, clusters)
    count = len(sums)
    if count < 2:
        return None, None
    value = float(x.mean())
    error = math.sqrt(count / (count - 1) * float(((sums - value * sizes) ** 2).sum())) / len(x)
    if error == 0:  # all alike: how likely are so many of one sign
        return (1.0 if value == 0 else min(1.0, 2 * 0.5**count)), "sign_test_by_cluster"
    return float(2 * stats.t.sf(abs(value) / error, count - 1)), "paired_t_by_cluster"


def _judged(found: Difference, adjusted: float | None) -> Difference:
    """With what decides whether it is more than luck."""
    return msgspec.structs.replace(found, p_adjusted=adjusted, significant=adjusted is not None and adjusted < LEVEL)


def _wins(pairs: Sequence[Pair], score: Score) -> WinRate:
    values = _values(pairs, score)
    decided = [(pair.cluster, first > second) for pair, first, second in values if first != second]
    wins = sum(won for _, won in decided)
    found = win_rate(wins, len(decided) - wins, len(values) - len(decided))
    share = proportion([won for _, won in decided], [cluster for cluster, _ in decided])
    return WinRate(
        rate=found.rate,
        decisive_rate=Estimate(value=share.value, low=share.low, high=share.high, n=share.n, clusters=share.clusters),
        wins=found.wins,
        losses=found.losses,
        ties=found.ties,
    )


def _flips(pairs: Sequence[Pair], score: Score) -> list[Flip]:
    """Items of which more than half of the repeats pass in one run and not in the other; what got worse comes first."""
    found = [
        Flip(
            datasource_item_id=pair.number,
            base_datasource_item_id=pair.base_number,
            change="pass_to_fail" if second > 0.5 else "fail_to_pass",
        )
        for pair, first, second in _values(pairs, score)
        if (first > 0.5) != (second > 0.5)
    ]
    return sorted(found, key=lambda flip: (flip.change != "pass_to_fail", flip.datasource_item_id))


def _summary(primary: Difference) -> str:
    if primary.difference is None:
        return "The runs have no item in common that was graded in both."
    change = f"{primary.name}: {primary.difference:+.3f}"
    if primary.low is not None and primary.high is not None:
        change += f" (95 % interval {primary.low:+.3f} to {primary.high:+.3f}, {primary.n} items)"
    if primary.significant:
        return f"{change}: {'better' if primary.difference > 0 else 'worse'} than the base, more than luck."
    return f"{change}: not more than luck."
