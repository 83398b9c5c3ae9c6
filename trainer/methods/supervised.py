"""Supervised fine-tuning of a LoRA adapter, top to bottom: `train()` is the whole method.

TRL's SFTTrainer runs the loop. What is ours:
- the dataset comes with `input_ids` and `labels` (`trainer.labels`), so TRL neither templates nor masks;
- loss and accuracy are sums over label tokens divided by their number, in training as in validation (the trainer's own
  are means over batches);
- events, validation, checkpoints and stopping hang on the callback after each optimizer step.
"""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import torch
from datasets import Dataset
from peft import LoraConfig, PeftConfig, PeftModel
from torch.nn.utils.rnn import pad_sequence
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PrinterCallback,
    TrainerCallback,
    TrainerControl,
    TrainerState,
)
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from trainer import checkpoints, hyperparameters
from trainer.checkpoints import Manifest
from trainer.contract import (
    ADAPTER,
    CHECKPOINTS,
    CheckpointSaved,
    Hyperparameters,
    Metrics,
    Started,
    StepMetrics,
    Succeeded,
    TrainingSpec,
)
from trainer.data import read_examples, require_enough
from trainer.durable import sync
from trainer.events import EventLog
from trainer.failures import OutOfMemory, Param, TrainingFailed, invalid_file, is_out_of_memory
from trainer.hardware import Hardware
from trainer.hyperparameters import Adapter, BaseModel
from trainer.labels import IGNORED, ChatLabels, Labelled
from trainer.stopping import Stop

WARMUP = 0.03
"""Share of the steps in which the learning rate rises; then it falls linearly to 0 (usual between 0.03 and 0.1)."""
GRADIENT_CLIP = 1.0
RESUME_CHECKPOINT_SECONDS = 600.0
"""Within a long epoch, a checkpoint to go on from is saved this often."""
FULLY_REPORTED_STEPS = 500
"""Runs with more steps report about this many of them."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One run of this process."""

    directory: Path
    spec: TrainingSpec
    hardware: Hardware
    events: EventLog
    stop: Stop
    largest_micro_batch: int | None = None
    """Set after a larger one did not fit into memory."""
    started_at: float = field(default_factory=time.monotonic)

    def path(self, name: str) -> Path:
        return self.directory / name


class Stopped(Exception):
    """Training was asked to stop; a checkpoint is saved."""


def train(job: Job) -> Succeeded:
    """Reads, trains, saves the adapter. Raises TrainingFailed, Stopped, or whatever torch raises."""
    spec, events = job.spec, job.events
    base_path = _base_path(job)
    base, tokenizer = _load_tokenizer(base_path)
    context = hyperparameters.context_length(base, job.hardware.device)
    training = _read(job, tokenizer, spec.training_file, "training_file", int(context.value))
    validation = (
        _read(job, tokenizer, spec.validation_file, "validation_file", int(context.value))
        if spec.validation_file is not None
        else None
    )
    continued = _adapter_shape(job)
    chosen = hyperparameters.resolve(spec, base, examples=len(training.input_ids), context=context, continued=continued)
    model = _load_model(job, base_path)
    schedule = _schedule(job, chosen, training)
    trainer = _trainer(job, model, tokenizer, training, chosen, schedule)
    resumed = checkpoints.newest(job.path(CHECKPOINTS))
    events.append(
        Started,
        hyperparameters=chosen,
        training=training.summary(),
        validation=validation.summary() if validation else None,
        total_steps=schedule.total_steps,
        trained_tokens=training.summary().tokens * chosen.n_epochs,
        device=str(job.hardware),
        resumed_step=resumed[1].step if resumed else 0,
    )
    progress = Progress(job, trainer, schedule, validation, resumed)
    trainer.progress = progress
    trainer.add_callback(progress)
    job.stop.from_now_on_gracefully()
    _run(trainer, schedule, resumed)
    if job.stop.requested:
        events.say(f"Stopped at step {trainer.state.global_step} of {schedule.total_steps}; it can go on from there.")
        raise Stopped
    _save_adapter(job, trainer)
    return Succeeded(
        adapter=ADAPTER,
        trained_tokens=training.summary().tokens * chosen.n_epochs,
        steps=schedule.total_steps,
        metrics=progress.last,
        seconds=progress.seconds,
    )


def _run(trainer: "TokenWeightedTrainer", schedule: "Schedule", resumed: tuple[Path, Manifest] | None) -> None:
    try:
        trainer.train(resume_from_checkpoint=str(resumed[0]) if resumed else None)
    except Exception as error:
        if is_out_of_memory(error):
            raise OutOfMemory(schedule.micro_batch) from None
        raise


# ---- Reading


def _base_path(job: Job) -> str:
    """A directory, or an id in the local Hugging Face cache."""
    directory = job.path(job.spec.base_model)
    return str(directory) if directory.is_dir() else job.spec.base_model


def _load_tokenizer(base_path: str) -> tuple[BaseModel, PreTrainedTokenizerBase]:
    try:
        config = AutoConfig.from_pretrained(base_path).get_text_config()
        tokenizer = AutoTokenizer.from_pretrained(base_path)
    except (OSError, ValueError):
        raise TrainingFailed("model_not_found", "The base model is not on the machine that trains.") from None
    base = BaseModel(
        family=config.model_type,
        hidden_size=config.hidden_size,
        longest_context=config.max_position_embeddings,
    )
    return base, tokenizer


def _read(job: Job, tokenizer: PreTrainedTokenizerBase, name: str, param: Param, context: int) -> Labelled:
    """Reads and tokenizes one file; says how many examples were cut or left out, and what to do about it."""
    noun = param.removesuffix("_file")
    examples = read_examples(job.path(name), param)
    if param == "training_file":
        require_enough(examples, hyperparameters.MINIMUM_EXAMPLES)
    job.events.say(f"Reading {len(examples)} {noun} examples.")
    labelled = ChatLabels(tokenizer).label(examples, context, param)
    if labelled.truncated:
        job.events.warn(
            f"{labelled.truncated} of {labelled.examples} {noun} examples are longer than {context} tokens and were "
            "cut at the end. Shorten or split them so that nothing of their answers is lost."
        )
    if labelled.skipped:
        job.events.warn(
            f"{labelled.skipped} of {labelled.examples} {noun} examples have no assistant message to learn from "
            f"within {context} tokens and were left out. Shorten them, or check their roles and weights."
        )
    if labelled.unending:
        job.events.warn(
            f"After an answer in {labelled.unending} {noun} examples, the base model's chat template writes no "
            "end-of-turn token: the model may not learn where to stop."
        )
    if not labelled.input_ids:
        raise invalid_file(param, f"None of the {labelled.examples} {noun} examples has a token to learn from.")
    return labelled


def _adapter_shape(job: Job) -> Adapter | None:
    if job.spec.continue_from is None:
        return None
    try:
        config = PeftConfig.from_pretrained(str(job.path(job.spec.continue_from)))
    except (OSError, ValueError):
        raise TrainingFailed("model_not_found", "The model to train further is not on this machine.") from None
    if not isinstance(config, LoraConfig):
        raise TrainingFailed("invalid_model", "The model to train further is not a LoRA adapter.")
    return Adapter(config.r, config.lora_alpha)


# ---- Building


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How many steps, and what happens at which."""

    micro_batch: int
    accumulation: int
    steps_per_epoch: int
    n_epochs: int

    @property
    def total_steps(self) -> int:
        return self.steps_per_epoch * self.n_epochs

    @property
    def batch_size(self) -> int:
        return self.micro_batch * self.accumulation

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


def _schedule(job: Job, chosen: Hyperparameters, training: Labelled) -> Schedule:
    micro_batch = job.hardware.micro_batch(chosen.batch_size, training.longest)
    while job.largest_micro_batch is not None and (
        micro_batch > job.largest_micro_batch or chosen.batch_size % micro_batch
    ):
        micro_batch -= 1
    return Schedule(
        micro_batch=micro_batch,
        accumulation=chosen.batch_size // micro_batch,
        steps_per_epoch=math.ceil(len(training.input_ids) / chosen.batch_size),
        n_epochs=chosen.n_epochs,
    )


def _load_model(job: Job, base_path: str) -> PreTrainedModel | PeftModel:
    torch.set_num_threads(job.hardware.threads)
    model = AutoModelForCausalLM.from_pretrained(base_path, dtype=job.hardware.dtype)
    if job.spec.continue_from is None:
        return model
    return PeftModel.from_pretrained(model, str(job.path(job.spec.continue_from)), is_trainable=True)


def _trainer(
    job: Job,
    model: PreTrainedModel | PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    training: Labelled,
    chosen: Hyperparameters,
    schedule: Schedule,
) -> "TokenWeightedTrainer":
    hardware = job.hardware
    settings = SFTConfig(
        output_dir=str(job.path(CHECKPOINTS)),
        per_device_train_batch_size=schedule.micro_batch,
        gradient_accumulation_steps=schedule.accumulation,
        num_train_epochs=chosen.n_epochs,
        learning_rate=chosen.learning_rate,
        lr_scheduler_type="linear",
        warmup_steps=WARMUP,
        max_grad_norm=GRADIENT_CLIP,
        seed=job.spec.seed,
        data_seed=job.spec.seed,
        use_cpu=hardware.device == "cpu",
        bf16=hardware.dtype == torch.bfloat16,
        fp16=hardware.dtype == torch.float16,
        gradient_checkpointing=hardware.recomputes_activations(model.num_parameters()),
        # Labels, lengths, logs, checkpoints and validation are ours.
        max_length=None,
        packing=False,
        dataset_kwargs={"skip_prepare_dataset": True},
        logging_strategy="no",
        logging_nan_inf_filter=False,
        save_strategy="no",
        eval_strategy="no",
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=hardware.device == "cuda",
    )
    lora = LoraConfig(
        r=chosen.lora_rank,
        lora_alpha=chosen.lora_alpha,
        target_modules="all-linear",
        lora_dropout=0.0,
        bias="none",
        task_type="CAUSAL_LM",
    )
    trainer = TokenWeightedTrainer(
        model=model,
        args=settings,
        train_dataset=_dataset(training),
        data_collator=Padding(_padding_id(tokenizer)),
        processing_class=tokenizer,
        peft_config=None if isinstance(model, PeftModel) else lora,
    )
    trainer.remove_callback(PrinterCallback)
    trainer.adapter.create_or_update_model_card = lambda output_dir: None
    trainer.adapter.peft_config["default"].base_model_name_or_path = job.spec.base_model
    # `compute_loss` divides by the label tokens of the whole batch whatever the model's forward accepts.
    trainer.model_accepts_loss_kwargs = True
    return trainer


def _dataset(labelled: Labelled) -> Dataset:
    """Arrow columns without a copy per example."""
    columns = {"input_ids": _column(labelled.input_ids), "labels": _column(labelled.labels)}
    return Dataset(pa.table(columns)).with_format("torch")


def _column(rows: list[Any]) -> pa.Array:
    offsets = np.cumsum([0, *map(len, rows)], dtype=np.int64)
    return pa.LargeListArray.from_arrays(offsets, np.concatenate(rows))


def _padding_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """Any token serves: attention and labels leave padding out by position."""
    return tokenizer.pad_token_id if isinstance(tokenizer.pad_token_id, int) else 0


@dataclass(frozen=True)
class Padding:
    """Examples -> one batch of tensors, padded on the right to the longest."""

    padding_id: int

    def __call__(self, examples: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        ids = [torch.as_tensor(example["input_ids"], dtype=torch.int64) for example in examples]
        labels = [torch.as_tensor(example["labels"], dtype=torch.int64) for example in examples]
        return {
            "input_ids": pad_sequence(ids, batch_first=True, padding_value=self.padding_id),
            "labels": pad_sequence(labels, batch_first=True, padding_value=IGNORED),
            "attention_mask": pad_sequence([torch.ones_like(row) for row in ids], batch_first=True),
        }


# ---- Counting


@dataclass
class Tally:
    """Sums over label tokens; they stay on the device until `read()`, which is one transfer."""

    sums: torch.Tensor | None = None

    def add(self, outputs: Any, attention_mask: torch.Tensor) -> None:
        sums = torch.stack(
            [
                -outputs.log_probs.detach().sum().float(),
                outputs.is_top1.sum().float(),
                outputs.label_mask.sum().float(),
                attention_mask.sum().float(),
            ]
        )
        self.sums = sums if self.sums is None else self.sums + sums

    def read(self) -> "Sums":
        """The sums so far; starts again at 0."""
        values = [0.0] * 4 if self.sums is None else self.sums.tolist()
        self.sums = None
        return Sums(*values)


@dataclass(frozen=True)
class Sums:
    nll: float = 0.0
    correct: float = 0.0
    labels: float = 0.0
    tokens: float = 0.0
    """Without padding."""

    @property
    def loss(self) -> float:
        """Nats per label token."""
        return self.nll / max(self.labels, 1.0)

    @property
    def accuracy(self) -> float:
        return self.correct / max(self.labels, 1.0)

    def __add__(self, other: "Sums") -> "Sums":
        return Sums(
            self.nll + other.nll, self.correct + other.correct, self.labels + other.labels, self.tokens + other.tokens
        )


class TokenWeightedTrainer(SFTTrainer):
    """SFTTrainer whose loss is Σ nll / Σ label tokens of the optimizer step, and whose checkpoints are complete or
    absent."""

    progress: "Progress"

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.tally = Tally()

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """TRL's own, without the metrics that it transfers from the device on every micro-batch."""
        routing = {"output_router_logits": True} if self.aux_loss_enabled else {}
        outputs = model(**inputs, **routing, use_cache=False, fused_lm_head=True)
        self.tally.add(outputs, inputs["attention_mask"])
        loss = -outputs.log_probs.sum() / torch.as_tensor(num_items_in_batch).clamp(min=1)
        if self.aux_loss_enabled:
            loss = loss + self.router_aux_loss_coef * outputs.aux_loss / self.current_gradient_accumulation_steps
        return loss

    def floating_point_ops(self, inputs: Any) -> int:
        """Nobody reads it, and it walks over all modules at every step."""
        return 0

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """The files that Trainer resumes from. Its own `_save_checkpoint` writes more, and in another order."""
        self.progress.save(self)

    def write_checkpoint(self, path: Path) -> None:
        self.write_adapter(path)
        self._save_optimizer_and_scheduler(str(path))
        self._save_scaler(str(path))
        self._save_rng_state(str(path))
        self.state.save_to_json(str(path / "trainer_state.json"))

    def write_adapter(self, path: Path) -> None:
        """PEFT's two files, under the name that the base model has for whoever serves it."""
        self.adapter.save_pretrained(str(path), save_embedding_layers=False)

    @property
    def adapter(self) -> PeftModel:
        return self.accelerator.unwrap_model(self.model)

    def score(self, batches: Iterator[dict[str, torch.Tensor]], stop: Stop | None = None) -> Sums | None:
        """Σ over validation batches, or None when asked to stop by `stop`."""
        model, tally = self.adapter, Tally()
        model.eval()
        with torch.no_grad():
            for batch in batches:
                if stop is not None and stop.requested:
                    return None
                inputs = {name: tensor.to(self.args.device) for name, tensor in batch.items()}
                with self.compute_loss_context_manager():
                    tally.add(model(**inputs, use_cache=False, fused_lm_head=True), inputs["attention_mask"])
        return tally.read()


# ---- Watching


class Progress(TrainerCallback):
    """What happens after each optimizer step: metrics, validation, checkpoints, and stopping."""

    def __init__(
        self,
        job: Job,
        trainer: TokenWeightedTrainer,
        schedule: Schedule,
        validation: Labelled | None,
        resumed: tuple[Path, Manifest] | None,
    ):
        self._job = job
        self._trainer = trainer
        self._schedule = schedule
        self._validation = ValidationBatches(validation, schedule, trainer.data_collator) if validation else None
        self._resumed = resumed
        self._began = self._saved_at = time.monotonic()
        self._learning_rate = 0.0
        self._steps = 0
        self._tokens = 0.0
        self._epoch_sums = Sums()
        self.last = resumed[1].metrics if resumed else Metrics(step=0)
        self._previous_full_loss = self.last.full_valid_loss

    @property
    def seconds(self) -> float:
        """Spent on the job, by this process and those before it."""
        before = self._resumed[1].seconds if self._resumed else 0.0
        return before + time.monotonic() - self._job.started_at

    def on_train_begin(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self._began = self._saved_at = time.monotonic()
        if self._resumed is not None:
            self._finish_interrupted_epoch(*self._resumed)

    def on_pre_optimizer_step(self, args: Any, state: TrainerState, control: TrainerControl, **live: Any) -> None:
        self._learning_rate = live["lr_scheduler"].get_last_lr()[0]

    def on_step_end(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        step = state.global_step
        sums = self._count(step)
        metrics = Metrics(step=step, train_loss=sums.loss, train_mean_token_accuracy=sums.accuracy)
        self.last = self._validate(metrics)
        if self._schedule.is_reported(step):
            self._report()
        if self._is_epoch_complete(step):
            self._tell_epoch(step)
        if self._job.stop.requested:
            control.should_training_stop = True
        overdue = time.monotonic() - self._saved_at > RESUME_CHECKPOINT_SECONDS
        control.should_save = self._schedule.ends_epoch(step) or self._job.stop.requested or overdue

    def save(self, trainer: TokenWeightedTrainer) -> None:
        """Writes the checkpoint of the current step, announces it if it ends an epoch, and deletes older ones."""
        step = trainer.state.global_step
        path = checkpoints.directory(self._job.path(CHECKPOINTS), step)
        path.mkdir(parents=True, exist_ok=True)
        trainer.write_checkpoint(path)
        manifest = Manifest(
            step=step,
            epoch=step // self._schedule.steps_per_epoch,
            kind="epoch" if self._is_epoch_complete(step) else "resume",
            metrics=self.last,
            seconds=self.seconds,
        )
        self._announce(path, checkpoints.seal(path, manifest))
        checkpoints.prune(path.parent)
        self._saved_at = time.monotonic()

    def _is_epoch_complete(self, step: int) -> bool:
        """At its end, with its validation done (a stop interrupts that)."""
        validated = self._validation is None or self.last.full_valid_loss is not None
        return self._schedule.ends_epoch(step) and validated

    def _announce(self, path: Path, manifest: Manifest) -> None:
        if manifest.kind == "epoch" and manifest.step not in self._job.events.announced_checkpoints:
            self._job.events.append(
                CheckpointSaved,
                path=f"{CHECKPOINTS}/{path.name}",
                step=manifest.step,
                epoch=manifest.epoch,
                metrics=manifest.metrics,
            )

    def _finish_interrupted_epoch(self, path: Path, manifest: Manifest) -> None:
        """What the process before this one still owed at the checkpoint that it left."""
        if manifest.kind == "resume" and self._schedule.ends_epoch(manifest.step):
            self.last = self._validate(manifest.metrics)
            if not self._is_epoch_complete(manifest.step):
                return
            manifest = checkpoints.promote(path, manifest, self.last)
            self._report()
            self._tell_epoch(manifest.step)
        self._announce(path, manifest)

    def _count(self, step: int) -> Sums:
        """The step's sums. Raises TrainingFailed when the loss is no number any more."""
        sums = self._trainer.tally.read()
        if not math.isfinite(sums.nll):
            raise TrainingFailed(
                "training_diverged",
                f"The loss is not a number any more at step {step}. Use a smaller learning_rate_multiplier (half of "
                "the current one, for example), and look for examples with broken text.",
            )
        self._steps += 1
        self._tokens += sums.tokens
        self._epoch_sums += sums
        return sums

    def _validate(self, metrics: Metrics) -> Metrics:
        """Adds the validation that is due at this step."""
        if self._validation is None or not self._schedule.is_validated(metrics.step):
            return metrics
        one = self._trainer.score(self._validation.one(metrics.step))
        everything = (
            self._trainer.score(self._validation.everything(), self._job.stop)
            if self._schedule.ends_epoch(metrics.step)
            else None
        )
        return msgspec.structs.replace(
            metrics,
            valid_loss=one and one.loss,
            valid_mean_token_accuracy=one and one.accuracy,
            full_valid_loss=everything and everything.loss,
            full_valid_mean_token_accuracy=everything and everything.accuracy,
        )

    def _report(self) -> None:
        elapsed = time.monotonic() - self._began
        left = self._schedule.total_steps - self.last.step
        self._job.events.append(
            StepMetrics,
            metrics=self.last,
            total_steps=self._schedule.total_steps,
            learning_rate=self._learning_rate,
            tokens_per_second=self._tokens / elapsed,
            seconds_left=elapsed / self._steps * left if self._steps else None,
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


class ValidationBatches:
    def __init__(self, labelled: Labelled, schedule: Schedule, padding: Any):
        self._examples = [
            {"input_ids": ids, "labels": labels}
            for ids, labels in zip(labelled.input_ids, labelled.labels, strict=True)
        ]
        self._by_length = sorted(self._examples, key=lambda example: len(example["input_ids"]))
        self._schedule = schedule
        self._padding = padding

    def one(self, step: int) -> Iterator[dict[str, torch.Tensor]]:
        """`batch_size` examples; which ones depends on the step alone, so that a resumed run repeats them."""
        size = self._schedule.batch_size
        start = step * size % len(self._examples)
        chosen = (self._examples[start:] + self._examples)[:size]
        return self._batches(chosen)

    def everything(self) -> Iterator[dict[str, torch.Tensor]]:
        """Sorted by length: less padding."""
        return self._batches(self._by_length)

    def _batches(self, examples: list[dict[str, Any]]) -> Iterator[dict[str, torch.Tensor]]:
        size = self._schedule.micro_batch
        for start in range(0, len(examples), size):
            yield self._padding(examples[start : start + size])


# ---- Ending


def _save_adapter(job: Job, trainer: TokenWeightedTrainer) -> None:
    """On the disk before the result says that it is there."""
    draft = job.path(ADAPTER + ".tmp")
    trainer.write_adapter(draft)
    for file in (*draft.iterdir(), draft):
        sync(file)
    draft.rename(job.path(ADAPTER))
    sync(job.directory)
