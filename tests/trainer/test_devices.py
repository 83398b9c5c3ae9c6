"""Two processes that train one model together, over gloo, as torchrun starts them (`fine_tuning.command` in the settings)."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

pytest.importorskip("trl")

import torch

from tests.trainer.jobs import COLOUR_CHATS, chat
from tests.trainer.runs import by_step, events, losses, only, result, run, weights
from trainer.contract import OWNER, PROBE, CheckpointSaved, Message, Started, decode_probe, decode_spec, encode

pytestmark = [pytest.mark.train, pytest.mark.slow]

MakeJob = Callable[..., Path]

UNEVEN = [
    *COLOUR_CHATS,
    *[chat("what is the colour of a rose?", "It is red, I think. " * times) for times in (1, 2, 4)],
]
"""Fifteen: the last of four steps has three examples, which two devices cannot share evenly."""
SPEC = {"batch_size": 4, "n_epochs": 2, "training": UNEVEN, "validation": COLOUR_CHATS[:5]}


def launch(job: Path, module: str = "trainer", **environment: str) -> subprocess.Popen[bytes]:
    command = [str(Path(sys.executable).with_name("torchrun")), "--standalone", "--local-addr", "127.0.0.1"]
    return subprocess.Popen(
        [*command, "--nproc_per_node", "2", "-m", module, str(job)],
        env=os.environ | {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1", **environment},
    )


def wait_for_steps(process: subprocess.Popen[bytes], job: Path) -> None:
    while not (job / "events.jsonl").exists() or len(by_step(job)) < 5:
        assert process.poll() is None, "ended too early"
        time.sleep(0.05)


def check_same_curve(job: Path, other: Path) -> None:
    assert losses(job) == pytest.approx(losses(other), rel=1e-4)
    validated = {step: metrics.full_valid_loss for step, metrics in by_step(other).items() if metrics.full_valid_loss}
    assert validated
    assert {step: by_step(job)[step].full_valid_loss for step in validated} == pytest.approx(validated, rel=1e-4)
    assert result(job).trained_tokens == result(other).trained_tokens
    pairs = zip(weights(job).values(), weights(other).values(), strict=True)
    assert all(torch.allclose(mine, theirs, atol=1e-4) for mine, theirs in pairs)
    probes = [decode_probe((one / "adapter" / PROBE).read_bytes()) for one in (job, other)]
    assert probes[0].logprobs == pytest.approx(probes[1].logprobs, abs=1e-2)


def check_told_once(job: Path, saved: list[int]) -> None:
    """By the first of the two, which also measured what lies beside the result."""
    assert only(job, Started)[0].hyperparameters.micro_batch == 2
    assert [event.sequence for event in events(job)] == list(range(1, len(events(job)) + 1))
    assert [event.step for event in only(job, CheckpointSaved)] == saved


class TestTwoDevices:
    def test_learn_packed_examples_as_one_does(self, make_job: MakeJob):
        together, alone = (make_job(name, **SPEC, packing=True) for name in ("together", "alone"))
        process = launch(together)
        assert run(alone) == 0
        assert process.wait() == 0
        check_same_curve(together, alone)
        check_told_once(together, saved=[4, 8])
        assert launch(together).wait() == 0, "a job that has succeeded is left as it is"

    def test_stop_at_the_same_step_and_go_on_to_what_one_learns(self, make_job: MakeJob):
        stopped, whole = (make_job(name, **SPEC | {"n_epochs": 6}, packing=False) for name in ("stopped", "whole"))
        process = launch(stopped)
        wait_for_steps(process, stopped)
        process.send_signal(signal.SIGTERM)
        process.wait()
        assert not (stopped / "result.json").exists()
        process = launch(stopped)
        assert run(whole) == 0
        assert process.wait() == 0
        (resumed,) = {event.resumed_step for event in only(stopped, Started)} - {0}
        assert 5 <= resumed < 24
        check_same_curve(stopped, whole)
        check_told_once(stopped, saved=sorted({resumed, *range(4, 25, 4)}))

    def test_stop_when_the_worker_behind_their_launcher_is_killed(self, make_job: MakeJob):
        job = make_job(**SPEC | {"n_epochs": 100}, packing=False)
        with subprocess.Popen(["sleep", "600"]) as worker:
            process = launch(job, **{OWNER: str(worker.pid)})
            wait_for_steps(process, job)
            worker.kill()
        assert process.wait() != 0
        assert not (job / "result.json").exists()
        assert only(job, CheckpointSaved)[-1].step == max(by_step(job)) < 400

    def test_a_failure_of_all_is_told_once(self, make_job: MakeJob):
        job = make_job(**SPEC | {"batch_size": 5})
        assert launch(job).wait() != 0
        assert result(job).message.startswith("batch_size cannot be used as given: 2 devices cannot share 5 examples")

    def test_memory_that_is_too_small_for_one_asks_for_a_start_with_less(self, make_job: MakeJob):
        job, alone = make_job("together", **SPEC), make_job("alone", **SPEC)
        assert launch(job, "tests.trainer.crowded").wait() != 0
        assert (result(job).code, result(job).too_many_at_once) == ("out_of_memory", 2)
        assert [event for event in only(job, Message) if event.level == "error"] == []
        spec = msgspec.structs.replace(decode_spec((job / "spec.json").read_bytes()), largest_micro_batch=1)
        (job / "spec.json").write_bytes(encode(spec))
        process = launch(job, "tests.trainer.crowded")
        assert run(alone) == 0
        assert process.wait() == 0
        check_same_curve(job, alone)
