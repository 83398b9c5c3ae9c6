"""Whole runs on a model of 0.1 M parameters, in this process."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("trl")

import torch
from safetensors.torch import load_file

from tests.trainer.jobs import COLOUR_CHATS, chat, write_job
from tests.trainer.runs import ONE_BATCH, by_step, events, only, result, run
from trainer import devices
from trainer.contract import (
    CheckpointSaved,
    Message,
    Started,
    StepMetrics,
    Succeeded,
)
from trainer.data import read_examples
from trainer.labels import ChatLabels
from trainer.methods.supervised import TokenWeightedTrainer
from trainer.tally import Tally

pytestmark = pytest.mark.train

MakeJob = Callable[..., Path]


@pytest.fixture(scope="session")
def by_hand(nano_model: Path) -> Callable[[Path], tuple[float, float]]:
    """A file -> loss and accuracy of the base model on its label tokens, example by example, without any trainer."""

    def measure(path: Path) -> tuple[float, float]:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        model = AutoModelForCausalLM.from_pretrained(nano_model)
        labelled = ChatLabels(AutoTokenizer.from_pretrained(nano_model)).label(
            read_examples(path, "training_file"), 128, "training_file"
        )
        nll = correct = count = 0.0
        for ids, labels in zip(labelled.input_ids, labelled.labels, strict=True):
            with torch.no_grad():
                scores = model(torch.tensor(ids[None], dtype=torch.int64)).logits[0, :-1].log_softmax(-1)
            for position, label in enumerate(labels[1:].tolist()):
                if label != -100:
                    nll -= scores[position, label].item()
                    correct += scores[position].argmax().item() == label
                    count += 1
        return nll / count, correct / count

    return measure


UNEVEN = [*COLOUR_CHATS[:4], chat("what is the colour of a rose?", "It is red, and the sky is blue, I think. " * 2)]


@pytest.fixture(scope="module")
def uneven_job(tmp_path_factory: pytest.TempPathFactory, nano_model: Path) -> Path:
    """Answers of very different lengths, all in one batch, and no learning: each step measures the base model."""
    directory = tmp_path_factory.mktemp("uneven") / "job"
    write_job(
        directory,
        nano_model,
        [*COLOUR_CHATS, *UNEVEN],
        UNEVEN,
        batch_size=17,
        n_epochs=2,
        learning_rate_multiplier=1e-12,
    )
    assert run(directory) == 0
    return directory


@pytest.fixture(scope="module")
def told_job(tmp_path_factory: pytest.TempPathFactory, nano_model: Path) -> Path:
    """Five epochs of three steps."""
    directory = tmp_path_factory.mktemp("told") / "job"
    write_job(directory, nano_model, COLOUR_CHATS, COLOUR_CHATS[:5], batch_size=4, n_epochs=5)
    assert run(directory) == 0
    return directory


class TestNumbers:
    def test_training_loss_is_weighted_by_tokens(self, uneven_job: Path, by_hand):
        loss, accuracy = by_hand(uneven_job / "training.jsonl")
        first = by_step(uneven_job)[1]
        assert first.train_loss == pytest.approx(loss, rel=1e-5)
        assert first.train_mean_token_accuracy == pytest.approx(accuracy)

    def test_full_validation_loss_is_weighted_by_tokens(self, uneven_job: Path, by_hand):
        loss, accuracy = by_hand(uneven_job / "validation.jsonl")
        first = by_step(uneven_job)[1]
        assert first.full_valid_loss == pytest.approx(loss, rel=1e-5)
        assert first.full_valid_mean_token_accuracy == pytest.approx(accuracy)
        assert first.valid_loss is not None

    def test_tokens_are_counted_without_padding(self, uneven_job: Path):
        started = only(uneven_job, Started)[0]
        assert started.trained_tokens == started.training.tokens * 2
        assert result(uneven_job).trained_tokens == started.trained_tokens


class TestMicroBatches:
    def test_change_neither_loss_nor_gradient(self, make_job: MakeJob, monkeypatch: pytest.MonkeyPatch):
        whole = make_job("whole", **ONE_BATCH)
        run(whole)
        monkeypatch.setattr("trainer.memory.TOKENS_AT_ONCE", {"cpu": 64})
        parts = make_job("parts", **ONE_BATCH)
        run(parts)
        for step, metrics in by_step(whole).items():
            assert by_step(parts)[step].train_loss == pytest.approx(metrics.train_loss, rel=1e-5)
        weights, others = (load_file(job / "adapter" / "adapter_model.safetensors") for job in (whole, parts))
        assert all(torch.allclose(weights[name], others[name], atol=1e-5) for name in weights)


class TestActivationCheckpointing:
    def test_changes_no_number(self, make_job: MakeJob, monkeypatch: pytest.MonkeyPatch):
        kept = make_job("kept", **ONE_BATCH)
        run(kept)
        monkeypatch.setattr("trainer.hyperparameters._LARGE_MODEL", 0)
        recomputed = make_job("recomputed", **ONE_BATCH)
        assert run(recomputed) == 0
        losses = [[metrics.train_loss for metrics in by_step(job).values()] for job in (kept, recomputed)]
        assert losses[0] == pytest.approx(losses[1], rel=1e-6)


class TestEvents:
    def test_are_numbered_without_gaps(self, told_job: Path):
        assert [event.sequence for event in events(told_job)] == list(range(1, len(events(told_job)) + 1))

    def test_start_with_the_numbers_of_the_run(self, told_job: Path):
        started = only(told_job, Started)[0]
        assert started.hyperparameters.n_epochs == 5
        assert started.hyperparameters.lora_rank == 32
        assert (started.training.examples, started.total_steps, started.resumed_step) == (12, 15, 0)
        assert started.validation is not None
        assert started.validation.examples == 5

    def test_every_step_of_a_short_run_is_reported(self, told_job: Path):
        steps = only(told_job, StepMetrics)
        assert [event.metrics.step for event in steps] == list(range(1, 16))
        assert all(event.total_steps == 15 and event.tokens_per_second > 0 for event in steps)
        assert steps[0].learning_rate == pytest.approx(3e-3)
        assert steps[-1].learning_rate == pytest.approx(3e-3 / 15)
        assert steps[-1].seconds_left == 0

    def test_each_epoch_has_a_checkpoint_with_its_metrics(self, told_job: Path):
        saved = only(told_job, CheckpointSaved)
        assert [(event.step, event.epoch) for event in saved] == [(3, 1), (6, 2), (9, 3), (12, 4), (15, 5)]
        assert saved[0].path == "checkpoints/step-3"
        assert saved[0].metrics == by_step(told_job)[3]
        assert saved[0].metrics.full_valid_loss is not None

    def test_each_epoch_is_told_in_words(self, told_job: Path):
        said = [event.message for event in only(told_job, Message)]
        assert said[:2] == ["Reading 12 training examples.", "Reading 5 validation examples."]
        assert said[2].startswith("Epoch 1 of 5 finished: training loss ")
        assert ", was " in said[3]

    def test_the_last_three_checkpoints_stay(self, told_job: Path):
        assert sorted(path.name for path in (told_job / "checkpoints").iterdir()) == ["step-12", "step-15", "step-9"]

    def test_the_result_is_the_last_steps(self, told_job: Path):
        succeeded = result(told_job)
        assert isinstance(succeeded, Succeeded)
        assert (succeeded.steps, succeeded.metrics) == (15, by_step(told_job)[15])

    def test_the_model_learned(self, told_job: Path):
        losses = [metrics.train_loss for metrics in by_step(told_job).values()]
        assert losses[-1] < losses[0]

    def test_another_start_does_nothing(self, told_job: Path):
        before = (told_job / "events.jsonl").read_bytes()
        assert run(told_job) == 0
        assert (told_job / "events.jsonl").read_bytes() == before


class TestAdapter:
    def test_is_what_vllm_loads(self, make_job: MakeJob, nano_model: Path):
        job = make_job(**ONE_BATCH)
        run(job)
        assert sorted(path.name for path in (job / "adapter").iterdir()) == [
            "adapter_config.json",
            "adapter_model.safetensors",
            "probe.json",
        ]
        config = json.loads((job / "adapter" / "adapter_config.json").read_text())
        assert (config["peft_type"], config["r"], config["bias"]) == ("LORA", 32, "none")
        assert config["base_model_name_or_path"] == str(nano_model)
        assert config["modules_to_save"] is None
        assert {name.rsplit(".")[-1] for name in config["target_modules"]} == {
            "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj",
        }  # fmt: skip

    def test_training_goes_on_from_one(self, make_job: MakeJob):
        first = make_job("first", batch_size=4, n_epochs=8)
        run(first)
        second = make_job("second", continue_from=str(first / "adapter"), **ONE_BATCH)
        assert run(second) == 0
        assert by_step(second)[1].train_loss == pytest.approx(result(first).metrics.train_loss, abs=0.3)
        assert by_step(second)[1].train_loss < by_step(first)[1].train_loss - 0.3

    def test_one_that_is_not_there_is_a_refusal(self, make_job: MakeJob):
        job = make_job(continue_from="nowhere")
        assert run(job) == 1
        assert result(job).code == "model_not_found"


class TestWarnings:
    def test_cut_and_skipped_examples_are_told(self, make_job: MakeJob):
        long_answer, long_question = chat("hello", "red " * 200), chat("red " * 200, "hello")
        job = make_job(training=[*COLOUR_CHATS, long_answer, long_question], **ONE_BATCH)
        assert run(job) == 0
        cut, skipped = [event.message for event in only(job, Message) if event.level == "warn"]
        assert cut.startswith("2 of 14 training examples are longer than 128 tokens")
        assert skipped.startswith("1 of 14 training examples have no assistant message to learn from")
        training = only(job, Started)[0].training
        assert (training.examples, training.truncated, training.skipped) == (14, 2, 1)


class TestRouterLoss:
    """Of a mixture of experts: a mean over the passes of a step and over the devices, however many there are."""

    @pytest.mark.parametrize("count", [1, 2])
    def test_is_a_mean(self, monkeypatch: pytest.MonkeyPatch, count: int):
        monkeypatch.setattr(devices, "count", lambda: count)
        trainer: Any = SimpleNamespace(
            aux_loss_enabled=True, router_aux_loss_coef=0.5, current_gradient_accumulation_steps=2, tally=Tally()
        )
        one = torch.ones(1, 1)
        outputs = SimpleNamespace(log_probs=-3 * one, is_top1=one, label_mask=one, aux_loss=torch.tensor(4.0))
        loss = TokenWeightedTrainer.compute_loss(
            trainer, lambda **_: outputs, {"attention_mask": one}, num_items_in_batch=6
        )
        assert loss == 3 / 6 * count + 0.5 * 4 / 2

    def test_counts_the_passes_of_a_packed_step(self, make_job: MakeJob, monkeypatch: pytest.MonkeyPatch):
        seen: list[tuple[int, int]] = []
        step, compute_loss = TokenWeightedTrainer.training_step, TokenWeightedTrainer.compute_loss

        def count_passes(trainer: Any, model: Any, inputs: Any, *rest: Any) -> Any:
            if "passes" in inputs:
                trainer.passes = len(inputs["passes"])
            return step(trainer, model, inputs, *rest)

        def look(trainer: Any, *given: Any, **named: Any) -> Any:
            seen.append((trainer.passes, trainer.current_gradient_accumulation_steps))
            return compute_loss(trainer, *given, **named)

        monkeypatch.setattr(TokenWeightedTrainer, "training_step", count_passes)
        monkeypatch.setattr(TokenWeightedTrainer, "compute_loss", look)
        assert run(make_job(packing=True, largest_micro_batch=1, **ONE_BATCH)) == 0
        assert all(passes == divisor > 1 for passes, divisor in seen)
        assert seen


class TestStarter:
    def test_learns_the_demo(self, make_job: MakeJob):
        """One epoch on the model and the data of the demo."""
        from deploy import demo
        from trainer.starter import STARTER

        data = Path(demo.__file__).parent / "data"
        chats = [
            [json.loads(line) for line in (data / name).read_text().splitlines()]
            for name in ("training.jsonl", "validation.jsonl")
        ]
        job = make_job(base_model=STARTER, training=chats[0], validation=chats[1], n_epochs=1)
        assert run(job) == 0
        started, metrics = only(job, Started)[0], by_step(job)
        assert started.hyperparameters.learning_rate == pytest.approx(3e-3)
        assert (started.training.truncated, started.training.skipped) == (0, 0)
        assert result(job).metrics.full_valid_loss < 0.5 * metrics[1].train_loss
