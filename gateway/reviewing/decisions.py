"""What people did with items: done or skipped, and taken back. Each in one transaction with what it counts, and with the
judgments that it makes (gateway/routes/review_items.py), so that whatever dies in between leaves none of it."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.tables import ReviewDecisionRow, ReviewItemRow, ReviewQueueRow
from gateway.errors import Conflict
from gateway.kit.clock import now
from gateway.reviewing.items import LOCK, release
from gateway.reviewing.queues import DONE, SKIPPED


async def of(session: AsyncSession, item_id: str, who: str) -> ReviewDecisionRow | None:
    return await session.get(ReviewDecisionRow, (item_id, who))


async def latest(session: AsyncSession, queue: ReviewQueueRow, who: str) -> ReviewDecisionRow | None:
    own = (ReviewDecisionRow.queue_id == queue.id, ReviewDecisionRow.user_id == who)
    return await session.scalar(
        select(ReviewDecisionRow).where(*own).order_by(ReviewDecisionRow.decided_at.desc()).limit(1)
    )


async def complete(
    session: AsyncSession, queue: ReviewQueueRow, item: ReviewItemRow, who: str, judgment_ids: Sequence[str]
) -> list[str]:
    """The person's word on the item, in place of an earlier one; returns the judgments of that which no longer hold.

    Whoever has lost the lock meanwhile is heard all the same: nobody's work is thrown away, and one word more does no harm.

    Args: queue, item: locked, in this order.
    """
    row = await of(session, item.id, who)
    before = list(row.judgment_ids) if row else []
    if row is None or row.decision != DONE:
        _count(queue, item, 1)
    row = row or ReviewDecisionRow(item_id=item.id, user_id=who, queue_id=queue.id)
    row.decision, row.judgment_ids = DONE, list(judgment_ids)
    await _write(session, item, row)
    return [id for id in before if id not in judgment_ids]


async def skip(session: AsyncSession, queue: ReviewQueueRow, item: ReviewItemRow, who: str) -> None:
    """Others may judge it. Raises Conflict: this person has judged it."""
    row = await of(session, item.id, who)
    if row is not None and row.decision == DONE:
        raise Conflict("You have judged this item. Undo that first.")
    row = row or ReviewDecisionRow(item_id=item.id, user_id=who, queue_id=queue.id, decision=SKIPPED, judgment_ids=[])
    await _write(session, item, row)


async def take_back(
    session: AsyncSession, queue: ReviewQueueRow, item: ReviewItemRow, row: ReviewDecisionRow
) -> list[str]:
    """As if it had never been decided: the item is this person's next. Returns the judgments to take back.

    Args: queue, item: locked, in this order.
    """
    if row.decision == DONE:
        _count(queue, item, -1)
    ids = list(row.judgment_ids)
    await session.delete(row)
    await release(session, queue, row.user_id)
    item.locked_by, item.locked_until = row.user_id, now() + LOCK
    await session.flush()
    return ids


def _count(queue: ReviewQueueRow, item: ReviewItemRow, change: int) -> None:
    was_finished = item.done >= queue.overlap
    item.done += change
    if item.gone_at is None:
        queue.finished += (item.done >= queue.overlap) - was_finished


async def _write(session: AsyncSession, item: ReviewItemRow, row: ReviewDecisionRow) -> None:
    row.decided_at = now()
    session.add(row)
    if item.locked_by == row.user_id:
        item.locked_by = item.locked_until = None
    await session.flush()
