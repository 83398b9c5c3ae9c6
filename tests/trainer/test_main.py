"""`python -m trainer` as its caller sees it: exit status, signals, crashes."""

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

SPEC = {"batch_size": 4, "n_epochs": 25, "training": COLOUR_CHATS * 3}
"""225 steps: time enough to be interrupted."""


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
    """All processes run at the same time: most of each is the import of torch."""

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def needs_torch(cls) -> None:
        pytest.importorskip("trl")

    def test_sigterm_sigkill_and_an_orphan(self, make_job: Callable[..., Path]):
        whole, terminated, killed, orphaned = (
            make_job(name, **SPEC) for name in ("whole", "terminated", "killed", "orphaned")
        )
        uninterrupted, asked, crashing = start(whole), start(terminated), start(killed)
        parent = subprocess.Popen(
            [
                sys.executable,
                "-c",
                "import subprocess, sys; subprocess.run([sys.executable, '-m', 'trainer', sys.argv[1]])",
                str(orphaned),
            ]
        )

        wait_for(lambda: len(steps(terminated)) > 20, asked)
        last = max(steps(terminated))
        asked.send_signal(signal.SIGTERM)
        assert asked.wait() == 143
        self.check_stopped(terminated, last)

        wait_for(lambda: len(steps(orphaned)) > 20, parent)
        parent.kill()
        parent.wait()
        wait_for(lambda: self.has_said_farewell(orphaned), uninterrupted)
        self.check_stopped(orphaned, 0)

        wait_for(lambda: len(steps(killed)) > 50, crashing)
        crashing.kill()
        crashing.wait()
        assert not (killed / "result.json").exists()
        assert start(killed).wait() == 0
        assert uninterrupted.wait() == 0
        self.check_resumed(killed, whole)

    def has_said_farewell(self, job: Path) -> bool:
        last = read(job)[-1]
        return isinstance(last, Message) and last.message.startswith("Stopped at step")

    def check_stopped(self, job: Path, last: int) -> None:
        assert not (job / "result.json").exists()
        newest = max((job / "checkpoints").iterdir(), key=lambda path: int(path.name.removeprefix("step-")))
        assert (newest / "manifest.json").exists()
        assert int(newest.name.removeprefix("step-")) == max(steps(job)) >= last

    def check_resumed(self, killed: Path, whole: Path) -> None:
        """Nothing shows in the numbers that a process died: the loss curve is equal bit for bit."""
        resumed = [event for event in read(killed) if isinstance(event, Started)][-1]
        assert 0 < resumed.resumed_step < 225
        assert [event.sequence for event in read(killed)] == list(range(1, len(read(killed)) + 1))
        assert {step: event.metrics for step, event in steps(killed).items()} == {
            step: event.metrics for step, event in steps(whole).items()
        }
        saved = [[event.step for event in read(job) if isinstance(event, CheckpointSaved)] for job in (killed, whole)]
        assert saved[0] == saved[1] == list(range(9, 226, 9))
        results = [decode_result((job / "result.json").read_bytes()) for job in (killed, whole)]
        assert all(isinstance(result, Succeeded) for result in results)
        assert results[0].trained_tokens == results[1].trained_tokens
        adapters = [(job / "adapter" / "adapter_model.safetensors").read_bytes() for job in (killed, whole)]
        assert adapters[0] == adapters[1]
