"""Which replica of the engine serves which fine-tuned model, as the worker last saw it (gateway/tasks/ keeps it true)."""

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.tables import LoadedModelRow, ReplicaRow


class Residency:
    """A mirror of `loaded_models` and `replicas` (gateway/db/mirror.py)."""

    name = "residency"

    def __init__(self) -> None:
        self._ready: dict[str, frozenset[str]] = {}
        self._problems: dict[str, str] = {}
        self._states: dict[str, str] = {}

    def ready(self, model: str) -> frozenset[str]:
        """Base URLs of the replicas on which `model` is loaded and probed."""
        return self._ready.get(model, frozenset())

    def problem(self, model: str) -> str | None:
        """Why no replica serves `model`, where one was tried."""
        return None if self._ready.get(model) else self._problems.get(model)

    def is_up(self, replica: str) -> bool:
        """False while it is down or sleeps; one that nobody has looked at yet counts as up."""
        return self._states.get(replica, "up") == "up"

    def is_asleep(self, replica: str) -> bool:
        """It gave its memory to a training."""
        return self._states.get(replica) == "asleep"

    async def load(self, session: AsyncSession) -> None:
        ready: dict[str, set[str]] = {}
        problems: dict[str, str] = {}
        for row in await session.scalars(select(LoadedModelRow)):
            if row.state == "ready":
                ready.setdefault(row.model_id, set()).add(row.replica)
            elif row.problem:
                problems[row.model_id] = row.problem
        self._ready = {model: frozenset(replicas) for model, replicas in ready.items()}
        self._problems = problems
        self._states = {row.url: row.state for row in await session.scalars(select(ReplicaRow))}
