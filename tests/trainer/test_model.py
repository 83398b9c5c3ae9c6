"""What is trained, and what is saved of it: adapters on a base of 16 or 4 bit, and all weights."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl")

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer, Trainer

from tests.trainer.jobs import COLOUR_CHATS
from tests.trainer.runs import ONE_BATCH, losses, only, result, run, weights
from trainer.contract import CheckpointSaved, Failed, Started, StepMetrics
from trainer.hardware import Hardware

pytestmark = pytest.mark.train

MakeJob = Callable[..., Path]


@pytest.fixture(scope="session")
def half_model(tmp_path_factory: pytest.TempPathFactory, nano_model: Path) -> Path:
    """The nano model in bfloat16, with sampling settings that transformers reads but refuses to write."""
    path = tmp_path_factory.mktemp("half")
    AutoModelForCausalLM.from_pretrained(nano_model, dtype=torch.bfloat16).save_pretrained(path)
    AutoTokenizer.from_pretrained(nano_model).save_pretrained(path)
    (path / "generation_config.json").write_text('{"do_sample": false, "temperature": 0.6, "top_p": 0.9}')
    return path


def failed(job: Path) -> Failed:
    assert run(job) == 1
    return result(job)


class TestQuantized:
    @pytest.fixture
    def job(self, make_job: MakeJob) -> Path:
        job = make_job(training_type="qlora", batch_size=4, n_epochs=4)
        assert run(job) == 0
        return job

    def test_learns(self, job: Path):
        assert losses(job)[-1] < losses(job)[0] - 0.3
        chosen = only(job, Started)[0].hyperparameters
        assert (chosen.training_type, chosen.lora_rank) == ("qlora", 32)

    def test_the_base_has_four_bits(self, job: Path, make_job: MakeJob):
        """Its loss differs from that of the 16-bit base, but not by much."""
        other = make_job("lora", batch_size=4, n_epochs=4)
        assert run(other) == 0
        difference = abs(losses(job)[0] - losses(other)[0])
        assert 1e-5 < difference < 0.1

    def test_the_adapter_is_like_any_other(self, job: Path, nano_model: Path):
        assert result(job).output == "adapter"
        assert {tensor.dtype for tensor in weights(job).values()} == {torch.float32}
        config = json.loads((job / "adapter" / "adapter_config.json").read_text())
        assert (config["peft_type"], config["base_model_name_or_path"]) == ("LORA", str(nano_model))

    def test_no_digit_of_a_continued_adapter_is_lost(self, job: Path, make_job: MakeJob):
        again = make_job(
            "again",
            training_type="qlora",
            continue_from=str(job / "adapter"),
            learning_rate_multiplier=1e-12,
            **ONE_BATCH,
        )
        assert run(again) == 0
        before, after = weights(job), weights(again)
        assert all(torch.allclose(before[name], after[name], rtol=0, atol=1e-7) for name in before)

    def test_apples_gpu_is_told_so(self, make_job: MakeJob, monkeypatch: pytest.MonkeyPatch):
        apple = Hardware(device="mps", dtype=torch.float32, threads=1, name="Apple GPU")
        monkeypatch.setattr("trainer.hardware.detect", lambda: apple)
        assert failed(make_job(training_type="qlora")).message.startswith("training_type cannot be used as given")


class TestFull:
    @pytest.fixture
    def job(self, make_job: MakeJob, half_model: Path) -> Path:
        job = make_job(training_type="full", base_model=half_model, batch_size=4, n_epochs=4)
        assert run(job) == 0
        return job

    def test_learns(self, job: Path):
        assert losses(job)[-1] < losses(job)[0] - 0.3
        chosen = only(job, Started)[0].hyperparameters
        assert (chosen.training_type, chosen.lora_rank, chosen.lora_alpha) == ("full", None, None)

    def test_the_result_is_a_model_like_its_base(self, job: Path, half_model: Path):
        assert result(job).output == "model"
        before, after = load_file(half_model / "model.safetensors"), weights(job, "model")
        assert {(name, tensor.shape, tensor.dtype) for name, tensor in before.items()} == {
            (name, tensor.shape, tensor.dtype) for name, tensor in after.items()
        }
        assert not any(torch.equal(before[name], after[name]) for name in before if "layernorm" not in name)
        config = json.loads((job / "model" / "config.json").read_text())
        assert (config["dtype"], config["use_cache"]) == ("bfloat16", True)

    def test_the_result_answers_with_its_own_tokenizer(self, job: Path):
        directory = job / "model"
        tokenizer, tuned = AutoTokenizer.from_pretrained(directory), AutoModelForCausalLM.from_pretrained(directory)
        prompt = tokenizer.apply_chat_template(
            COLOUR_CHATS[0]["messages"][:1], add_generation_prompt=True, return_tensors="pt"
        )
        assert tuned.generate(**prompt, max_new_tokens=4, do_sample=False).shape[1] > prompt["input_ids"].shape[1]

    def test_checkpoints_keep_every_digit(self, job: Path):
        saved = only(job, CheckpointSaved)[-1]
        with safe_open(job / saved.path / "model.safetensors", "pt") as file:
            assert {file.get_tensor(name).dtype for name in file.keys()} == {torch.float32}  # noqa: SIM118
        assert (job / saved.path / "tokenizer.json").exists()

    def test_training_goes_on_from_it(self, job: Path, make_job: MakeJob):
        again = make_job("again", continue_from=str(job / "model"), base_model="gone", **ONE_BATCH)
        assert run(again) == 0
        assert only(again, Started)[0].hyperparameters.training_type == "full"
        assert losses(again)[0] < losses(job)[0] - 0.2

    def test_an_adapter_on_top_of_it_needs_it_as_base_model(self, job: Path, make_job: MakeJob):
        refused = make_job("refused", continue_from=str(job / "model"), training_type="lora")
        assert failed(refused).message.startswith("training_type cannot be used as given")
        allowed = make_job("allowed", base_model=str(job / "model"), training_type="lora", **ONE_BATCH)
        assert run(allowed) == 0

    def test_an_adapter_is_not_trained_further_as_full_weights(self, make_job: MakeJob):
        first = make_job("first", **ONE_BATCH)
        assert run(first) == 0
        refused = make_job("refused", continue_from=str(first / "adapter"), training_type="full")
        assert failed(refused).message.startswith("training_type cannot be used as given")

    def test_one_that_is_in_the_way_is_replaced(self, make_job: MakeJob):
        job = make_job(training_type="full", **ONE_BATCH)
        for name in ("model", "model.tmp"):
            (job / name).mkdir()
            (job / name / "model.safetensors").touch()
        assert run(job) == 0
        assert weights(job, "model")
        assert not (job / "model.tmp").exists()


SAMPLING = {"temperature": 0.6, "min_p": 0.05, "typical_p": 0.9, "length_penalty": 1.5}


class TestSamplingSettings:
    def test_that_are_used_without_sampling_come_along(self, make_job: MakeJob, nano_model: Path, tmp_path: Path):
        """transformers reads them, but refuses to write them; engines take them as defaults."""
        base = Path(shutil.copytree(nano_model, tmp_path / "base"))
        (base / "generation_config.json").write_text(json.dumps(SAMPLING))
        job = make_job(training_type="full", base_model=base, **ONE_BATCH)
        assert run(job) == 0
        for path in (job / "model", job / only(job, CheckpointSaved)[-1].path):
            written = json.loads((path / "generation_config.json").read_text())
            assert {name: written.get(name) for name in SAMPLING} == SAMPLING


class TestEveryType:
    @pytest.mark.parametrize("kind", ["lora", "qlora", "full"])
    def test_measures_the_same_tokens(self, make_job: MakeJob, kind: str):
        job = make_job(training_type=kind, **ONE_BATCH)
        assert run(job) == 0
        started, ended = only(job, Started)[0], result(job)
        assert ended.trained_tokens == started.trained_tokens == 2 * started.training.tokens
        assert ended.tokens_per_second > 0
        assert ended.peak_memory_bytes > 50_000_000
        told = only(job, StepMetrics)[-1]
        assert 50_000_000 < told.memory_bytes <= ended.peak_memory_bytes
        assert told.device_memory_bytes > told.memory_bytes
        chosen = started.hyperparameters
        assert chosen.micro_batch == 16
        assert {"micro_batch", "packing", "gradient_checkpointing", "training_type"} < set(chosen.reasons)

    @pytest.mark.parametrize("kind", ["lora", "qlora", "full"])
    def test_a_loss_that_is_no_number_is_a_failure_with_advice(self, make_job: MakeJob, kind: str):
        diverged = failed(make_job(training_type=kind, learning_rate_multiplier=1e30))
        assert (diverged.code, "smaller learning_rate_multiplier" in diverged.message) == ("training_diverged", True)

    @pytest.mark.parametrize("kind", ["lora", "qlora", "full"])
    @pytest.mark.parametrize("validation", [None, COLOUR_CHATS[:5]])
    def test_the_last_update_may_be_the_one_that_breaks_it(self, make_job: MakeJob, kind: str, validation: Any):
        """The loss before it was a number; of the weights behind it nothing is published."""
        job = make_job(
            training_type=kind, validation=validation, batch_size=16, n_epochs=1, learning_rate_multiplier=1e25
        )
        diverged = failed(job)
        assert (diverged.code, "smaller learning_rate_multiplier" in diverged.message) == ("training_diverged", True)
        assert only(job, CheckpointSaved) == []
        assert not list(job.glob("checkpoints/*"))
        assert not {path.name for path in job.iterdir()} & {"adapter", "model", "adapter.tmp", "model.tmp"}

    def test_weights_that_are_no_numbers_are_not_saved(self, make_job: MakeJob, monkeypatch: pytest.MonkeyPatch):
        """Also where the probe does not show it."""
        step = Trainer.training_step

        def poisoned(self: Any, *arguments: Any) -> Any:
            loss = step(self, *arguments)
            next(weights for weights in self.model.parameters() if weights.requires_grad).data[0, 0] = float("inf")
            return loss

        monkeypatch.setattr(Trainer, "training_step", poisoned)
        monkeypatch.setattr("trainer.probe.Prober.write", lambda *_: None)
        job = make_job(**ONE_BATCH | {"n_epochs": 1})
        assert failed(job).code == "training_diverged"
        assert only(job, CheckpointSaved) == []

    def test_weights_that_are_too_large_for_the_bases_dtype_are_no_result(
        self, make_job: MakeJob, nano_model: Path, tmp_path: Path
    ):
        """They were numbers in the 32 bits in which they were trained."""
        base = Path(shutil.copytree(nano_model, tmp_path / "base"))
        model = AutoModelForCausalLM.from_pretrained(nano_model, dtype=torch.float16)
        model.save_pretrained(base)
        job = make_job(training_type="full", base_model=base, batch_size=16, n_epochs=1, learning_rate_multiplier=1e9)
        assert failed(job).code == "training_diverged"
        assert not {path.name for path in job.iterdir()} & {"model", "model.tmp"}

    @pytest.mark.parametrize("kind", ["lora", "full"])
    def test_activation_checkpointing_changes_no_number(self, make_job: MakeJob, kind: str):
        kept = make_job("kept", training_type=kind, **ONE_BATCH)
        recomputed = make_job("recomputed", training_type=kind, gradient_checkpointing=True, **ONE_BATCH)
        assert run(kept) == run(recomputed) == 0
        assert losses(kept) == pytest.approx(losses(recomputed), rel=1e-6)


class TestWhatIsGone:
    def test_no_base_model(self, make_job: MakeJob):
        assert failed(make_job(base_model="no-such-model")).code == "model_not_found"

    def test_a_base_model_that_goes_while_the_data_is_read(self, make_job: MakeJob, half_model: Path, tmp_path: Path):
        """The directory is there, its weights are not."""
        for file in half_model.iterdir():
            if file.suffix != ".safetensors":
                (tmp_path / file.name).write_bytes(file.read_bytes())
        gone = failed(make_job(base_model=tmp_path))
        assert (gone.code, gone.message) == ("model_not_found", "The base model is not on the machine that trains.")

    @pytest.mark.parametrize("missing", ["adapter_config.json", "adapter_model.safetensors"])
    def test_no_adapter_to_train_further(self, make_job: MakeJob, missing: str):
        first = make_job("first", **ONE_BATCH)
        assert run(first) == 0
        (first / "adapter" / missing).unlink()
        gone = failed(make_job("second", continue_from=str(first / "adapter")))
        assert (gone.code, "further" in gone.message) == ("model_not_found", True)
