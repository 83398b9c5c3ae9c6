"""Whole runs on a model of 0.1 M parameters, in this process."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl")

import torch
from safetensors.torch import load_file

from tests.trainer.jobs import COLOUR_CHATS, chat, write_job, write_jsonl
from trainer import checkpoints, progress
from trainer import run as trainer_run
from trainer.contract import (
    CheckpointSaved,
    Failed,
    Message,
    Metrics,
    Started,
    StepMetrics,
    Succeeded,
    TrainingEvent,
    decode_event,
    decode_result,
)
from trainer.data import read_examples
from trainer.labels import ChatLabels
from trainer.methods.supervised import TokenWeightedTrainer
from trainer.progress import Progress
from trainer.stopping import Stop

pytestmark = pytest.mark.train

MakeJob = Callable[..., Path]
ONE_BATCH = {"batch_size": 16, "n_epochs": 2}
"""All twelve examples in each step."""


def run(directory: Path) -> int:
    return trainer_run.run(directory, Stop())


def events(directory: Path) -> list[TrainingEvent]:
    return [decode_event(line) for line in (directory / "events.jsonl").read_bytes().splitlines()]


def only(directory: Path, kind: type[Any]) -> list[Any]:
    return [event for event in events(directory) if isinstance(event, kind)]


def result(directory: Path) -> Any:
    return decode_result((directory / "result.json").read_bytes())


def by_step(directory: Path) -> dict[int, Metrics]:
    """Readers keep the last event of a step."""
    return {event.metrics.step: event.metrics for event in only(directory, StepMetrics)}


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
        monkeypatch.setattr("trainer.hardware._TOKENS_AT_ONCE", {"cpu": 64})
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


class TestResume:
    SPEC = {"batch_size": 4, "n_epochs": 4}

    @pytest.fixture
    def whole(self, make_job: MakeJob) -> Path:
        job = make_job("whole", validation=COLOUR_CHATS[:5], **self.SPEC)
        assert run(job) == 0
        return job

    @pytest.fixture
    def stop_at(self, monkeypatch: pytest.MonkeyPatch):
        count = Progress._count

        def install(stopping_step: int) -> None:
            def count_and_stop(progress: Progress, step: int) -> Any:
                progress._job.stop.requested = step == stopping_step
                return count(progress, step)

            monkeypatch.setattr(Progress, "_count", count_and_stop)

        return install

    @pytest.mark.parametrize("step", [5, 6, 12])
    def test_a_stopped_run_goes_on_bit_for_bit(self, whole: Path, make_job: MakeJob, stop_at, step: int):
        """In the middle of an epoch, at its end (before its validation), and at the very end."""
        job = make_job("stopped", validation=COLOUR_CHATS[:5], **self.SPEC)
        stop_at(step)
        assert run(job) == 143
        assert not (job / "result.json").exists()
        stop_at(0)
        assert run(job) == 0
        assert only(job, Started)[-1].resumed_step == step
        assert by_step(job) == by_step(whole)
        assert result(job).metrics == result(whole).metrics
        assert result(job).trained_tokens == result(whole).trained_tokens
        assert [event.step for event in only(job, CheckpointSaved)] == [3, 6, 9, 12]
        assert [event.metrics for event in only(job, CheckpointSaved)] == [
            event.metrics for event in only(whole, CheckpointSaved)
        ]
        weights = [(path / "adapter" / "adapter_model.safetensors").read_bytes() for path in (job, whole)]
        assert weights[0] == weights[1]

    def test_a_checkpoint_that_was_not_announced_is_announced(self, make_job: MakeJob, stop_at):
        job = make_job(**self.SPEC)
        stop_at(6)
        run(job)
        lines = (job / "events.jsonl").read_bytes().splitlines(keepends=True)
        last = max(index for index, line in enumerate(lines) if isinstance(decode_event(line), CheckpointSaved))
        (job / "events.jsonl").write_bytes(b"".join(lines[:last]))
        stop_at(0)
        run(job)
        assert [event.step for event in only(job, CheckpointSaved)] == [3, 6, 9, 12]

    def test_a_damaged_checkpoint_is_passed_over(self, make_job: MakeJob, stop_at):
        job = make_job(**self.SPEC)
        stop_at(8)
        run(job)
        with (job / "checkpoints" / "step-8" / "optimizer.pt").open("ab") as file:
            file.write(b"!")
        stop_at(0)
        assert run(job) == 0
        assert only(job, Started)[-1].resumed_step == 6

    def test_a_long_epoch_has_checkpoints_to_go_on_from(self, make_job: MakeJob, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(progress, "RESUME_CHECKPOINT_SECONDS", 0.0)
        saved = []
        seal = checkpoints.seal
        monkeypatch.setattr(
            checkpoints, "seal", lambda path, manifest: saved.append(manifest.kind) or seal(path, manifest)
        )
        job = make_job(batch_size=4, n_epochs=2)
        assert run(job) == 0
        assert saved == ["resume", "resume", "epoch"] * 2
        assert [event.step for event in only(job, CheckpointSaved)] == [3, 6]
        assert sorted(path.name for path in (job / "checkpoints").iterdir()) == ["step-3", "step-6"]


class TestFailures:
    def failed(self, job: Path) -> Failed:
        assert run(job) == 1
        failed = result(job)
        assert isinstance(failed, Failed)
        errors = [event.message for event in only(job, Message) if event.level == "error"]
        assert errors == [failed.message]
        assert "/" not in failed.message
        return failed

    def test_too_few_examples(self, make_job: MakeJob):
        failed = self.failed(make_job(training=COLOUR_CHATS[:3]))
        assert (failed.code, failed.param) == ("invalid_n_examples", "training_file")

    def test_nothing_to_learn_from(self, make_job: MakeJob):
        failed = self.failed(make_job(training=[chat("no answer")] * 10))
        assert (failed.code, failed.param) == ("invalid_training_file", "training_file")

    def test_a_bad_line(self, make_job: MakeJob):
        failed = self.failed(make_job(training=[*COLOUR_CHATS, {"messages": [{"role": "robot"}]}]))
        assert failed.message == "Line 13: message 1 has no known role."

    def test_a_bad_validation_file(self, make_job: MakeJob):
        failed = self.failed(make_job(validation=[chat("no answer")]))
        assert (failed.code, failed.param) == ("invalid_validation_file", "validation_file")

    def test_no_such_base_model(self, make_job: MakeJob):
        assert self.failed(make_job(base_model="no-such-model")).code == "model_not_found"

    def test_a_base_model_of_an_unknown_kind(self, make_job: MakeJob, tmp_path: Path):
        (tmp_path / "config.json").write_text('{"model_type": "mystery"}')
        assert self.failed(make_job(base_model=tmp_path)).code == "invalid_model"

    def test_a_learning_rate_that_diverges(self, make_job: MakeJob):
        failed = self.failed(make_job(learning_rate_multiplier=1e30))
        assert failed.code == "training_diverged"
        assert "smaller learning_rate_multiplier" in failed.message

    def test_an_unreadable_spec(self, make_job: MakeJob):
        job = make_job()
        (job / "spec.json").write_text("{}")
        assert self.failed(job).code == "server_error"

    def test_another_version_of_the_contract(self, make_job: MakeJob):
        assert "version" in self.failed(make_job(contract_version=99)).message

    def test_anything_unexpected(self, make_job: MakeJob, monkeypatch: pytest.MonkeyPatch, capsys):
        monkeypatch.setattr(TokenWeightedTrainer, "compute_loss", lambda *_, **__: 1 / 0)
        failed = self.failed(make_job())
        assert failed.code == "server_error"
        assert "ZeroDivisionError" in failed.message
        assert "Traceback" in capsys.readouterr().err

    def test_is_forgotten_at_the_next_start(self, make_job: MakeJob):
        job = make_job(training=COLOUR_CHATS[:3], **ONE_BATCH)
        assert run(job) == 1
        write_jsonl(job / "training.jsonl", COLOUR_CHATS)
        assert run(job) == 0


class TestMemory:
    @pytest.fixture
    def memory_for(self, monkeypatch: pytest.MonkeyPatch):
        compute_loss = TokenWeightedTrainer.compute_loss

        def install(examples: int) -> None:
            def limited(trainer: Any, model: Any, inputs: Any, *rest: Any, **named: Any) -> Any:
                if len(inputs["input_ids"]) > examples:
                    raise RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory")
                return compute_loss(trainer, model, inputs, *rest, **named)

            monkeypatch.setattr(TokenWeightedTrainer, "compute_loss", limited)

        return install

    def test_smaller_batches_are_tried(self, make_job: MakeJob, memory_for):
        memory_for(5)
        job = make_job(**ONE_BATCH)
        assert run(job) == 0
        said = [event.message for event in only(job, Message) if event.level == "warn"]
        assert said == [
            "Out of memory with 16 examples at once: going on with 8 at once.",
            "Out of memory with 8 examples at once: going on with 4 at once.",
        ]
        assert result(job).steps == 2

    def test_too_little_for_one_example_is_a_failure(self, make_job: MakeJob, memory_for):
        memory_for(0)
        job = make_job(**ONE_BATCH)
        assert run(job) == 1
        assert result(job).code == "out_of_memory"


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
