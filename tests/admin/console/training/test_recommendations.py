"""The decision tree, branch by branch."""

from dataclasses import replace
from typing import Any

import pytest

from admin.console.training.recommendations import (
    Base,
    Change,
    Situation,
    base_model,
    change_in,
    recommended,
    tips,
    warnings,
)


def values(**situation: Any) -> dict[str, Any]:
    plain: dict[str, Any] = {"change": "style", "matters": "balance", "examples": 800, "pairs": False}
    told = recommended(Situation(**{**plain, **situation}))
    assert all(each.why.endswith(".") for each in told)
    return {each.name: each.value for each in told}


@pytest.mark.parametrize(
    ("goal", "change"),
    [
        ("Answer in our brand's tone", "style"),
        ("Classify support tickets by product", "classify"),
        ("It should know our manuals", "knowledge"),
        ("Prefer the shorter of two replies", "prefer"),
        ("", "style"),
    ],
)
def test_a_goal_in_words(goal: str, change: Change) -> None:
    assert change_in(goal) == change


class TestRecommended:
    def test_answers_are_imitated_and_pairs_are_preferred(self) -> None:
        assert values()["method"] == "supervised"
        assert values(pairs=True) | {"method": "dpo", "beta": 0.1, "n_epochs": 1} == values(pairs=True)

    @pytest.mark.parametrize(("examples", "epochs"), [(60, 5), (100, 3), (499, 3), (500, 2), (4999, 2), (5000, 1)])
    def test_fewer_examples_take_more_passes(self, examples: int, epochs: int) -> None:
        assert values(examples=examples)["n_epochs"] == epochs

    def test_knowledge_takes_a_larger_adapter_than_style(self) -> None:
        assert (values()["lora_rank"], values(change="knowledge")["lora_rank"]) == (8, 32)
        assert values(change="knowledge", examples=40)["lora_rank"] == 8
        assert values(change="knowledge", matters="quality", examples=2000)["lora_rank"] == 64

    def test_cheap_is_left_to_the_machine_and_has_a_pass_fewer(self) -> None:
        assert values(matters="cost", examples=200) | {"type": "auto", "n_epochs": 2} == values(
            matters="cost", examples=200
        )

    def test_a_tuned_model_goes_on_in_smaller_steps(self) -> None:
        assert values(continues=True)["learning_rate_multiplier"] == 0.5
        assert values()["learning_rate_multiplier"] == 1


class TestWarnings:
    def test_preferences_without_pairs(self) -> None:
        assert "pairs" in warnings(Situation("prefer", "balance", 500, pairs=False))[0]
        assert "imitate" in warnings(Situation("style", "balance", 500, pairs=True))[0]

    def test_few_examples(self) -> None:
        assert "few" in warnings(Situation("style", "balance", 20, pairs=False))[0]
        assert warnings(Situation("style", "balance", 500, pairs=False)) == []

    def test_a_small_try_first(self) -> None:
        assert "tenth" in tips(Situation("style", "balance", 5000, pairs=False))[0]


THREE = [Base("m", False, 2_000, True), Base("s", False, 1_000, True), Base("l", False, 3_000, True)]
ANY = Situation(change="style", matters="balance", examples=200, pairs=False)


def chosen(models: list[Base], **changes: str) -> str | None:
    found = base_model(models, replace(ANY, **changes))  # type: ignore[arg-type]
    return found.value if found else None


class TestBaseModel:
    def test_by_what_matters(self) -> None:
        assert [chosen(THREE, matters=each) for each in ("cost", "balance", "quality")] == ["s", "m", "l"]

    def test_knowledge_takes_a_large_one_unless_cost_matters(self) -> None:
        assert chosen(THREE, change="knowledge") == "l"
        assert chosen(THREE, change="knowledge", matters="cost") == "s"

    def test_what_does_not_fit_or_was_tuned_is_passed_over(self) -> None:
        models = [*THREE[:2], replace(THREE[2], fits=False), Base("ft:s", True, 9_000, True)]
        assert chosen(models, matters="quality") == "m"

    def test_the_only_one_is_recommended_whatever_is_known_of_it(self) -> None:
        assert chosen([Base("one", False, None, None), Base("ft:one", True, None, None)]) == "one"

    def test_nothing_where_nothing_is_known(self) -> None:
        assert chosen([replace(each, parameters=None) for each in THREE]) is None
        assert chosen([]) is None
