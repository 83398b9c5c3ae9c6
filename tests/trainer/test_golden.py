"""Training against files that a person has read, for six families of templates (`tests/trainer/golden/__init__.py`)."""

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from typing import Any

import pytest

pytest.importorskip("torch")

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from tests.trainer.golden.answers import is_refused
from tests.trainer.golden.families import CONVERSATIONS, FAMILIES, HERE, TEMPLATES, make_tokenizer
from tests.trainer.golden.report import read, report, tokenized
from trainer.labels import IGNORED, ChatLabels, Tokenized

pytestmark = pytest.mark.train

GOLDEN = {family: (HERE / f"{family}.txt").read_text(encoding="utf-8") for family in FAMILIES}
CASES = [(family, name) for family in FAMILIES for name in CONVERSATIONS if not is_refused(family, name)]


@cache
def tokenizer_of(family: str) -> Any:
    return make_tokenizer(family)


def sequences(family: str, name: str) -> list[Tokenized]:
    return tokenized(ChatLabels(tokenizer_of(family)), name)


@cache
def make_model() -> LlamaForCausalLM:
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    return LlamaForCausalLM(LlamaConfig(vocab_size=2048, num_key_value_heads=2, **sizes))


def answers(labels: np.ndarray) -> Iterator[list[int]]:
    """The token ids of each answer that carries loss."""
    trained = np.flatnonzero(labels != IGNORED)
    for run in np.split(trained, np.flatnonzero(np.diff(trained) > 1) + 1):
        yield labels[run].tolist()


class TestFiles:
    @pytest.mark.parametrize("family", FAMILIES)
    def test_tokens_and_loss_are_those_that_were_read(self, family: str):
        """If the change is meant, write the files anew: .venv/bin/python -m tests.trainer.golden"""
        assert report(tokenizer_of(family)).splitlines() == GOLDEN[family].splitlines()

    def test_every_family_has_its_template(self):
        assert list(FAMILIES) == list(TEMPLATES)

    @pytest.mark.parametrize("family", FAMILIES)
    def test_most_conversations_are_not_refused_except_by_who_asks_for_thoughts(self, family: str):
        refused = GOLDEN[family].count("! refused")
        assert (refused > len(CONVERSATIONS) // 2) is (family == "deepseek_r1")


@pytest.mark.parametrize(("family", "name"), CASES)
class TestEverySequence:
    def test_has_exactly_the_bos_that_the_template_writes(self, family: str, name: str):
        tokenizer = tokenizer_of(family)
        for sequence in sequences(family, name):
            bos = 0 if tokenizer.bos_token is None else 1
            assert sequence.ids.tolist().count(tokenizer.bos_token_id) == bos
            assert not bos or sequence.ids[0] == tokenizer.bos_token_id

    def test_trains_the_end_of_every_answer(self, family: str, name: str):
        for sequence in sequences(family, name):
            assert sequence.ended
            for answer in answers(sequence.labels):
                assert answer[-1] == tokenizer_of(family).eos_token_id

    def test_trains_each_answer_that_has_weight_once(self, family: str, name: str):
        found = [answer for sequence in sequences(family, name) for answer in answers(sequence.labels)]
        weights = [turn.get("weight", 1) for turn in CONVERSATIONS[name]["messages"] if turn["role"] == "assistant"]
        assert len(found) == sum(weights)


@pytest.mark.parametrize("family", ["chatml", "llama3", "gemma", "mistral"])
class TestGradients:
    """Of the conversation whose second answer alone has weight 1: "It is red."."""

    def gradients(self, ids: list[int], trained: list[int]) -> list[torch.Tensor]:
        """The loss on the tokens at `trained`, and the gradient of every parameter."""
        model = make_model()
        model.zero_grad()
        logits = model(input_ids=torch.tensor([ids])).logits[0, [at - 1 for at in trained]]
        loss = torch.nn.functional.cross_entropy(logits, torch.tensor([ids[at] for at in trained]))
        loss.backward()
        return [loss.detach(), *(parameter.grad.clone() for parameter in model.parameters())]

    def by_labels(self, sequence: Tokenized) -> list[torch.Tensor]:
        """As a trainer computes them: the model is given the labels."""
        model = make_model()
        model.zero_grad()
        ids, labels = (torch.as_tensor(row, dtype=torch.int64)[None] for row in (sequence.ids, sequence.labels))
        loss = model(input_ids=ids, labels=labels).loss
        loss.backward()
        return [loss.detach(), *(parameter.grad.clone() for parameter in model.parameters())]

    def relabelled(self, family: str, **changed: Any) -> Tokenized:
        """The conversation with another last answer."""
        example = read("weights")
        messages = [*example.messages[:-1], {**example.messages[-1], **changed}]
        (sequence,) = ChatLabels(tokenizer_of(family)).tokens([replace(example, messages=messages)], "training_file")
        return sequence

    def same(self, left: list[torch.Tensor], right: list[torch.Tensor]) -> bool:
        return all(torch.allclose(one, other, atol=1e-6) for one, other in zip(left, right, strict=True))

    def test_come_from_the_answer_with_weight_alone(self, family: str):
        (sequence,) = sequences(family, "weights")
        tokenizer, ids = tokenizer_of(family), sequence.ids.tolist()
        ends = [at for at, token in enumerate(ids) if token == tokenizer.eos_token_id]
        red = next(at for at in range(len(ids), 0, -1) if "red." in tokenizer.decode(ids[at:]))
        end = next(at for at in ends if at > red)
        begin = next(at for at in range(end, 0, -1) if tokenizer.decode(ids[at:end]).strip() == "It is red.")
        assert self.same(self.by_labels(sequence), self.gradients(ids, list(range(begin, end + 1))))

    def test_do_not_change_with_the_text_of_a_later_answer_without_weight(self, family: str):
        (sequence,) = sequences(family, "weights")
        other = self.relabelled(family, content="No grass here, my friend.")
        assert not np.array_equal(sequence.ids, other.ids)
        assert self.same(self.by_labels(sequence), self.by_labels(other))

    def test_change_once_it_has_weight(self, family: str):
        (sequence,) = sequences(family, "weights")
        example = read("weights")
        weighted = replace(example, trained=(*example.trained, len(example.messages) - 1))
        (other,) = ChatLabels(tokenizer_of(family)).tokens([weighted], "training_file")
        assert not self.same(self.by_labels(sequence), self.by_labels(other))
