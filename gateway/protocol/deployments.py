"""Wire types of /v1/models/load, /unload, /active and /deployments (extension)."""

from typing import Any

import msgspec


class ModelOnReplica(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What an operator asks to load or unload."""

    model: str
    replica: str | None = None
    """Base URL of one replica; all when left out."""


class LoadedModel(msgspec.Struct, kw_only=True):
    """A fine-tuned model on one replica."""

    model: str
    state: str
    """loading, ready, failed, lost, evicted or unloaded."""
    code: str | None
    """The name of what is wrong: rank_too_large, wrong_base, path_gone, ..."""
    problem: str | None
    probe: dict[str, Any] | None
    """What the probe measured when it was loaded."""
    changed_at: int
    last_used_at: int | None


class ReplicaState(msgspec.Struct, kw_only=True):
    """One engine process."""

    object: str = "replica"
    url: str
    state: str
    """up, down, asleep, or unknown: no worker has looked at it."""
    problem: str | None
    seen_at: int | None
    base_model: str
    models: list[LoadedModel]


class ReplicaList(msgspec.Struct, kw_only=True):
    object: str = "list"
    data: list[ReplicaState]


class Placement(msgspec.Struct, kw_only=True):
    """Where a model is after it was loaded or unloaded."""

    object: str = "model.placement"
    model: str
    replicas: dict[str, LoadedModel | None]
    """Base URL -> what is there; null where it was never loaded."""


class DeploymentEvent(msgspec.Struct, kw_only=True):
    """A line of the deployment history."""

    id: str
    object: str = "deployment.event"
    created_at: int
    model: str
    replica: str
    action: str
    """loaded, restored, unloaded, evicted, lost or failed."""
    reason: str
    """Who or what wanted it."""
    detail: dict[str, Any] | None
