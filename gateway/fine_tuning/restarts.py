"""A trainer that died without a result: whether it is started again, and with what.

    memory   memory was full, and the system killed it, or several devices cannot begin anew by themselves: half as many
             examples at once, until one is too many
    killed   somebody else did: that says nothing about the job, so it goes on, unless it never gets anywhere
    crash    any other end: twice again, each time only if it got further than before

It always goes on from its last checkpoint, and every restart is told in an event, which is also how the next one knows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from gateway.fine_tuning.service import Failure

Reason = Literal["memory", "killed", "crash"]

CRASHES = 2
KILLS = 10
"""In a row, without a step in between."""

ADVICE = (
    "Set `training.gradient_checkpointing` to true, use `training.type` 'qlora', or shorten the examples with"
    " `training.context_length`."
)


@dataclass(eq=False)
class Crashed(Exception):
    """A trainer ended without a result, and nobody had asked it to."""

    status: int | None
    reason: Reason
    micro_batch: int | None = None
    """Examples at once that were too many, where it could still say so."""


@dataclass(frozen=True)
class Restart:
    reason: Reason
    step: int
    """The last step that had been told then."""


@dataclass(frozen=True, kw_only=True)
class Again:
    """How it goes on."""

    message: str
    largest_micro_batch: int | None = None


def again(crashed: Crashed, *, step: int, earlier: Sequence[Restart], micro_batch: int | None) -> Again:
    """Decide.

    Args:
        step: the last that was told.
        earlier: restarts of this job, oldest first.
        micro_batch: examples at once; None when the training had not begun.

    Raises:
        Failure: it is not started again.
    """
    match crashed.reason:
        case "memory":
            return _with_less_memory(micro_batch)
        case "killed":
            return _after_a_kill(crashed, step, earlier)
        case "crash":
            return _after_a_crash(crashed, step, earlier)


def _with_less_memory(micro_batch: int | None) -> Again:
    if micro_batch is None:
        message = "The machine ran out of memory while the base model was loaded. "
        raise Failure("out_of_memory", message + ADVICE)
    if micro_batch <= 1:
        message = "The machine ran out of memory with one example at a time. "
        raise Failure("out_of_memory", message + ADVICE)
    return Again(
        message=f"Out of memory with {micro_batch} examples at once, and the training process ended: going on from"
        f" the last checkpoint with {micro_batch // 2} at once. The batch size stays the same.",
        largest_micro_batch=micro_batch // 2,
    )


def _after_a_kill(crashed: Crashed, step: int, earlier: Sequence[Restart]) -> Again:
    in_vain = [restart for restart in earlier if restart.reason == "killed" and restart.step >= step]
    if len(in_vain) >= KILLS:
        raise _failure(crashed)
    return Again(message="The training process was killed: going on from the last checkpoint.")


def _after_a_crash(crashed: Crashed, step: int, earlier: Sequence[Restart]) -> Again:
    crashes = [restart for restart in earlier if restart.reason == "crash"]
    got_further = step > max((restart.step for restart in earlier), default=0)
    if len(crashes) >= CRASHES or not got_further:
        raise _failure(crashed)
    return Again(
        message=f"The training process ended unexpectedly (status {crashed.status}): going on from the last checkpoint"
        f" ({len(crashes) + 1} of {CRASHES} tries)."
    )


def _failure(crashed: Crashed) -> Failure:
    return Failure(
        "server_error",
        f"The training process ended unexpectedly (status {crashed.status}). The worker's log has its last words; "
        "create the job again to try once more.",
    )
