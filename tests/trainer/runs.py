"""Whole runs in this process, and what they left in their directory."""

from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor

from trainer import run as trainer_run
from trainer.contract import Metrics, StepMetrics, TrainingEvent, decode_event, decode_result
from trainer.stopping import Stop

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


def losses(directory: Path) -> list[float]:
    return [metrics.train_loss or 0.0 for metrics in by_step(directory).values()]


def weights(directory: Path, output: str = "adapter") -> dict[str, Tensor]:
    """Of what the job made: an adapter, or a model."""
    return load_file(directory / output / f"{'adapter_model' if output == 'adapter' else output}.safetensors")


def check_same_run(job: Path, other: Path) -> None:
    """The same curve, result and files, bit for bit."""
    assert by_step(job) == by_step(other)
    assert result(job).metrics == result(other).metrics
    assert result(job).trained_tokens == result(other).trained_tokens
    output = result(other).output
    for file in (other / output).iterdir():
        assert (job / output / file.name).read_bytes() == file.read_bytes(), file.name
