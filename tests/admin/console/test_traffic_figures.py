"""What a report says in figures."""

from typing import Any

import pytest

from admin.console.render import NONE
from admin.console.traffic_figures import change, charts, figures


def result(**changes: Any) -> dict[str, Any]:
    times = {"n": 100, "p50_ms": 100.0, "p95_ms": 900.0, "p99_ms": 1000.0}
    counts = {
        "requests": 100, "client_errors": 5, "server_errors": 1, "upstream_errors": 2, "client_left": 0, "fallbacks": 4,
        "input_tokens": 1000, "cached_input_tokens": 0, "output_tokens": 500, "cost_nano": 2_000_000_000, "cost_usd": 2.0,
        "unpriced_requests": 0, "latency": times, "first_token": None, "model": "m",
    }  # fmt: skip
    return counts | changes


def report(*results: dict[str, Any]) -> dict[str, Any]:
    """The same in each of two hours; the third has nothing."""
    data = [{"start_time": n * 3600, "end_time": (n + 1) * 3600, "results": list(results)} for n in range(2)]
    return {"data": [*data, {"start_time": 7200, "end_time": 10800, "results": []}], "totals": list(results)}


def by_label(now: dict[str, Any], before: dict[str, Any] | None) -> dict[str, tuple[str, str, str]]:
    return {each.label: (each.value, each.note, each.kind) for each in figures(now, before)}


class TestFigures:
    def test_of_a_time_and_the_one_before(self) -> None:
        told = by_label(result(), result(requests=80, cost_nano=4_000_000_000))
        assert told["Requests"] == ("100", "+25% against the time before", "")
        assert told["Failed"] == ("3.00%", "3 of 100", "bad")
        assert told["Answered with 4xx"] == ("5", "5.0% of calls", "")
        assert told["Latency p95"] == ("900 ms", "n = 100; as in the time before", "")
        assert told["First token p50"] == (NONE, "no streamed answer", "")
        assert told["Cost of calls"] == ("$2.00", "-50% against the time before", "")
        assert told["Cost per 1,000 calls"][0] == "$20.00"

    def test_what_had_no_price_is_said(self) -> None:
        assert "3 calls had no price" in by_label(result(unpriced_requests=3), None)["Cost of calls"][1]

    def test_of_nothing_there_are_none(self) -> None:
        assert figures(None, result()) == []


class TestChange:
    @pytest.mark.parametrize(
        ("now", "before", "told"),
        [
            (5, None, "none in the time before"),
            (5, 0, "none in the time before"),
            (5, 5, "as in the time before"),
            (5, 10, "-50% against the time before"),
            (500, 10, "50.0 times the time before"),
        ],
    )
    def test_in_words(self, now: float, before: float | None, told: str) -> None:
        assert change(now, before) == told


class TestCharts:
    def test_of_everything(self) -> None:
        found = {chart.id: chart.figures for chart in charts(report(result()), "", str)}
        assert found["requests"]["series"] == [{"label": "Requests", "unit": "", "values": [100, 100, 0]}]
        assert found["latency"]["series"][1] == {"label": "p95", "unit": "ms", "values": [900.0, 900.0, None]}
        assert (found["cost"]["x"], found["cost"]["seconds"]) == ([0, 3600, 7200], 3600)

    def test_of_groups_a_line_each(self) -> None:
        names = {"a": "A", "b": "B"}
        told = report(result(model="b"), result(model="a", requests=3))
        told["data"][0]["results"].pop()
        found = {chart.id: chart.figures for chart in charts(told, "model", lambda each: names[each["model"]])}
        assert found["requests"]["series"] == [
            {"label": "B", "unit": "", "values": [100, 100, 0]},
            {"label": "A", "unit": "", "values": [0, 3, 0]},
        ]
        assert found["latency"]["series"][1]["values"] == [None, 900.0, None]
