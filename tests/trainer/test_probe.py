"""The probe beside what was trained: which example it is of, that its numbers are the model's, and that it costs the run
nothing but a moment."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("trl")

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer, Qwen2Config, Qwen2ForCausalLM

from tests.trainer.jobs import COLOUR_CHATS, COLOUR_PAIRS, chat
from tests.trainer.runs import by_step, only, result, run
from trainer import checkpoints, probe
from trainer.contract import PROBE, PROBE_TOKENS, CheckpointSaved, Message, Probe, decode_probe
from trainer.labels import IGNORED
from trainer.probe import Asked, Prober, choose

pytestmark = pytest.mark.train

MakeJob = Callable[..., Path]
SHORT = {"batch_size": 4, "n_epochs": 2}


def sequence(*spans: int, start: int = 0) -> tuple[Any, Any]:
    """sequence(3, 2, 4, 1) has 3 tokens to read, 2 to write, 4 to read and 1 to write; ids count from `start`."""
    ids = np.arange(start, start + sum(spans), dtype=np.int32)
    labels, at = ids.copy(), 0
    for read, written in zip(spans[::2], spans[1::2], strict=True):
        labels[at : at + read] = IGNORED
        at += read + written
    return ids, labels


class TestChoose:
    def test_is_a_whole_example_where_one_fits(self):
        assert choose([sequence(3, 2)], 2048) == Asked([0, 1, 2, 3, 4], 3)

    def test_with_the_longest_answer_of_those_that_fit(self):
        found = choose([sequence(3, 2), sequence(120, 9), sequence(3, 5, start=50), sequence(9, 5)], 2048)
        assert found == Asked([*range(50, 58)], 3)

    def test_and_the_first_of_equals(self):
        assert choose([sequence(9, 2), sequence(3, 2)], 2048).first == 9

    def test_of_a_conversation_is_the_first_answer_and_what_is_before_it(self):
        assert choose([sequence(3, 2, 4, 7)], 2048) == Asked([0, 1, 2, 3, 4], 3)

    def test_a_label_on_the_very_first_token_is_no_answer(self):
        """Nothing comes before it to predict it from."""
        assert choose([sequence(0, 4)], 2048) == Asked([0, 1, 2, 3], 1)

    @pytest.mark.parametrize(
        ("spans", "first", "last"),
        [((200, 10), 118, 209), ((100, 500), 64, 163), ((2, 500), 2, 127), ((1000, 1000), 64, 1063)],
    )
    def test_that_does_not_fit_is_cut(self, spans: tuple[int, int], first: int, last: int):
        """A long prompt at its beginning, a long answer at its end, half of the room for each."""
        found = choose([sequence(*spans)], 2048)
        assert len(found.token_ids) == PROBE_TOKENS
        assert (found.first, found.token_ids[-1]) == (first, last)
        assert found.token_ids[found.first] == spans[0]

    def test_takes_the_one_that_loses_least(self):
        assert choose([sequence(1000, 9), sequence(140, 3), sequence(500, 90)], 2048).token_ids[-1] == 142

    @pytest.mark.parametrize("context", [3, 4, 20, 64])
    def test_leaves_room_for_the_token_that_an_engine_writes_behind_it(self, context: int):
        found = choose([sequence(40, 40)], context)
        assert len(found.token_ids) == context - 1
        assert 1 <= found.first < len(found.token_ids)

    def test_looks_at_a_thousand(self):
        rows = [sequence(3, 2)] * 1000
        assert choose([*rows, sequence(3, 9)], 2048).token_ids == [0, 1, 2, 3, 4]


def job_of(make_job: MakeJob, method: str, name: str = "job", **spec: Any) -> Path:
    training = COLOUR_PAIRS if method == "dpo" else COLOUR_CHATS
    return make_job(name, **{"training": training, "validation": training[:5], "method": method, **SHORT, **spec})


def read(directory: Path) -> Probe:
    return decode_probe((directory / PROBE).read_bytes())


@torch.no_grad()
def by_hand(model: Any, found: Probe) -> list[float]:
    """One token after the other, each from a forward pass of its own."""
    values = []
    for at in range(found.first, len(found.token_ids)):
        scores = model.eval()(torch.tensor([found.token_ids[:at]])).logits[0, -1]
        values.append(float(scores.double().log_softmax(-1)[found.token_ids[at]]))
    return values


RUNS = [("supervised", "lora"), ("supervised", "full"), ("dpo", "lora"), ("dpo", "full")]


class TestNumbers:
    @pytest.mark.parametrize(("method", "kind"), RUNS)
    def test_are_those_of_the_files_beside_them(self, make_job: MakeJob, nano_model: Path, method: str, kind: str):
        job = job_of(make_job, method, training_type=kind)
        assert run(job) == 0
        places = [job / result(job).output, *(job / event.path for event in only(job, CheckpointSaved))]
        assert len(places) == 3
        values = []
        for path in places:
            found = read(path)
            base: Any = AutoModelForCausalLM.from_pretrained(path if kind == "full" else nano_model)
            trained = base if kind == "full" else PeftModel.from_pretrained(base, path)
            assert found.logprobs == pytest.approx(by_hand(trained, found), abs=1e-5)
            if kind == "full":
                assert found.base_logprobs is None
            else:
                with trained.disable_adapter():
                    assert found.base_logprobs == pytest.approx(by_hand(trained, found), abs=1e-5)
                assert found.base_logprobs != pytest.approx(found.logprobs, abs=1e-4)
            assert found.dtype == "float32"
            values.append(found.logprobs)
        assert values[0] == values[2] != values[1], "the last checkpoint is the result"

    @pytest.mark.parametrize("method", ["supervised", "dpo"])
    def test_are_of_an_answer_as_it_is_trained(self, make_job: MakeJob, nano_model: Path, method: str):
        job = job_of(make_job, method)
        assert run(job) == 0
        found, tokenizer = read(job / "adapter"), AutoTokenizer.from_pretrained(nano_model)
        asked = tokenizer.decode(found.token_ids[: found.first])
        answer = tokenizer.decode(found.token_ids[found.first :])
        known = {
            (one["messages"][0]["content"], one["messages"][1]["content"]) for one in COLOUR_CHATS
        }  # also what the pairs prefer
        question = asked.removeprefix("<|im_start|>user\n").removesuffix("<|im_end|>\n<|im_start|>assistant\n")
        assert (question, answer.removesuffix("<|im_end|>")) in known
        assert answer.endswith("<|im_end|>")

    def test_of_a_four_bit_base_are_its_own(self, make_job: MakeJob, nano_model: Path):
        """They say so: the engine serves the adapter on the base that is not quantized."""
        job = job_of(make_job, "supervised", training_type="qlora")
        assert run(job) == 0
        found = read(job / "adapter")
        assert found.dtype == "nf4"
        base = by_hand(AutoModelForCausalLM.from_pretrained(nano_model), found)
        assert found.base_logprobs != pytest.approx(base, abs=1e-4)
        assert found.base_logprobs == pytest.approx(base, abs=1.0)

    def test_of_an_adapter_with_dropout_are_without_it(self, make_job: MakeJob, nano_model: Path, tmp_path: Path):
        job = job_of(make_job, "supervised", continue_from=str(with_dropout(nano_model, tmp_path / "adapter")))
        assert run(job) == 0
        found = read(job / "adapter")
        trained = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(nano_model), job / "adapter")
        assert found.logprobs == pytest.approx(by_hand(trained, found), abs=1e-5)

    def test_of_a_model_kept_in_16_bits_are_those_of_its_files(
        self, make_job: MakeJob, nano_model: Path, tmp_path: Path
    ):
        base = Path(shutil.copytree(nano_model, tmp_path / "half"))
        AutoModelForCausalLM.from_pretrained(nano_model, dtype=torch.bfloat16).save_pretrained(base)
        job = job_of(make_job, "supervised", base_model=base, training_type="full")
        assert run(job) == 0
        found = read(job / "model")
        kept: Any = AutoModelForCausalLM.from_pretrained(job / "model", dtype=torch.float32)
        assert json.loads((job / "model" / "config.json").read_text())["dtype"] == "bfloat16"
        assert found.logprobs == pytest.approx(by_hand(kept, found), abs=1e-5)


def with_dropout(model: Path, path: Path) -> Path:
    """An adapter that draws random numbers while it is trained."""
    config = LoraConfig(r=4, target_modules="all-linear", lora_dropout=0.5, task_type="CAUSAL_LM")
    get_peft_model(AutoModelForCausalLM.from_pretrained(model), config).save_pretrained(path)
    return path


class TestNothingElseChanges:
    @pytest.mark.parametrize("method", ["supervised", "dpo"])
    @pytest.mark.parametrize("kind", ["lora", "qlora", "full", "dropout"])
    def test_of_curve_weights_and_random_numbers(
        self,
        make_job: MakeJob,
        nano_model: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        method: str,
        kind: str,
    ):
        spec = {"training_type": kind}
        if kind == "dropout":
            spec = {"continue_from": str(with_dropout(nano_model, tmp_path / "adapter"))}
        probed, unprobed = (job_of(make_job, method, name, **spec) for name in ("probed", "unprobed"))
        assert run(probed) == 0
        monkeypatch.setattr(Prober, "write", lambda *_: None)
        assert run(unprobed) == 0
        assert not list(unprobed.rglob(PROBE))
        assert by_step(probed) == by_step(unprobed)
        left = [path.relative_to(unprobed) for path in unprobed.rglob("*") if path.suffix in (".safetensors", ".pth")]
        assert len(left) == 5, "the result; weights and random numbers of two checkpoints"
        for path in left:
            assert (probed / path).read_bytes() == (unprobed / path).read_bytes(), path

    def test_of_the_modes_of_its_parts(self):
        torch.manual_seed(0)
        sizes: Any = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 1, "num_key_value_heads": 1}
        network = Qwen2ForCausalLM(Qwen2Config(vocab_size=16, intermediate_size=32, **sizes))
        network.train()
        network.model.embed_tokens.eval()
        before = {name: module.training for name, module in network.named_modules()}
        with probe._evaluating(network):
            assert not any(module.training for module in network.modules())
        assert {name: module.training for name, module in network.named_modules()} == before


class TestCheckpoints:
    def test_are_sealed_with_it(self, make_job: MakeJob):
        job = job_of(make_job, "supervised")
        assert run(job) == 0
        newest = checkpoints.newest(job / "checkpoints")
        assert newest is not None
        assert newest[1].step == 6
        assert PROBE in newest[1].files
        (newest[0] / PROBE).write_bytes(b"{}")
        passed_over = checkpoints.newest(job / "checkpoints")
        assert passed_over is not None
        assert passed_over[1].step == 3


class TestTrouble:
    def warnings(self, job: Path) -> list[str]:
        return [event.message for event in only(job, Message) if event.level == "warn"]

    @pytest.mark.parametrize(
        ("error", "said"),
        [
            (torch.OutOfMemoryError("CUDA out of memory."), "there was not enough memory to measure one"),
            (MemoryError(), "there was not enough memory to measure one"),
            (KeyError("logits"), "measuring it failed (KeyError)"),
        ],
    )
    def test_ends_no_training_and_is_told_once(
        self, make_job: MakeJob, monkeypatch: pytest.MonkeyPatch, capsys: Any, error: Exception, said: str
    ):
        whole = job_of(make_job, "supervised", "whole")
        assert run(whole) == 0

        def fail(*_: Any) -> list[float]:
            raise error

        monkeypatch.setattr(probe, "log_probs", fail)
        job = job_of(make_job, "supervised")
        assert run(job) == 0
        assert len(self.warnings(job)) == 1
        assert said in self.warnings(job)[0]
        assert not list(job.rglob(PROBE))
        assert by_step(job) == by_step(whole)
        assert checkpoints.newest(job / "checkpoints") is not None
        assert ("Traceback" in capsys.readouterr().err) == isinstance(error, KeyError)

    def test_in_the_middle_leaves_the_adapter_switched_on(self, make_job: MakeJob, monkeypatch: pytest.MonkeyPatch):
        """The second of the two passes, the one without it, is the one that fails."""
        whole, job = (job_of(make_job, "supervised", name) for name in ("whole", "job"))
        assert run(whole) == 0
        measure, calls = probe.log_probs, []

        def second_fails(*given: Any) -> list[float]:
            calls.append(given)
            if len(calls) % 2 == 0:
                raise torch.OutOfMemoryError("CUDA out of memory.")
            return measure(*given)

        monkeypatch.setattr(probe, "log_probs", second_fails)
        assert run(job) == 0
        assert len(calls) == 6
        assert by_step(job) == by_step(whole)

    def test_numbers_that_are_none_are_a_failure(self, make_job: MakeJob, monkeypatch: pytest.MonkeyPatch):
        """The weights behind the last update; the loss was of those before it."""

        def nonsense(*_: Any) -> list[float]:
            raise ArithmeticError("its log-probabilities are no numbers")

        monkeypatch.setattr(probe, "log_probs", nonsense)
        job = job_of(make_job, "supervised")
        assert run(job) == 1
        assert result(job).code == "training_diverged"
        assert "its log-probabilities are no numbers" in result(job).message
        assert only(job, CheckpointSaved) == []

    def test_of_a_base_that_are_none_are_only_told(self, make_job: MakeJob, monkeypatch: pytest.MonkeyPatch):
        measure, calls = probe.log_probs, []

        def second_fails(*given: Any) -> list[float]:
            calls.append(given)
            if len(calls) % 2 == 0:
                raise ArithmeticError("its log-probabilities are no numbers")
            return measure(*given)

        monkeypatch.setattr(probe, "log_probs", second_fails)
        job = job_of(make_job, "supervised")
        assert run(job) == 0
        assert len(self.warnings(job)) == 1

    def test_numbers_that_are_none_are_not_written(self, nano_model: Path):
        network = AutoModelForCausalLM.from_pretrained(nano_model)
        with torch.no_grad():
            network.get_output_embeddings().weight.fill_(float("nan"))
        with pytest.raises(ArithmeticError):
            probe.log_probs(network, Asked([1, 2, 3], 1))


class TestTruncation:
    def test_of_long_examples_leaves_a_probe_that_an_engine_has_room_for(self, make_job: MakeJob):
        """The nano model has 128 positions."""
        long = [chat("red " * 40, "It is blue. " * times) for times in range(40, 52)]
        job = make_job(training=long, **SHORT)
        assert run(job) == 0
        found = read(job / "adapter")
        assert len(found.token_ids) == 127
        assert len(found.logprobs) == 127 - found.first >= 63
