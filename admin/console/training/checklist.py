"""What is to be in order before a training starts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

GOOD_SCORE = 70
"""Of a file's report, 0 to 100."""


@dataclass(frozen=True, slots=True)
class Item:
    state: str
    """good, warn or bad."""
    text: str


def checklist(report: Any, estimate: Any, budgets: Sequence[Any], *, has_validation: bool) -> list[Item]:
    """Args: report: of the training file; estimate: of the job; either may be missing. budgets: GET /v1/budgets/current."""
    return [*_data(report, has_validation=has_validation), *_machine(estimate), *_money(estimate, budgets)]


def chosen_option(estimate: Any) -> Any:
    """What the job will be trained with."""
    return next(each for each in estimate["options"] if each["training_type"] == estimate["training"]["type"])


def _data(report: Any, *, has_validation: bool) -> list[Item]:
    if report is None:
        return [Item("bad", "The data cannot be read.")]
    good, bad = report["examples"] - report["bad_examples"], report["bad_examples"]
    items = [
        Item("good", f"{good:,} usable examples.")
        if not bad
        else Item("bad", f"{bad:,} examples are broken: mend the file."),
        Item(
            "good" if report["score"] >= GOOD_SCORE else "warn",
            f"The data's score is {report['score']} of 100"
            + ("." if report["score"] >= GOOD_SCORE else ": see its report."),
        ),
    ]
    if has_validation:
        return [*items, Item("good", "There is validation data: overfitting will show.")]
    return [*items, Item("warn", "There is no validation data: overfitting will not show.")]


def _machine(estimate: Any) -> list[Item]:
    if estimate is None:
        return [Item("warn", "Nothing could be estimated; the job may start all the same.")]
    option = chosen_option(estimate)
    name = estimate["hardware"]["name"]
    if option["fits"]:
        return [Item("good", f"It fits into the memory of {name}.")]
    return [
        Item("bad", f"It does not fit into the memory of {name}: {option['advice'] or 'choose a smaller setting.'}")
    ]


def _money(estimate: Any, budgets: Sequence[Any]) -> list[Item]:
    cost = chosen_option(estimate)["cost_usd"] if estimate else None
    if any(each["exhausted"] for each in budgets):
        return [Item("bad", "A budget is used up: the job would be refused.")]
    if cost is None:
        return [Item("warn", "Training has no price here, so no budget is checked.")]
    left = [each["remaining_usd"] for each in budgets if each["remaining_usd"] is not None]
    if left and cost > min(left):
        return [Item("bad", f"It costs about ${cost:,.2f}, and ${min(left):,.2f} are left in the budget.")]
    return [Item("good", f"The budget covers it (${min(left):,.2f} are left)." if left else "No budget limits it.")]
