"""Figures of a run as people read them: each with its interval and of how many answers it is."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from admin.console.api import Json
from admin.console.render import NONE, decimal, milliseconds, number, percent

Write = Callable[[float | None], str]


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of a table."""

    name: str
    value: str
    interval: str = ""
    """Of 95 %; empty where none is known."""
    n: str = ""
    note: str = ""


NOTHING = Figure("", NONE)


def figures(run: Json, *, criteria: bool = True) -> list[Figure]:
    """Of a run that completed; empty where nothing was measured. Args: criteria: also what each of them came to."""
    metrics = run["metrics"]
    return [*_shares(metrics, criteria), *_texts(metrics), *_others(metrics)] if metrics else []


def cost(run: Json) -> float | None:
    """Dollars of every call, graders' too; None where one has no price."""
    spent = [each["cost_usd"] for each in run["per_model_usage"]]
    return None if None in spent or not spent else sum(spent)


def quality(run: Json) -> Json | None:
    return run["metrics"]["quality"] if run["metrics"] else None


def score_of(run: Json) -> Json | None:
    """The estimate that decides; None where nothing was measured."""
    metrics = run["metrics"]
    if not metrics:
        return None
    named = [each["pass_rate"] for each in metrics["criteria"] if each["name"] == metrics["primary"]]
    score = named[0] if named else metrics["pass_rate"]
    return score if score["value"] is not None else None


def title(run: Json) -> str:
    """To choose it from among others: whose answers, how good, and when. Args: run: one, or a point of a trend."""
    score = score_of(run)
    passed = f", {percent(score['value'])} pass" if score else ""
    made = datetime.fromtimestamp(run["created_at"], UTC)
    return f"{name_of(run)}{passed}, {made:%Y-%m-%d %H:%M} UTC"


def name_of(run: Json) -> str:
    """A model may have several runs: the run's name says which, where it has one of its own."""
    if not run["model"] or run["name"] == run["model"]:
        return run["name"]
    return f"{run['model']} ({run['name']})"


def _shares(metrics: Json, criteria: bool) -> Iterator[Figure]:
    yield _estimate("Answers that pass", metrics["pass_rate"], percent)
    for each in metrics["criteria"] if criteria else []:
        yield _estimate(f"Pass \u201c{each['name']}\u201d", each["pass_rate"], percent)
    if metrics["judge"]:
        yield _estimate("Score by models", metrics["judge"], _fine, "0 to 1, mean of the criteria that models grade")


def _texts(metrics: Json) -> Iterator[Figure]:
    """Answers beside their references."""
    if metrics["exact_match"]:
        yield _estimate("Exact match", metrics["exact_match"], percent)
    for name, title in (("token_f1", "Token F1"), ("rouge_l", "ROUGE-L")):
        if metrics[name]:
            yield _estimate(title, metrics[name], _fine, "0 to 1")
    if found := metrics["bleu"]:
        yield _estimate("BLEU", found, _short, "0 to 100, of the whole set")
    if found := metrics["labels"]:
        for name in ("precision", "recall", "f1"):
            title = "F1" if name == "f1" else name.title()
            note = f"{found['labels']} labels, macro average"
            yield Figure(f"{title} of labels", percent(found[name]), "", number(found["n"]), note)
    if found := metrics["length_ratio"]:
        mean = found["mean"]
        note = f"median; mean {_plain(mean['value'])}; 0.9 to 1.1 is ideal"
        yield Figure("Length, for each word of the reference", _plain(found["median"]), "", number(mean["n"]), note)


def _others(metrics: Json) -> Iterator[Figure]:
    if found := metrics["perplexity"]:
        per_byte = found["bits_per_byte"]
        note = f"{number(found['tokens'])} tokens" + (f", {_plain(per_byte)} bits per byte" if per_byte else "")
        yield Figure("Perplexity", _plain(found["value"]), _interval(found, _plain), "", note)
    if found := metrics["steadiness"]:
        k, n = found["k"], f"{number(found['items'])} items"
        yield Figure(f"Pass at least once in {k}", percent(found["pass_at_k"]), "", n)
        yield Figure(f"Pass all {k} times", percent(found["pass_all_k"]), "", n)
        yield Figure("Verdict changes between repeats", percent(found["flip_rate"]), "", n)
    if found := metrics.get("latency"):
        n = number(found["n"])
        yield Figure("Latency, median", milliseconds(found["p50_ms"]), "", n)
        yield Figure("Latency, 95th percentile", milliseconds(found["p95_ms"]), "", n)


def _estimate(name: str, found: Json, write: Write, note: str = "") -> Figure:
    clusters = found.get("clusters", found["n"])
    n = number(found["n"])
    if clusters != found["n"]:
        note = "; ".join(filter(None, (note, f"{number(clusters)} independent items or groups")))
    return Figure(name, write(found["value"]), _interval(found, write), n, note)


def _interval(found: Json, write: Write) -> str:
    return f"{write(found['low'])} to {write(found['high'])}" if found["low"] is not None else ""


def _fine(value: float | None) -> str:
    return decimal(value, 3)


def _plain(value: float | None) -> str:
    return decimal(value, 2)


def _short(value: float | None) -> str:
    return decimal(value, 1)
