"""Rows of judgments and criteria as the API shows them."""

from collections.abc import Sequence

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


def judgment(row: JudgmentRow, criterion: str) -> Judgment:
    return Judgment(
        id=row.id,
        created_at=unix(row.created_at),
        exchange_id=row.exchange_id,
        choice_index=row.choice_index,
        other_exchange_id=row.other_exchange_id,
        other_choice_index=row.other_choice_index,
        source=row.source,
        judge_version_id=row.judge_version_id,
        annotator_id=row.annotator_id,
        end_user=row.end_user,
        identifier=row.identifier,
        attempt=row.attempt,
        criterion=criterion,
        criterion_id=row.criterion_id,
        kind=row.kind,
        score=row.score,
        value=row.raw_value,
        label=row.label,
        passed=row.passed,
        preference=row.preference,
        strength=row.preference_strength,
        edited_message=row.edited_message,
        rationale=row.rationale,
        tags=row.tags,
        status=row.status,
        error_code=row.error_code,
        order_shown=row.order_shown,
        pair_group_id=row.pair_group_id,
        derived_from=row.derived_from,
        supersedes_id=row.supersedes_id,
        superseded_at=unix(row.superseded_at) if row.superseded_at else None,
        confidence=row.confidence,
        latency_ms=row.latency_ms,
        cost_nano=row.cost_nano,
        judge_exchange_id=row.judge_exchange_id,
        blind=row.blind,
        sampling=row.sampling,
        eval_run_id=row.eval_run_id,
        output_item_id=row.output_item_id,
        metadata=row.judgment_metadata,
    )


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
