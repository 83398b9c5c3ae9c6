"""How much of a job was trained, by what its trainers told: what is charged for."""

import math
from collections.abc import Iterable
from pathlib import Path

import msgspec

from gateway.fine_tuning.runner import Run
from trainer.contract import CheckpointSaved, Started, StepMetrics, Succeeded, TrainingEvent


class Trained(msgspec.Struct, frozen=True):
    """Since the job began, over all its processes."""

    tokens: int = 0
    """Of the steps that it came to: one that was trained again after a crash counts once."""
    ms: int = 0
    """From the beginning of each training process to the last that it told."""


class Tally:
    """Adds up what trainers tell, in the order in which they told it."""

    def __init__(self, events: Iterable[TrainingEvent] = ()) -> None:
        self._tokens, self._total_steps, self._step = 0, 0, 0
        self._seconds_before = 0.0
        self._began = self._last = 0.0
        self.add(events)

    def add(self, events: Iterable[TrainingEvent]) -> None:
        for event in events:
            if isinstance(event, Started):
                self._seconds_before = self._seconds
                self._began = event.created_at
                self._tokens, self._total_steps = event.trained_tokens, event.total_steps
            if isinstance(event, StepMetrics):
                self._step = max(self._step, event.metrics.step)
            if isinstance(event, CheckpointSaved):
                self._step = max(self._step, event.step)
            self._last = event.created_at

    @property
    def trained(self) -> Trained:
        steps = min(self._step, self._total_steps)
        tokens = -(-self._tokens * steps // self._total_steps) if steps else 0
        return Trained(tokens, math.ceil(self._seconds * 1000))

    @property
    def _seconds(self) -> float:
        """A clock that was set back in the meantime makes no training shorter than nothing."""
        return self._seconds_before + max(0.0, self._last - self._began if self._began else 0.0)


def trained_in(directory: Path) -> Trained:
    """By what lies in a job's directory; it stays there after the job has ended. Nothing, where that is gone."""
    run = Run(directory)
    if isinstance(result := run.written_result(), Succeeded):
        return Trained(result.trained_tokens, math.ceil(result.seconds * 1000))
    return Tally(run.told()).trained
