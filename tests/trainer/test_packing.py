"""Packed and padded are the same training, where packing is on."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("trl")

import torch
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    MambaConfig,
    MistralConfig,
    PretrainedConfig,
    Qwen2Config,
    RecurrentGemmaConfig,
)

from tests.trainer.jobs import COLOUR_CHATS, chat
from tests.trainer.runs import losses, only, result, run, weights
from trainer.batches import Padding, rows
from trainer.contract import Started
from trainer.labels import IGNORED, Labelled
from trainer.packing import Packing, _obstacle, best_fit, is_exact, label_count
from trainer.progress import Progress

pytestmark = pytest.mark.train

MakeJob = Callable[..., Path]

SIZES: dict[str, Any] = {
    "vocab_size": 64, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1,
    "intermediate_size": 64, "max_position_embeddings": 128, "pad_token_id": 0,
}  # fmt: skip
FULL_ATTENTION = [Qwen2Config(**SIZES), LlamaConfig(**SIZES), LlamaConfig(**SIZES, attn_implementation="eager")]


def examples(*lengths: int) -> Labelled:
    random = np.random.default_rng(0)
    ids = [random.integers(1, 64, length).astype(np.int32) for length in lengths]
    return Labelled(input_ids=ids, labels=[np.where(np.arange(len(row)) < 2, IGNORED, row) for row in ids])


def model_of(config: PretrainedConfig) -> Any:
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config)


def loss_and_gradients(model: Any, batches: list[dict[str, torch.Tensor]]) -> tuple[float, list[torch.Tensor]]:
    model.zero_grad()
    total = 0.0
    for batch in batches:
        labels = batch.pop("labels")
        batch.pop("tokens", None)
        scores = model(**batch, use_cache=False).logits[:, :-1].flatten(0, 1)
        loss = torch.nn.functional.cross_entropy(scores, labels[:, 1:].flatten(), reduction="sum")
        loss.backward()
        total += loss.item()
    return total, [weights.grad.clone() for weights in model.parameters()]


class TestBestFit:
    def test_fills_rows_and_loses_nothing(self):
        lengths = [3, 9, 5, 1, 10, 2]
        packed = best_fit(lengths, 10)
        assert sorted(index for row in packed for index in row) == list(range(6))
        assert [sum(lengths[index] for index in row) for row in packed] == [10, 10, 10]

    def test_equal_lengths_stay_apart(self):
        assert len(best_fit([7, 7, 7], 10)) == 3


class TestPacking:
    def test_positions_and_labels_start_again_with_every_example(self):
        (one,) = Packing(padding_id=0, tokens_at_once=100)(rows(examples(5, 3, 1)))["passes"]
        assert one["position_ids"].tolist() == [[0, 1, 2, 3, 4], [0, 1, 2, 0, 0]]
        assert (one["labels"][:, 0] == IGNORED).all()
        assert one["labels"][1, 3:].tolist() == [IGNORED, IGNORED]
        assert one["tokens"].item() == 9

    def test_passes_have_as_many_tokens_as_fit(self):
        passes = Packing(padding_id=0, tokens_at_once=12)(rows(examples(6, 5, 5, 4, 2, 1)))["passes"]
        assert [one["input_ids"].shape for one in passes] == [(2, 6), (2, 6)]

    def test_counts_the_labels_that_are_predicted(self):
        labelled = examples(5, 3, 9)
        assert label_count(Packing(0, 100)(rows(labelled))["passes"]) == labelled.summary().label_tokens


class TestParity:
    @pytest.mark.parametrize("config", FULL_ATTENTION, ids=["qwen2", "llama", "llama-eager"])
    def test_loss_and_gradients_are_those_of_padding(self, config: PretrainedConfig):
        model, batch = model_of(config), rows(examples(40, 7, 12, 20, 3, 9))
        padded = loss_and_gradients(model, [Padding(0)(batch)])
        packed = loss_and_gradients(model, Packing(0, 40)(batch)["passes"])
        assert len(Packing(0, 40)(batch)["passes"]) == 3
        assert packed[0] == pytest.approx(padded[0], rel=1e-6)
        assert all(torch.allclose(mine, theirs, atol=1e-5) for mine, theirs in zip(packed[1], padded[1], strict=True))


class TestIsExact:
    @pytest.mark.parametrize("config", FULL_ATTENTION, ids=["qwen2", "llama", "llama-eager"])
    def test_full_attention_is(self, config: PretrainedConfig):
        assert is_exact(model_of(config), examples(20, 30, 10))

    @pytest.mark.parametrize(
        "config",
        [
            MambaConfig(vocab_size=64, hidden_size=32, num_hidden_layers=2, state_size=4),
            RecurrentGemmaConfig(**SIZES, lru_width=32, attention_window_size=64),
        ],
        ids=["mamba", "recurrent_gemma"],
    )
    def test_a_state_that_goes_on_is_not(self, config: PretrainedConfig):
        assert not is_exact(model_of(config), examples(20, 30, 10))

    @pytest.mark.parametrize(("window", "longest", "allowed"), [(None, 100, True), (64, 64, True), (64, 65, False)])
    def test_a_window_shorter_than_the_longest_example_is_not(self, window: int | None, longest: int, allowed: bool):
        assert (_obstacle(MistralConfig(**SIZES, sliding_window=window), longest) is None) == allowed


LENGTHS_VARY = [*COLOUR_CHATS, *COLOUR_CHATS, chat("what is the colour of a rose?", "It is red, I think. " * 8)]


class TestJobs:
    SPEC = {"training": LENGTHS_VARY, "batch_size": 8, "n_epochs": 2}

    @pytest.mark.parametrize("kind", ["lora", "full"])
    def test_packing_changes_no_loss(self, make_job: MakeJob, kind: str):
        packed = make_job("packed", packing=True, training_type=kind, **self.SPEC)
        padded = make_job("padded", packing=False, training_type=kind, **self.SPEC)
        assert run(packed) == run(padded) == 0
        assert losses(packed) == pytest.approx(losses(padded), rel=1e-4)
        output = result(packed).output
        pairs = zip(weights(packed, output).values(), weights(padded, output).values(), strict=True)
        assert all(torch.allclose(mine, theirs, atol=1e-3) for mine, theirs in pairs)
        assert result(packed).trained_tokens == result(padded).trained_tokens

    @pytest.mark.parametrize(("training", "packs"), [(LENGTHS_VARY, True), (COLOUR_CHATS, False)])
    def test_is_on_where_lengths_vary(self, make_job: MakeJob, training: list[Any], packs: bool):
        job = make_job(**self.SPEC | {"training": training})
        assert run(job) == 0
        chosen = only(job, Started)[0].hyperparameters
        assert (chosen.packing, "tokens on average" in chosen.reasons["packing"]) == (packs, True)

    def test_a_stopped_run_goes_on_bit_for_bit(self, make_job: MakeJob, monkeypatch: pytest.MonkeyPatch):
        whole, job = (make_job(name, packing=True, **self.SPEC) for name in ("whole", "stopped"))
        assert run(whole) == 0
        count = Progress._count
        with monkeypatch.context() as patched:
            patched.setattr(
                Progress,
                "_count",
                lambda self, step: setattr(self._job.stop, "requested", step == 5) or count(self, step),
            )
            assert run(job) == 143
        assert run(job) == 0
        assert only(job, Started)[-1].resumed_step == 5
        assert losses(job) == losses(whole)
        files = [(path / "adapter" / "adapter_model.safetensors").read_bytes() for path in (job, whole)]
        assert files[0] == files[1]

    def test_where_it_would_not_be_exact_it_is_refused(self, make_job: MakeJob, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr("trainer.packing.is_exact", lambda *_: False)
        refused, without = make_job("refused", packing=True, **self.SPEC), make_job("without", **self.SPEC)
        assert run(refused) == 1
        assert result(refused).message.startswith("packing cannot be used as given: this base model mixes examples")
        assert run(without) == 0
        assert not only(without, Started)[0].hyperparameters.packing
