"""What happens after each optimizer step, for every method: metrics, validation, checkpoints, and stopping."""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import msgspec
from transformers import TrainerCallback, TrainerControl, TrainerState

from trainer import checkpoints, devices, hardware
from trainer.checkpoints import Manifest
from trainer.contract import CHECKPOINTS, CheckpointSaved, Metrics, StepMetrics
from trainer.failures import diverged
from trainer.job import Job
from trainer.stopping import Stop
from trainer.tally import Sums, Tally

RESUME_CHECKPOINT_SECONDS = 600.0
"""Within a long epoch, a checkpoint to go on from is saved this often."""
FULLY_REPORTED_STEPS = 500
"""Runs with more steps report about this many of them."""


class Validation(Protocol):
    """A validation file, in batches."""

    def one(self, step: int) -> Iterator[Any]:
        """The batch that is due at `step`."""
        ...

    def everything(self) -> Iterator[Any]: ...


class Learner(Protocol):
    """The trainer that is watched."""

    tally: Tally
    """Of the optimizer step that just ended."""
    state: TrainerState

    def score(self, batches: Iterator[Any], stop: Stop | None = None) -> Sums | None:
        """Σ over validation batches, or None when asked to stop by `stop`."""
        ...

    def begin_epoch(self, epoch: int) -> None:
        """Before the epoch's first batch, or the first one that is left of it."""
        ...

    def write_checkpoint(self, path: Path) -> None:
        """All files of a checkpoint but its manifest. Raises TrainingFailed where the model's numbers are none."""
        ...


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How many steps, and what happens at which."""

    micro_batch: int
    accumulation: int
    devices: int = 1
    steps_per_epoch: int
    n_epochs: int

    @property
    def total_steps(self) -> int:
        return self.steps_per_epoch * self.n_epochs

    @property
    def batch_size(self) -> int:
        return self.micro_batch * self.accumulation * self.devices

    def ends_epoch(self, step: int) -> bool:
        return step % self.steps_per_epoch == 0

    @property
    def _report_every(self) -> int:
        return math.ceil(self.total_steps / FULLY_REPORTED_STEPS)

    def is_reported(self, step: int) -> bool:
        """Steps of a long run are thinned out; the first, the last and each with validation stay."""
        return step in (1, self.total_steps) or step % self._report_every == 0 or self.is_validated(step)

    def is_validated(self, step: int) -> bool:
        """About every tenth step (a forward pass costs a third of a step), more often in a very short run."""
        every = max(self._report_every, min(10, max(1, self.total_steps // 10)))
        return step % every == 0 or self.ends_epoch(step)


class Progress(TrainerCallback):
    def __init__(
        self,
        job: Job,
        learner: Learner,
        schedule: Schedule,
        validation: Validation | None,
        resumed: tuple[Path, Manifest] | None,
    ):
        self._job = job
        self._learner = learner
        self._schedule = schedule
        self._validation = validation
        self._resumed = resumed
        self._began = self._saved_at = time.monotonic()
        self._learning_rate = 0.0
        self._steps = 0
        self._tokens = 0.0
        self._epoch_sums = Sums()
        self.last = resumed[1].metrics if resumed else Metrics(step=0)
        self.stopped = False
        """Asked to, and now all processes agree on it."""
        self._previous_full_loss = self.last.full_valid_loss

    @property
    def seconds(self) -> float:
        """Spent on the job, by this process and those before it."""
        before = self._resumed[1].seconds if self._resumed else 0.0
        return before + time.monotonic() - self._job.started_at

    @property
    def tokens_per_second(self) -> float:
        """Measured over this process, padding not counted."""
        return self._tokens / max(time.monotonic() - self._began, 1e-9)

    def on_train_begin(self, args: Any, state: TrainerState, control: TrainerControl, **live: Any) -> None:
        self._learning_rate = live["lr_scheduler"].get_last_lr()[0]
        self._began = self._saved_at = time.monotonic()
        if self._resumed is not None:
            self._finish_interrupted_epoch(*self._resumed)

    def on_epoch_begin(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self._learner.begin_epoch(state.global_step // self._schedule.steps_per_epoch)

    def on_pre_optimizer_step(self, args: Any, state: TrainerState, control: TrainerControl, **live: Any) -> None:
        self._learning_rate = live["lr_scheduler"].get_last_lr()[0]

    def on_step_end(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        step = state.global_step
        sums = self._count(step)
        metrics = Metrics(step=step, **sums.named("train"))
        self.last = self._validate(metrics)
        if self._schedule.is_reported(step):
            self._report()
        if self._is_epoch_complete(step):
            self._tell_epoch(step)
        overdue = time.monotonic() - self._saved_at > RESUME_CHECKPOINT_SECONDS
        self.stopped, overdue = devices.anywhere(self._job.stop.requested, overdue)
        control.should_training_stop = control.should_training_stop or self.stopped
        control.should_save = self._schedule.ends_epoch(step) or self.stopped or overdue

    def save(self) -> None:
        """Writes the checkpoint of the current step, announces it if it ends an epoch or the process, and deletes older
        ones. Raises TrainingFailed when the model's numbers are none any more: a loss is of before the last update."""
        step = self._learner.state.global_step
        path = checkpoints.directory(self._job.path(CHECKPOINTS), step)
        path.mkdir(parents=True, exist_ok=True)
        with checkpoints.whole_or_absent(path):
            self._learner.write_checkpoint(path)
            devices.wait_for_all()
            if devices.is_first():
                self._announce(path, checkpoints.seal(path, self._manifest(step)))
        if devices.is_first():
            checkpoints.prune(path.parent)
        self._saved_at = time.monotonic()

    def _manifest(self, step: int) -> Manifest:
        kind = "epoch" if self._is_epoch_complete(step) else "stop" if self.stopped else "resume"
        epoch = step // self._schedule.steps_per_epoch
        return Manifest(step=step, epoch=epoch, kind=kind, metrics=self.last, seconds=self.seconds)

    def _is_epoch_complete(self, step: int) -> bool:
        """At its end, with its validation done (a stop interrupts that)."""
        validated = self._validation is None or self.last.full_valid_loss is not None
        return self._schedule.ends_epoch(step) and validated

    def _announce(self, path: Path, manifest: Manifest) -> None:
        if manifest.kind != "resume" and manifest.step not in self._job.events.announced_checkpoints:
            self._job.events.append(
                CheckpointSaved,
                path=f"{CHECKPOINTS}/{path.name}",
                step=manifest.step,
                epoch=manifest.epoch,
                metrics=manifest.metrics,
            )

    def _finish_interrupted_epoch(self, path: Path, manifest: Manifest) -> None:
        """What the process before this one still owed at the checkpoint that it left."""
        if manifest.kind != "epoch" and self._schedule.ends_epoch(manifest.step):
            self.last = self._validate(manifest.metrics)
            if not self._is_epoch_complete(manifest.step):
                return
            if devices.is_first():
                manifest = checkpoints.promote(path, manifest, self.last)
            self._report()
            self._tell_epoch(manifest.step)
        self._announce(path, manifest)

    def _count(self, step: int) -> Sums:
        """The step's sums. Raises TrainingFailed when the loss is no number any more."""
        sums = self._learner.tally.read()
        if not math.isfinite(sums.nll):
            raise diverged(f"The loss is not a number any more at step {step}.")
        self._steps += 1
        self._tokens += sums.tokens
        self._epoch_sums += sums
        return sums

    def _validate(self, metrics: Metrics) -> Metrics:
        """Adds the validation that is due at this step. Raises TrainingFailed when its loss is no number."""
        if self._validation is None or not self._schedule.is_validated(metrics.step):
            return metrics
        measured: dict[str, float] = {}
        if one := self._learner.score(self._validation.one(metrics.step)):
            measured |= one.named("valid")
        if self._schedule.ends_epoch(metrics.step) and (
            everything := self._learner.score(self._validation.everything(), self._job.stop)
        ):
            measured |= everything.named("full_valid")
        if not all(map(math.isfinite, measured.values())):
            raise diverged(f"The validation loss is not a number any more after step {metrics.step}.")
        return msgspec.structs.replace(metrics, **measured)

    def _report(self) -> None:
        elapsed = time.monotonic() - self._began
        left = self._schedule.total_steps - self.last.step
        self._job.events.append(
            StepMetrics,
            metrics=self.last,
            total_steps=self._schedule.total_steps,
            learning_rate=self._learning_rate,
            tokens_per_second=self.tokens_per_second,
            seconds_left=elapsed / self._steps * left if self._steps else None,
            memory_bytes=hardware.peak_memory_bytes(self._job.hardware.device),
            device_memory_bytes=hardware.memory_bytes(self._job.hardware.device),
        )

    def _tell_epoch(self, step: int) -> None:
        """One sentence on how the epoch went."""
        losses = []
        if self._epoch_sums.labels:
            losses.append(f"training loss {self._epoch_sums.loss:.2f}")
        full, before = self.last.full_valid_loss, self._previous_full_loss
        if full is not None:
            losses.append(f"validation loss {full:.2f}" + ("" if before is None else f", was {before:.2f}"))
        self._epoch_sums, self._previous_full_loss = Sums(), full
        epoch = step // self._schedule.steps_per_epoch
        self._job.events.say(f"Epoch {epoch} of {self._schedule.n_epochs} finished: {', '.join(losses)}.")
