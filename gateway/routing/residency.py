"""Which replica of the engine serves which fine-tuned model, as the worker last saw it (gateway/tasks/ keeps it true)."""

import time
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from gateway.db.database import Database
from gateway.db.reading import read
from gateway.kit.clock import from_unix

MIRROR = "residency"
LOADED = "SELECT model_id, replica, state, problem, changed_at FROM loaded_models WHERE replica = ANY($1)"
REPLICAS = "SELECT url, state, loads, evictions, failures FROM replicas WHERE url = ANY($1)"
USED = "UPDATE models SET last_used_at = greatest(last_used_at, $2) WHERE id = $1"


@dataclass(frozen=True, slots=True)
class ReplicaCounts:
    """Of one replica since the beginning."""

    loads: int
    evictions: int
    failures: int


@dataclass(frozen=True, slots=True)
class _Failure:
    problem: str
    changed_at: float
    seen_at: float
    """On this process's monotonic clock: that of the worker that wrote `changed_at` may differ."""


class Residency:
    """A mirror of `loaded_models` and `replicas` (gateway/db/mirror.py)."""

    name = MIRROR

    def __init__(self, urls: Collection[str]) -> None:
        """Args: urls: base URLs of the replicas that there are. What is written down of others was true of an engine that is
        gone: that of `tuneway serve` has another port after every start."""
        self._urls = urls
        self._loaded: dict[str, frozenset[str]] = {}
        self._failures: dict[str, _Failure] = {}
        self._states: dict[str, str] = {}
        self._counts: dict[str, ReplicaCounts] = {}
        self._used: dict[str, float] = {}

    def ready(self, model: str) -> frozenset[str]:
        """Base URLs of the replicas that answer and have `model` loaded and probed."""
        loaded = self._loaded.get(model)
        return frozenset(filter(self.is_up, loaded)) if loaded else frozenset()

    def problem(self, model: str) -> str | None:
        """Why no replica serves `model`, where one was tried."""
        failure = None if self._loaded.get(model) else self._failures.get(model)
        return failure.problem if failure else None

    def failed_since(self, model: str, moment: float) -> bool:
        """Whether this process learnt after `moment` (monotonic seconds) that no replica takes `model`."""
        failure = None if self._loaded.get(model) else self._failures.get(model)
        return failure is not None and failure.seen_at > moment

    @property
    def is_watched(self) -> bool:
        """Whether anybody has looked at the replicas yet. Until then, what is loaded where is not known."""
        return bool(self._states)

    def is_up(self, replica: str) -> bool:
        """False while it is down or sleeps; one that nobody has looked at yet counts as up."""
        return self._states.get(replica, "up") == "up"

    def is_asleep(self, replica: str) -> bool:
        """It gave its memory to a training."""
        return self._states.get(replica) == "asleep"

    @property
    def states(self) -> dict[str, str]:
        """Base URL -> up, down or asleep, of replicas that a worker has looked at."""
        return self._states

    @property
    def counts(self) -> dict[str, ReplicaCounts]:
        return self._counts

    def loaded_counts(self) -> Counter[str]:
        """Base URL -> fine-tuned models that are loaded and probed there."""
        return Counter(replica for replicas in self._loaded.values() for replica in replicas)

    def used(self, model: str) -> None:
        """Note that a fine-tuned model was called just now: what was used long ago leaves a full engine first."""
        self._used[model] = time.time()

    async def save_last_used(self, database: Database) -> None:
        """Write what `used` noted; called every few seconds, never on the path of a call."""
        used, self._used = self._used, {}
        if not used:
            return
        try:
            async with database.raw() as connection:
                # sorted, so that two processes cannot lock each other out
                await connection.executemany(USED, [(model, from_unix(at)) for model, at in sorted(used.items())])
        except BaseException:
            self._used = used | self._used
            raise

    async def load(self, connection: Any) -> None:
        loaded: dict[str, set[str]] = {}
        failures: dict[str, _Failure] = {}
        urls = list(self._urls)
        for row in await read(connection, LOADED, urls):
            if row.state == "ready":
                loaded.setdefault(row.model_id, set()).add(row.replica)
            elif row.state == "failed" and row.problem:
                failures[row.model_id] = self._noticed(row.model_id, row.problem, row.changed_at.timestamp())
        self._loaded = {model: frozenset(replicas) for model, replicas in loaded.items()}
        self._failures = failures
        replicas = await read(connection, REPLICAS, urls)
        self._states = {row.url: row.state for row in replicas}
        self._counts = {row.url: ReplicaCounts(row.loads, row.evictions, row.failures) for row in replicas}

    def _noticed(self, model: str, problem: str, changed_at: float) -> _Failure:
        known = self._failures.get(model)
        if known and known.changed_at >= changed_at:
            return known
        return _Failure(problem, changed_at, time.monotonic())
