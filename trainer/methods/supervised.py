"""Supervised fine-tuning of a LoRA adapter, top to bottom: `train()` is the whole method.

TRL's SFTTrainer runs the loop. What is ours:
- the dataset comes with `input_ids` and `labels` (`trainer.labels`), so TRL neither templates nor masks;
- loss and accuracy are sums over label tokens divided by their number, in training as in validation (the trainer's own
  are means over batches);
- events, validation, checkpoints and stopping hang on the callback after each optimizer step.
"""

import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import trl.trainer.utils
from peft import LoraConfig, PeftConfig, PeftModel
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PrinterCallback,
)
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from trainer import checkpoints, hyperparameters
from trainer.batches import ByLength, Padding, ValidationBatches, to_dataset
from trainer.checkpoints import Manifest
from trainer.contract import ADAPTER, CHECKPOINTS, Hyperparameters, Started, Succeeded
from trainer.data import count_examples, read_examples, require_enough
from trainer.durable import sync
from trainer.failures import OutOfMemory, Param, TrainingFailed, invalid_file, is_out_of_memory
from trainer.hyperparameters import Adapter, BaseModel
from trainer.job import Job, Stopped
from trainer.labels import ChatLabels, Labelled
from trainer.progress import Progress, Schedule
from trainer.stopping import Stop
from trainer.tally import Sums, Tally

WARMUP = 0.03
"""Share of the steps in which the learning rate rises from 0, none in runs of a few steps; then it falls linearly to 0
(usual between 0.03 and 0.1)."""
GRADIENT_CLIP = 1.0

# TRL projects only the positions that carry loss where it has Triton, and all of them elsewhere, so that accelerators
# which compile for each shape do not compile again and again. None of ours does: project only what is needed.
trl.trainer.utils._use_triton = lambda device: True


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
    schedule = _schedule(job, chosen, training)
    trainer = _trainer(job, _load_model(job, base_path), tokenizer, training, chosen, schedule)
    resumed = checkpoints.newest(job.path(CHECKPOINTS))
    if resumed:
        events.say(f"Going on after step {resumed[1].step} of {schedule.total_steps}, from the last checkpoint.")
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
    progress = trainer.watched_by(Progress(job, trainer, schedule, _batches(validation, trainer, schedule), resumed))
    job.stop.from_now_on_gracefully()
    _run(trainer, schedule, resumed)
    if job.stop.requested:
        events.say(f"Stopped at step {trainer.state.global_step} of {schedule.total_steps}; it can go on from there.")
        raise Stopped
    _save_adapter(job, trainer)
    return Succeeded(
        output=ADAPTER,
        trained_tokens=training.summary().tokens * chosen.n_epochs,
        steps=schedule.total_steps,
        metrics=progress.last,
        seconds=progress.seconds,
    )


def _run(trainer: "TokenWeightedTrainer", schedule: Schedule, resumed: tuple[Path, Manifest] | None) -> None:
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
    except OSError:
        raise TrainingFailed("model_not_found", "The base model is not on the machine that trains.") from None
    except ValueError:
        raise TrainingFailed("invalid_model", "The trainer does not know base models of this kind.") from None
    base = BaseModel(
        family=config.model_type,
        hidden_size=config.hidden_size,
        # A model without positions has no such limit.
        longest_context=getattr(config, "max_position_embeddings", None) or sys.maxsize,
    )
    return base, tokenizer


def _read(job: Job, tokenizer: PreTrainedTokenizerBase, name: str, param: Param, context: int) -> Labelled:
    """Reads and tokenizes one file; says how many examples were cut or left out, and what to do about it."""
    noun = param.removesuffix("_file")
    count = count_examples(job.path(name), param)
    if param == "training_file":
        require_enough(count, hyperparameters.MINIMUM_EXAMPLES)
    job.events.say(f"Reading {count} {noun} examples.")
    labelled = ChatLabels(tokenizer).label(read_examples(job.path(name), param), context, param)
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
        warmup_steps=int(WARMUP * schedule.total_steps),
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
        train_dataset=to_dataset(training),
        sampler=ByLength(training, chosen.batch_size, job.spec.seed),
        padding=Padding(_padding_id(tokenizer)),
        processing_class=tokenizer,
        peft_config=None if isinstance(model, PeftModel) else lora,
    )
    trainer.remove_callback(PrinterCallback)
    trainer.adapter.create_or_update_model_card = lambda output_dir: None
    trainer.adapter.peft_config["default"].base_model_name_or_path = job.spec.base_model
    # `compute_loss` divides by the label tokens of the whole batch whatever the model's forward accepts.
    trainer.model_accepts_loss_kwargs = True
    return trainer


def _padding_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """Any token serves: attention and labels leave padding out by position."""
    return tokenizer.pad_token_id if isinstance(tokenizer.pad_token_id, int) else 0


def _batches(
    validation: Labelled | None, trainer: "TokenWeightedTrainer", schedule: Schedule
) -> ValidationBatches | None:
    if validation is None:
        return None
    return ValidationBatches(
        validation, trainer.padding, batch_size=schedule.batch_size, micro_batch=schedule.micro_batch
    )


# ---- Training


class TokenWeightedTrainer(SFTTrainer):
    """SFTTrainer whose loss is Σ nll / Σ label tokens of the optimizer step, and whose checkpoints are complete or
    absent."""

    def __init__(self, *, sampler: ByLength, padding: Padding, **arguments: Any):
        super().__init__(data_collator=padding, **arguments)
        self.tally = Tally()
        self.padding = padding
        self._sampler = sampler
        # Over TRL's own, which also measures the entropy.
        trl.trainer.utils.add_fused_lm_head(self.adapter.get_base_model(), outputs=("log_probs", "is_top1"))

    def watched_by(self, progress: Progress) -> Progress:
        self._progress = progress
        self.add_callback(progress)
        return progress

    def _get_train_sampler(self, train_dataset: Any = None) -> ByLength:
        return self._sampler

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
        self._progress.save()

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


# ---- Ending


def _save_adapter(job: Job, trainer: TokenWeightedTrainer) -> None:
    """On the disk before the result says that it is there."""
    draft = job.path(ADAPTER + ".tmp")
    trainer.write_adapter(draft)
    for file in (*draft.iterdir(), draft):
        sync(file)
    draft.rename(job.path(ADAPTER))
    sync(job.directory)
