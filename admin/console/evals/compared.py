"""Two runs beside each other, in words: which is better, how sure that is, and what it rests on."""

from collections.abc import Sequence
from dataclasses import dataclass

from admin.console.api import Json
from admin.console.evals import figures
from admin.console.evals.figures import NOTHING, Figure
from admin.console.render import NONE, decimal, percent

TESTS = {
    "mcnemar": "McNemar\u2019s test",
    "paired_t_by_cluster": "a paired t-test, by groups of items",
    "sign_test_by_cluster": "a sign test, by groups of items",
}
NAMES = {
    "pass_rate": "Answers that pass",
    "exact_match": "Exact match",
    "token_f1": "Token F1",
    "rouge_l": "ROUGE-L",
    "length_ratio": "Length ratio",
}
SHARES = ("pass_rate", "exact_match")
NO_DIRECTION = ("length_ratio",)
"""More of it is neither better nor worse."""
BETTER, WORSE, UNSURE, OTHER = "better", "worse", "no difference that is sure", "different"
KINDS = {BETTER: "good", WORSE: "bad", OTHER: "warn"}
"""Of badges and notices."""


@dataclass(frozen=True, slots=True)
class Change:
    """One figure of a run against its base."""

    name: str
    base: str
    run: str
    difference: str
    interval: str
    n: int
    p: str
    test: str
    verdict: str

    @property
    def kind(self) -> str:
        return KINDS.get(self.verdict, "")


@dataclass(frozen=True, slots=True)
class Row:
    """One figure of several runs."""

    name: str
    cells: list[Figure]


def primary(comparison: Json) -> Change:
    """What decides."""
    told = comparison["primary"]
    return _change(told, is_share=True, p=told["p"])


def secondary(comparison: Json) -> list[Change]:
    """The others; p as it is after Holm."""
    return [_change(each, is_share=_is_share(each["name"]), p=each["p_adjusted"]) for each in comparison["secondary"]]


def side_by_side(runs: Sequence[Json]) -> list[Row]:
    """Every figure that one of them has, in their order."""
    known = [{each.name: each for each in figures.figures(run)} for run in runs]
    names = list(dict.fromkeys(name for figures_of_run in known for name in figures_of_run))
    return [Row(name, [each.get(name, NOTHING) for each in known]) for name in names]


def verdict_of(told: Json) -> str:
    if not told["significant"]:
        return UNSURE
    if told["name"] in NO_DIRECTION:
        return OTHER
    return BETTER if told["difference"] > 0 else WORSE


def _change(told: Json, *, is_share: bool, p: float | None) -> Change:
    unit = _points if is_share else _signed
    write = percent if is_share else _plain
    low, high = told["low"], told["high"]
    return Change(
        name=str(NAMES.get(told["name"], told["name"])),
        base=write(told["base"]),
        run=write(told["run"]),
        difference=unit(told["difference"]),
        interval=f"{unit(low)} to {unit(high)}" if low is not None else "",
        n=told["n"],
        p=NONE if p is None else "below 0.001" if p < 0.001 else decimal(p, 3),
        test=TESTS.get(told["test"] or "", told["test"] or ""),
        verdict=verdict_of(told),
    )


def _is_share(name: str) -> bool:
    return name in SHARES or name.endswith("(pass rate)")


def _points(value: float | None) -> str:
    return NONE if value is None else f"{value * 100:+.1f} points"


def _signed(value: float | None) -> str:
    return NONE if value is None else f"{value:+.3f}"


def _plain(value: float | None) -> str:
    return decimal(value, 3)
