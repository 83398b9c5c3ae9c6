"""Runs of an eval beside each other: as a chart, and as rows of CSV."""

from datetime import UTC, datetime
from typing import Any

from admin.console.api import Json
from admin.console.evals.figures import cost, quality, score_of

SERIES = 6
"""Models in one chart."""
COLUMNS = ("id", "name", "model", "status", "created_at", "finished_at", "repeats", "answers", "passed", "failed", "errored",
           "score", "low", "high", "n", "quality", "verdict", "tokens", "cost_usd")  # fmt: skip
"""Of the runs' CSV."""


def chart(points: list[Json]) -> Json:
    """For the chart macro, of a trend: a line for each model; of one model alone, its interval too. None where no model ran
    twice: that is no trend. Runs stand one after the other, for those that were started together have one time."""
    scored = [(each, score) for each in points if (score := score_of(each))]
    models = list(dict.fromkeys(each["model"] for each, _ in scored))
    if len(models) == len(scored):
        return None
    series: list[Json] = []
    for model in models[:SERIES]:
        values = [score["value"] if each["model"] == model else None for each, score in scored]
        series.append(_series(model or "answers of the data", values))
    if len(models) == 1:
        ends = (("95% from", "low"), ("to", "high"))
        series += [_series(label, [score[end] for _, score in scored]) for label, end in ends]
    return {"x": list(range(1, len(scored) + 1)), "time": False, "xLabel": "Run", "series": series}


def tokens(run: Json) -> int:
    """Of all its calls."""
    return sum(each["total_tokens"] for each in run["per_model_usage"])


def row_of(run: Json) -> list[str | float | None]:
    """Of the runs' CSV."""
    counts, score, found = run["result_counts"], score_of(run) or {}, quality(run) or {}
    flat: dict[str, Any] = run | {"answers": counts["total"], **counts, **score}
    flat |= {"score": score.get("value"), "quality": found.get("score"), "verdict": found.get("verdict")}
    flat |= {"tokens": tokens(run), "cost_usd": cost(run)}
    flat |= {name: _moment(run[name]) for name in ("created_at", "finished_at")}
    return [flat.get(name) for name in COLUMNS]


def _moment(unix: float | None) -> str | None:
    return datetime.fromtimestamp(unix, UTC).isoformat() if unix is not None else None


def _series(label: str, values: list[Any]) -> Json:
    return {"label": label, "values": values, "unit": "share"}
