"""What every method shares, from the schedule to the result: `learn()` is how a job runs once its trainer is built.

A method brings its labels, its loss and its tally; see `trainer/methods/supervised.py`, the shortest one.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import msgspec
import torch

from trainer import checkpoints, devices, hardware
from trainer.checkpoints import Manifest
from trainer.contract import ADAPTER, CHECKPOINTS, MODEL, DataSummary, Hyperparameters, Started, Succeeded
from trainer.durable import sync, sync_tree
from trainer.failures import OutOfMemory, impossible, is_out_of_memory
from trainer.job import Job, Stopped
from trainer.labels import Tokens as Ids
from trainer.probe import Asked, Prober, choose
from trainer.progress import Progress, Schedule, Validation
from trainer.watched import WatchedTrainer

WARMUP = 0.03
"""Share of the steps in which the learning rate rises from 0, none in runs of a few steps; then it falls linearly to 0
(usual between 0.03 and 0.1)."""
GRADIENT_CLIP = 1.0


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything that is known about a run before its first step."""

    hyperparameters: Hyperparameters
    schedule: Schedule
    training: DataSummary
    validation: DataSummary | None = None
    asked: Asked
    """What the model's probes are measured on."""

    @property
    def trained_tokens(self) -> int:
        """What is billed: every token of every example, once an epoch, padding and packing not counted."""
        return self.training.tokens * self.hyperparameters.n_epochs


class Tokens(Protocol):
    """A file that was tokenized for a method."""

    @property
    def longest(self) -> int:
        """The most tokens that one example takes."""
        ...

    def answered(self) -> Iterator[tuple[Ids, Ids]]:
        """Ids and labels of sequences that the model is taught to write."""
        ...

    def summary(self) -> DataSummary: ...


def plan(job: Job, chosen: Hyperparameters, training: Tokens, validation: Tokens | None, *, examples: int) -> Plan:
    """`examples` that are trained on. Raises TrainingFailed where the devices cannot share a step evenly."""
    return Plan(
        hyperparameters=chosen,
        schedule=schedule(job, chosen, examples=examples, longest=training.longest),
        training=training.summary(),
        validation=validation.summary() if validation else None,
        asked=choose(training.answered(), chosen.context_length),
    )


def schedule(job: Job, chosen: Hyperparameters, *, examples: int, longest: int) -> Schedule:
    """`examples` that are trained on; `longest` is the most tokens that one of them takes. Raises TrainingFailed where the
    devices cannot share a step evenly."""
    share, rest = divmod(chosen.batch_size, devices.count())
    if rest:
        why = f"{devices.count()} devices cannot share {chosen.batch_size} examples a step evenly"
        raise impossible("batch_size", why, f"Take a multiple of {devices.count()}")
    micro_batch = job.hardware.micro_batch(share, longest)
    while micro_batch > (job.largest_micro_batch or share) or share % micro_batch:
        micro_batch -= 1
    return Schedule(
        micro_batch=micro_batch,
        accumulation=share // micro_batch,
        devices=devices.count(),
        steps_per_epoch=math.ceil(examples / chosen.batch_size),
        n_epochs=chosen.n_epochs,
    )


def settings(job: Job, plan: Plan) -> dict[str, Any]:
    """Arguments of transformers' TrainingArguments (and TRL's subclasses) that no method changes: labels, lengths, logs,
    checkpoints and validation are ours."""
    hardware, chosen, steps = job.hardware, plan.hyperparameters, plan.schedule
    return {
        "output_dir": str(job.path(CHECKPOINTS)),
        # A packed step comes whole, and is cut into passes once its rows are known.
        "per_device_train_batch_size": steps.micro_batch * (steps.accumulation if chosen.packing else 1),
        "gradient_accumulation_steps": 1 if chosen.packing else steps.accumulation,
        "num_train_epochs": chosen.n_epochs,
        "learning_rate": chosen.learning_rate,
        "lr_scheduler_type": "linear",
        "warmup_steps": int(WARMUP * steps.total_steps),
        "max_grad_norm": GRADIENT_CLIP,
        "seed": job.spec.seed,
        "data_seed": job.spec.seed,
        "use_cpu": hardware.device == "cpu",
        "bf16": hardware.dtype == torch.bfloat16,
        "fp16": hardware.dtype == torch.float16,
        "gradient_checkpointing": chosen.gradient_checkpointing,
        "max_length": None,
        "logging_strategy": "no",
        "logging_nan_inf_filter": False,
        "save_strategy": "no",
        "eval_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "dataloader_pin_memory": hardware.device == "cuda",
    }


def learn(job: Job, trainer: WatchedTrainer, plan: Plan, validation: Validation | None) -> Succeeded:
    """Announces the run, trains from the newest checkpoint on, and saves the result. Raises TrainingFailed, Stopped,
    OutOfMemory, or whatever torch raises."""
    resumed = checkpoints.newest(job.path(CHECKPOINTS))
    _announce(job, plan, resumed)
    progress = trainer.watched_by(Progress(job, trainer, plan.schedule, validation, resumed))
    trainer.prober = Prober(plan.asked, _arithmetic(job, plan), job.events)
    job.stop.from_now_on_gracefully()
    _run(trainer, plan, resumed)
    if progress.stopped:
        steps = f"step {trainer.state.global_step} of {plan.schedule.total_steps}"
        job.events.say(f"Stopped at {steps}; it can go on from there.")
        raise Stopped
    return Succeeded(
        output=_save_output(job, trainer),
        trained_tokens=plan.trained_tokens,
        steps=plan.schedule.total_steps,
        metrics=progress.last,
        seconds=progress.seconds,
        tokens_per_second=progress.tokens_per_second,
        peak_memory_bytes=hardware.peak_memory_bytes(job.hardware.device),
    )


def _announce(job: Job, plan: Plan, resumed: tuple[Path, Manifest] | None) -> None:
    step = resumed[1].step if resumed else 0
    if resumed:
        job.events.say(f"Going on after step {step} of {plan.schedule.total_steps}, from the last checkpoint.")
    job.events.append(
        Started,
        hyperparameters=_with_micro_batch(plan),
        training=plan.training,
        validation=plan.validation,
        total_steps=plan.schedule.total_steps,
        trained_tokens=plan.trained_tokens,
        device=str(job.hardware),
        resumed_step=step,
    )


def _with_micro_batch(plan: Plan) -> Hyperparameters:
    steps = plan.schedule
    reason = "as many examples at once as fit into memory"
    if plan.hyperparameters.packing:
        reason = "as many rows at once, each as long as the longest example, as fit into memory"
    if steps.accumulation > 1:
        reason += f"; the {steps.batch_size} of a step are worked through in {steps.accumulation} parts"
    if steps.devices > 1:
        reason += f" on each of {steps.devices} devices"
    reasons = plan.hyperparameters.reasons | {"micro_batch": reason}
    return msgspec.structs.replace(plan.hyperparameters, micro_batch=steps.micro_batch, reasons=reasons)


def _arithmetic(job: Job, plan: Plan) -> str:
    """`Probe.dtype`."""
    four_bit = plan.hyperparameters.training_type == "qlora"
    return "nf4" if four_bit else str(job.hardware.dtype).removeprefix("torch.")


def _run(trainer: WatchedTrainer, plan: Plan, resumed: tuple[Path, Manifest] | None) -> None:
    try:
        trainer.train(resume_from_checkpoint=str(resumed[0]) if resumed else None)
    except Exception as error:
        if is_out_of_memory(error):
            raise OutOfMemory(plan.schedule.micro_batch, plan.hyperparameters) from None
        raise


def _save_output(job: Job, trainer: WatchedTrainer) -> str:
    """On the disk before the result says that it is there. Returns the name of its directory."""
    name = MODEL if trainer.trains_all_weights else ADAPTER
    if devices.is_first():
        draft = job.path(name + ".tmp")
        with checkpoints.whole_or_absent(draft):
            trainer.write_output(draft)
            sync_tree(draft)
        draft.rename(job.path(name))
        sync(job.directory)
    return name
