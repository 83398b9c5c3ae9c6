"""Review queues and their items as the API shows them, and whose word it is that a caller gives."""

from collections.abc import Sequence

from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.tables import CriterionRow, JudgmentRow, ReviewItemRow, ReviewQueueRow
from gateway.judgments import criteria, queries
from gateway.judgments.summary import wilson
from gateway.keys.ring import ApiKey
from gateway.kit.clock import unix
from gateway.protocol.review_queues import Agreement, Progress, ReviewItem, ReviewQueue, ShownAnswer
from gateway.reviewing import agreement, decisions, items, queues
from gateway.reviewing.items import Texts
from gateway.reviewing.queues import DONE
from gateway.routes.judgment_objects import criterion, judgments, judgments_with

MOST_VERDICTS = 50
"""Of judges, rules and other systems beside one item."""


def reviewer(caller: ApiKey) -> str:
    """The person, whichever of their keys or browsers they use; of a service account its key."""
    return caller.user_id or caller.id


async def in_force(session: AsyncSession, rows: Sequence[ReviewQueueRow]) -> dict[str, CriterionRow]:
    """Name -> the newest version of each criterion of these queues of one project, but for archived ones."""
    names = {name for row in rows for name in row.criteria}
    wanted = select(CriterionRow).where(
        CriterionRow.project_id.in_({row.project_id for row in rows}),
        CriterionRow.name.in_(names),
        CriterionRow.archived_at.is_(None),
        criteria.is_newest(),
    )
    return {row.name: row for row in await session.scalars(wanted)}


async def shown_queues(session: AsyncSession, rows: Sequence[ReviewQueueRow], who: str) -> list[ReviewQueue]:
    """Args: who: whose share of the progress is told."""
    if not rows:
        return []
    by_name = await in_force(session, rows)
    done = await queues.progress(session, rows, who)
    return [_queue(row, by_name, done[row.id]) for row in rows]


async def shown_queue(session: AsyncSession, row: ReviewQueueRow, who: str) -> ReviewQueue:
    """With how far people agree, where several judge each item."""
    [shown] = await shown_queues(session, [row], who)
    if row.overlap > 1:
        shown.agreement = await _agreement(session, row)
    return shown


async def _agreement(session: AsyncSession, row: ReviewQueueRow) -> list[Agreement]:
    found = await agreement.agreement(session, row.id)
    ids = [each.criterion_id for each in found]
    versions = await session.scalars(select(CriterionRow).where(CriterionRow.id.in_(ids)))
    names = {row.id: row.name for row in versions}
    return [
        Agreement(
            criterion=names[each.criterion_id],
            criterion_id=each.criterion_id,
            items=each.items,
            rate=each.rate,
            interval=wilson(each.rate, each.items),
        )
        for each in found
    ]


def _queue(row: ReviewQueueRow, by_name: dict[str, CriterionRow], progress: Progress) -> ReviewQueue:
    return ReviewQueue(
        id=row.id,
        created_at=unix(row.created_at),
        created_by=row.created_by,
        name=row.name,
        kind=row.kind,
        criteria=[criterion(by_name[name]) for name in row.criteria if name in by_name],
        blind=row.blind,
        overlap=row.overlap,
        source=row.source,
        progress=progress,
        archived_at=unix(row.archived_at) if row.archived_at else None,
    )


async def shown_item(
    session: AsyncSession, queue: ReviewQueueRow, row: ReviewItemRow, texts: Texts, who: str
) -> ReviewItem:
    """As this person may see it: in a blind queue, models and other verdicts come after their own word."""
    decision = await decisions.of(session, row.id, who)
    is_told = not queue.blind or (decision is not None and decision.decision == DONE)
    answers = [_answer(texts, number, is_told=is_told) for number in range(len(texts.answers))]
    is_locked = row.locked_by == who and row.locked_until is not None
    return ReviewItem(
        id=row.id,
        queue_id=row.queue_id,
        position=row.position,
        messages=texts.question.messages,
        tools=texts.question.tools,
        answers=answers[::-1] if len(answers) > 1 and items.is_swapped(row, who) else answers,
        order_shown=items.order_of(row, who) if is_told and len(answers) > 1 else None,
        locked_until=unix(row.locked_until) if is_locked and row.locked_until else None,
        decision=decision.decision if decision else None,
        judgments=await judgments_with(session, decision.judgment_ids) if decision else [],
        verdicts=await judgments(session, await _verdicts(session, queue, row)) if is_told else None,
    )


def _answer(texts: Texts, number: int, *, is_told: bool) -> ShownAnswer:
    said, row, choice = texts.answers[number]
    return ShownAnswer(
        message=said.message,
        finish_reason=said.finish_reason,
        exchange_id=row.id if is_told else None,
        choice_index=choice if is_told else None,
        model=row.served_model or row.requested_model if is_told else None,
    )


async def _verdicts(session: AsyncSession, queue: ReviewQueueRow, row: ReviewItemRow) -> list[JudgmentRow]:
    """Of judges, rules and other systems in force, on these answers alone; of a comparison the row that reconciles both
    orders."""
    one = (JudgmentRow.exchange_id == row.exchange_id) & (JudgmentRow.choice_index == row.choice_index)
    alone = JudgmentRow.other_exchange_id.is_(None)
    of_these = one & alone
    if row.other_exchange_id is not None:
        second = JudgmentRow.exchange_id == row.other_exchange_id
        of_second = second & (JudgmentRow.choice_index == row.other_choice_index) & alone
        both = one & (JudgmentRow.other_exchange_id == row.other_exchange_id)
        swapped = second & (JudgmentRow.other_exchange_id == row.exchange_id)
        of_these = or_(of_these, of_second, both, swapped)
    wanted = select(JudgmentRow).where(
        JudgmentRow.project_id == queue.project_id,
        JudgmentRow.exchange_id.in_([row.exchange_id, row.other_exchange_id or row.exchange_id]),
        of_these,
        JudgmentRow.source != "human",
        JudgmentRow.superseded_at.is_(None),
        JudgmentRow.status != queries.RETRACTED,
        JudgmentRow.order_shown.is_(None),
        JudgmentRow.eval_run_id.is_(None),
    )
    return list(await session.scalars(wanted.order_by(JudgmentRow.id).limit(MOST_VERDICTS)))
