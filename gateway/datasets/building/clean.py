"""The one place where building calls cleaning (gateway/datasets/cleaning/)."""

import hashlib
import threading
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gateway.datasets.building.caps import leave_out
from gateway.datasets.building.pair_checks import normalised
from gateway.datasets.building.selection import Ground

CHANCES = 2**64


class Cleaned:
    """What is left, in clusters."""

    def __init__(self, ground: Ground, dataset_id: str) -> None:
        self._ground = ground
        self.redacted: Counter[str] = Counter()

    def redact(self, line: dict[str, Any]) -> dict[str, Any]:
        return line

    def split(self) -> None:
        """Every cluster goes to one side, decided by its own id."""
        share, work = self._ground.recipe.split.validation, self._ground.work
        clusters = [cluster for (cluster,) in work.db.execute("SELECT DISTINCT cluster FROM kept")]
        aside = [cluster for cluster in clusters if _chance(cluster) < share]
        with work.writing():
            query = "UPDATE candidates SET split = 'validation' WHERE cluster = ?"
            work.db.executemany(query, ((cluster,) for cluster in aside))


def clean(ground: Ground, dataset_id: str, suites: Sequence[Path], stop: threading.Event) -> Cleaned:
    seen: set[bytes] = set()
    again: list[int] = []
    clusters: list[tuple[str, int]] = []
    for each in ground.work.candidates():
        texts = (each.candidate.question, each.candidate.answer, each.candidate.rejected)
        key = hashlib.sha256("\0".join(map(normalised, texts)).encode()).digest()
        if key in seen and ground.recipe.duplicates.exact:
            again.append(each.number)
        seen.add(key)
        clusters.append((each.candidate.conversation, each.number))
    with ground.work.writing():
        ground.work.db.executemany("UPDATE candidates SET cluster = ? WHERE number = ?", clusters)
    leave_out(ground, again, "duplicate")
    return Cleaned(ground, dataset_id)


def _chance(cluster: str) -> float:
    return int.from_bytes(hashlib.sha256(cluster.encode()).digest()[:8]) / CHANCES
