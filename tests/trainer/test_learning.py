"""What every method shares, on a model of 0.1 M parameters: stopping and going on, failures, memory."""

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl")

from accelerate.data_loader import DataLoaderShard

from tests.trainer.jobs import COLOUR_CHATS, chat, write_jsonl
from tests.trainer.runs import ONE_BATCH, by_step, check_same_run, only, result, run
from trainer import checkpoints, progress
from trainer.contract import ADAPTER_FILES, CheckpointSaved, Failed, Message, Started, decode_event
from trainer.methods.supervised import TokenWeightedTrainer

pytestmark = pytest.mark.train

MakeJob = Callable[..., Path]


class TestResume:
    SPEC = {"batch_size": 4, "n_epochs": 4}

    @pytest.mark.parametrize("kind", ["lora", "qlora", "full"])
    @pytest.mark.parametrize("step", [5, 6, 12])
    def test_a_stopped_run_goes_on_bit_for_bit(self, make_job: MakeJob, stop_and_go_on, kind: str, step: int):
        """In the middle of an epoch, at its end (before its validation), and at the very end."""
        whole, job = (
            make_job(name, validation=COLOUR_CHATS[:5], training_type=kind, **self.SPEC)
            for name in ("whole", "stopped")
        )
        assert run(whole) == 0
        stop_and_go_on(job, step)
        check_same_run(job, whole)

    def test_goes_on_with_the_order_of_its_epoch(
        self, make_job: MakeJob, stop_and_go_on, monkeypatch: pytest.MonkeyPatch
    ):
        """With several processes, accelerate's loader does not tell it to the sampler (tests/trainer/test_devices.py)."""
        whole, job = (make_job(name, **self.SPEC) for name in ("whole", "stopped"))
        assert run(whole) == 0
        monkeypatch.setattr(DataLoaderShard, "set_epoch", lambda *_: None)
        stop_and_go_on(job, 5)
        check_same_run(job, whole)

    @pytest.mark.parametrize(("step", "epoch"), [(1, 0), (5, 1), (6, 2)])
    def test_a_stop_leaves_a_checkpoint_that_is_announced_once(self, make_job: MakeJob, stop_at, step: int, epoch: int):
        job = make_job(validation=COLOUR_CHATS[:5], **self.SPEC)
        stop_at(step)
        run(job)
        left = only(job, CheckpointSaved)[-1]
        assert (left.step, left.epoch, left.path) == (step, epoch, f"checkpoints/step-{step}")
        assert left.metrics == by_step(job)[step]
        assert set(ADAPTER_FILES) < {file.name for file in (job / left.path).iterdir()}
        stop_at(0)
        run(job)
        assert [event.step for event in only(job, CheckpointSaved)] == sorted({step, 3, 6, 9, 12})

    def test_checkpoints_that_were_announced_last_stay(self, make_job: MakeJob, stop_at):
        job = make_job(**self.SPEC)
        stop_at(8)
        run(job)
        stop_at(0)
        run(job)
        assert sorted(path.name for path in (job / "checkpoints").iterdir()) == ["step-12", "step-8", "step-9"]

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
        assert failed.message.startswith("Line 13: ")

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
        """Installs a memory for so many examples at once; for as many more with gradient checkpointing."""
        compute_loss = TokenWeightedTrainer.compute_loss

        def install(examples: int, more: int = 0) -> None:
            def limited(trainer: Any, model: Any, inputs: Any, *rest: Any, **named: Any) -> Any:
                fitting = examples + more * trainer.args.gradient_checkpointing
                if len(inputs["input_ids"]) > fitting:
                    raise RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory")
                return compute_loss(trainer, model, inputs, *rest, **named)

            monkeypatch.setattr(TokenWeightedTrainer, "compute_loss", limited)

        return install

    def warnings(self, job: Path) -> list[str]:
        return [event.message for event in only(job, Message) if event.level == "warn"]

    @pytest.mark.parametrize("packing", [False, True])
    def test_smaller_batches_are_tried(self, make_job: MakeJob, memory_for, packing: bool):
        memory_for(5)
        job = make_job(packing=packing, **ONE_BATCH)
        assert run(job) == 0
        assert self.warnings(job) == [
            "Out of memory with 16 examples at once: going on with 8 at once.",
            "Out of memory with 8 examples at once: going on with 4 at once.",
        ]
        assert result(job).steps == 2
        assert [event.hyperparameters.micro_batch for event in only(job, Started)] == [16, 8, 4]

    def test_the_caller_may_know_that_large_ones_do_not_fit(self, make_job: MakeJob, memory_for):
        memory_for(5)
        job = make_job(largest_micro_batch=5, **ONE_BATCH)
        assert run(job) == 0
        assert self.warnings(job) == []
        assert only(job, Started)[0].hyperparameters.micro_batch == 4

    def test_then_activations_are_computed_again(self, make_job: MakeJob, memory_for):
        memory_for(0, more=1)
        job = make_job(largest_micro_batch=1, **ONE_BATCH)
        assert run(job) == 0
        assert "gradient checkpointing" in self.warnings(job)[0]
        chosen = only(job, Started)[-1].hyperparameters
        assert chosen.gradient_checkpointing
        assert "memory" in chosen.reasons["gradient_checkpointing"]

    @pytest.mark.parametrize(
        ("spec", "said", "unsaid"),
        [
            ({}, {"qlora", "context_length"}, {"gradient_checkpointing"}),
            ({"gradient_checkpointing": False}, {"qlora", "gradient_checkpointing"}, set()),
            ({"training_type": "qlora"}, {"context_length"}, {"qlora", "gradient_checkpointing"}),
        ],
    )
    def test_too_little_for_one_example_is_a_failure_with_advice(
        self, make_job: MakeJob, memory_for, spec: dict[str, Any], said: set[str], unsaid: set[str]
    ):
        memory_for(0)
        job = make_job(largest_micro_batch=1, **ONE_BATCH, **spec)
        assert run(job) == 1
        assert result(job).code == "out_of_memory"
        assert all(word in result(job).message for word in said)
        assert not any(word in result(job).message for word in unsaid)


class TestFullDisk:
    @pytest.mark.parametrize("file", ["optimizer.pt", "trainer_state.json", "probe.json"])
    def test_a_checkpoint_that_does_not_fit_is_a_failure_without_a_trace(
        self, make_job: MakeJob, monkeypatch: pytest.MonkeyPatch, file: str
    ):
        """The kernel says that there is no space, to torch and to Python."""
        if not Path("/dev/full").exists():
            pytest.skip("no /dev/full here")
        write = TokenWeightedTrainer.write_checkpoint

        def write_onto_a_full_disk(trainer: Any, path: Path) -> None:
            (path / file).symlink_to("/dev/full")
            write(trainer, path)

        monkeypatch.setattr(TokenWeightedTrainer, "write_checkpoint", write_onto_a_full_disk)
        job = make_job(**ONE_BATCH)
        assert run(job) == 1
        assert result(job).message == "The disk is full. Free some space and start the job again."
        assert only(job, CheckpointSaved) == []
        assert list((job / "checkpoints").iterdir()) == []
        monkeypatch.undo()
        assert run(job) == 0

    def test_a_result_that_does_not_fit_frees_its_space(self, make_job: MakeJob, monkeypatch: pytest.MonkeyPatch):
        def fill_the_disk(_: Any, path: Path) -> None:
            path.mkdir()
            (path / "adapter_model.safetensors").write_bytes(b"half of it")
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(TokenWeightedTrainer, "write_output", fill_the_disk)
        job = make_job(**ONE_BATCH)
        assert run(job) == 1
        assert result(job).message == "The disk is full. Free some space and start the job again."
        assert not list(job.glob("adapter*"))
