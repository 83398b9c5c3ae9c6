"""Why a training job ends as failed, in words for the person who made the job.

Exception
├── TrainingFailed      the job cannot succeed as it is: code, message, param
└── OutOfMemory         a micro-batch did not fit; tried again with a smaller one before it becomes a TrainingFailed
"""

import errno
from typing import Literal

from trainer.contract import Failed, Hyperparameters

Param = Literal["training_file", "validation_file"]

INVALID_FILE = {"training_file": "invalid_training_file", "validation_file": "invalid_validation_file"}
"""Param -> OpenAI's error code."""

_OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "CUBLAS_STATUS_ALLOC_FAILED")


_DISK_FULL = (
    "No space left on device",
    "Disk quota exceeded",
    "PytorchStreamWriter failed writing",
    "iostream error",
    "inline_container.cc",
)


class TrainingFailed(Exception):
    def __init__(self, code: str, message: str, param: Param | None = None, *, too_many_at_once: int | None = None):
        super().__init__(message)
        self.failed = Failed(code=code, message=message, param=param, too_many_at_once=too_many_at_once)


class OutOfMemory(Exception):
    """`micro_batch` examples at once do not fit into memory."""

    def __init__(self, micro_batch: int, chosen: Hyperparameters | None = None):
        super().__init__(f"out of memory with {micro_batch} examples at once")
        self.micro_batch = micro_batch
        self.chosen = chosen


def invalid_file(param: Param, message: str) -> TrainingFailed:
    return TrainingFailed(INVALID_FILE[param], message, param)


def impossible(field: str, why: str, fix: str) -> TrainingFailed:
    """A value of the job that cannot be used: which one, and what to do about it."""
    return TrainingFailed("invalid_hyperparameters", f"{field} cannot be used as given: {why}. {fix}.")


def diverged(what: str) -> TrainingFailed:
    """Numbers that are none any more; `what` is a sentence that says which."""
    return TrainingFailed(
        "training_diverged",
        f"{what} Use a smaller learning_rate_multiplier (half of the current one, for example), and look for examples with "
        "broken text.",
    )


def is_out_of_memory(error: BaseException) -> bool:
    """Torch says it with several exception types; the texts are those that accelerate's batch size finder knows."""
    return isinstance(error, MemoryError) or any(text in str(error) for text in _OUT_OF_MEMORY)


def is_disk_full(error: BaseException) -> bool:
    """Python, safetensors and torch each say it in their own way; torch does not even give the reason."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    return any(text in str(error) for text in _DISK_FULL)


def disk_full() -> TrainingFailed:
    return TrainingFailed("server_error", "The disk is full. Free some space and start the job again.")


def explain(error: Exception) -> Failed:
    """Any exception -> what the job's owner may read: no paths, no stack."""
    if isinstance(error, TrainingFailed):
        return error.failed
    if is_disk_full(error):
        return disk_full().failed
    if is_out_of_memory(error):
        return Failed(code="out_of_memory", message="There is not enough memory to load the base model.")
    return Failed(
        code="server_error",
        message=f"The trainer stopped on an unexpected error ({type(error).__name__}). Its log has the details.",
    )
