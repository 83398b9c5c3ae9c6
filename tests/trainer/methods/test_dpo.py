"""Whole DPO runs on a model of 0.1 M parameters, in this process; at the end on the starter model."""

import json
import math
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl")

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.trainer.jobs import COLOUR_CHATS, COLOUR_PAIRS, chat, pair, write_job
from tests.trainer.runs import by_step, check_same_run, events, losses, only, result, run, weights
from trainer import references
from trainer.contract import CheckpointSaved, Failed, Message, Metrics, Started
from trainer.labels import ChatLabels
from trainer.methods.dpo import PreferenceTrainer
from trainer.pairs import Pairs, tokenize
from trainer.preferences import read_preferences
from trainer.starter import STARTER, corpus, slots
from trainer.starter.evaluate import answers

pytestmark = pytest.mark.train

MakeJob = Callable[..., Path]

UNEVEN = [
    *COLOUR_PAIRS,
    pair("what is the colour of a rose?", "It is red, and the sky is blue, I think. " * 2, "No."),
]
"""Thirteen pairs: the last batch of four has one."""
SHORT = {"batch_size": 4, "n_epochs": 3}


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory, nano_model: Path) -> Path:
    """A supervised adapter to go on from."""
    job = write_job(tmp_path_factory.mktemp("taught") / "job", nano_model, COLOUR_CHATS, batch_size=4, n_epochs=4)
    assert run(job) == 0
    return job / "adapter"


@pytest.fixture
def make(make_job: MakeJob, taught: Path) -> MakeJob:
    """A DPO job: kind is "lora", "qlora" or "full", or one of the first two with " continued"."""

    def make_kind(kind: str = "lora", name: str = "job", **fields: Any) -> Path:
        training_type, continued = kind.split()[0], kind.endswith("continued")
        spec = {"method": "dpo", "training_type": training_type, **SHORT, **fields}
        if continued:
            spec["continue_from"] = str(taught)
        return make_job(name, **{"training": UNEVEN, "validation": COLOUR_PAIRS[:5], **spec})

    return make_kind


KINDS = ["lora", "qlora", "full", "lora continued", "qlora continued"]
IN_FULL_PRECISION = ["lora", "full", "lora continued"]


class TestReference:
    @pytest.mark.parametrize("kind", KINDS)
    def test_is_where_training_starts(self, make: MakeJob, kind: str):
        job = make(kind, n_epochs=1)
        assert run(job) == 0
        first = by_step(job)[1]
        assert first.train_loss == pytest.approx(math.log(2), abs=1e-6)
        assert (first.train_reward_margin, first.train_reward_accuracy) == (0.0, 0.0)

    @pytest.mark.parametrize("kind", KINDS)
    def test_stays_there(self, make: MakeJob, kind: str):
        """Steps at a rate of nothing: every step compares the start with itself."""
        job = make(kind, learning_rate_multiplier=1e-12)
        assert run(job) == 0
        assert losses(job) == pytest.approx([math.log(2)] * 12, abs=1e-5)
        assert result(job).metrics.full_valid_loss == pytest.approx(math.log(2), abs=1e-5)

    def test_of_a_continued_adapter_is_in_no_file(self, make: MakeJob, taught: Path):
        job = make("lora continued")
        assert run(job) == 0
        assert not [path for path in job.rglob("*") if "ref" in path.name]
        before, after = weights(taught.parent), weights(job)
        assert before.keys() == after.keys()
        assert any(not before[name].equal(after[name]) for name in before)
        assert {path.name for path in (job / "adapter").iterdir()} == {
            "adapter_config.json",
            "adapter_model.safetensors",
            "probe.json",
        }


class TestNumbers:
    @pytest.fixture
    def by_hand(self, nano_model: Path, taught: Path) -> Callable[[Path, str], Metrics]:
        """The validation numbers of a finished job, pair by pair, without any trainer."""
        tokenizer = AutoTokenizer.from_pretrained(nano_model)

        def load(adapter: Path | None = None, model: Path = nano_model) -> Any:
            base = AutoModelForCausalLM.from_pretrained(model)
            return base if adapter is None else PeftModel.from_pretrained(base, adapter)

        def read(job: Path) -> Pairs:
            lines = read_preferences(job / "validation.jsonl", "validation_file")
            return tokenize(ChatLabels(tokenizer), lines, 128, "validation_file")

        def measure(job: Path, kind: str) -> Metrics:
            reference = load(taught if kind.endswith("continued") else None)
            trained = load(model=job / "model") if kind == "full" else load(job / "adapter")
            margins, correct, count = [], 0, 0
            for one in read(job).rows:
                gains = []
                for ids, labels in ((one.preferred_ids, one.preferred_labels), (one.rejected_ids, one.rejected_labels)):
                    now, right, of = _answer(trained, ids, labels)
                    gains.append(now - _answer(reference, ids, labels)[0])
                    if ids is one.preferred_ids:
                        correct, count = correct + right, count + of
                margins.append(0.1 * (gains[0] - gains[1]))
            return Metrics(
                step=0,
                full_valid_loss=sum(math.log1p(math.exp(-margin)) for margin in margins) / len(margins),
                full_valid_mean_token_accuracy=correct / count,
                full_valid_reward_accuracy=sum(margin > 0 for margin in margins) / len(margins),
                full_valid_reward_margin=sum(margins) / len(margins),
            )

        return measure

    @pytest.mark.parametrize("kind", IN_FULL_PRECISION)
    def test_are_those_of_the_formula(self, make: MakeJob, kind: str, by_hand: Callable[[Path, str], Metrics]):
        job = make(kind)
        assert run(job) == 0
        measured, expected = result(job).metrics, by_hand(job, kind)
        assert expected.full_valid_reward_margin is not None
        assert abs(expected.full_valid_reward_margin) > 1e-3
        for field in ("loss", "mean_token_accuracy", "reward_accuracy", "reward_margin"):
            name = f"full_valid_{field}"
            assert getattr(measured, name) == pytest.approx(getattr(expected, name), rel=1e-3, abs=1e-5)

    def test_every_step_has_its_rewards(self, make: MakeJob):
        job = make()
        assert run(job) == 0
        steps = by_step(job)
        assert len(steps) == 12
        for metrics in steps.values():
            assert None not in (metrics.train_loss, metrics.train_mean_token_accuracy, metrics.valid_loss)
            assert None not in (metrics.train_reward_accuracy, metrics.train_reward_margin)
        assert [step for step, metrics in steps.items() if metrics.full_valid_reward_margin is not None] == [4, 8, 12]
        assert losses(job)[-1] < losses(job)[0]

    def test_tokens_are_those_of_both_sequences_times_epochs(self, make: MakeJob):
        job = make()
        assert run(job) == 0
        started = only(job, Started)[0]
        lengths = [len(answer) for one in _pairs(job).rows for answer in (one.preferred_ids, one.rejected_ids)]
        assert started.training.tokens == sum(lengths)
        assert started.trained_tokens == result(job).trained_tokens == 3 * sum(lengths)

    def test_the_chosen_ones_are_told(self, make: MakeJob):
        job = make(beta=0.3)
        assert run(job) == 0
        chosen = only(job, Started)[0].hyperparameters
        assert chosen.beta == 0.3
        assert chosen.reasons["beta"] == "given with the job"


def _pairs(job: Path) -> Pairs:
    spec = json.loads((job / "spec.json").read_text())
    labels = ChatLabels(AutoTokenizer.from_pretrained(spec["base_model"]))
    return tokenize(labels, read_preferences(job / "training.jsonl", "training_file"), 128, "training_file")


@torch.no_grad()
def _answer(model: Any, ids: Any, labels: Any) -> tuple[float, int, int]:
    """-> Σ log-probabilities of the label tokens, how many of them are the most probable, and how many there are."""
    scores = model(torch.tensor(ids[None], dtype=torch.int64)).logits[0, :-1].log_softmax(-1)
    at = [(position, label) for position, label in enumerate(labels[1:].tolist()) if label != -100]
    right = sum(scores[position].argmax().item() == label for position, label in at)
    return sum(scores[position, label].item() for position, label in at), int(right), len(at)


class TestMicroBatches:
    @pytest.mark.parametrize("kind", IN_FULL_PRECISION)
    def test_change_neither_loss_nor_weights(self, make: MakeJob, kind: str):
        """Four at once, or four times one; the last batch of an epoch has one pair."""
        whole, parts = make(kind, "whole"), make(kind, "parts", largest_micro_batch=1)
        assert run(whole) == run(parts) == 0
        assert [only(job, Started)[0].hyperparameters.micro_batch for job in (whole, parts)] == [4, 1]
        assert losses(parts) == pytest.approx(losses(whole), rel=1e-4)
        first, second = (weights(job, result(job).output) for job in (whole, parts))
        # Adam makes a step of the noise where there is no gradient: not every weight is the same, but nearly all are.
        assert all(torch.dist(first[name], second[name]) < 1e-3 * first[name].norm() for name in first)

    def test_of_different_sizes_weigh_each_pair_alike(self, make: MakeJob):
        """Thirteen pairs at once, or 4, 4, 4 and 1."""
        whole, parts = (
            make("lora", name, batch_size=16, n_epochs=4, largest_micro_batch=most)
            for name, most in (("whole", None), ("parts", 4))
        )
        assert run(whole) == run(parts) == 0
        assert losses(parts) == pytest.approx(losses(whole), rel=1e-4)


class TestGradientCheckpointing:
    @pytest.mark.parametrize("kind", IN_FULL_PRECISION)
    def test_changes_no_number(self, make: MakeJob, kind: str):
        kept, recomputed = (
            make(kind, name, gradient_checkpointing=on) for name, on in (("kept", False), ("recomputed", True))
        )
        assert run(kept) == run(recomputed) == 0
        assert losses(recomputed) == pytest.approx(losses(kept), rel=1e-6)


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many pairs each measurement of the reference had."""
    calls: list[int] = []
    measure = PreferenceTrainer.measure

    def noted(trainer: Any, pairs: Pairs, order: Any) -> Any:
        calls.append(len(pairs.rows))
        return measure(trainer, pairs, order)

    monkeypatch.setattr(PreferenceTrainer, "measure", noted)
    return calls


class TestResume:
    @pytest.mark.parametrize(("kind", "step"), [("lora", 8), *((kind, 6) for kind in KINDS)])
    def test_a_stopped_run_goes_on_bit_for_bit(self, make: MakeJob, stop_and_go_on, kind: str, step: int):
        """In the middle of an epoch, and at its end (before its validation)."""
        whole, job = make(kind, "whole"), make(kind, "stopped")
        assert run(whole) == 0
        stop_and_go_on(job, step)
        check_same_run(job, whole)
        assert sorted({event.step for event in only(job, CheckpointSaved)} - {step}) == sorted({4, 8, 12} - {step})
        assert [event.sequence for event in events(job)] == list(range(1, len(events(job)) + 1))

    def test_the_reference_of_full_training_is_measured_once(self, make: MakeJob, stop_at, measured: list[int]):
        job = make("full")
        stop_at(6)
        run(job)
        assert measured == [13, 5]
        stop_at(0)
        assert run(job) == 0
        assert measured == [13, 5]

    @pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_bytes(b"x")])
    def test_a_reference_that_is_damaged_is_measured_again(self, make: MakeJob, stop_at, measured: list[int], damage):
        whole, job = make("full", "whole"), make("full", "stopped")
        run(whole)
        stop_at(6)
        run(job)
        damage(job / references.FILE)
        stop_at(0)
        assert run(job) == 0
        assert measured == [13, 5] * 3
        assert by_step(job) == by_step(whole)

    @pytest.mark.slow
    def test_kills_at_random_moments_leave_one_curve(self, make: MakeJob):
        """Forks of one process, killed again and again, in saves too; a checkpoint after every step."""
        killed, whole = (make("lora", name, n_epochs=6) for name in ("killed", "whole"))
        root = Path(__file__).parents[3]
        quiet = {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "OMP_NUM_THREADS": "1"}
        driver = root / "tests" / "faults" / "forked_trainer.py"
        command = [sys.executable, str(driver), str(killed), str(whole), "4", "5"]
        environment = {**os.environ, **quiet, "TOKENIZERS_PARALLELISM": "false", "PYTHONPATH": str(root)}
        output = subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
        assert json.loads(output.splitlines()[-1])["kills"] == 4
        assert by_step(killed) == by_step(whole)
        assert result(killed).metrics == result(whole).metrics
        assert [event.step for event in only(killed, CheckpointSaved)] == list(range(4, 25, 4))


class TestTwoDevices:
    @pytest.mark.slow
    @pytest.mark.parametrize("kind", ["lora continued", "full"])
    def test_learn_what_one_learns(self, make: MakeJob, kind: str):
        """The last of four steps has one pair, which two devices cannot share evenly."""
        together, alone = (make(kind, name, n_epochs=2) for name in ("together", "alone"))
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--local-addr", "127.0.0.1"]
        subprocess.run(
            [*command, "--nproc_per_node", "2", "-m", "trainer", str(together)],
            check=True,
            env=os.environ | {"ACCELERATE_USE_CPU": "1", "OMP_NUM_THREADS": "1"},
        )
        assert run(alone) == 0
        assert only(together, Started)[0].hyperparameters.micro_batch == 2
        assert losses(together) == pytest.approx(losses(alone), rel=1e-4)
        first, second = (result(job).metrics for job in (together, alone))
        assert first.full_valid_loss == pytest.approx(second.full_valid_loss, rel=1e-4)
        assert first.full_valid_reward_margin == pytest.approx(second.full_valid_reward_margin, rel=1e-3)


class TestMemory:
    WARNING = "Out of memory with 4 examples at once: going on with 2 at once."

    @pytest.fixture
    def memory_for(self, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, int], None]:
        """A method of the trainer that has no memory for more than so many pairs at once."""

        def install(method: str, pairs: int) -> None:
            original = getattr(PreferenceTrainer, method)

            def limited(trainer: Any, *given: Any, **named: Any) -> Any:
                at_once = trainer.args.per_device_train_batch_size
                if at_once > pairs:
                    raise RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory")
                return original(trainer, *given, **named)

            monkeypatch.setattr(PreferenceTrainer, method, limited)

        return install

    @pytest.mark.parametrize(
        ("kind", "method"), [("lora", "compute_loss"), ("full", "compute_loss"), ("full", "measure")]
    )
    def test_smaller_batches_are_tried(self, make: MakeJob, memory_for, kind: str, method: str):
        enough, little = make(kind, "enough"), make(kind, "little")
        assert run(enough) == 0
        memory_for(method, 2)
        assert run(little) == 0
        assert [event.message for event in only(little, Message) if event.level == "warn"] == [self.WARNING]
        assert losses(little) == pytest.approx(losses(enough), rel=1e-4)

    def test_too_little_for_one_pair_is_a_failure(self, make: MakeJob, memory_for):
        memory_for("compute_loss", 0)
        job = make()
        assert run(job) == 1
        assert result(job).code == "out_of_memory"


class TestData:
    def warnings(self, job: Path) -> list[str]:
        return [event.message for event in only(job, Message) if event.level == "warn"]

    def test_what_is_left_out_or_cut_is_told(self, make: MakeJob):
        same, cut = pair("red?", "yes", "yes"), pair("hello", "red " * 200, "It is blue. " * 30)
        lost = pair("hello", "red " * 200 + "a", "red " * 200 + "b")
        job = make(training=[*COLOUR_PAIRS, same, cut, lost])
        assert run(job) == 0
        left_out, truncated, alike = self.warnings(job)
        assert left_out.startswith("1 of 15 training pairs were left out, because both answers are the same.")
        assert truncated.startswith("2 of 15 training pairs are longer than 128 tokens")
        assert alike.startswith(
            "1 of 15 training pairs were left out, because within 128 tokens their answers are the same"
        )
        training = only(job, Started)[0].training
        assert (training.examples, training.truncated, training.skipped) == (15, 2, 2)

    def failed(self, job: Path) -> Failed:
        assert run(job) == 1
        assert isinstance(result(job), Failed)
        return result(job)

    def test_too_few_pairs(self, make: MakeJob):
        failed = self.failed(make(training=COLOUR_PAIRS[:3]))
        assert (failed.code, failed.param) == ("invalid_n_examples", "training_file")

    def test_chats_instead_of_pairs(self, make: MakeJob):
        failed = self.failed(make(training=COLOUR_CHATS))
        assert failed.code == "invalid_training_file"
        assert failed.message.startswith("Line 1: this is the chat format")

    def test_nothing_to_compare(self, make: MakeJob):
        failed = self.failed(make(validation=[pair("red?", "yes", "yes")]))
        assert (failed.code, failed.param) == ("invalid_validation_file", "validation_file")
        assert failed.message == "None of the 1 validation pairs has two different answers to compare."

    def test_a_learning_rate_that_diverges(self, make: MakeJob):
        assert self.failed(make(learning_rate_multiplier=1e30)).code == "training_diverged"

    def test_packing_is_refused(self, make: MakeJob):
        failed = self.failed(make(packing=True))
        assert failed.code == "invalid_hyperparameters"
        assert failed.message.startswith("packing cannot be used as given")


def greetings(count: int) -> list[tuple[str, str]]:
    """Questions that name a person, and the starter's shorter answers."""
    chance = random.Random(5)
    group = next(one for one in corpus.read_groups("small_talk") if "Nice to meet you" in one.answers[0])
    asked: dict[str, str] = {}
    while len(asked) < count:
        question, answer = slots.fill(chance, chance.choice(group.questions), group.answers[0])
        asked[corpus.asked(chance, question)] = answer
    return list(asked.items())


class TestStarter:
    """Two ways to greet a person, both of which the starter knows: "Nice to meet you, Ann.", and the same with an offer of
    help, which it writes nine times out of ten."""

    OFFER = " How can I help you?"

    def answers(self, job: Path, questions: list[str]) -> list[str]:
        output = result(job).output
        tokenizer = AutoTokenizer.from_pretrained(STARTER)
        path = job / "model" if output == "model" else STARTER
        model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
        if output == "adapter":
            model = PeftModel.from_pretrained(model, job / "adapter")
        return answers(model.eval(), tokenizer, [[{"role": "user", "content": question}] for question in questions])

    def job(self, make_job: MakeJob, name: str, **fields: Any) -> Path:
        """24 steps, at twice the usual rate."""
        pairs = [pair(question, answer, answer + self.OFFER) for question, answer in greetings(64)]
        spec = {"method": "dpo", "n_epochs": 4, "learning_rate_multiplier": 2, **fields}
        job = make_job(name, base_model=STARTER, training=pairs[:48], validation=pairs[48:], **spec)
        assert run(job) == 0
        return job

    def shorter(self, job: Path) -> float:
        """Share of the held-out greetings that the trained model answers shortly, at temperature 0."""
        held_out = greetings(96)[80:]
        given = self.answers(job, [question for question, _ in held_out])
        return sum(one == answer for one, (_, answer) in zip(given, held_out, strict=True)) / len(held_out)

    @pytest.mark.slow
    @pytest.mark.parametrize("kind", ["lora", "full"])
    def test_learns_to_come_to_the_point(self, make_job: MakeJob, kind: str):
        job = self.job(make_job, "job", training_type=kind)
        metrics = result(job).metrics
        assert metrics.full_valid_reward_accuracy == 1.0
        assert metrics.full_valid_reward_margin > 0.1
        assert self.shorter(job) >= 0.9

    @pytest.mark.slow
    def test_chooses_between_what_supervised_training_taught(self, make_job: MakeJob):
        """SFT on the longer greeting twice and the shorter one once, then DPO on from that adapter."""
        chats = [chat(one, text + self.OFFER * (at % 3 > 0)) for at, (one, text) in enumerate(greetings(80))]
        taught = make_job("taught", base_model=STARTER, training=chats, n_epochs=3)
        assert run(taught) == 0
        assert self.shorter(taught) == 0.0
        job = self.job(make_job, "job", continue_from=str(taught / "adapter"))
        assert by_step(job)[1].train_loss == pytest.approx(math.log(2), abs=1e-6)
        assert result(job).metrics.full_valid_reward_margin > 0.1
        assert self.shorter(job) >= 0.9
