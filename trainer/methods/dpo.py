"""Direct preference optimization (Rafailov et al. 2023, arXiv 2305.18290), top to bottom: `train()` is the whole method.

The loss of a pair is -log sigmoid(margin), its margin beta * ((log p(w) - log ref(w)) - (log p(l) - log ref(l))): by how
much more the preferred answer w gained against the reference than the rejected answer l. Log-probabilities are sums over
the label tokens of an answer. This is TRL's loss type "sigmoid".

TRL's DPOTrainer runs the loop and keeps the reference adapter. What is ours:
- pairs come as token ids and labels made by the same template as in supervised training (`trainer.pairs`); TRL would
  tokenize prompt and answers apart and drop what it cannot match;
- the loss is the mean over the pairs of the optimizer step, whatever the micro-batches are; TRL's is a mean of means, which
  weighs a smaller last micro-batch too much. Its metrics cost ten transfers from the device a micro-batch; ours cost one a
  step;
- the reference runs before the model, so that its pass does not come on top of the activations that are kept.

The reference is the model that training starts from:
- a new adapter (lora, qlora): the base model, which is this model with the adapter switched off;
- an adapter that is trained further: a frozen copy of it beside it, named "ref", which no file of ours contains;
- full: what the model said before the first step (`trainer.references`), because a second model would not fit.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from torch.nn.functional import logsigmoid
from trl.trainer.dpo_config import DPOConfig
from trl.trainer.dpo_trainer import DPOTrainer
from trl.trainer.utils import use_adapter

from trainer import devices, files, learning, model, references
from trainer.batches import ByLength, Filled, ValidationBatches
from trainer.contract import Succeeded
from trainer.failures import OutOfMemory, Param, is_out_of_memory
from trainer.files import Format
from trainer.job import Job
from trainer.labels import IGNORED, ChatLabels
from trainer.learning import Plan
from trainer.model import Base
from trainer.pairs import PairPadding, Pairs, References, rows, to_dataset, tokenize, with_filler
from trainer.preferences import read_preferences
from trainer.projection import add_label_head
from trainer.tally import Tally
from trainer.watched import WatchedTrainer

FROZEN_COPY = "ref"
"""TRL's name for the adapter that it copies."""


def train(job: Job) -> Succeeded:
    """Reads, trains, saves. Raises TrainingFailed, Stopped, OutOfMemory, or whatever torch raises."""
    found = files.read(job, PAIRS)
    training, validation = found.training, found.validation
    chosen = model.choose(job, found.base, examples=len(training.rows), context=found.context)
    plan = learning.plan(job, chosen, training, validation, examples=len(training.rows))
    trainer = _trainer(job, found.base, training, plan)
    return learning.learn(job, trainer, plan, _with_references(job, trainer, plan, training, validation))


# ---- Reading


def _tokenize(labels: ChatLabels, path: Path, context: int, param: Param) -> Pairs:
    return tokenize(labels, read_preferences(path, param), context, param)


def _problems(pairs: Pairs, noun: str, context: int) -> Iterator[str]:
    if pairs.identical:
        yield (
            f"{pairs.identical} of {pairs.examples} {noun} pairs were left out, because both answers are the same. "
            "Correct them or take them out."
        )
    if pairs.truncated:
        yield (
            f"{pairs.truncated} of {pairs.examples} {noun} pairs are longer than {context} tokens, and both answers "
            "were cut there. Shorten them so that nothing of their answers is lost."
        )
    if pairs.lost:
        yield (
            f"{pairs.lost} of {pairs.examples} {noun} pairs were left out, because within {context} tokens their answers "
            "are the same, or empty. Shorten their prompts."
        )
    if pairs.unending:
        yield (
            f"After an answer in {pairs.unending} {noun} pairs, the base model's chat template writes no end-of-turn "
            "token: the model may not learn where to stop."
        )


PAIRS = Format(noun="pairs", tokenize=_tokenize, problems=_problems, nothing="two different answers to compare")


# ---- Building


def _trainer(job: Job, base: Base, training: Pairs, plan: Plan) -> "PreferenceTrainer":
    chosen = plan.hyperparameters
    weights = model.load(job, base, chosen)
    order = ByLength(training.lengths, chosen.batch_size, job.spec.seed)
    return PreferenceTrainer(
        model=weights,
        args=DPOConfig(
            **learning.settings(job, plan),
            beta=chosen.beta,
            precompute_ref_log_probs=chosen.training_type == "full",
            remove_unused_columns=False,
        ),
        train_dataset=_data_set(training),
        base_model=job.spec.base_model,
        sampler=Filled(order, chosen.batch_size) if devices.count() > 1 else order,
        padding=PairPadding(base.padding_id),
        processing_class=base.tokenizer,
        peft_config=model.new_adapter(weights, chosen),
    )


def _data_set(training: Pairs, given: References | None = None) -> Dataset:
    """With a filler where devices share the steps."""
    if devices.count() == 1:
        return to_dataset(training, given)
    return to_dataset(
        with_filler(training), given if given is None else np.vstack([given, np.zeros((1, 2), np.float32)])
    )


def _with_references(
    job: Job, trainer: "PreferenceTrainer", plan: Plan, training: Pairs, validation: Pairs | None
) -> ValidationBatches | None:
    """-> validation batches. Where the reference is not in the model any more after the first step, they and the
    trainer's data set get its log-probabilities."""
    given: list[References | None] = [None, None]
    if trainer.trains_all_weights:
        given = [*_reference_log_probs(job, trainer, plan, [one for one in (training, validation) if one])]
        trainer.train_dataset = _data_set(training, given[0])
    if validation is None:
        return None
    return ValidationBatches(
        rows(validation, given[1]),
        validation.lengths,
        trainer.padding,
        batch_size=plan.schedule.batch_size,
        micro_batch=plan.schedule.micro_batch,
    )


def _reference_log_probs(job: Job, trainer: "PreferenceTrainer", plan: Plan, files: list[Pairs]) -> list[References]:
    """Of each file, from JOB_DIR or computed. Raises OutOfMemory."""
    path, source = job.path(references.FILE), references.source(trainer.initial_hash, files)
    values = references.load(path, source)
    if values is None:
        job.events.say(f"Measuring the model as it is on {sum(len(one.rows) for one in files)} pairs, to compare with.")
        values = np.concatenate([_measured(trainer, plan, pairs, first=pairs is files[0]) for pairs in files])
        if devices.is_first():
            references.save(path, source, values)
    return np.split(values, np.cumsum([len(one.rows) for one in files])[:-1])


def _measured(trainer: "PreferenceTrainer", plan: Plan, pairs: Pairs, *, first: bool) -> References:
    """Of the training pairs, which are the `first` file, in the micro-batches of the first epoch: with 16-bit numbers a
    result depends a little on what else is in its batch."""
    count, lengths = len(pairs.rows), pairs.lengths
    order = (
        [row for row in trainer.first_order if row < count] if first else sorted(range(count), key=lengths.__getitem__)
    )
    try:
        return trainer.measure(pairs, order)
    except Exception as error:
        if is_out_of_memory(error):
            raise OutOfMemory(plan.schedule.micro_batch, plan.hyperparameters) from None
        raise


# ---- Training


class PreferenceTrainer(WatchedTrainer, DPOTrainer):
    """DPOTrainer on our pairs, whose loss is the mean over the pairs of the optimizer step."""

    loss_is_scaled_for_ga = True

    def __init__(self, **arguments: Any):
        super().__init__(tally=Tally(), **arguments)
        add_label_head(self.base_network)
        self._freeze_copy()

    @property
    def first_order(self) -> list[int]:
        """Of the data set's rows, in the first epoch."""
        return list(self._sampler)

    @property
    def initial_hash(self) -> str:
        """Of the weights before the first step."""
        return self._precompute_model_hash or ""

    def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
        return dataset

    def _precompute_ref_logps(self, dataset: Any, *_: Any) -> Any:
        """TRL's are lost with the process, and computed in another order."""
        return dataset

    def _freeze_copy(self) -> None:
        """Equal to the adapter that is trained, to the bit: TRL casts the trained one alone when the base is quantized."""
        if not self._has_copy:
            return
        for name, trained in self.network.named_parameters():
            if ".default." in name:
                copy = self.network.get_parameter(name.replace(".default.", f".{FROZEN_COPY}."))
                copy.data = trained.data.clone()
                copy.requires_grad_(False)

    @property
    def _has_copy(self) -> bool:
        return not self.trains_all_weights and FROZEN_COPY in self.adapter.peft_config

    def _get_num_items_in_batch(self, batch_samples: list[Any], device: torch.device) -> torch.Tensor:
        """Pairs of the optimizer step, on all devices."""
        pairs = sum(int(_are_pairs(batch["labels"][:, 1:] != IGNORED).sum()) for batch in batch_samples)
        return devices.add_up(torch.tensor(pairs, dtype=torch.float32, device=device))

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        losses, outputs = self._compare(model, inputs, self.tally)
        # Devices average their gradients; this is a sum over them.
        loss = losses.sum() / num_items_in_batch * devices.count()
        if self.aux_loss_enabled:
            loss = loss + self.router_aux_loss_coef * outputs.aux_loss / self.current_gradient_accumulation_steps
        return loss

    def _compare(self, model: Any, inputs: Any, tally: Tally) -> tuple[torch.Tensor, Any]:
        """-> the loss of each pair, the model's outputs; adds to `tally`."""
        sequences = {name: inputs[name] for name in ("input_ids", "labels", "attention_mask")}
        reference = inputs["reference"] if "reference" in inputs else self._reference(sequences)
        routing = {"output_router_logits": True} if self.aux_loss_enabled else {}
        outputs = model(**sequences, **routing, use_cache=False, fused_lm_head=True)
        preferred, rejected = (_answers(outputs) - reference).chunk(2)
        margins = self.beta * (preferred - rejected)
        losses = -logsigmoid(margins) * _are_pairs(outputs.label_mask)
        self._count(tally, losses.detach(), margins.detach(), outputs, inputs["attention_mask"])
        return losses, outputs

    def _reference(self, sequences: dict[str, torch.Tensor]) -> torch.Tensor:
        """Log-probabilities of the answers. [rows]"""
        with torch.no_grad(), use_adapter(self.adapter, FROZEN_COPY if self._has_copy else None):
            return _answers(self.network(**sequences, use_cache=False, fused_lm_head=True))

    def _count(
        self, tally: Tally, losses: torch.Tensor, margins: torch.Tensor, outputs: Any, attention_mask: torch.Tensor
    ) -> None:
        pairs = len(losses)
        tally.count(
            losses.sum(),
            outputs.is_top1[:pairs].sum(),
            outputs.label_mask[:pairs].sum(),
            attention_mask.sum(),
            _are_pairs(outputs.label_mask).sum(),
            (margins > 0).sum(),
            margins.sum(),
        )

    def add_score(self, inputs: dict[str, torch.Tensor], tally: Tally) -> None:
        self._compare(self.network, inputs, tally)

    def measure(self, pairs: Pairs, order: Sequence[int]) -> References:
        """The model's log-probabilities of all answers, computed in this order."""
        examples, size = rows(pairs), self.args.per_device_train_batch_size
        values = np.empty((len(examples), 2), dtype=np.float32)
        self.network.eval()
        for start in range(0, len(order), size):
            indices = list(order[start : start + size])
            batch = self.padding([examples[index] for index in indices])
            inputs = {name: tensor.to(self.args.device) for name, tensor in batch.items()}
            with torch.no_grad(), self.compute_loss_context_manager():
                answers = _answers(self.network(**inputs, use_cache=False, fused_lm_head=True))
            values[indices] = answers.reshape(2, -1).T.cpu().numpy()
        return values


def _are_pairs(label_mask: torch.Tensor) -> torch.Tensor:
    """[rows, tokens] -> which pairs are no fillers. [pairs]"""
    return label_mask[: len(label_mask) // 2].any(1)


def _answers(outputs: Any) -> torch.Tensor:
    """Sums of log-probabilities over the label tokens of each row. [rows]"""
    return outputs.log_probs.float().sum(1)
