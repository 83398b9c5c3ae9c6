"""Fine-tuning jobs, their events and checkpoints, and the models they made."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from gateway.db.base import Base


class FineTuningJobRow(Base):
    __tablename__ = "fine_tuning_jobs"

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    api_key_id: Mapped[str] = mapped_column(ForeignKey("api_keys.id"))
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    """When a worker last took it out of the queue: projects take turns by this."""
    finished_at: Mapped[datetime | None]
    model: Mapped[str]
    """As the client named it: a base model or an `ft:` model."""
    fine_tuned_model: Mapped[str | None]
    status: Mapped[str]
    """OpenAI's words; gateway/fine_tuning/transitions.py has the table of moves."""
    unvalidated: Mapped[bool] = mapped_column(default=False, server_default="false")
    """It was paused before its files were validated: once it is resumed, that comes first."""
    training_file: Mapped[str]
    validation_file: Mapped[str | None]
    method: Mapped[dict[str, Any]]
    """OpenAI's `method` object, "auto" replaced by numbers once they are known."""
    training: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default="{}")
    """The extension field `training` as the client gave it; then the trainer's numbers and its `reasons`."""
    integrations: Mapped[list[Any]] = mapped_column(default=list, server_default="[]")
    """OpenAI's integration objects."""
    seed: Mapped[int]
    suffix: Mapped[str | None]
    request_metadata: Mapped[dict[str, Any] | None]
    trained_tokens: Mapped[int | None]
    estimated_finish: Mapped[datetime | None]
    error: Mapped[dict[str, Any] | None]
    result_files: Mapped[list[str]] = mapped_column(default=list, server_default="[]")
    """Ids of files with the metrics of each step."""
    fingerprint: Mapped[str | None]
    """Hash of the key and the body of the call that made the job: the same call within minutes is an SDK's retry."""
    estimate: Mapped[dict[str, Any] | None]
    """What gateway/fine_tuning/estimates.py said when the job was validated."""
    actual: Mapped[dict[str, Any] | None]
    """The same numbers as the training measured them."""
    largest_micro_batch: Mapped[int | None]
    """Halved each time the trainer is killed for its memory."""
    leased_until: Mapped[datetime | None]
    """The worker that runs the job extends this; past it, another may take the job over."""
    lease_holder: Mapped[str | None]
    announced_at: Mapped[datetime | None]
    """When its end was handed to the webhooks."""

    __table_args__ = (
        Index(
            "ix_fine_tuning_jobs_unannounced",
            "finished_at",
            postgresql_where=text("finished_at IS NOT NULL AND announced_at IS NULL"),
        ),
        Index("ix_fine_tuning_jobs_project_id_created_at_id", "project_id", "created_at", "id"),
        Index("ix_fine_tuning_jobs_status", "status"),
        Index("ix_fine_tuning_jobs_fingerprint", "fingerprint"),
    )


class FineTuningEventRow(Base):
    __tablename__ = "fine_tuning_events"

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    """Order of arrival."""
    id: Mapped[str] = mapped_column(unique=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("fine_tuning_jobs.id"))
    key: Mapped[str]
    """What the event tells ("queued", "step-12"): told again after a crash, it is not stored twice."""
    created_at: Mapped[datetime]
    level: Mapped[str]
    type: Mapped[str]
    message: Mapped[str]
    values: Mapped[dict[str, Any] | None]

    __table_args__ = (
        UniqueConstraint("job_id", "key"),
        Index("ix_fine_tuning_events_job_id_number", "job_id", "number"),
    )


class FineTuningCheckpointRow(Base):
    __tablename__ = "fine_tuning_checkpoints"

    id: Mapped[str] = mapped_column(primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("fine_tuning_jobs.id"))
    created_at: Mapped[datetime]
    step: Mapped[int]
    metrics: Mapped[dict[str, Any]]

    __table_args__ = (UniqueConstraint("job_id", "step"),)


class ModelRow(Base):
    """A model trained here, or a checkpoint of one: an adapter (or full weights) in an immutable directory."""

    __tablename__ = "models"

    id: Mapped[str] = mapped_column(primary_key=True)
    """`ft:<base>:<organization>:<suffix>:<id>`, a checkpoint with `:ckpt-step-<N>` behind it."""
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    job_id: Mapped[str] = mapped_column(ForeignKey("fine_tuning_jobs.id"))
    base_model: Mapped[str]
    kind: Mapped[str] = mapped_column(server_default="adapter")
    """`adapter`, or `full`: weights of its own that need no base."""
    step: Mapped[int | None]
    """Of a checkpoint; None for the model that the whole job made."""
    adapter_path: Mapped[str]
    """Relative to DATA_DIR; never written again, because vLLM caches by name and path."""
    problem: Mapped[str | None]
    """Why the engine does not serve it now; a call is answered with this sentence."""
    last_used_at: Mapped[datetime | None]
    """By a call, to within seconds: what was used long ago leaves a full engine first."""
    created_at: Mapped[datetime]
    deleted_at: Mapped[datetime | None]
    deprecated_at: Mapped[datetime | None]
    """Since when whoever made it advises against it. It answers all the same."""
    description: Mapped[str] = mapped_column(default="", server_default="")

    __table_args__ = (Index("ix_models_project_id_created_at", "project_id", "created_at"),)


class CheckpointPermissionRow(Base):
    """Another project may call this checkpoint."""

    __tablename__ = "checkpoint_permissions"

    id: Mapped[str] = mapped_column(primary_key=True)
    created_at: Mapped[datetime]
    model_id: Mapped[str] = mapped_column(ForeignKey("models.id"))
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))

    __table_args__ = (UniqueConstraint("model_id", "project_id"),)
