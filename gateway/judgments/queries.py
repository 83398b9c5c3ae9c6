"""Reading judgments: everything is a project's own."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Select, select
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.tables import CriterionRow, JudgeVersionRow, JudgmentRow
from gateway.errors import NotFound

RETRACTED = "retracted"


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgmentFilters:
    """Which judgments to read; None means all."""

    exchange_id: str | None = None
    """Either of the two of a comparison."""
    criterion: str | None = None
    """Name (all versions), or id (one)."""
    source: str | None = None
    judge_id: str | None = None
    """Or the id of one of its versions."""
    annotator_id: str | None = None
    end_user: str | None = None
    """Hash."""
    eval_run_id: str | None = None
    status: str | None = None
    """None: whatever is not retracted."""
    label: str | None = None
    passed: bool | None = None
    tag: str | None = None
    created_after: datetime | None = None
    """Inclusive."""
    created_before: datetime | None = None
    """Exclusive."""
    history: bool = False
    """Also what was superseded."""


def matching(project_id: str, filters: JudgmentFilters) -> Select[JudgmentRow]:
    return select(JudgmentRow).where(*conditions(project_id, filters))


def conditions(project_id: str, filters: JudgmentFilters) -> list[ColumnElement[bool]]:
    """On rows of `judgments`."""
    return [
        JudgmentRow.project_id == project_id,
        *_of_something(project_id, filters),
        *_by_somebody(filters),
        *_saying(filters),
    ]


def _of_something(project_id: str, filters: JudgmentFilters) -> Iterator[ColumnElement[bool]]:
    if filters.exchange_id is not None:
        yield (JudgmentRow.exchange_id == filters.exchange_id) | (JudgmentRow.other_exchange_id == filters.exchange_id)
    if filters.criterion is not None:
        yield JudgmentRow.criterion_id.in_(
            select(CriterionRow.id).where(
                CriterionRow.project_id == project_id,
                (CriterionRow.name == filters.criterion) | (CriterionRow.id == filters.criterion),
            )
        )
    if filters.eval_run_id is not None:
        yield JudgmentRow.eval_run_id == filters.eval_run_id


def _by_somebody(filters: JudgmentFilters) -> Iterator[ColumnElement[bool]]:
    if filters.source is not None:
        yield JudgmentRow.source == filters.source
    if filters.judge_id is not None:
        versions = select(JudgeVersionRow.id).where(JudgeVersionRow.judge_id == filters.judge_id)
        yield (JudgmentRow.judge_version_id == filters.judge_id) | JudgmentRow.judge_version_id.in_(versions)
    if filters.annotator_id is not None:
        yield JudgmentRow.annotator_id == filters.annotator_id
    if filters.end_user is not None:
        yield JudgmentRow.end_user == filters.end_user


def _saying(filters: JudgmentFilters) -> Iterator[ColumnElement[bool]]:
    if filters.status is not None:
        yield JudgmentRow.status == filters.status
    elif not filters.history:
        yield JudgmentRow.status != RETRACTED
    if not filters.history:
        yield JudgmentRow.superseded_at.is_(None)
    if filters.label is not None:
        yield JudgmentRow.label == filters.label
    if filters.passed is not None:
        yield JudgmentRow.passed.is_(filters.passed)
    if filters.tag is not None:
        yield JudgmentRow.tags.contains([filters.tag])
    if filters.created_after is not None:
        yield JudgmentRow.created_at >= filters.created_after
    if filters.created_before is not None:
        yield JudgmentRow.created_at < filters.created_before


async def find(session: AsyncSession, project_id: str, judgment_id: str) -> JudgmentRow:
    """Raises NotFound."""
    row = await session.get(JudgmentRow, judgment_id)
    if row is None or row.project_id != project_id:
        raise NotFound(f"No judgment with id '{judgment_id}'.", param="judgment_id")
    return row


async def criterion_names(session: AsyncSession, rows: Sequence[JudgmentRow]) -> dict[str, str]:
    """Id of a version -> name."""
    wanted = {row.criterion_id for row in rows}
    found = await session.execute(select(CriterionRow.id, CriterionRow.name).where(CriterionRow.id.in_(wanted)))
    return {id: name for id, name in found}  # noqa: C416 rows are no pairs to the type checker


async def with_ids(session: AsyncSession, ids: Sequence[str]) -> list[JudgmentRow]:
    return list(await session.scalars(select(JudgmentRow).where(JudgmentRow.id.in_(ids))))
