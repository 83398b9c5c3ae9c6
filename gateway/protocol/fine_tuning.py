"""Fine-tuning jobs, events and checkpoints (contract section 3)."""

from typing import Annotated, Any, Literal

import msgspec

Auto = Literal["auto"]


class Hyperparameters(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Of the supervised method; "auto" until the number is known."""

    n_epochs: Annotated[int, msgspec.Meta(ge=1, le=50)] | Auto = "auto"
    batch_size: Annotated[int, msgspec.Meta(ge=1, le=256)] | Auto = "auto"
    learning_rate_multiplier: Annotated[float, msgspec.Meta(gt=0, le=1000)] | Auto = "auto"


class DpoHyperparameters(Hyperparameters, kw_only=True, forbid_unknown_fields=True):
    beta: Annotated[float, msgspec.Meta(gt=0, le=2)] | Auto = "auto"


class Supervised(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    hyperparameters: Hyperparameters = msgspec.field(default_factory=Hyperparameters)


class Dpo(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    hyperparameters: DpoHyperparameters = msgspec.field(default_factory=DpoHyperparameters)


class Method(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    type: Literal["supervised", "dpo", "reinforcement"]
    supervised: Supervised | None = None
    dpo: Dpo | None = None
    reinforcement: Any = None
    """Read only to refuse it by name."""


class Training(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Extension: how the weights are trained (trainer/contract.py, TrainingSpec)."""

    type: Literal["lora", "qlora", "full"] | Auto = "auto"
    lora_rank: Annotated[int, msgspec.Meta(ge=1, le=512)] | Auto = "auto"
    lora_alpha: Annotated[int, msgspec.Meta(ge=1, le=1024)] | Auto = "auto"
    context_length: Annotated[int, msgspec.Meta(ge=16, le=1_048_576)] | Auto = "auto"
    packing: bool | Auto = "auto"
    gradient_checkpointing: bool | Auto = "auto"


class Wandb(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    project: Annotated[str, msgspec.Meta(min_length=1)]
    name: str | None = None
    entity: str | None = None
    tags: list[str] | None = None


class Integration(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    type: Literal["wandb"]
    wandb: Wandb


class JobCreate(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """POST /fine_tuning/jobs."""

    model: str
    training_file: str
    validation_file: str | None = None
    suffix: Annotated[str, msgspec.Meta(min_length=1, max_length=64)] | None = None
    seed: Annotated[int, msgspec.Meta(ge=0, le=2_147_483_647)] | None = None
    method: Method | None = None
    hyperparameters: Hyperparameters | None = None
    """Deprecated place of method.supervised.hyperparameters."""
    integrations: Annotated[list[Integration], msgspec.Meta(max_length=5)] | None = None
    metadata: dict[str, str] | None = None
    training: Training | None = None
    """Extension."""


class JobError(msgspec.Struct, kw_only=True):
    code: str
    message: str
    param: str | None = None


class Job(msgspec.Struct, kw_only=True):
    id: str
    object: str = "fine_tuning.job"
    created_at: int
    finished_at: int | None
    model: str
    fine_tuned_model: str | None
    organization_id: str
    status: str
    training_file: str
    validation_file: str | None
    result_files: list[str]
    trained_tokens: int | None
    error: JobError | None
    hyperparameters: dict[str, Any]
    """Always an object: SDKs in strict mode refuse null."""
    seed: int
    estimated_finish: int | None
    integrations: list[Any]
    method: dict[str, Any]
    metadata: dict[str, Any] | None
    user_provided_suffix: str | None
    training: dict[str, Any]
    """Extension: as asked for; once training began, the trainer's numbers, and under `reasons` why each has its value."""
    estimate: dict[str, Any] | None
    """Extension: what was expected before the start, and what came of it."""
    actual: dict[str, Any] | None
    last_step: dict[str, Any] | None = None
    """Extension: `step`, `total_steps`, `seconds_left` and what the last step measured, in a list and of a job that is
    retrieved; null before the first one."""


class Event(msgspec.Struct, kw_only=True):
    id: str
    object: str = "fine_tuning.job.event"
    created_at: int
    level: str
    message: str
    type: str
    data: dict[str, Any] | None


class Checkpoint(msgspec.Struct, kw_only=True):
    id: str
    object: str = "fine_tuning.job.checkpoint"
    created_at: int
    fine_tuned_model_checkpoint: str
    step_number: int
    fine_tuning_job_id: str
    metrics: dict[str, Any]


class Estimate(msgspec.Struct, kw_only=True):
    """Extension: what a job will take, before it starts."""

    object: str = "fine_tuning.estimate"
    model: str
    training_file: str
    method: dict[str, Any]
    """OpenAI's `method` object with a number for every "auto"."""
    training: dict[str, Any]
    """The extension field `training` in the same way; `reasons` says why."""
    examples: int
    tokens: int
    """Of all examples, once, after cutting at the context length."""
    tokens_source: str
    """counted, sampled or estimated (GET /v1/files/{file_id}/report)."""
    trained_tokens: int
    """Times epochs."""
    steps: int
    base_parameters: int
    hardware: dict[str, Any]
    options: list[dict[str, Any]]
    """For each training type: time, cost, memory, disk, and whether it fits (trainer/contract.py, EstimateOption)."""
    recommended: str
