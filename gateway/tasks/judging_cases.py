"""What a judge is shown of one task, and which of its questions are answered already."""

from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import ColumnElement, and_, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.large_bodies import fill
from gateway.db.tables import (
    CriterionRow,
    ExchangeDeletionRow,
    ExchangeRow,
    JudgeRow,
    JudgeVersionRow,
    JudgingTaskRow,
    JudgmentRow,
)
from gateway.exchanges.subjects import choice_indexes, subject
from gateway.judging import work
from gateway.judging.work import Claim
from gateway.judgments.values import PREFERENCE_SCORES
from gateway.judgments.verdict import Source, Verdict
from judges.llm.opinion import NO_VERDICT, Opinion, failed
from judges.llm.questions import Order
from judges.subject import Subject, text_of

FULL = "full"
Part = tuple[str, Order | None]
"""Model, and for a comparison the order."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that is judged."""

    exchange: ExchangeRow
    subject: Subject


@dataclass(frozen=True, slots=True)
class Case:
    """Everything about one task."""

    task: Claim
    judge: JudgeRow
    version: JudgeVersionRow
    criterion: CriterionRow
    answers: list[Answer]
    """One, or the two of a comparison."""
    reference: str | None
    answered: dict[Part, tuple[str, Opinion]] = field(default_factory=dict[Part, tuple[str, Opinion]])
    """Judgment and opinion of each question that an earlier try has answered."""
    problem: Opinion | None = None
    """Why nothing can be judged."""

    def verdict(self, opinion: Opinion, source: Source, **more: Any) -> Verdict:
        """What the judge said of it, as it is written down."""
        return Verdict(
            project_id=self.task.project_id,
            exchange_id=self.task.exchange_id,
            choice_index=self.task.choice_index,
            other_exchange_id=self.task.other_exchange_id,
            other_choice_index=0 if self.task.other_exchange_id else None,
            criterion_id=self.criterion.id,
            kind=self.criterion.kind,
            source=source,
            judge_version_id=self.version.id,
            attempt=self.task.attempt,
            sampling=self.task.sampling,
            status=opinion.status,
            error_code=opinion.error_code,
            score=opinion.score if opinion.preference is None else PREFERENCE_SCORES[opinion.preference],
            raw_value=opinion.raw_value,
            label=opinion.label,
            passed=opinion.passed,
            preference=opinion.preference,
            rationale=opinion.rationale,
            judgment_metadata=opinion.notes or None,
            **more,
        )


async def load(session: AsyncSession, task: Claim) -> Case | None:
    """None where there is nothing to judge any more: the judge is archived, an answer was erased, or it has a verdict.

    Whoever begins the first choice of a reply has the others judged, too.
    """
    if (case := await _named(session, task)) is None:
        return None
    ids = _exchanges_of(task)
    exchanges = [await _readable(session, id, task.project_id) for id in ids]
    await _add_choices(session, task, exchanges[0])
    if await _is_judged(session, task):
        return None
    answers, problem = _answers(task, ids, exchanges)
    reference = await _reference(session, task, answers[0].exchange) if problem is None else None
    answered = await _answered(session, task)
    return replace(case, answers=answers, reference=reference, answered=answered, problem=problem)


async def load_unread(session: AsyncSession, task: Claim) -> Case | None:
    """As `load`, without what is judged: enough to write down why it is not. What reads it may be what fails."""
    case = await _named(session, task)
    return None if case is None or await _is_judged(session, task) else case


async def _named(session: AsyncSession, task: Claim) -> Case | None:
    """The judge and its criterion, and nothing to judge yet; None where the judge is archived, or an answer was erased."""
    version = await session.get_one(JudgeVersionRow, task.judge_version_id)
    judge = await session.get_one(JudgeRow, version.judge_id)
    if judge.archived_at is not None or await _erased(session, _exchanges_of(task)):
        return None
    return Case(task, judge, version, await session.get_one(CriterionRow, version.criterion_id), [], None)


def _exchanges_of(task: Claim) -> list[str]:
    return [id for id in (task.exchange_id, task.other_exchange_id) if id is not None]


async def _readable(session: AsyncSession, id: str, project_id: str) -> ExchangeRow | None:
    exchange = await session.get(ExchangeRow, id)
    if exchange is None or exchange.project_id != project_id or exchange.logging != FULL:
        return None
    await fill(session, exchange)
    return exchange


async def _add_choices(session: AsyncSession, task: Claim, exchange: ExchangeRow | None) -> None:
    """Of a comparison only first choices are shown."""
    if exchange is None or task.choice_index or task.other_exchange_id:
        return
    further = [index for index in choice_indexes(exchange.reply)[: work.MOST_CHOICES] if index]
    if further:
        await work.add_choices(session, task, further)


def _answers(task: Claim, ids: list[str], exchanges: list[ExchangeRow | None]) -> tuple[list[Answer], Opinion | None]:
    """And why they cannot be judged, where one is not there."""
    answers: list[Answer] = []
    for id, exchange in zip(ids, exchanges, strict=True):
        found = subject(exchange.request, exchange.reply, task.choice_index) if exchange else None
        if exchange is None or found is None:
            return [], failed("not_logged", f"What was asked and answered in {id} is not kept, or is no chat.")
        answers.append(Answer(exchange, found))
    return answers, None


async def _is_judged(session: AsyncSession, task: Claim) -> bool:
    """Whether there is a verdict: tasks are not kept for ever, and one that is asked for again is made anew."""
    whole = (JudgmentRow.identifier == "", JudgmentRow.order_shown.is_(None), JudgmentRow.status == "ok")
    query = select(JudgmentRow.id).where(*_by_this_judge(task), *whole).limit(1)
    return await session.scalar(query) is not None


def _by_this_judge(task: Claim) -> tuple[ColumnElement[bool], ...]:
    """Words in force of the judge's version on what the task is about."""
    return (
        JudgmentRow.project_id == task.project_id,
        JudgmentRow.exchange_id == task.exchange_id,
        JudgmentRow.choice_index == task.choice_index,
        JudgmentRow.other_exchange_id.is_not_distinct_from(task.other_exchange_id),
        JudgmentRow.judge_version_id == task.judge_version_id,
        JudgmentRow.attempt == task.attempt,
        JudgmentRow.superseded_at.is_(None),
    )


async def _erased(session: AsyncSession, ids: list[str]) -> bool:
    query = select(ExchangeDeletionRow.exchange_id).where(ExchangeDeletionRow.exchange_id.in_(ids)).limit(1)
    return await session.scalar(query) is not None


async def _reference(session: AsyncSession, task: Claim, exchange: ExchangeRow) -> str | None:
    """A person's correction, the newest, of this choice before that of another; else what the call itself named."""
    query = select(JudgmentRow.edited_message).where(
        JudgmentRow.project_id == exchange.project_id,
        JudgmentRow.exchange_id == exchange.id,
        JudgmentRow.kind == "edit",
        JudgmentRow.source == "human",
        JudgmentRow.status == "ok",
        JudgmentRow.superseded_at.is_(None),
        JudgmentRow.edited_message.is_not(None),
    )
    is_of_another = JudgmentRow.choice_index != task.choice_index
    edited = await session.scalar(query.order_by(is_of_another, JudgmentRow.id.desc()).limit(1))
    if edited is not None and (text := text_of(edited)):
        return text
    named = (exchange.request_metadata or {}).get("reference")
    return named if isinstance(named, str) and named else None


async def _answered(session: AsyncSession, task: Claim) -> dict[Part, tuple[str, Opinion]]:
    """Verdicts, and answers without one since the task was opened; what could not be asked is asked again."""
    opened = select(JudgingTaskRow.created_at).where(JudgingTaskRow.id == task.id).scalar_subquery()
    none_now = and_(JudgmentRow.error_code.in_(NO_VERDICT), JudgmentRow.created_at >= opened)
    said = or_(JudgmentRow.status == "ok", and_(JudgmentRow.status == "error", none_now))
    query = select(JudgmentRow).where(*_by_this_judge(task), JudgmentRow.pair_group_id == task.id, said)
    rows = [row for row in await session.scalars(query) if row.identifier]
    return {(row.identifier, _order(row.order_shown)): (row.id, _opinion(row)) for row in rows}


def _order(shown: str | None) -> Order | None:
    return shown if shown in ("ab", "ba") else None


def _opinion(row: JudgmentRow) -> Opinion:
    notes: dict[str, Any] = row.judgment_metadata or {}
    return Opinion(
        status=row.status,  # type: ignore[arg-type]
        error_code=row.error_code,  # type: ignore[arg-type]
        score=row.score,
        raw_value=row.raw_value,
        label=row.label,
        passed=row.passed,
        preference=row.preference,  # type: ignore[arg-type]
        rationale=row.rationale,
        notes=notes,
    )
