"""What is to be in order before a start."""

from typing import Any

from admin.console.training.checklist import checklist


def estimate(cost: float | None = 1.0, *, fits: bool = True) -> dict[str, Any]:
    option = {"training_type": "lora", "fits": fits, "advice": "use qlora", "cost_usd": cost}
    return {"options": [option], "training": {"type": "lora"}, "hardware": {"name": "GPU"}}


def budget(left: float | None, *, exhausted: bool = False) -> dict[str, Any]:
    return {"remaining_usd": left, "exhausted": exhausted}


REPORT = {"examples": 100, "bad_examples": 0, "score": 90}


def states(report: Any = REPORT, told: Any = None, budgets: Any = (), *, validation: bool = True) -> list[str]:
    return [each.state for each in checklist(report, told or estimate(), budgets, has_validation=validation)]


def test_all_is_well() -> None:
    assert states(budgets=[budget(5.0)]) == ["good"] * 5


def test_each_thing_that_is_not() -> None:
    assert states(REPORT | {"bad_examples": 2})[0] == "bad"
    assert states(REPORT | {"score": 40})[1] == "warn"
    assert states(validation=False)[2] == "warn"
    assert states(told=estimate(fits=False))[3] == "bad"
    assert states(budgets=[budget(0.5)])[4] == "bad"
    assert states(budgets=[budget(None, exhausted=True)])[4] == "bad"
    assert states(told=estimate(None))[4] == "warn"
    assert states(None)[0] == "bad"


def test_nothing_could_be_estimated() -> None:
    assert [each.state for each in checklist(REPORT, None, [], has_validation=True)][3:] == ["warn", "warn"]
