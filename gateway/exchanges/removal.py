"""Removing exchanges that nobody may keep any longer, and what hangs on them: in small transactions, each of which may be done
again. The ledger, and sums of usage and traffic, are no part of the log: they stay.

What was made of exchanges stays as well: training examples, datasets, items of evals and the judgments of their runs.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, delete, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.tables import (
    ExchangeRow,
    ExchangeTextRow,
    JudgingTaskRow,
    JudgmentRow,
    StoredCompletionRow,
    UnreadExchangeRow,
)

AT_A_TIME = 1000
"""Rows in one transaction."""


async def next_full(session: AsyncSession, project_id: str, after: str, end: str, cut: datetime) -> list[str]:
    """Ids of the next exchanges that still have their bodies, behind the id `after` and before `end`, of before `cut`."""
    aged = (*_aged(project_id, end, cut), ExchangeRow.id > after, ExchangeRow.logging == "full")
    return list(await session.scalars(select(ExchangeRow.id).where(*aged).order_by(ExchangeRow.id).limit(AT_A_TIME)))


async def remove_next(session: AsyncSession, project_id: str, end: str, cut: datetime) -> int:
    """The oldest exchanges; returns how many went. What is still to be read goes first: whoever reads it now is waited for, and
    what they have written of it goes with the rest."""
    aged = select(ExchangeRow.id).where(*_aged(project_id, end, cut)).order_by(ExchangeRow.id).limit(AT_A_TIME)
    ids = list(await session.scalars(aged))
    for row, key in ((UnreadExchangeRow, "exchange_id"), (ExchangeTextRow, "exchange_id"), (ExchangeRow, "id")):
        await _delete(session, row, key, ids)
    return len(ids)


async def remove_hanging(session: AsyncSession, project_id: str, end: str) -> int:
    """What hangs on exchanges before the id `end`: judgments but for those of runs of evals, open tasks of judges, and stored
    completions. Returns how many went of the kind that most did of;
    0: there is no more."""
    count = 0
    judged = or_(JudgmentRow.exchange_id < end, JudgmentRow.other_exchange_id < end)
    for row, which in (
        (JudgmentRow, (judged, JudgmentRow.eval_run_id.is_(None))),
        (JudgingTaskRow, (or_(JudgingTaskRow.exchange_id < end, JudgingTaskRow.other_exchange_id < end),)),
        (StoredCompletionRow, (StoredCompletionRow.exchange_id < end,)),
    ):
        kind: Any = row
        key = "exchange_id" if kind is StoredCompletionRow else "id"
        column = getattr(kind, key)
        found = select(column).where(kind.project_id == project_id, *which).limit(AT_A_TIME)
        ids = list(await session.scalars(found))
        await _delete(session, kind, key, ids)
        count = max(count, len(ids))
    return count


async def remove_unread(session: AsyncSession, end: str) -> None:
    """Of all projects: what is still to be read of exchanges before the id `end`."""
    unread = delete(UnreadExchangeRow).where(UnreadExchangeRow.exchange_id < end)
    await session.execute(unread.execution_options(synchronize_session=False))


def _aged(project_id: str, end: str, cut: datetime) -> tuple[ColumnElement[bool], ...]:
    """By id, so that the index and the months tell; and by time, since a call has its id when it begins to come in."""
    return ExchangeRow.project_id == project_id, ExchangeRow.id < end, ExchangeRow.created_at < cut


async def _delete(session: AsyncSession, row: Any, key: str, ids: Sequence[str]) -> None:
    if ids:
        statement = delete(row).where(getattr(row, key).in_(ids))
        await session.execute(statement.execution_options(synchronize_session=False))
