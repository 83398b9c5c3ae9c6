"""Recipes of datasets as a form has them."""

from typing import Any

import msgspec
import pytest
from litestar.datastructures import FormMultiDict

from admin.console import recipes
from admin.console.api import ApiRefused
from gateway.protocol.recipes import Recipe


def complete(recipe: dict[str, Any]) -> dict[str, Any]:
    return msgspec.to_builtins(msgspec.convert(recipe, Recipe))


def paths(value: Any, path: str = "") -> set[str]:
    """Of every field."""
    if isinstance(value, dict):
        return {found for name, each in value.items() for found in paths(each, f"{path}.{name}")}
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return paths(value[0], f"{path}[]")
    return {path}


class TestThereAndBack:
    @pytest.mark.parametrize(
        "recipe",
        [
            {"kind": "sft"},
            {
                "kind": "preference",
                "pairs": {
                    "sources": ["votes"], "min_margin": 0.35, "balance_length": True, "allow_refusals": True,
                    "max_similarity": 0.5, "min_differing_tokens": 0,
                },
            },
            {
                "kind": "sft",
                "sources": {
                    "exchanges": {
                        "models": ["a", "b"], "routes": ["way"], "metadata": {"team": "x=y"}, "excluded": ["req_1"],
                        "created_after": 1_700_000_001, "created_before": 1_800_000_000,
                    },
                    "examples": {"tags": ["billing"], "min_score": 0.5, "excluded": ["example_1"]},
                },
                "criteria": [
                    {"criterion": "accurate", "source": "llm", "min_score": 0.75, "min_judges": 2, "agreement": 0.667},
                    {"criterion": "thumbs", "passed": False},
                    {"criterion": "tone", "labels": ["warm", "kind"], "version": 2},
                    *({"criterion": f"c{place}", "passed": True} for place in range(17)),
                ],
                "positive": {"unjudged": True, "edits": False},
                "turns": {"learn": "every", "max_turns": 4},
                "caps": {"per_user": 20, "total": 5000},
                "system": {"prompt": "replace", "text": "Be kind."},
                "redaction": {"kinds": ["email"], "region": "DE"},
                "duplicates": {"near": False, "threshold": 0.9},
                "split": {"validation": 0.125, "by": ["conversation", "user"], "threshold": 0.75},
                "contamination": {"evals": ["eval_1"], "files": ["file-1", "file-2"], "threshold": 0.3},
                "self_training": {"max_share": 0, "max_depth": 1},
            },
        ],
    )  # fmt: skip
    def test_the_form_says_it(self, recipe: dict[str, Any]) -> None:
        fields = recipes.fields_for(complete(recipe))
        assert not fields.get("json")
        assert complete(recipes.recipe_of(fields)) == complete(recipe)

    @pytest.mark.parametrize(
        "recipe",
        [
            {"kind": "sft", "pairs": {"min_margin": 0.5}},
            {"kind": "sft", "sources": {"exchanges": {"models": ["with, comma"]}}},
            {"kind": "sft", "sources": {"exchanges": {"metadata": {"note": "two\nlines"}}}},
        ],
    )
    def test_what_the_form_cannot_say_is_json(self, recipe: dict[str, Any]) -> None:
        fields = recipes.fields_for(complete(recipe))
        assert complete(recipes.recipe_of(fields)) == complete(recipe)
        assert fields["json"]

    def test_a_new_form_is_the_usual_recipe(self) -> None:
        assert complete(recipes.recipe_of(recipes.usual())) == complete({"kind": "sft"})

    def test_there_is_always_a_row_for_one_more_condition(self) -> None:
        assert recipes.conditions({}) == 3
        assert recipes.conditions({"criterion_2": "thumbs"}) == 4
        assert recipes.conditions({"criterion_19": "thumbs"}) == 20

    def test_every_part_of_a_recipe_is_on_the_form(self) -> None:
        """Whoever adds a field to recipes adds it to the form, or it is seen here."""
        said = complete(recipes.recipe_of(recipes.usual() | {"kind": "preference", "criterion_0": "thumbs"}))
        sent = recipes.recipe_of(
            dict.fromkeys(recipes.fields_for(said), "7")
            | {
                "json": "",
                "metadata": "a=b",
                "created_after": "2026-01-01",
                "created_before": "2026-01-02",
                "kind": "preference",
                "criterion_0": "c",
                "labels_0": "l",
                "version_0": "1",
                "source_0": "llm",
                "passed_0": "true",
                "min_score_0": "1",
                **{name: ["x"] for name in recipes.SEVERAL},
            }
        )
        assert paths(sent) == paths(
            complete(
                {
                    "kind": "preference",
                    "criteria": [{"criterion": "c"}],
                    "sources": {"exchanges": {"metadata": {"a": "b"}}, "examples": {}},
                }
            )
        )


class TestReading:
    def test_a_box_that_is_not_ticked_is_off(self) -> None:
        fields = recipes.fields_of(FormMultiDict([("kind", "sft"), ("from_log", "true"), ("redaction", "email")]))
        recipe = complete(recipes.recipe_of(fields))
        assert recipe["redaction"]["kinds"] == ["email"]
        assert not any(recipe["positive"].values())
        assert recipe["sources"] == {"exchanges": complete({"kind": "sft"})["sources"]["exchanges"], "examples": None}

    def test_what_is_no_number_goes_on_as_it_is(self) -> None:
        recipe = recipes.recipe_of(recipes.usual() | {"total": "many"})
        assert recipe["caps"] == {"total": "many"}

    @pytest.mark.parametrize(
        ("fields", "param"),
        [
            ({"json": "{"}, "json"),
            ({"json": "[]"}, "json"),
            ({"created_after": "yesterday"}, "recipe.sources.exchanges.created_after"),
            ({"metadata": "team"}, "recipe.sources.exchanges.metadata"),
        ],
    )
    def test_what_cannot_be_read_names_its_field(self, fields: dict[str, str], param: str) -> None:
        with pytest.raises(ApiRefused) as refused:
            recipes.recipe_of(recipes.usual() | fields)
        assert refused.value.param == param


class TestDifferences:
    def test_paths_with_both_values(self) -> None:
        before, after = (
            complete({"kind": "sft"}),
            complete({"kind": "sft", "caps": {"total": 10}, "split": {"validation": 0}}),
        )
        assert recipes.differences(before, after) == [("caps.total", "none", "10"), ("split.validation", "0.1", "0.0")]

    def test_of_the_same_there_are_none(self) -> None:
        assert recipes.differences(complete({"kind": "sft"}), complete({"kind": "sft"})) == []


class TestWithout:
    def test_adds_to_what_is_left_out_already(self) -> None:
        recipe = complete({"kind": "sft", "sources": {"exchanges": {"excluded": ["a"]}, "examples": {}}})
        changed = recipes.without(recipe, ["b", "a"], ["e"])
        assert changed["sources"]["exchanges"]["excluded"] == ["a", "b"]
        assert changed["sources"]["examples"]["excluded"] == ["e"]
        assert recipe["sources"]["exchanges"]["excluded"] == ["a"]
