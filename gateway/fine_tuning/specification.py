"""A job's row and what the trainer is told, in both directions."""

from pathlib import Path
from typing import Any

import msgspec

from gateway.db.tables import FineTuningJobRow
from gateway.fine_tuning.runner import TRAINING, VALIDATION
from trainer.contract import GIVEN, Hyperparameters, Started, TrainingSpec, Wandb

SHOWN = ("n_epochs", "batch_size", "learning_rate_multiplier")
"""Hyperparameters of OpenAI's API; dpo has beta as well."""
TRAINING_FIELDS = ("lora_rank", "lora_alpha", "context_length", "packing", "gradient_checkpointing")
"""Of the extension field `training`, which TrainingSpec knows by the same names; `type` is its training_type."""


def specification(job: FineTuningJobRow, *, base_model: str, continue_from: Path | None) -> TrainingSpec:
    """What the trainer is started with. Numbers that an earlier start has chosen stay as they are."""
    method: str = job.method["type"]
    asked = {name: job.training[name] for name in TRAINING_FIELDS if job.training.get(name) is not None}
    if _may_still_recompute(job.training):
        del asked["gradient_checkpointing"]
    return msgspec.convert(
        {
            "job_id": job.id,
            "base_model": base_model,
            "method": method,
            "training_file": TRAINING,
            "validation_file": VALIDATION if job.validation_file else None,
            "training_type": job.training.get("type", "auto"),
            "largest_micro_batch": job.largest_micro_batch,
            "seed": job.seed,
            "continue_from": str(continue_from) if continue_from else None,
            "wandb": _wandb(job),
            **asked,
            **job.method[method]["hyperparameters"],
        },
        TrainingSpec,
    )


def _may_still_recompute(training: dict[str, Any]) -> bool:
    """Gradient checkpointing changes no number. An earlier start that went without it, unasked, is no reason to end for
    want of memory now."""
    reason = training.get("reasons", {}).get("gradient_checkpointing", GIVEN)
    return training.get("gradient_checkpointing") is False and reason != GIVEN


def _wandb(job: FineTuningJobRow) -> Wandb | None:
    runs = [integration["wandb"] for integration in job.integrations if integration["type"] == "wandb"]
    return msgspec.convert(runs[0], Wandb) if runs else None


def resolved_method(method: dict[str, Any], numbers: Hyperparameters) -> dict[str, Any]:
    """OpenAI's `method` object with every "auto" replaced by the number that the trainer chose."""
    kind = method["type"]
    shown = {name: getattr(numbers, name) for name in SHOWN}
    if kind == "dpo":
        shown["beta"] = numbers.beta
    return method | {kind: {"hyperparameters": shown}}


def resolved_training(started: Started, known: dict[str, Any]) -> dict[str, Any]:
    """The extension field `training` once training began: what was chosen, on which device, and why.

    A trainer that is started again is told the numbers that the first has chosen; the reasons (`known`) are the first's.
    """
    told = resolved_numbers(started.hyperparameters)
    return told | {"device": started.device, "reasons": told["reasons"] | known.get("reasons", {})}


def resolved_numbers(numbers: Hyperparameters) -> dict[str, Any]:
    """What the extension field `training` says of the numbers, and why each has its value."""
    return {
        "type": numbers.training_type,
        **{name: getattr(numbers, name) for name in TRAINING_FIELDS},
        "learning_rate": numbers.learning_rate,
        "micro_batch": numbers.micro_batch,
        "reasons": {"type" if name == "training_type" else name: why for name, why in numbers.reasons.items()},
    }
