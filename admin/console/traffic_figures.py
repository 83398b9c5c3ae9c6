"""What a report of traffic says, as figures beside those of the time before, charts and tables."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from admin.console.api import Json
from admin.console.render import milliseconds, number, percent, usd

SERIES = 6
"""Groups that a chart shows: it has as many colors."""
GROUPS = {"project_id": "Project", "api_key_id": "Key", "model": "Model", "upstream": "Provider", "purpose": "Purpose"}
PURPOSES = {"": "Applications", "judge": "Judges", "eval": "Evals"}


@dataclass(frozen=True, slots=True)
class Figure:
    """One number, and what it was in the time before."""

    label: str
    value: str
    note: str
    kind: str = ""
    """bad where it should be looked at."""


@dataclass(frozen=True, slots=True)
class Chart:
    id: str
    title: str
    figures: dict[str, Any]
    """For assets/js/charts.js."""


@dataclass(frozen=True, slots=True)
class Line:
    """One group of a table."""

    name: str
    url: str | None
    result: Json
    failed: float | None
    """Share."""


def failed(result: Json) -> int:
    """Calls that came to nothing, and not because of what the client asked."""
    return result["server_errors"] + result["upstream_errors"]


def tokens(result: Json) -> int:
    return result["input_tokens"] + result["output_tokens"]


def figures(now: Json | None, before: Json | None) -> list[Figure]:
    """Args: now, before: results of the whole time and of the time before; None: there was no call."""
    if now is None:
        return []
    requests = now["requests"]
    share = failed(now) / requests
    return [
        Figure("Requests", number(requests), change(requests, before and before["requests"])),
        Figure("Failed", percent(share, 2), f"{failed(now):,} of {requests:,}", "bad" if share > 0.01 else ""),
        Figure("Answered with 4xx", number(now["client_errors"]), _share(now["client_errors"], requests)),
        Figure("Fallbacks", number(now["fallbacks"]), _share(now["fallbacks"], requests)),
        *[_time(f"Latency {name}", now, before, "latency", f"{name}_ms") for name in ("p50", "p95", "p99")],
        _time("First token p50", now, before, "first_token", "p50_ms"),
        Figure("Tokens", number(tokens(now)), change(tokens(now), before and tokens(before))),
        Figure("Cost of calls", _amount(now["cost_usd"]), _cost_note(now, before)),
        Figure("Cost per 1,000 calls", _amount(now["cost_usd"] * 1000 / requests), ""),
    ]


def change(now: float, before: float | None) -> str:
    """Against the time before, in words."""
    if not before:
        return "none in the time before"
    share = now / before - 1
    if abs(share) < 0.005:
        return "as in the time before"
    many = f"{now / before:,.1f} times" if share >= 10 else f"{share:+.0%} against"
    return f"{many} the time before"


def charts(report: Json, group: str, names: Callable[[Json], str]) -> list[Chart]:
    """Args: group: "" for everything together; names: of a result's group."""
    if not group:
        return _of_everything(report)
    shown = [result[group] for result in report["totals"][:SERIES]]
    labels = [names(result) for result in report["totals"][:SERIES]]
    made: Mapping[str, tuple[str, str, Callable[[Json], float | None], float | None]] = {
        "requests": ("Requests", "", lambda each: each["requests"], 0),
        "errors": ("Failed calls", "", failed, 0),
        "latency": ("Latency p95", "ms", lambda each: _ms(each, "latency", "p95_ms"), None),
        "first": ("First token p50", "ms", lambda each: _ms(each, "first_token", "p50_ms"), None),
        "tokens": ("Tokens", "", tokens, 0),
        "cost": ("Cost", "usd", lambda each: each["cost_usd"], 0),
    }
    found: list[Chart] = []
    for id, (title, unit, value, none) in made.items():
        rows = [{each[group]: value(each) for each in bucket["results"]} for bucket in report["data"]]
        series = [
            {"label": label, "unit": unit, "values": [row.get(name, none) for row in rows]}
            for name, label in zip(shown, labels, strict=True)
        ]
        found.append(_chart(id, title, report, series))
    return found


def lines(report: Json, group: str, names: Callable[[Json], str], urls: Callable[[Json], str | None]) -> list[Line]:
    """Of each group, those with the most requests first."""
    return [Line(names(each), urls(each), each, failed(each) / each["requests"]) for each in report["totals"]]


def _of_everything(report: Json) -> list[Chart]:
    made: Sequence[tuple[str, str, str, Mapping[str, Callable[[Json], float | None]], float | None]] = [
        ("requests", "Requests", "", {"Requests": lambda each: each["requests"]}, 0),
        ("errors", "Errors", "", {
            "Failed at the provider": lambda each: each["upstream_errors"],
            "Refused with 5xx": lambda each: each["server_errors"],
            "Answered with 4xx": lambda each: each["client_errors"],
        }, 0),
        ("latency", "Latency", "ms", {
            name: lambda each, name=name: _ms(each, "latency", f"{name}_ms") for name in ("p50", "p95", "p99")
        }, None),
        ("first", "Time to first token", "ms", {
            name: lambda each, name=name: _ms(each, "first_token", f"{name}_ms") for name in ("p50", "p95")
        }, None),
        ("tokens", "Tokens", "", {
            "Input": lambda each: each["input_tokens"], "Output": lambda each: each["output_tokens"]
        }, 0),
        ("cost", "Cost", "usd", {"Cost": lambda each: each["cost_usd"]}, 0),
    ]  # fmt: skip
    return [
        _chart(id, title, report, [
            {"label": label, "unit": unit, "values": [_only(bucket, value, none) for bucket in report["data"]]}
            for label, value in values.items()
        ])
        for id, title, unit, values, none in made
    ]  # fmt: skip


def _chart(id: str, title: str, report: Json, series: list[dict[str, Any]]) -> Chart:
    starts = [bucket["start_time"] for bucket in report["data"]]
    seconds = report["data"][0]["end_time"] - starts[0]
    return Chart(id, title, {"x": starts, "series": series, "seconds": seconds})


def _only(bucket: Json, value: Callable[[Json], float | None], none: float | None) -> float | None:
    return value(bucket["results"][0]) if bucket["results"] else none


def _ms(result: Json, measure: str, name: str) -> float | None:
    return round(result[measure][name], 1) if result[measure] else None


def _time(label: str, now: Json, before: Json | None, measure: str, name: str) -> Figure:
    times, earlier = now[measure], before and before[measure]
    if not times:
        return Figure(label, milliseconds(None), "no answer" if measure == "latency" else "no streamed answer")
    note = f"n = {times['n']:,}; {change(times[name], earlier[name] if earlier else None)}"
    return Figure(label, milliseconds(times[name]), note)


def _share(part: int, whole: int) -> str:
    return f"{percent(part / whole)} of calls"


def _cost_note(now: Json, before: Json | None) -> str:
    told = change(now["cost_nano"], before and before["cost_nano"])
    unpriced = now["unpriced_requests"]
    return f"{told}; {unpriced:,} calls had no price" if unpriced else told


def _amount(cost: float) -> str:
    """As large as it may be where figures are large; tables tell it to the last digit."""
    return usd(cost) if cost == 0 or cost >= 0.001 else "under $0.001"
