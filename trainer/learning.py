"""What every method shares, from the schedule to the result: `learn()` is how a job runs once its trainer is built.

A method brings its labels, its loss and its tally; see `trainer/methods/supervised.py`, the shortest one.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from torch.utils.data import Sampler
from transformers import PrinterCallback, Trainer

from trainer import checkpoints
from trainer.checkpoints import Manifest
from trainer.contract import ADAPTER, CHECKPOINTS, DataSummary, Hyperparameters, Started, Succeeded
from trainer.durable import sync
from trainer.failures import OutOfMemory, is_out_of_memory
from trainer.job import Job, Stopped
from trainer.progress import Progress, Schedule, Validation
from trainer.stopping import Stop
from trainer.tally import Sums, Tally

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

    @property
    def trained_tokens(self) -> int:
        """What is billed: every token of every example, once an epoch, padding and packing not counted."""
        return self.training.tokens * self.hyperparameters.n_epochs


def schedule(job: Job, chosen: Hyperparameters, *, examples: int, longest: int) -> Schedule:
    """`examples` that are trained on; `longest` is the most tokens that one of them takes."""
    micro_batch = job.hardware.micro_batch(chosen.batch_size, longest)
    while job.largest_micro_batch is not None and (
        micro_batch > job.largest_micro_batch or chosen.batch_size % micro_batch
    ):
        micro_batch -= 1
    return Schedule(
        micro_batch=micro_batch,
        accumulation=chosen.batch_size // micro_batch,
        steps_per_epoch=math.ceil(examples / chosen.batch_size),
        n_epochs=chosen.n_epochs,
    )


def settings(job: Job, plan: Plan) -> dict[str, Any]:
    """Arguments of transformers' TrainingArguments (and TRL's subclasses) that no method changes: labels, lengths, logs,
    checkpoints and validation are ours."""
    hardware, chosen, steps = job.hardware, plan.hyperparameters, plan.schedule
    return {
        "output_dir": str(job.path(CHECKPOINTS)),
        "per_device_train_batch_size": steps.micro_batch,
        "gradient_accumulation_steps": steps.accumulation,
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


class WatchedTrainer(Trainer):
    """What our trainers share; comes before TRL's class in the bases. Its checkpoints are complete or absent.

    A method brings `compute_loss`, which adds to `tally`, and `score`.
    """

    def __init__(self, *, base_model: str, sampler: Sampler[int], padding: Any, tally: Tally, **arguments: Any):
        """`base_model` is the name that the adapter keeps of it; `padding` makes a batch of examples."""
        super().__init__(data_collator=padding, **arguments)
        self.tally = tally
        self.padding = padding
        self._sampler = sampler
        self.remove_callback(PrinterCallback)
        self.adapter.create_or_update_model_card = lambda output_dir: None
        self.adapter.peft_config["default"].base_model_name_or_path = base_model
        # `compute_loss` divides by what the whole optimizer step has, whatever the model's forward accepts.
        self.model_accepts_loss_kwargs = True

    def watched_by(self, progress: Progress) -> Progress:
        self._progress = progress
        self.add_callback(progress)
        return progress

    def score(self, batches: Iterator[dict[str, torch.Tensor]], stop: Stop | None = None) -> Sums | None:
        """Σ over validation batches, or None when asked to stop by `stop`."""
        raise NotImplementedError

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[int]:
        return self._sampler

    def floating_point_ops(self, inputs: Any) -> int:
        """Nobody reads it, and it walks over all modules at every step."""
        return 0

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """The files that Trainer resumes from. Its own `_save_checkpoint` writes more, and in another order."""
        self._progress.save()

    def write_checkpoint(self, path: Path) -> None:
        self.write_adapter(path)
        self._save_optimizer_and_scheduler(str(path))
        self._save_scaler(str(path))
        self._save_rng_state(str(path))
        self.state.save_to_json(str(path / "trainer_state.json"))

    def write_adapter(self, path: Path) -> None:
        """PEFT's two files, under the name that the base model has for whoever serves it."""
        self.adapter.save_pretrained(str(path), selected_adapters=["default"], save_embedding_layers=False)

    @property
    def adapter(self) -> PeftModel:
        return self.accelerator.unwrap_model(self.model)


def learn(job: Job, trainer: WatchedTrainer, plan: Plan, validation: Validation | None) -> Succeeded:
    """Announces the run, trains from the newest checkpoint on, and saves the result. Raises TrainingFailed, Stopped,
    OutOfMemory, or whatever torch raises."""
    resumed = checkpoints.newest(job.path(CHECKPOINTS))
    _announce(job, plan, resumed)
    progress = trainer.watched_by(Progress(job, trainer, plan.schedule, validation, resumed))
    job.stop.from_now_on_gracefully()
    _run(trainer, plan.schedule, resumed)
    if job.stop.requested:
        steps = f"step {trainer.state.global_step} of {plan.schedule.total_steps}"
        job.events.say(f"Stopped at {steps}; it can go on from there.")
        raise Stopped
    _save_adapter(job, trainer)
    return Succeeded(
        output=ADAPTER,
        trained_tokens=plan.trained_tokens,
        steps=plan.schedule.total_steps,
        metrics=progress.last,
        seconds=progress.seconds,
    )


def _announce(job: Job, plan: Plan, resumed: tuple[Path, Manifest] | None) -> None:
    step = resumed[1].step if resumed else 0
    if resumed:
        job.events.say(f"Going on after step {step} of {plan.schedule.total_steps}, from the last checkpoint.")
    job.events.append(
        Started,
        hyperparameters=plan.hyperparameters,
        training=plan.training,
        validation=plan.validation,
        total_steps=plan.schedule.total_steps,
        trained_tokens=plan.trained_tokens,
        device=str(job.hardware),
        resumed_step=step,
    )


def _run(trainer: WatchedTrainer, steps: Schedule, resumed: tuple[Path, Manifest] | None) -> None:
    try:
        trainer.train(resume_from_checkpoint=str(resumed[0]) if resumed else None)
    except Exception as error:
        if is_out_of_memory(error):
            raise OutOfMemory(steps.micro_batch) from None
        raise


def _save_adapter(job: Job, trainer: WatchedTrainer) -> None:
    """On the disk before the result says that it is there."""
    draft = job.path(ADAPTER + ".tmp")
    trainer.write_adapter(draft)
    for file in (*draft.iterdir(), draft):
        sync(file)
    draft.rename(job.path(ADAPTER))
    sync(job.directory)
