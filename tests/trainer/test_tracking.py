"""OpenAI's wandb integration with the real library, without a network."""

import json
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl")
pytest.importorskip("wandb")

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
