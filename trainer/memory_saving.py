"""What to try when a step did not fit into memory, from what costs nothing to what costs time; then what to advise."""

from dataclasses import replace

from trainer import devices
from trainer.contract import Hyperparameters
from trainer.failures import TrainingFailed
from trainer.job import Job


def next_try(job: Job, too_large: int, chosen: Hyperparameters | None) -> Job:
    """The same optimizer steps from smaller passes, or with activations computed again. `too_large` examples at once did
    not fit, with the numbers in `chosen`. Raises TrainingFailed when nothing is left to try, and where several devices must
    be started anew for it."""
    if devices.count() > 1:
        raise _too_large(job, chosen, too_large, too_many_at_once=too_large if too_large > 1 else None)
    if too_large > 1:
        job.events.warn(f"Out of memory with {too_large} examples at once: going on with {too_large // 2} at once.")
        return replace(job, largest_micro_batch=too_large // 2)
    if job.spec.gradient_checkpointing == "auto" and not _recomputes(job, chosen):
        job.events.warn(
            "Out of memory with one example at once: going on with gradient checkpointing, which takes less memory and "
            "about 30 % more time."
        )
        return replace(job, recomputes_activations=True)
    raise _too_large(job, chosen, 1)


def _recomputes(job: Job, chosen: Hyperparameters | None) -> bool:
    return job.recomputes_activations or (chosen is not None and chosen.gradient_checkpointing)


def _too_large(
    job: Job, chosen: Hyperparameters | None, examples: int, *, too_many_at_once: int | None = None
) -> TrainingFailed:
    """With so many `examples` at once. Only what is not done already is advised."""
    kind = chosen.training_type if chosen else job.spec.training_type
    what = "even one of the longest examples" if examples == 1 else f"{examples} of the longest examples at once"
    advice = [
        "take a smaller batch_size" if examples > 1 else "",
        "switch gradient_checkpointing on" if not _recomputes(job, chosen) else "",
        "use training type qlora" if kind != "qlora" and job.hardware.device != "mps" else "",
        "shorten the examples (or cut them with a smaller context_length)",
        "take a smaller base model",
        "train on a machine with more memory",
    ]
    *first, last = filter(None, advice)
    return TrainingFailed(
        "out_of_memory",
        f"There is not enough memory to train on {what}. {', '.join(first).capitalize()}, or {last}.",
        too_many_at_once=too_many_at_once,
    )
