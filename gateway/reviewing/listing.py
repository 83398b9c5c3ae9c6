"""All items of a queue with their state and who judged them, and how far each person is."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, exists, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.tables import ApiKeyRow, ExchangeTextRow, ReviewDecisionRow, ReviewItemRow, ReviewQueueRow, UserRow
from gateway.kit.clock import now
from gateway.protocol.review_queues import ItemState
from gateway.reviewing.queues import DONE, SKIPPED

MOST_PEOPLE = 200


@dataclass(frozen=True, slots=True)
class Share:
    """What one person did of a queue."""

    user_id: str
    done: int
    skipped: int
    last_at: datetime


def of_queue(queue: ReviewQueueRow, state: ItemState | None, judged_by: str | None) -> Select[Any]:
    """Items. Args: judged_by: a person who has judged or skipped them."""
    rows = select(ReviewItemRow).where(ReviewItemRow.queue_id == queue.id)
    if state is not None:
        rows = rows.where(_is(queue, state))
    if judged_by is not None:
        of_them = exists().where(ReviewDecisionRow.item_id == ReviewItemRow.id)
        rows = rows.where(of_them.where(ReviewDecisionRow.user_id == judged_by))
    return rows


def state_of(queue: ReviewQueueRow, item: ReviewItemRow, moment: datetime) -> ItemState:
    if item.gone_at is not None:
        return "gone"
    if item.done >= queue.overlap:
        return "done"
    return "locked" if item.locked_until is not None and item.locked_until > moment else "open"


def _is(queue: ReviewQueueRow, state: ItemState) -> ColumnElement[bool]:
    """The same as `state_of`, on rows."""
    row = ReviewItemRow
    is_gone, is_done = row.gone_at.is_not(None), row.done >= queue.overlap
    is_locked = func.coalesce(row.locked_until > now(), False)
    left = ~is_gone & ~is_done
    found: dict[ItemState, ColumnElement[bool]] = {
        "gone": is_gone,
        "done": ~is_gone & is_done,
        "locked": left & is_locked,
        "open": left & ~is_locked,
    }
    return found[state]


async def decisions(session: AsyncSession, rows: Sequence[ReviewItemRow]) -> dict[str, list[ReviewDecisionRow]]:
    """By item, the earliest first."""
    ids = [row.id for row in rows]
    made = select(ReviewDecisionRow).where(ReviewDecisionRow.item_id.in_(ids)).order_by(ReviewDecisionRow.decided_at)
    found: dict[str, list[ReviewDecisionRow]] = {id: [] for id in ids}
    for row in await session.scalars(made):
        found[row.item_id].append(row)
    return found


async def previews(session: AsyncSession, rows: Sequence[ReviewItemRow]) -> dict[str, ExchangeTextRow]:
    """By exchange; of one that was erased, or is not read yet, there is none."""
    ids = {id for row in rows for id in (row.exchange_id, row.other_exchange_id) if id is not None}
    found = await session.scalars(select(ExchangeTextRow).where(ExchangeTextRow.exchange_id.in_(ids)))
    return {row.exchange_id: row for row in found}


async def people(session: AsyncSession, queue: ReviewQueueRow) -> list[Share]:
    """Who did most comes first."""
    row = ReviewDecisionRow
    done = func.count().filter(row.decision == DONE)
    skipped = func.count().filter(row.decision == SKIPPED)
    counted = select(row.user_id, done, skipped, func.max(row.decided_at)).where(row.queue_id == queue.id)
    found = await session.execute(counted.group_by(row.user_id).order_by(done.desc(), row.user_id).limit(MOST_PEOPLE))
    return [Share(*each) for each in found]


async def names(session: AsyncSession, ids: Sequence[str]) -> dict[str, str]:
    """Of people, and of keys that judge in the place of one."""
    of_people = await session.execute(select(UserRow.id, UserRow.name).where(UserRow.id.in_(ids)))
    of_keys = await session.execute(select(ApiKeyRow.id, ApiKeyRow.name).where(ApiKeyRow.id.in_(ids)))
    return {str(id): str(name or "") for rows in (of_people, of_keys) for id, name in rows}
