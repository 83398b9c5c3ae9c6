"""One training job, from spec.json to result.json."""

import fcntl
import shutil
import sys
import traceback
from collections.abc import Callable, Generator
from contextlib import contextmanager, nullcontext
from importlib import import_module
from pathlib import Path

import msgspec
from accelerate.utils.memory import clear_device_cache
from transformers.utils import logging as transformers_logging

from trainer import checkpoints, devices, failures, hardware, memory_saving
from trainer.contract import (
    ADAPTER,
    CHECKPOINTS,
    CONTRACT_VERSION,
    EVENTS,
    MODEL,
    RESULT,
    SPEC,
    STOPPED,
    Failed,
    Succeeded,
    TrainingSpec,
    decode_result,
    decode_spec,
    encode,
)
from trainer.durable import write_atomically, write_once
from trainer.events import EventLog
from trainer.failures import OutOfMemory, TrainingFailed
from trainer.hardware import Hardware
from trainer.job import Job, Stopped
from trainer.stopping import Stop
from trainer.tracking import tracked


def run(directory: Path, stop: Stop) -> int:
    """Trains the job in `directory` and writes its result. Returns the exit status that the contract defines."""
    transformers_logging.disable_progress_bar()
    found = hardware.detect()
    first = devices.is_first()
    with _alone_in(directory) if first else nullcontext(), devices.connected(cpu=found.device == "cpu"):
        (succeeded,) = devices.anywhere(first and _has_succeeded(directory))
        return 0 if succeeded else _run(directory, found, stop)


@contextmanager
def _alone_in(directory: Path) -> Generator[None]:
    """Waits for a predecessor that is still saving its last checkpoint. The lock goes with the process."""
    with (directory / ".lock").open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _run(directory: Path, found: Hardware, stop: Stop) -> int:
    with EventLog(directory / EVENTS if devices.is_first() else None) as events:
        try:
            result = _train(directory, found, events, stop)
        except Stopped:
            return STOPPED
        except Exception as error:  # noqa: BLE001 - whatever it is, the job's owner gets an answer
            if not isinstance(error, TrainingFailed):
                traceback.print_exc(file=sys.stderr)
            return _fail(directory / RESULT, failures.explain(error), events)
    if devices.is_first():
        write_atomically(directory / RESULT, encode(result))
    return 0


def _fail(path: Path, failed: Failed, events: EventLog) -> int:
    """Of several processes any may fail, and the first failure counts: the others fail because of it."""
    if write_once(path, encode(failed), name=str(devices.rank())) and failed.too_many_at_once is None:
        events.fail(failed.message)
    return 1


def _has_succeeded(directory: Path) -> bool:
    """A result of an earlier start; a failure is forgotten, because the caller wants another try."""
    path = directory / RESULT
    if not path.exists():
        return False
    if isinstance(decode_result(path.read_bytes()), Succeeded):
        return True
    path.unlink()
    return False


def _train(directory: Path, found: Hardware, events: EventLog, stop: Stop) -> Succeeded:
    """Clears what a crash left behind, then trains."""
    spec = _read_spec(directory)
    if devices.is_first():
        (directory / CHECKPOINTS).mkdir(exist_ok=True)
        checkpoints.discard_incomplete(directory / CHECKPOINTS)
        for leftover in (directory / (name + end) for name in (ADAPTER, MODEL) for end in ("", ".tmp")):
            shutil.rmtree(leftover, ignore_errors=True)
    devices.wait_for_all()
    job = Job(
        directory=directory,
        spec=spec,
        hardware=found,
        events=events,
        stop=stop,
        largest_micro_batch=spec.largest_micro_batch,
    )
    with tracked(job):
        return _train_within_memory(job)


def _train_within_memory(job: Job) -> Succeeded:
    """With the largest micro-batch that fits, then by computing activations again."""
    while True:
        try:
            return _method(job.spec)(job)
        except OutOfMemory as error:
            too_large, chosen = error.micro_batch, error.chosen
        # Only here, with the exception and its frames gone, is the memory free again.
        clear_device_cache(garbage_collection=True)
        job = memory_saving.next_try(job, too_large, chosen)


def _method(spec: TrainingSpec) -> Callable[[Job], Succeeded]:
    """Imported when it is needed: each method loads its own part of TRL."""
    return import_module(f"trainer.methods.{spec.method}").train


def _read_spec(directory: Path) -> TrainingSpec:
    try:
        spec = decode_spec((directory / SPEC).read_bytes())
    except (FileNotFoundError, msgspec.MsgspecError) as error:
        raise TrainingFailed("server_error", f"The trainer cannot read its specification: {error}") from None
    if spec.contract_version != CONTRACT_VERSION:
        raise TrainingFailed("server_error", "The trainer has another version than the service that started it.")
    return spec
