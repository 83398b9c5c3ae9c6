"""Supervised fine-tuning, top to bottom: `train()` is the whole method.

TRL's SFTTrainer runs the loop. What is ours:
- the dataset comes with `input_ids` and `labels` (`trainer.labels`), so TRL neither templates nor masks;
- loss and accuracy are sums over label tokens divided by their number, in training as in validation (the trainer's own
  are means over batches);
- events, validation, checkpoints and stopping hang on the callback after each optimizer step (`trainer.learning`).
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from trainer import devices, files, learning, model, packing
from trainer.batches import ByLength, Filled, Padding, ValidationBatches, rows, to_dataset, with_filler
from trainer.contract import Succeeded
from trainer.data import read_examples
from trainer.failures import Param
from trainer.files import Format
from trainer.job import Job
from trainer.labels import ChatLabels, Labelled
from trainer.learning import Plan
from trainer.model import Base
from trainer.packing import Packing
from trainer.projection import add_label_head
from trainer.tally import Tally
from trainer.watched import WatchedTrainer


def train(job: Job) -> Succeeded:
    """Reads, trains, saves. Raises TrainingFailed, Stopped, OutOfMemory, or whatever torch raises."""
    found = files.read(job, CHATS)
    base, training = found.base, found.training
    chosen = model.choose(job, base, examples=len(training.input_ids), context=found.context)
    weights = model.load(job, base, chosen)
    chosen = packing.decide(job.spec, chosen, weights, training)
    plan = learning.plan(job, chosen, training, found.validation, examples=len(training.input_ids))
    trainer = _trainer(job, base, weights, training, plan)
    return learning.learn(job, trainer, plan, _validation_batches(found.validation, base, plan))


def _tokenize(labels: ChatLabels, path: Path, context: int, param: Param) -> Labelled:
    return labels.label(read_examples(path, param), context, param)


def _problems(labelled: Labelled, noun: str, context: int) -> Iterator[str]:
    if labelled.truncated:
        yield (
            f"{labelled.truncated} of {labelled.examples} {noun} examples are longer than {context} tokens and were "
            "cut at the end. Shorten or split them so that nothing of their answers is lost."
        )
    if labelled.skipped:
        yield (
            f"{labelled.skipped} of {labelled.examples} {noun} examples have no assistant message to learn from "
            f"within {context} tokens and were left out. Shorten them, or check their roles and weights."
        )
    if labelled.expanded:
        yield (
            f"The base model's chat template writes an answer differently once others follow, so {labelled.expanded} of "
            f"{labelled.examples} {noun} examples became one sequence for each answer: {len(labelled.input_ids)} "
            f"sequences with {labelled.summary().tokens} tokens in all."
        )
    if labelled.unending:
        yield (
            f"After an answer in {labelled.unending} {noun} examples, the base model's chat template writes no "
            "end-of-turn token: the model may not learn where to stop."
        )


CHATS = Format(noun="examples", tokenize=_tokenize, problems=_problems, nothing="a token to learn from")


def _trainer(job: Job, base: Base, weights: Any, training: Labelled, plan: Plan) -> "TokenWeightedTrainer":
    steps, filled = plan.schedule, devices.count() > 1
    padding = Padding(base.padding_id)
    order = ByLength(training.lengths, steps.batch_size, job.spec.seed)
    return TokenWeightedTrainer(
        model=weights,
        args=SFTConfig(**learning.settings(job, plan), packing=False, dataset_kwargs={"skip_prepare_dataset": True}),
        train_dataset=to_dataset(with_filler(training) if filled else training),
        base_model=job.spec.base_model,
        sampler=Filled(order, steps.batch_size) if filled else order,
        padding=Packing(base.padding_id, steps.micro_batch * training.longest)
        if plan.hyperparameters.packing
        else padding,
        processing_class=base.tokenizer,
        peft_config=model.new_adapter(weights, plan.hyperparameters),
    )


def _validation_batches(validation: Labelled | None, base: Base, plan: Plan) -> ValidationBatches | None:
    if validation is None:
        return None
    steps = plan.schedule
    return ValidationBatches(
        rows(validation),
        validation.lengths,
        Padding(base.padding_id),
        batch_size=steps.batch_size,
        micro_batch=steps.micro_batch,
    )


class TokenWeightedTrainer(WatchedTrainer, SFTTrainer):
    """SFTTrainer whose loss is Σ nll / Σ label tokens of the optimizer step."""

    def __init__(self, **arguments: Any):
        super().__init__(tally=Tally(), **arguments)
        # Over TRL's own, which also measures the entropy.
        add_label_head(self.base_network)

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> torch.Tensor:
        """A packed step comes whole and is worked through pass by pass; devices exchange gradients in the last one."""
        if "passes" not in inputs:
            return super().training_step(model, inputs, num_items_in_batch)
        *others, last = inputs["passes"]
        self.current_gradient_accumulation_steps = len(inputs["passes"])
        labels = devices.add_up(packing.label_count(inputs["passes"]).to(self.args.device))
        loss = torch.zeros((), device=self.args.device)
        for one in others:
            with self.accelerator.no_sync(model):
                loss += super().training_step(model, one, labels)
        return loss + super().training_step(model, last, labels)

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """TRL's own, without the metrics that it transfers from the device on every micro-batch."""
        routing = {"output_router_logits": True} if self.aux_loss_enabled else {}
        given = {name: tensor for name, tensor in inputs.items() if name != "tokens"}
        outputs = model(**given, **routing, use_cache=False, fused_lm_head=True)
        self.tally.add(outputs, inputs["tokens"] if "tokens" in inputs else inputs["attention_mask"])
        # The labels are those of all devices, and gradients are averaged over devices.
        loss = -outputs.log_probs.sum() / torch.as_tensor(num_items_in_batch).clamp(min=1) * devices.count()
        if self.aux_loss_enabled:
            loss = loss + self.router_aux_loss_coef * outputs.aux_loss / self.current_gradient_accumulation_steps
        return loss

    def add_score(self, inputs: dict[str, torch.Tensor], tally: Tally) -> None:
        tally.add(self.network(**inputs, use_cache=False, fused_lm_head=True), inputs["attention_mask"])
