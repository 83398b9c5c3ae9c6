"""Validated examples of each project in memory, to be shown to models: built in the background, looked up by calls."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from gateway.db.database import Database
from gateway.db.reading import read
from gateway.examples.index import Index, Shot, Wanted, shot
from gateway.kit.background import Background

MIRROR = "training_examples"
MOST = 5000
"""Of a project, the newest."""
FIRST_SECONDS = 2.0
"""How long the first call waits for its project's examples; then it goes without."""

State = tuple[int, datetime | None]
"""How many there are, and when one was changed last."""
STATE = """
SELECT count(*) FILTER (WHERE deleted_at IS NULL), max(greatest(updated_at, deleted_at)) FROM training_examples
WHERE project_id = $1
"""
"""Deleted ones tell of the last change, too."""
EXAMPLES = """
SELECT line, tags, score FROM training_examples
WHERE project_id = $1 AND kind = 'sft' AND status = 'validated' AND deleted_at IS NULL
ORDER BY created_at DESC, id DESC LIMIT $2
"""


class ShownExamples:
    """One index a project, made when a call first wants it, and anew when examples have changed."""

    name = MIRROR

    def __init__(self, database: Database, background: Background) -> None:
        self._database, self._background = database, background
        self._indexes: dict[str, Index] = {}
        self._states: dict[str, State] = {}
        self._building: dict[str, asyncio.Task[Any]] = {}
        self._changes = 0

    async def load(self, connection: Any) -> None:
        """A mirror's: something has changed. Nothing is read here, for keys wait behind it (gateway/db/mirror.py)."""
        self._changes += 1
        for project_id in self._indexes:
            self._begin(project_id)

    async def similar(self, project_id: str, question: str, wanted: Wanted) -> list[Shot]:
        """Best first. Only the first call of a project waits, and not for long."""
        index = self._indexes.get(project_id)
        if index is None:
            await asyncio.wait([self._begin(project_id)], timeout=FIRST_SECONDS)
            index = self._indexes.get(project_id)
        return index.similar(question, wanted) if index else []

    def _begin(self, project_id: str) -> asyncio.Task[Any]:
        """One at a time for a project; a change meanwhile is seen by it."""
        task = self._building.get(project_id)
        if task is None or task.done():
            work = self._build(project_id)
            task = self._building[project_id] = self._background.spawn(work, "index training examples")
        return task

    async def _build(self, project_id: str) -> None:
        seen = -1
        while seen != self._changes:
            seen = self._changes
            async with self._database.raw() as connection:
                state: State = tuple(await connection.fetchrow(STATE, project_id))
                if self._states.get(project_id) == state:
                    continue
                rows = await read(connection, EXAMPLES, project_id, MOST, json=("line", "tags"))
            self._indexes[project_id] = await asyncio.to_thread(_index, rows)
            self._states[project_id] = state


def _index(rows: Sequence[Any]) -> Index:
    shots = (shot(row.line, row.tags, row.score) for row in rows)
    return Index(each for each in shots if each is not None)
