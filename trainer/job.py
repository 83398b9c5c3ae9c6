"""One run of the trainer's process: what every part of it needs."""

import time
from dataclasses import dataclass, field
from pathlib import Path

from trainer.contract import TrainingSpec
from trainer.events import EventLog
from trainer.hardware import Hardware
from trainer.stopping import Stop


@dataclass(frozen=True, kw_only=True)
class Job:
    directory: Path
    spec: TrainingSpec
    hardware: Hardware
    events: EventLog
    stop: Stop
    largest_micro_batch: int | None = None
    """Set after a larger one did not fit into memory, by this process or by the caller."""
    recomputes_activations: bool = False
    """Set after one example did not fit into memory otherwise."""
    started_at: float = field(default_factory=time.monotonic)

    def path(self, name: str) -> Path:
        return self.directory / name


class Stopped(Exception):
    """Training was asked to stop; a checkpoint is saved."""
