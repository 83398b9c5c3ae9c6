"""Items of a queue: who looks at which, so that no two people are given the same one, and nobody the same one twice."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, exists, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.large_bodies import fill
from gateway.db.tables import ExchangeRow, ReviewDecisionRow, ReviewItemRow, ReviewQueueRow
from gateway.errors import NotFound
from gateway.kit.clock import now
from gateway.reviewing.bodies import Question, Said, answers_of, question_of
from gateway.reviewing.queues import DONE

LOCK = timedelta(minutes=15)
"""For how long an item is kept for whoever was given it."""


@dataclass(frozen=True, slots=True)
class Texts:
    """What is judged: one answer, or A and B, with the rows that they stand in."""

    question: Question
    answers: list[tuple[Said, ExchangeRow, int]]


async def claim(
    session: AsyncSession, queue: ReviewQueueRow, who: str, besides: Sequence[str], *, skipped: bool
) -> ReviewItemRow | None:
    """The next item for a person, which is theirs from now on: first what they already have, then the first that is free.

    Rows that somebody else is just being given are passed over, not waited for.
    """
    free = _open_to(queue, who, skipped=skipped).where(ReviewItemRow.id.not_in(besides))
    free = free.order_by(ReviewItemRow.position).limit(1).with_for_update(skip_locked=True)
    row = await session.scalar(free.where(_is_mine(who))) or await session.scalar(free.where(_is_free(queue)))
    if row is not None:
        row.locked_by, row.locked_until = who, now() + LOCK
    return row


async def current(session: AsyncSession, queue: ReviewQueueRow, who: str) -> ReviewItemRow | None:
    """What a person has before them; nothing changes."""
    mine = _open_to(queue, who, skipped=True).where(_is_mine(who))
    return await session.scalar(mine.order_by(ReviewItemRow.position).limit(1))


async def waiting(session: AsyncSession, queue: ReviewQueueRow, who: str) -> int:
    """How many that this person has not judged others look at now."""
    taken = (ReviewItemRow.done < queue.overlap, ReviewItemRow.locked_until > now(), ReviewItemRow.locked_by != who)
    others = _open_to(queue, who, skipped=False).where(*taken)
    return await session.scalar(select(func.count()).select_from(others.subquery())) or 0


async def release(session: AsyncSession, queue: ReviewQueueRow, who: str) -> None:
    """Whatever of the queue this person has before them, others may have."""
    theirs = (ReviewItemRow.queue_id == queue.id, ReviewItemRow.locked_by == who)
    await session.execute(
        update(ReviewItemRow)
        .where(*theirs)
        .values(locked_by=None, locked_until=None)
        .execution_options(synchronize_session="evaluate")
    )


async def find(session: AsyncSession, queue: ReviewQueueRow, item_id: str, *, lock: bool = False) -> ReviewItemRow:
    """Raises NotFound."""
    row = await session.get(ReviewItemRow, item_id, with_for_update=lock or None, populate_existing=lock)
    if row is None or row.queue_id != queue.id:
        raise NotFound(f"No item with id '{item_id}' in this review queue.", param="item_id")
    return row


async def texts(session: AsyncSession, queue: ReviewQueueRow, item: ReviewItemRow) -> Texts | None:
    """None: an answer, or what was asked, is not in the log any more."""
    places = [(item.exchange_id, item.choice_index)]
    if item.other_exchange_id is not None:
        places.append((item.other_exchange_id, item.other_choice_index or 0))
    kept = (ExchangeRow.project_id == queue.project_id, ExchangeRow.logging == "full")
    ids = {id for id, _ in places}
    rows = {row.id: row for row in await session.scalars(select(ExchangeRow).where(*kept, ExchangeRow.id.in_(ids)))}
    if len(rows) < len(ids):
        return None
    await fill(session, *rows.values())
    said = [(answers_of(rows[id]).get(choice), rows[id], choice) for id, choice in places]
    question = question_of(rows[item.exchange_id])
    there = [(answer, row, choice) for answer, row, choice in said if answer is not None]
    return Texts(question, there) if question is not None and len(there) == len(places) else None


async def drop_gone(session: AsyncSession, queue: ReviewQueueRow, item_id: str) -> None:
    """This item and all others of the queue whose texts were erased are no longer given to anybody, nor counted.

    Args: queue: locked (queues.find).
    """
    is_there = (ExchangeRow.logging == "full", ExchangeRow.reply.is_not(None))
    first = exists().where(ExchangeRow.id == ReviewItemRow.exchange_id, *is_there)
    other = exists().where(ExchangeRow.id == ReviewItemRow.other_exchange_id, *is_there)
    erased = ~first | (ReviewItemRow.other_exchange_id.is_not(None) & ~other)
    dropped = await session.execute(
        update(ReviewItemRow)
        .where(
            ReviewItemRow.queue_id == queue.id, ReviewItemRow.gone_at.is_(None), (ReviewItemRow.id == item_id) | erased
        )
        .values(gone_at=now(), locked_by=None, locked_until=None)
        .returning(ReviewItemRow.done)
        .execution_options(synchronize_session=False)
    )
    counts = list(dropped.scalars())
    queue.total -= len(counts)
    queue.finished -= sum(done >= queue.overlap for done in counts)


def is_swapped(item: ReviewItemRow, who: str) -> bool:
    """Whether a person sees B first: half of them do, always the same ones."""
    return bool(hashlib.sha256(f"{item.id}:{who}".encode()).digest()[0] & 1)


def order_of(item: ReviewItemRow, who: str) -> str:
    return "ba" if is_swapped(item, who) else "ab"


def _open_to(queue: ReviewQueueRow, who: str, *, skipped: bool) -> Select[Any]:
    """Items that a person has not judged."""
    theirs = exists().where(ReviewDecisionRow.item_id == ReviewItemRow.id, ReviewDecisionRow.user_id == who)
    decided = theirs.where(ReviewDecisionRow.decision == DONE) if skipped else theirs
    return select(ReviewItemRow).where(
        ReviewItemRow.queue_id == queue.id,
        ReviewItemRow.gone_at.is_(None),
        ~decided,
    )


def _is_mine(who: str) -> ColumnElement[bool]:
    return (ReviewItemRow.locked_by == who) & (ReviewItemRow.locked_until > now())


def _is_free(queue: ReviewQueueRow) -> ColumnElement[bool]:
    """Nobody has it, and not enough people have judged it."""
    unlocked = ReviewItemRow.locked_until.is_(None) | (ReviewItemRow.locked_until <= now())
    return unlocked & (ReviewItemRow.done < queue.overlap)
