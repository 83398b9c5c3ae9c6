"""What the figures of a training say to somebody who does not read curves: what is wrong, and what to do.

Losses of single steps jump about, so they are compared smoothed: the median of SMOOTH steps.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Literal

Step = Mapping[str, Any]
"""Of GET /v1/fine_tuning/jobs/{id}/metrics."""

SMOOTH = 5
ENOUGH = 3 * SMOOTH
"""Steps, before anything is said of their losses."""
RISING, DIVERGING = 1.15, 1.5
"""Times the lowest loss so far."""
STILL = 0.98
"""Of the first loss: less has not been learnt."""
OVERFITTING = 1.05
"""Times the lowest validation loss."""
MEMORIZED = 0.02
"""Nats a token: the training answers are known by heart."""
NEARLY_FULL = 0.9
"""Of the memory."""


@dataclass(frozen=True, slots=True)
class Advice:
    code: str
    level: Literal["info", "warn", "bad"]
    found: str
    action: str


def advice(steps: Sequence[Step], *, has_validation: bool, device: str = "") -> list[Advice]:
    """What is worth saying, the worst first.

    Args:
        steps: in their order.
        device: "cpu" measures the process, not what trains in it.
    """
    found = [*_training(steps), *_validation(steps), *_memory(steps, device)]
    if not has_validation:
        found.append(NO_VALIDATION)
    order = ("bad", "warn", "info")
    return sorted(found, key=lambda each: order.index(each.level))


NO_VALIDATION = Advice(
    "no_validation",
    "info",
    "There is no validation data, so nothing here tells learning from memorizing.",
    "Next time, keep a tenth or a fifth of the examples out of the training (a split when they are imported or built).",
)


def best_checkpoint(checkpoints: Sequence[Step]) -> int | None:
    """The step with the lowest loss on all of the validation file, else on its batch; None where none was measured.

    Args:
        checkpoints: `step_number` and `metrics` of each. Of two that are equal the earlier one has learnt less by heart.
    """
    for name in ("full_valid_loss", "valid_loss"):
        measured = [each for each in checkpoints if each["metrics"].get(name) is not None]
        if measured:
            return min(measured, key=lambda each: (each["metrics"][name], each["step_number"]))["step_number"]
    return None


def smoothed(values: Sequence[float]) -> list[float]:
    """The median of each value and those before it, SMOOTH at most."""
    return [median(values[max(0, at - SMOOTH + 1) : at + 1]) for at in range(len(values))]


def _training(steps: Sequence[Step]) -> Iterator[Advice]:
    losses = _of(steps, "train_loss")
    if len(losses) < ENOUGH:
        return
    curve = smoothed(losses)[SMOOTH - 1 :]
    first, lowest, last = curve[0], min(curve), curve[-1]
    if last > lowest * DIVERGING and last > first:
        yield Advice(
            "diverging",
            "bad",
            f"The training diverges: its loss was {lowest:.2f} and is {last:.2f}, above its beginning.",
            "Stop it, and start again with half the learning rate multiplier; look for examples with broken text.",
        )
    elif last > lowest * RISING and last - lowest > MEMORIZED:
        yield Advice(
            "loss_rising",
            "warn",
            f"The training loss rises: it was {lowest:.2f} and is {last:.2f}.",
            "Watch the next steps. If it goes on, start again with a smaller learning rate multiplier.",
        )
    elif last > first * STILL and _share(steps) >= 0.2:
        yield Advice(
            "not_falling",
            "warn",
            f"The training loss does not fall: {first:.2f} at the beginning, {last:.2f} now.",
            "Try twice the learning rate multiplier or a higher rank, and check that the answers follow from the questions.",
        )
    elif last < MEMORIZED:
        yield Advice(
            "memorized",
            "warn",
            f"The training loss is {last:.3f}: the answers are known by heart.",
            "Fewer epochs are enough; with more varied examples the model learns more than these answers.",
        )


def _validation(steps: Sequence[Step]) -> Iterator[Advice]:
    """The whole file's losses at the end of epochs are exact; those of single batches are smoothed."""
    full = [(each["step"], each["full_valid_loss"]) for each in steps if each.get("full_valid_loss") is not None]
    if len(full) >= 2:
        curve = full
    else:
        single = [(each["step"], each["valid_loss"]) for each in steps if each.get("valid_loss") is not None]
        if len(single) < ENOUGH:
            return
        values = smoothed([value for _, value in single])
        curve = list(zip([step for step, _ in single], values, strict=True))[SMOOTH - 1 :]
    step, lowest = min(curve, key=lambda each: each[1])
    last = curve[-1][1]
    if last > lowest * OVERFITTING:
        yield Advice(
            "overfitting",
            "warn",
            f"The model learns by heart: the validation loss was lowest at step {step} ({lowest:.2f}) and is {last:.2f} now.",
            f"Use the checkpoint nearest to step {step}, fewer epochs, or more examples.",
        )


def _memory(steps: Sequence[Step], device: str) -> Iterator[Advice]:
    told = next((each for each in reversed(steps) if each.get("device_memory_bytes")), None)
    if told is None or not told.get("memory_bytes"):
        return
    share = told["memory_bytes"] / told["device_memory_bytes"]
    if share >= NEARLY_FULL:
        where = "machine's" if device == "cpu" else "device's"
        yield Advice(
            "memory_nearly_full",
            "warn",
            f"The training took {share:.0%} of the {where} memory.",
            "If it does not fit, the batch is cut into smaller parts by itself. A shorter context length or QLoRA takes less.",
        )


def _share(steps: Sequence[Step]) -> float:
    """Of the training that is done."""
    last = steps[-1]
    return last["step"] / last["total_steps"] if last.get("total_steps") else 1.0


def _of(steps: Sequence[Step], name: str) -> list[float]:
    return [each[name] for each in steps if each.get(name) is not None]
