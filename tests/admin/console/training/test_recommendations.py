"""The decision tree, branch by branch."""

from typing import Any

import pytest

from admin.console.training.recommendations import Change, Situation, change_in, recommended, tips, warnings


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
