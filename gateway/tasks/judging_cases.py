"""What a judge is shown of one task, and which of its questions are answered already."""

from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.tables import (
    CriterionRow,
    ExchangeDeletionRow,
    ExchangeRow,
    JudgeRow,
    JudgeVersionRow,
    JudgmentRow,
)
from gateway.exchanges.subjects import subject
from gateway.judging.work import Claim
from judges.llm.opinion import Opinion, failed
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


async def load(session: AsyncSession, task: Claim) -> Case | None:
    """None where nobody may judge any more: the judge is archived, or an answer was erased."""
    version = await session.get_one(JudgeVersionRow, task.judge_version_id)
    judge = await session.get_one(JudgeRow, version.judge_id)
    ids = [id for id in (task.exchange_id, task.other_exchange_id) if id is not None]
    if judge.archived_at is not None or await _erased(session, ids):
        return None
    criterion = await session.get_one(CriterionRow, version.criterion_id)
    answers: list[Answer] = []
    problem: Opinion | None = None
    for id in ids:
        exchange = await session.get(ExchangeRow, id)
        found = _subject(exchange, task.project_id) if exchange else None
        if exchange is None or found is None:
            problem = problem or failed(
                "not_logged", f"What was asked and answered in {id} is not kept, or is no chat."
            )
        else:
            answers.append(Answer(exchange, found))
    reference = await _reference(session, answers[0].exchange) if answers and problem is None else None
    return Case(task, judge, version, criterion, answers, reference, await _answered(session, task), problem)


def _subject(exchange: ExchangeRow, project_id: str) -> Subject | None:
    if exchange.project_id != project_id or exchange.logging != FULL:
        return None
    return subject(exchange.request, exchange.reply)


async def _erased(session: AsyncSession, ids: list[str]) -> bool:
    query = select(ExchangeDeletionRow.exchange_id).where(ExchangeDeletionRow.exchange_id.in_(ids)).limit(1)
    return await session.scalar(query) is not None


async def _reference(session: AsyncSession, exchange: ExchangeRow) -> str | None:
    """A person's correction of the answer, the newest; else what the call itself named."""
    query = select(JudgmentRow.edited_message).where(
        JudgmentRow.project_id == exchange.project_id,
        JudgmentRow.exchange_id == exchange.id,
        JudgmentRow.kind == "edit",
        JudgmentRow.source == "human",
        JudgmentRow.status == "ok",
        JudgmentRow.superseded_at.is_(None),
        JudgmentRow.edited_message.is_not(None),
    )
    edited = await session.scalar(query.order_by(JudgmentRow.id.desc()).limit(1))
    if edited is not None and (text := text_of(edited)):
        return text
    named = (exchange.request_metadata or {}).get("reference")
    return named if isinstance(named, str) and named else None


async def _answered(session: AsyncSession, task: Claim) -> dict[Part, tuple[str, Opinion]]:
    """Verdicts alone: what failed is asked again."""
    query = select(JudgmentRow).where(
        JudgmentRow.project_id == task.project_id,
        JudgmentRow.exchange_id == task.exchange_id,
        JudgmentRow.judge_version_id == task.judge_version_id,
        JudgmentRow.attempt == task.attempt,
        JudgmentRow.pair_group_id == task.id,
        JudgmentRow.status == "ok",
        JudgmentRow.superseded_at.is_(None),
    )
    rows = [row for row in await session.scalars(query) if row.identifier]
    return {(row.identifier, _order(row.order_shown)): (row.id, _opinion(row)) for row in rows}


def _order(shown: str | None) -> Order | None:
    return shown if shown in ("ab", "ba") else None


def _opinion(row: JudgmentRow) -> Opinion:
    notes: dict[str, Any] = row.judgment_metadata or {}
    return Opinion(
        score=row.score,
        raw_value=row.raw_value,
        label=row.label,
        passed=row.passed,
        preference=row.preference,  # type: ignore[arg-type]
        rationale=row.rationale,
        notes=notes,
    )
