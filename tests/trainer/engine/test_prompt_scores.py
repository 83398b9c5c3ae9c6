"""Log probabilities of a prompt's own tokens, against one forward pass over the whole prompt. What real vLLM says of the
same prompts is in tests/vllm/test_probe.py."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.trainer.engine.wire import RunningEngine, error_of, load, post, stream, unload
from trainer.engine.prompt_scores import Score, scores
from trainer.engine.vocabulary import Vocabulary

pytestmark = pytest.mark.train

Entries = list[dict[str, dict[str, Any]] | None]


@pytest.fixture(scope="module")
def tokenizer(nano_model: Path) -> Any:
    return AutoTokenizer.from_pretrained(nano_model)


@pytest.fixture(scope="module")
def base(nano_model: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(nano_model).eval()


@pytest.fixture(scope="module")
def adapted(nano_model: Path, adapter_a: Path) -> Any:
    return PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(nano_model), adapter_a).eval()


@pytest.fixture(scope="module", autouse=True)
def loaded(served: RunningEngine, adapter_a: Path) -> Iterator[None]:
    load(served.url, "scored", adapter_a)
    yield
    unload(served.url, "scored")


def ids_of(length: int) -> list[int]:
    """Of any tokens but the special ones."""
    return [5 + 37 * at % 300 for at in range(length)]


def asked(served: RunningEngine, prompt: Any, **fields: Any) -> list[dict[str, Any]]:
    """The choices."""
    body = {"model": "nano", "prompt": prompt, "max_tokens": 1, "temperature": 0, "prompt_logprobs": 0, **fields}
    status, _, raw = post(served, "/v1/completions", body)
    assert status == 200, raw
    return json.loads(raw)["choices"]


def logprobs_of(entries: Entries, ids: list[int]) -> list[float]:
    assert entries[0] is None
    assert len(entries) == len(ids)
    return [entry[str(token)]["logprob"] for entry, token in zip(entries[1:], ids[1:], strict=True) if entry]


@torch.inference_mode()
def in_one_pass(model: Any, ids: list[int]) -> torch.Tensor:
    """[tokens - 1, vocabulary]"""
    return model(torch.tensor([ids])).logits[0, :-1].double().log_softmax(-1)


class TestNumbers:
    @pytest.mark.parametrize("length", [1, 2, 127, 128, 129, 130, 255])
    @pytest.mark.parametrize("name", ["nano", "scored"])
    def test_are_those_of_one_pass(
        self, served: RunningEngine, base: Any, adapted: Any, tokenizer: Any, name: str, length: int
    ) -> None:
        """Pieces of 128 tokens are read: the last token of one predicts the first of the next."""
        ids = ids_of(length)
        (choice,) = asked(served, ids, model=name)
        expected = in_one_pass(base if name == "nano" else adapted, ids)
        picked = [float(row[token]) for row, token in zip(expected, ids[1:], strict=True)]
        assert logprobs_of(choice["prompt_logprobs"], ids) == pytest.approx(picked, abs=1e-3)

    def test_of_base_and_adapter_differ(self, served: RunningEngine) -> None:
        ids = ids_of(20)
        found = [logprobs_of(asked(served, ids, model=name)[0]["prompt_logprobs"], ids) for name in ("nano", "scored")]
        assert max(abs(one - other) for one, other in zip(*found, strict=True)) > 0.1

    def test_do_not_depend_on_what_else_runs(self, served: RunningEngine) -> None:
        prompts = [ids_of(length) for length in (10, 150, 130, 40)]
        names = ["nano", "scored", "nano", "scored"]
        alone = [asked(served, ids, model=name) for ids, name in zip(prompts, names, strict=True)]
        with ThreadPoolExecutor(8) as pool:
            others = [
                pool.submit(asked, served, "hello", model=name, max_tokens=60, prompt_logprobs=None) for name in names
            ]
            together = list(pool.map(lambda one: asked(served, one[0], model=one[1]), zip(prompts, names, strict=True)))
            assert all("prompt_logprobs" not in other.result()[0] for other in others)
        assert together == alone

    def test_of_the_most_probable_tokens_beside_it(self, served: RunningEngine, base: Any) -> None:
        ids = ids_of(40)
        (choice,) = asked(served, ids, prompt_logprobs=5)
        for row, token, entry in zip(in_one_pass(base, ids), ids[1:], choice["prompt_logprobs"][1:], strict=True):
            best = row.topk(5)
            ranked = {int(one): place for place, one in enumerate(best.indices.tolist(), start=1)}
            assert set(entry) == {str(token), *map(str, ranked)}
            assert next(iter(entry)) == str(token), "the prompt's own token comes first"
            assert entry[str(token)]["rank"] == int((row >= row[token]).sum())
            assert {int(one): entry[str(one)]["rank"] for one in ranked} == ranked
            values = [entry[str(one)]["logprob"] for one in ranked]
            assert values == pytest.approx(best.values.tolist(), abs=1e-3)


class TestShape:
    def test_a_text_is_scored_as_its_tokens(self, served: RunningEngine, tokenizer: Any) -> None:
        text = "the sky says hello 🙂"
        as_text, as_ids = asked(served, text), asked(served, tokenizer(text).input_ids)
        assert as_text == as_ids

    def test_every_choice_of_every_prompt_has_its_prompts(self, served: RunningEngine) -> None:
        first, second = ids_of(6), ids_of(9)
        choices = asked(served, [first, second], n=2)
        assert [len(choice["prompt_logprobs"]) for choice in choices] == [6, 6, 9, 9]
        assert choices[0]["prompt_logprobs"] == choices[1]["prompt_logprobs"]

    def test_the_answer_is_written_as_without_them(self, served: RunningEngine) -> None:
        with_them, without = (asked(served, ids_of(140), max_tokens=30, prompt_logprobs=top)[0] for top in (2, None))
        assert with_them.pop("prompt_logprobs")
        assert with_them == without

    def test_a_stream_has_none(self, served: RunningEngine) -> None:
        body = {"model": "nano", "prompt": "hello", "stream": True, "prompt_logprobs": 1}
        status, error = error_of(served, "/v1/completions", body)
        assert (status, error["param"]) == (400, "prompt_logprobs")
        chunks = stream(served, "/v1/completions", prompt="hello", max_tokens=2, prompt_logprobs=0)
        assert "prompt_logprobs" not in chunks[0]["choices"][0]

    @pytest.mark.parametrize("asked", [-1, 21, "2", 1.5])
    def test_0_to_20(self, served: RunningEngine, asked: Any) -> None:
        body = {"model": "nano", "prompt": "hello", "prompt_logprobs": asked}
        status, error = error_of(served, "/v1/completions", body)
        assert (status, error["param"]) == (400, "prompt_logprobs")

    def test_probabilities_of_nothing_are_numbers_in_json(self) -> None:
        logits = torch.tensor([[0.0, float("-inf"), 0.0]])
        assert scores(logits, [1], 1) == [[Score(1, float("-inf"), 3), Score(0, pytest.approx(-0.6931, abs=1e-4), 1)]]

    def test_of_nothing_that_follows_are_none(self) -> None:
        assert scores(torch.zeros(0, 3), [], 2) == []


class TestDecodedTokens:
    def test_join_to_the_prompt(self, served: RunningEngine, tokenizer: Any) -> None:
        """The parts of a character are "", and what completes it is the character."""
        text = "naïve 🚀 語<|im_end|> é€ 𝄞 end"
        ids = tokenizer(text).input_ids
        (choice,) = asked(served, ids)
        shown = [
            entry[str(token)]["decoded_token"]
            for entry, token in zip(choice["prompt_logprobs"][1:], ids[1:], strict=True)
        ]
        assert tokenizer.decode(ids[:1]) + "".join(shown) == text
        assert "" in shown

    def test_what_never_becomes_a_character_is_nothing(self, tokenizer: Any) -> None:
        vocabulary = Vocabulary(tokenizer, frozenset())
        half = tokenizer.convert_tokens_to_ids("ð")  # the first byte of an emoji
        assert vocabulary.piece(half, []) == ""
        assert vocabulary.piece(half, [tokenizer.convert_tokens_to_ids("a")]) == ""
