"""Queues of answers that people judge, and how far they are: everything is a project's own."""

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import Select, func, insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.tables import ReviewDecisionRow, ReviewItemRow, ReviewQueueRow
from gateway.errors import NotFound
from gateway.kit.clock import now
from gateway.kit.ids import new_id, new_sorted_id
from gateway.protocol.review_queues import Progress, ReviewQueueCreate
from gateway.reviewing.choosing import Chosen

DONE, SKIPPED = "done", "skipped"
RANDOM = "random"
AT_A_TIME = 1000
"""Rows in one statement."""


def of_project(project_id: str, *, archived: bool) -> Select[Any]:
    rows = select(ReviewQueueRow).where(ReviewQueueRow.project_id == project_id)
    return rows if archived else rows.where(ReviewQueueRow.archived_at.is_(None))


async def find(session: AsyncSession, project_id: str, queue_id: str, *, lock: bool = False) -> ReviewQueueRow:
    """Raises NotFound. Args: lock: before any item of it, so that whoever counts waits for nobody who waits for them."""
    row = await session.get(ReviewQueueRow, queue_id, with_for_update=lock or None, populate_existing=lock)
    if row is None or row.project_id != project_id:
        raise NotFound(f"No review queue with id '{queue_id}'.", param="queue_id")
    return row


async def make(
    session: AsyncSession, project_id: str, wanted: ReviewQueueCreate, criteria: Sequence[str], chosen: Chosen, by: str
) -> ReviewQueueRow:
    """With its items. Args: by: a person, or an api key."""
    row = ReviewQueueRow(
        id=new_sorted_id("queue_"),
        project_id=project_id,
        created_at=now(),
        created_by=by,
        name=wanted.name,
        kind=wanted.kind,
        criteria=list(criteria),
        blind=wanted.blind,
        overlap=wanted.overlap,
        source=_told(wanted, chosen),
        total=len(chosen.items),
        finished=0,
        archived_at=None,
    )
    session.add(row)
    await session.flush()
    items = [{"id": new_id("item_"), "queue_id": row.id, "position": n, **each} for n, each in enumerate(chosen.items)]
    for start in range(0, len(items), AT_A_TIME):
        await session.execute(insert(ReviewItemRow), items[start : start + AT_A_TIME])
    return row


def _told(wanted: ReviewQueueCreate, chosen: Chosen) -> dict[str, Any]:
    """How it was filled, without the lists."""
    said: dict[str, Any] = msgspec.to_builtins(wanted.source)
    kept = {name: value for name, value in said.items() if value is not None and name not in ("answers", "pairs")}
    named = wanted.source.answers or wanted.source.pairs
    told = {"named": len(named)} if named else kept
    return told | {"considered": chosen.considered, "taken": len(chosen.items)}


def sampling_of(row: ReviewQueueRow, item: ReviewItemRow) -> dict[str, Any] | None:
    """How an answer came to be judged, where that was by chance alone: for estimates without bias. What was added later
    (adding.py) was not."""
    source = row.source or {}
    if item.position >= source.get("taken", 0):
        return None
    if row.kind != "single" or source.get("order") != RANDOM or source.get("found") or not source.get("considered"):
        return None
    return {"probability": source["taken"] / source["considered"], "policy": "review_queue"}


async def progress(session: AsyncSession, rows: Sequence[ReviewQueueRow], who: str) -> dict[str, Progress]:
    """By the id of the queue. Args: who: whose share is told."""
    of_them = (ReviewDecisionRow.queue_id.in_([row.id for row in rows]), ReviewDecisionRow.user_id == who)
    counted = select(ReviewDecisionRow.queue_id, ReviewDecisionRow.decision, func.count()).where(*of_them)
    found = await session.execute(counted.group_by(ReviewDecisionRow.queue_id, ReviewDecisionRow.decision))
    counts = {(queue_id, decision): count for queue_id, decision, count in found}
    return {
        row.id: Progress(
            total=row.total,
            done=row.finished,
            mine=counts.get((row.id, DONE), 0),
            skipped=counts.get((row.id, SKIPPED), 0),
            open=row.total - row.finished,
        )
        for row in rows
    }
