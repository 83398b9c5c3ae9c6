"""What guidance is made of, as the database tells it: bounded, and without texts but for questions that are compared."""

from typing import Any

import msgspec


class Judged(msgspec.Struct, array_like=True, frozen=True):
    """A verdict on an answer."""

    exchange_id: str
    at: float
    """Unix seconds, of the answer; of the verdict where the answer is not in the log."""
    model: str | None
    route: str | None
    """`name@revision`."""
    end_user: str | None
    metadata: dict[str, Any] | None
    criterion_id: str
    source: str
    judge_version_id: str | None
    passed: bool | None
    tags: list[str]


class Called(msgspec.Struct, array_like=True, frozen=True):
    """A call of an application."""

    exchange_id: str
    at: float
    model: str | None
    """That answered, else the one that was asked for."""
    route: str | None
    end_user: str | None
    metadata: dict[str, Any] | None
    outcome: str
    status: int
    code: str | None
    """Of its error."""
    failed_model: str | None
    """Of the first try, where another answered."""
    failure: str | None
    finish_reason: str | None
    """Where its reply was read: stop, length, ..."""
    token_limit: int | None
    """`max_tokens` of the call."""


class Tested(msgspec.Struct, array_like=True, frozen=True):
    """A finished item of a run of an eval."""

    eval_id: str
    eval_name: str
    run_id: str
    at: float
    """When the run was made."""
    model: str | None
    item_id: str
    failed: list[str]
    """Names of the criteria that it failed."""
    flipped: bool | None
    """It passed in the run before, and fails now; None where there is no run before, or it failed or was missing there."""


class Criterion(msgspec.Struct, frozen=True):
    name: str
    description: str
    version: int


class Judge(msgspec.Struct, frozen=True):
    """A version of a judge."""

    id: str
    name: str
    kind: str
    trusted: bool
    kappa: float | None
    kappa_low: float | None
    n: int
    """Answers that it was held against people on."""
    wanted_kappa: float
    rules: list[Any]
    """As they are written down."""


class Training(msgspec.Struct, frozen=True):
    """Of a fine-tuned model."""

    job_id: str
    created_at: float
    """Of the model."""
    base_model: str
    epochs: float | None
    rank: int | None
    learning_rate_multiplier: float | None
    first_loss: float | None
    last_loss: float | None
    valid_losses: list[tuple[int, float]]
    """Step, and the loss on all of the validation file (else on a batch of it), in their order."""
    method: str = "supervised"


class Route(msgspec.Struct, frozen=True):
    """In force."""

    id: str
    name: str
    rules: list[str]
    """Types of the rules that its checks apply."""
    few_shot: bool
    fallbacks: int
    revisions: list[tuple[int, float]]
    """Number, and when it came into force."""


class Material(msgspec.Struct, kw_only=True, frozen=True):
    judged: list[Judged]
    called: list[Called]
    tested: list[Tested]
    questions: dict[str, str]
    """Exchange -> its first words; of the newest failures."""
    criteria: dict[str, Criterion]
    judges: dict[str, Judge]
    """By the version's id."""
    trainings: dict[str, Training]
    """By the model."""
    routes: list[Route]
    complete: bool
    """None of the bounds was reached."""
