"""Runs beside each other."""

from typing import Any

from admin.console.evals import run_list


def point(model: str, value: float | None, low: float = 0.0, high: float = 1.0) -> dict[str, Any]:
    score = {"value": value, "low": low, "high": high, "n": 10, "clusters": 10}
    return {"model": model, "metrics": {"primary": "pass_rate", "criteria": [], "pass_rate": score}}


class TestChart:
    def test_of_one_model_with_its_interval(self) -> None:
        found = run_list.chart([point("a", 0.5, 0.3, 0.7), point("a", 0.6, 0.4, 0.8)])
        assert found["x"] == [1, 2]
        assert [(each["label"], each["values"]) for each in found["series"]] == [
            ("a", [0.5, 0.6]), ("95% from", [0.3, 0.4]), ("to", [0.7, 0.8]),
        ]  # fmt: skip

    def test_of_several_a_line_each(self) -> None:
        found = run_list.chart([point("a", 0.5), point("b", 0.6), point("a", 0.7), point("a", None)])
        assert [(each["label"], each["values"]) for each in found["series"]] == [
            ("a", [0.5, None, 0.7]), ("b", [None, 0.6, None]),
        ]  # fmt: skip

    def test_one_run_each_is_no_trend(self) -> None:
        assert run_list.chart([point("a", 0.5), point("b", 0.6)]) is None
        assert run_list.chart([]) is None

    def test_no_more_lines_than_colors(self) -> None:
        found = run_list.chart([point(name, 0.5) for name in "abcdefgha"])
        assert len(found["series"]) == run_list.SERIES
