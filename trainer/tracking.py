"""OpenAI's wandb integration: the run is written into JOB_DIR/wandb, without a network; `wandb sync` sends it later.

Every process of a job writes a run directory of its own with the same run id, so a synced run is one curve. Steps that a
crash made the trainer repeat are logged with the same numbers again.

What the library keeps beside (its log, its caches, directories for temporary files that it makes when it is imported) is in
JOB_DIR/wandb.tmp, also where this process is killed. Jobs that do not ask for it run without: TRL imports it wherever it is
installed.
"""

import os
import shutil
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec

from trainer import devices
from trainer.contract import Started, StepMetrics, TrainingEvent, Wandb
from trainer.job import Job

_QUIET = {
    "WANDB_MODE": "offline",
    "WANDB_ERROR_REPORTING": "false",
    "WANDB_SILENT": "true",
    "WANDB_CONSOLE": "off",
    "WANDB_DISABLE_GIT": "true",
    "WANDB_DISABLE_CODE": "true",
    "WANDB_X_DISABLE_META": "true",
    "WANDB_X_DISABLE_STATS": "true",
    "WANDB_X_SAVE_REQUIREMENTS": "false",
}
"""Read by the library when it is imported: nothing leaves the machine, and nothing about the machine is recorded."""
_BESIDE = "wandb.tmp"
_PLACES = ("WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR")


@contextmanager
def tracked(job: Job) -> Generator[None]:
    """Writes the run while the block trains, if the job asks for it; of several processes the first one does. A library
    that is missing or breaks costs no training: it is told in a warning."""
    run = _started(job, job.spec.wandb) if job.spec.wandb and devices.is_first() else None
    if run is None:
        with _unimported():
            yield
        return
    exit_code = 1
    try:
        with job.events.told_to(_Diary(job, run)):
            yield
        exit_code = 0
    finally:
        with suppress(Exception):
            run.finish(exit_code=exit_code)


@contextmanager
def _unimported() -> Generator[None]:
    """The library counts as not installed for whoever looks for it first in this block."""
    known = "wandb" in sys.modules
    if not known:
        sys.modules["wandb"] = None  # pyright: ignore[reportArgumentType] - import says so of a module that is not there
    try:
        yield
    finally:
        if not known:
            del sys.modules["wandb"]


@contextmanager
def _temporary_files_in(directory: Path) -> Generator[None]:
    before, tempfile.tempdir = tempfile.tempdir, str(directory)
    try:
        yield
    finally:
        tempfile.tempdir = before


class _Diary:
    """Logs events until the library breaks for the first time."""

    def __init__(self, job: Job, run: Any):
        self._job = job
        self._run = run
        self._broken = False

    def __call__(self, event: TrainingEvent) -> None:
        if self._broken:
            return
        try:
            _log(self._run, event)
        except Exception as error:  # noqa: BLE001 - a diary must not stop the work
            self._broken = True
            self._job.events.warn(f"From here on nothing is recorded for Weights & Biases ({type(error).__name__}).")


def _started(job: Job, wanted: Wandb) -> Any:
    beside = job.path(_BESIDE)
    shutil.rmtree(beside, ignore_errors=True)  # of a process that was killed
    beside.mkdir()
    os.environ |= _QUIET | dict.fromkeys(_PLACES, str(beside))
    try:
        with _temporary_files_in(beside):
            import wandb

        return wandb.init(
            project=wanted.project,
            name=wanted.name,
            entity=wanted.entity,
            tags=wanted.tags,
            id=job.spec.job_id,
            dir=str(job.directory),
            mode="offline",
            resume="allow",
            settings=wandb.Settings(
                console="off", x_disable_stats=True, x_disable_meta=True, x_save_requirements=False, silent=True
            ),
        )
    except ImportError:
        reason = "the package wandb is not installed where jobs are trained"
    except Exception as error:  # noqa: BLE001 - a diary must not stop the work
        reason = f"wandb did not start ({type(error).__name__})"
    job.events.warn(f"This job is not recorded for Weights & Biases: {reason}.")
    return None


def _log(run: Any, event: TrainingEvent) -> None:
    if isinstance(event, Started):
        numbers = msgspec.to_builtins(event.hyperparameters)
        run.config.update({**numbers, "device": event.device, "total_steps": event.total_steps}, allow_val_change=True)
    elif isinstance(event, StepMetrics):
        values = {name: value for name, value in msgspec.structs.asdict(event.metrics).items() if value is not None}
        rates = {"learning_rate": event.learning_rate, "tokens_per_second": event.tokens_per_second}
        run.log({**values, **rates}, step=event.metrics.step)
