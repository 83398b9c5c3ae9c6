"""OpenAI's wandb integration with the real library, without a network."""

import json
import os
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl")
if find_spec("wandb") is None:  # not imported here: it makes directories for all processes that do
    pytest.skip("wandb is not installed", allow_module_level=True)

from tests.trainer.jobs import COLOUR_CHATS
from trainer.contract import Message, StepMetrics, decode_event
from trainer.run import run
from trainer.stopping import Stop

pytestmark = pytest.mark.train

MakeJob = Callable[..., Path]
SPEC: dict[str, Any] = {"batch_size": 4, "n_epochs": 2}
WANDB = {"project": "support", "name": "first try", "tags": ["openai/finetune"]}


BLOCK = 32_768


def records(file: Path) -> Iterator[bytes]:
    """The records of a run's file: LevelDB's log format (crc 4, length 2, type 1, then the bytes; blocks of 32 KiB) behind
    7 bytes of wandb's own."""
    content, at, piece = file.read_bytes(), 7, b""
    while at + 7 <= len(content):
        if BLOCK - at % BLOCK < 7:
            at += BLOCK - at % BLOCK
            continue
        _, length, kind = struct.unpack_from("<IHB", content, at)
        piece += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or its last piece
            yield piece
            piece = b""


def written(job: Path) -> dict[int, dict[str, float]]:
    """Step -> what the run's file says of it."""
    from wandb.proto import wandb_internal_pb2

    [file] = (job / "wandb").glob("offline-run-*/run-ftjob-1.wandb")
    steps = {}
    for record in map(wandb_internal_pb2.Record.FromString, records(file)):
        if record.WhichOneof("record_type") == "history":
            told = {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
            steps[told["_step"]] = told
    return steps


def events(job: Path) -> list[Any]:
    return [decode_event(line) for line in (job / "events.jsonl").read_bytes().splitlines()]


class TestTracked:
    def test_writes_every_step_to_the_job_directory(self, make_job: MakeJob) -> None:
        job = make_job(wandb=WANDB, **SPEC)
        assert run(job, Stop()) == 0
        steps = written(job)
        told = {event.metrics.step: event.metrics for event in events(job) if isinstance(event, StepMetrics)}
        assert {step: values["train_loss"] for step, values in steps.items()} == {
            step: metrics.train_loss for step, metrics in told.items()
        }
        assert steps[6]["learning_rate"] >= 0

    def test_says_nothing_about_the_machine(self, make_job: MakeJob) -> None:
        job = make_job(wandb=WANDB, **SPEC)
        assert run(job, Stop()) == 0
        names = {path.name for path in (job / "wandb").rglob("*")}
        assert not names & {"requirements.txt", "wandb-metadata.json", "conda-environment.yaml"}

    def test_is_off_by_default(self, make_job: MakeJob) -> None:
        job = make_job(**SPEC)
        assert run(job, Stop()) == 0
        assert not (job / "wandb").exists()

    def test_a_missing_library_is_told_and_costs_no_training(
        self, make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "wandb", None)
        job = make_job(wandb=WANDB, **SPEC)
        assert run(job, Stop()) == 0
        [warning] = [event.message for event in events(job) if isinstance(event, Message) and event.level == "warn"]
        assert "the package wandb is not installed" in warning

    def test_a_library_that_breaks_on_the_way_is_told_once_and_costs_no_training(
        self, make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Broken:
            def __init__(self) -> None:
                self.config: dict[str, Any] = {}

            def __getattr__(self, name: str) -> Any:
                raise OSError(name)

        monkeypatch.setattr("wandb.init", lambda **_: Broken())
        job = make_job(wandb=WANDB, **SPEC)
        assert run(job, Stop()) == 0
        warnings = [event.message for event in events(job) if isinstance(event, Message) and event.level == "warn"]
        assert warnings == ["From here on nothing is recorded for Weights & Biases (OSError)."]


@pytest.mark.slow
class TestKilled:
    @pytest.mark.parametrize("wandb", [WANDB, None])
    def test_leaves_nothing_outside_the_job_directory(
        self, make_job: MakeJob, tmp_path: Path, wandb: dict[str, Any] | None
    ) -> None:
        """TRL imports the library for every job, and the import alone makes directories for temporary files."""
        home, temporary = tmp_path / "home", tmp_path / "temporary"
        home.mkdir()
        temporary.mkdir()
        job = make_job(wandb=wandb, training=COLOUR_CHATS * 3, batch_size=4, n_epochs=50)
        places = {"HOME": str(home), "TMPDIR": str(temporary)}
        others = {name: value for name, value in os.environ.items() if not name.startswith(("WANDB", "XDG"))}
        with subprocess.Popen([sys.executable, "-m", "trainer", str(job)], env=others | places) as process:
            while not (job / "events.jsonl").exists() or not any(isinstance(one, StepMetrics) for one in events(job)):
                assert process.poll() is None, "ended too early"
                time.sleep(0.05)
            process.kill()
        deadline = time.monotonic() + 60
        while left := [path.name for place in (home, temporary) for path in place.rglob("*wandb*")]:
            assert time.monotonic() < deadline, left  # the library's own process ends behind this one
            time.sleep(0.1)
        assert (job / "wandb").exists() == (wandb is not None)
        assert {path.name for path in job.glob("*.tmp")} <= {"wandb.tmp"}, "they go with what is left of other writing"
