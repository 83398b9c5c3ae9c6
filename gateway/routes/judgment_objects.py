"""Rows of judgments and criteria as the API shows them."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.tables import CriterionRow, JudgmentRow
from gateway.judgments import queries
from gateway.kit.clock import unix
from gateway.protocol.criteria import Criterion
from gateway.protocol.judgments import Judgment


async def judgments(session: AsyncSession, rows: Sequence[JudgmentRow]) -> list[Judgment]:
    names = await queries.criterion_names(session, rows)
    return [judgment(row, names[row.criterion_id]) for row in rows]


async def judgments_with(session: AsyncSession, ids: Sequence[str]) -> list[Judgment]:
    """In the order of the ids."""
    rows = {row.id: row for row in await queries.with_ids(session, ids)}
    return await judgments(session, [rows[id] for id in ids])


_SAME = tuple(name for name in Judgment.__struct_fields__ if name in JudgmentRow.__table__.columns)
"""Fields that the database has under their own name."""


def judgment(row: JudgmentRow, criterion: str) -> Judgment:
    values: dict[str, Any] = {name: getattr(row, name) for name in _SAME}
    values |= {
        "created_at": unix(row.created_at),
        "superseded_at": unix(row.superseded_at) if row.superseded_at else None,
        "criterion": criterion,
        "value": row.raw_value,
        "strength": row.preference_strength,
        "metadata": row.judgment_metadata,
    }
    return Judgment(**values)


def criterion(row: CriterionRow) -> Criterion:
    return Criterion(
        id=row.id,
        created_at=unix(row.created_at),
        created_by=row.created_by,
        name=row.name,
        version=row.version,
        kind=row.kind,
        description=row.description,
        lowest=row.lowest,
        highest=row.highest,
        labels=row.labels,
        passing_labels=row.passing_labels,
        pass_score=row.pass_score,
        direction=row.direction,
        level=row.level,
        archived_at=unix(row.archived_at) if row.archived_at else None,
    )
