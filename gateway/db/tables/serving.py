"""What each replica of the engine serves, and how that came about."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from gateway.db.base import Base


class ReplicaRow(Base):
    """One engine process at a base URL of the settings."""

    __tablename__ = "replicas"

    url: Mapped[str] = mapped_column(primary_key=True)
    state: Mapped[str]
    """up, down or asleep (it gave its memory to a training)."""
    problem: Mapped[str | None]
    seen_at: Mapped[datetime | None]
    """When it last answered; None: it never did."""
    watcher: Mapped[str | None]
    """Of several workers the one that compares what it serves with what it should, until `watched_until`."""
    watched_until: Mapped[datetime | None]
    loads: Mapped[int] = mapped_column(default=0, server_default="0")
    """Fine-tuned models that became ready on it, since the beginning; so do the next two count."""
    evictions: Mapped[int] = mapped_column(default=0, server_default="0")
    """Those that left it for others."""
    failures: Mapped[int] = mapped_column(default=0, server_default="0")
    """Those that it refused, or that it did not really apply."""


class LoadedModelRow(Base):
    """A fine-tuned model on a replica."""

    __tablename__ = "loaded_models"

    model_id: Mapped[str] = mapped_column(ForeignKey("models.id"), primary_key=True)
    replica: Mapped[str] = mapped_column(primary_key=True)
    """Its base URL."""
    state: Mapped[str]
    """loading; ready: loaded and probed, gets traffic; failed: `code` and `problem` say why; lost: it was ready before the
    replica restarted or slept, and comes back by itself; evicted: it left for others, unloaded: somebody wanted it, both come
    back with the next call of it."""
    code: Mapped[str | None]
    problem: Mapped[str | None]
    probe: Mapped[dict[str, Any] | None]
    """What the probe measured."""
    changed_at: Mapped[datetime]


class DeploymentEventRow(Base):
    """One line of the deployment history."""

    __tablename__ = "deployment_events"

    id: Mapped[str] = mapped_column(primary_key=True)
    created_at: Mapped[datetime]
    model_id: Mapped[str]
    replica: Mapped[str]
    action: Mapped[str]
    """loaded, unloaded, evicted, failed, lost, restored."""
    reason: Mapped[str]
    """Who or what wanted it: a job, a call, the reconcile loop, an api key."""
    detail: Mapped[dict[str, Any] | None]

    __table_args__ = (
        Index("ix_deployment_events_created_at", "created_at"),
        Index("ix_deployment_events_model_id_created_at", "model_id", "created_at"),
    )
