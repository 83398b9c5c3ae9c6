"""What counts as a model's advice on a training."""

import json
from typing import Any

import msgspec
import pytest
from jsonschema import Draft202012Validator

from admin.console.training import adviser
from admin.console.training.adviser import MOST_TEXT, NotUsable, Proposal, Settings
from admin.console.training.recommendations import Recommended
from admin.console.training.wish import Wish
from gateway.protocol.fine_tuning import JobCreate

MODELS = ["small", "large"]
ANSWER: dict[str, Any] = {
    "base_model": "large",
    "method": "supervised",
    "settings": {
        "type": "lora",
        "lora_rank": 32,
        "n_epochs": 3,
        "batch_size": "auto",
        "learning_rate_multiplier": 0.5,
        "context_length": "auto",
    },
    "why": "There is much to learn.",
    "risks": ["It may forget."],
    "data_to_add": ["More refusals."],
}


def completion(text: str | None, finish_reason: str = "stop") -> dict[str, Any]:
    return {"choices": [{"finish_reason": finish_reason, "message": {"role": "assistant", "content": text}}]}


def answer(**changes: Any) -> str:
    return json.dumps({**ANSWER, **changes})


def with_setting(name: str, value: Any) -> str:
    return answer(settings={**ANSWER["settings"], name: value})


class TestRead:
    def test_an_answer_of_the_asked_form(self) -> None:
        found = adviser.read(completion(answer()), MODELS)
        assert (found.base_model, found.settings.lora_rank, found.risks) == ("large", 32, ["It may forget."])

    def test_in_a_fence_as_models_without_structured_outputs_write_it(self) -> None:
        assert adviser.read(completion(f"```json\n{answer()}\n```"), MODELS).method == "supervised"

    @pytest.mark.parametrize(
        "text",
        [
            None,
            "",
            "Take the large one.",
            f"Here it is: {answer()}",
            f"Sure:\n```json\n{answer()}\n```",
            answer() + answer(),
            "[]",
            '{"base_model": "large"}',
        ],
    )
    def test_anything_else_counts_for_nothing(self, text: str | None) -> None:
        with pytest.raises(NotUsable):
            adviser.read(completion(text), MODELS)

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("lora_rank", 0),
            ("lora_rank", 513),
            ("lora_rank", "16"),
            ("lora_rank", True),
            ("n_epochs", 51),
            ("batch_size", 257),
            ("learning_rate_multiplier", 0),
            ("learning_rate_multiplier", 1000),
            ("context_length", 15),
            ("type", "rslora"),
            ("dropout", 0.1),
        ],
    )
    def test_nothing_leaves_the_ranges(self, name: str, value: Any) -> None:
        with pytest.raises(NotUsable, match="form that was asked for"):
            adviser.read(completion(with_setting(name, value)), MODELS)

    def test_only_models_that_can_be_trained_here(self) -> None:
        with pytest.raises(NotUsable, match="“huge”, which cannot be trained here"):
            adviser.read(completion(answer(base_model="huge")), MODELS)

    def test_one_that_is_cut_off(self) -> None:
        with pytest.raises(NotUsable, match="cut off"):
            adviser.read(completion(answer(), "length"), MODELS)

    @pytest.mark.parametrize(
        "reply",
        [
            None,
            [],
            "an answer",
            {},
            {"choices": None},
            {"choices": []},
            {"choices": ["an answer"]},
            {"choices": [{"message": {"content": answer()}}]},
            {"choices": [{"finish_reason": "stop"}]},
            {"choices": [{"finish_reason": "stop", "message": None}]},
            {"choices": [{"finish_reason": "stop", "message": answer()}]},
            {"choices": [{"finish_reason": "stop", "message": {"content": [{"type": "text", "text": answer()}]}}]},
            {"choices": [{"finish_reason": "stop", "message": {"content": {"text": answer()}}}]},
            {"choices": [{"finish_reason": "stop", "message": {"content": 7}}]},
        ],
    )
    def test_an_odd_reply_of_a_provider(self, reply: Any) -> None:
        with pytest.raises(NotUsable, match=r"not a chat completion|no text"):
            adviser.read(reply, MODELS)

    def test_long_texts_are_cut_and_empty_ones_left_out(self) -> None:
        found = adviser.read(completion(answer(why="a " * 5000, risks=["", *["b"] * 50])), MODELS)
        assert len(found.why) == MOST_TEXT + 1
        assert found.risks == ["b"] * 5


class TestQuestion:
    def test_holds_the_answer_to_a_schema_that_good_answers_keep(self) -> None:
        asked = adviser.question("m", {}, MODELS, with_format=True)
        held = asked["response_format"]["json_schema"]
        Draft202012Validator(held["schema"]).validate(ANSWER)
        assert not Draft202012Validator(held["schema"]).is_valid({**ANSWER, "base_model": "huge"})
        assert held["strict"] is True

    def test_tells_the_schema_where_nothing_holds_it(self) -> None:
        asked = adviser.question("m", {"wanted": "x"}, MODELS, with_format=False)
        assert "response_format" not in asked
        assert '"enum":["small","large"]' in asked["messages"][0]["content"]
        assert asked["messages"][1]["content"] == '{"wanted":"x"}'


@pytest.mark.parametrize("edge", ["lowest", "highest"])
def test_whatever_may_be_recommended_the_api_takes(edge: str) -> None:
    schema = msgspec.json.schema_components([Settings])[1]["Settings"]["properties"]
    chosen: dict[str, Any] = {"type": "qlora"}
    for name, told in schema.items():
        for kind in told.get("anyOf", []):
            if "minimum" in kind:
                chosen[name] = kind["minimum" if edge == "lowest" else "maximum"]
    assert len(chosen) == len(schema)
    proposal = adviser.read(completion(answer(settings=chosen)), MODELS)
    body = adviser.adopted(Wish({"data": "file-1"}), proposal).body("supervised")
    msgspec.convert(body, JobCreate)


class TestRows:
    def test_say_where_the_two_differ(self) -> None:
        rules = [Recommended("base_model", "small", "It is quick."), Recommended("learning_rate_multiplier", 0.5, "")]
        proposal = msgspec.convert(ANSWER, Proposal)
        told = {each.name: each for each in adviser.rows(proposal, rules)}
        assert (told["base_model"].rules, told["base_model"].why, told["base_model"].differs) == (
            "small",
            "It is quick.",
            True,
        )
        assert told["learning_rate_multiplier"].differs is False
        assert (told["batch_size"].rules, told["batch_size"].differs) == ("auto", False)

    def test_adopted_is_what_is_asked_for_next(self) -> None:
        wish = adviser.adopted(
            Wish({"goal": "g", "model": "small", "lora_rank": "8"}), msgspec.convert(ANSWER, Proposal)
        )
        assert (wish.goal, wish.model, wish.lora_rank, wish.learning_rate_multiplier) == ("g", "large", "32", "0.5")
