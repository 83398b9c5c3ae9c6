from typing import Any

import pytest

from gateway.db.tables import EvalRunRow
from gateway.evals.trends import step_of, steps


def run(value: float | None, low: float = 0.0, high: float = 1.0, *, primary: str = "pass_rate") -> EvalRunRow:
    estimate: dict[str, Any] = {"value": value, "low": low, "high": high}
    metrics = {
        "primary": primary,
        "pass_rate": estimate,
        "criteria": [{"name": "judge", "pass_rate": estimate | {"value": 0.1}}],
    }
    return EvalRunRow(model="ft:starter:x::y:ckpt-step-7", result={"metrics": metrics})


class TestSteps:
    def test_a_change_beyond_both_intervals_is_one(self) -> None:
        found = steps([run(0.5, 0.4, 0.6), run(0.55, 0.45, 0.65), run(0.8, 0.7, 0.9), run(0.5, 0.4, 0.6)])
        assert [step.direction for step in found] == ["first", "steady", "improving", "regressing"]
        assert found[2].change == pytest.approx(0.25)
        assert found[0].step == 7

    def test_a_run_that_measured_nothing_is_passed_over(self) -> None:
        found = steps([run(0.5, 0.4, 0.6), run(None), run(0.8, 0.7, 0.9)])
        assert [step.direction for step in found] == ["first", "unmeasured", "improving"]

    def test_of_the_criterion_that_decides(self) -> None:
        assert [step.change for step in steps([run(0.5, primary="judge"), run(0.9, primary="judge")])] == [None, 0.0]


class TestStep:
    @pytest.mark.parametrize(("model", "step"), [("ft:a:b::c", None), ("ft:a:b::c:ckpt-step-120", 120), ("echo", None)])
    def test_is_read_from_a_checkpoints_name(self, model: str, step: int | None) -> None:
        assert step_of(model) == step
