"""A model, and where it is served."""

from dataclasses import dataclass

from gateway.routing.upstream import Upstream


@dataclass(frozen=True, slots=True)
class Deployment:
    """A model on an upstream."""

    model: str
    upstream: Upstream
    served_name: str | None = None
    """The upstream's own name for it, where that is another."""
    adapter_path: str | None = None
    """Of a fine-tuned model, relative to DATA_DIR."""
    base_model: str | None = None
    """What a fine-tuned model was made from."""
    is_adapter: bool = False
    """It was, and is nothing without the weights of `base_model`."""
    project_id: str | None = None
    """Owner of a fine-tuned model; None for a model that every project may call."""
    granted: frozenset[str] = frozenset()
    """Other projects that may call it (checkpoint permissions)."""
    problem: str | None = None
    """Why it is not served now: by the engine, or because a provider's secrets cannot be opened."""
    created: int = 0
    """Unix seconds; 0 when unknown (a provider's model)."""

    def open_to(self, project_id: str) -> bool:
        return self.project_id in (None, project_id) or project_id in self.granted
