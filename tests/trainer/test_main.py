"""`python -m trainer` as its caller sees it: exit status, signals, crashes."""

import fcntl
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.trainer.jobs import COLOUR_CHATS
from trainer.contract import (
    CheckpointSaved,
    Message,
    Started,
    StepMetrics,
    Succeeded,
    TrainingEvent,
    decode_event,
    decode_result,
)
from trainer.stopping import Stop

SPEC = {"batch_size": 4, "n_epochs": 12, "training": COLOUR_CHATS * 3}
"""108 steps, nine an epoch: time enough to be interrupted."""


def read(directory: Path) -> list[TrainingEvent]:
    """The complete lines so far."""
    path = directory / "events.jsonl"
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    return [decode_event(line) for line in lines if line.endswith(b"\n")]


def steps(directory: Path) -> dict[int, StepMetrics]:
    return {event.metrics.step: event for event in read(directory) if isinstance(event, StepMetrics)}


def wait_for(condition: Callable[[], object], process: subprocess.Popen[bytes]) -> None:
    while not condition():
        assert process.poll() is None, "the process ended too early"
        time.sleep(0.01)


def start(directory: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "trainer", str(directory)])


class TestHelp:
    def test_imports_no_torch(self):
        code = (
            "import runpy, sys\n"
            "sys.argv = ['trainer', '--help']\n"
            "try: runpy.run_module('trainer', run_name='__main__')\n"
            "except SystemExit as end: assert end.code == 0\n"
            "assert not {'torch', 'transformers', 'numpy'} & set(sys.modules)\n"
        )
        shown = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
        assert "JOB_DIR" in shown.stdout


@pytest.mark.train
@pytest.mark.slow
class TestInterruptions:
    def test_sigterm_sigkill_and_an_orphan(self, make_job: Callable[..., Path]):
        pytest.importorskip("trl")
        whole, interrupted = make_job("whole", **SPEC), make_job("interrupted", **SPEC)
        orphaned = make_job("orphaned", batch_size=4, n_epochs=8, training=COLOUR_CHATS * 20)
        parent = subprocess.Popen([sys.executable, "-c", PARENT, str(orphaned)])

        process = start(interrupted)
        wait_for(lambda: len(steps(interrupted)) > 8, process)
        last = max(steps(interrupted))
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 143
        check_stopped(interrupted, last)

        wait_for(lambda: len(steps(orphaned)) > 8, parent)
        parent.kill()
        parent.wait()

        process = start(interrupted)
        wait_for(lambda: len(steps(interrupted)) > last + 12, process)
        process.kill()
        process.wait()
        assert not (interrupted / "result.json").exists()
        # By now the orphan is long gone, or it still has the lock on its directory.
        with (orphaned / ".lock").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
        check_stopped(orphaned, 0)

        process = start(interrupted)
        from trainer.run import run

        assert run(whole, Stop()) == 0
        assert process.wait() == 0
        check_resumed(interrupted, whole)


PARENT = "import subprocess, sys; subprocess.run([sys.executable, '-m', 'trainer', sys.argv[1]])"


def check_stopped(job: Path, last: int) -> None:
    """All steps that were reported are in a checkpoint."""
    assert not (job / "result.json").exists()
    newest = max((job / "checkpoints").iterdir(), key=lambda path: int(path.name.removeprefix("step-")))
    assert (newest / "manifest.json").exists()
    assert int(newest.name.removeprefix("step-")) == max(steps(job)) >= last
    farewell = read(job)[-1]
    assert isinstance(farewell, Message)
    assert farewell.message.startswith("Stopped at step")


def check_resumed(interrupted: Path, whole: Path) -> None:
    """Nothing shows in the numbers that processes died: the loss curve is equal bit for bit."""
    resumed = [event.resumed_step for event in read(interrupted) if isinstance(event, Started)]
    assert 0 == resumed[0] < resumed[1] < resumed[2] < 108
    assert [event.sequence for event in read(interrupted)] == list(range(1, len(read(interrupted)) + 1))
    curves = [{step: event.metrics for step, event in steps(job).items()} for job in (interrupted, whole)]
    assert curves[0] == curves[1]
    saved = [[event.step for event in read(job) if isinstance(event, CheckpointSaved)] for job in (interrupted, whole)]
    assert saved[1] == list(range(9, 109, 9))
    # The one that SIGTERM left is announced, too.
    assert saved[0] == sorted({*saved[1], resumed[1]})
    results = [decode_result((job / "result.json").read_bytes()) for job in (interrupted, whole)]
    assert isinstance(results[0], Succeeded)
    assert isinstance(results[1], Succeeded)
    assert results[0].trained_tokens == results[1].trained_tokens
    adapters = [(job / "adapter" / "adapter_model.safetensors").read_bytes() for job in (interrupted, whole)]
    assert adapters[0] == adapters[1]
