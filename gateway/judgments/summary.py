"""Judgments in figures, by criterion and source and whatever else they are grouped by; never pooled across versions."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, Text, any_, cast, func, literal, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.tables import CriterionRow, ExchangeRow, JudgeVersionRow, JudgmentRow
from gateway.judgments.queries import JudgmentFilters, conditions
from gateway.protocol.judgments import Interval, Summary, SummaryRow

MOST_ROWS = 1000
MOST_VALUES = 20
"""Labels, preferences or tags of one group."""
METADATA = "metadata."
Counts = dict[str, dict[str, int]]
"""By the key of a group: value -> how often."""
Z = NormalDist().inv_cdf(0.975)

_day = func.to_char(func.timezone("UTC", func.coalesce(ExchangeRow.created_at, JudgmentRow.created_at)), "YYYY-MM-DD")
GROUPS: dict[str, ColumnElement[Any]] = {
    "model": ExchangeRow.served_model.expression,
    "route": func.split_part(ExchangeRow.route, "@", 1),
    "day": _day,
    "judge": JudgeVersionRow.judge_id.expression,
    "judge_version": JudgmentRow.judge_version_id.expression,
    "label": JudgmentRow.label.expression,
    "end_user": ExchangeRow.end_user.expression,
}
"""What judgments are grouped by, beside `tag` and `metadata.<key>`: of the exchange, but for the judge and the label. The day
is that of the answer (UTC)."""


@dataclass(frozen=True)
class _Grouping:
    """How the rows of one answer are told apart."""

    names: Sequence[str]
    columns: Sequence[ColumnElement[Any]]
    tag: Any = None
    """The tags of a judgment, one a row, where they are grouped by."""
    among: Select[str] | None = None
    """Ids of the judgments that count; None: all."""


async def summary(
    session: AsyncSession,
    project_id: str,
    filters: JudgmentFilters,
    group_by: Sequence[str],
    *,
    latest: int | None = None,
    counts: bool = True,
) -> Summary:
    """Figures of the judgments in force that `filters` let through.

    Of real traffic, unless the filters name a run of an eval. The two orders in which a judge compares are left out: the row
    that reconciles them counts. A judgment with several tags counts
    in each of their groups, one without any in that of null.

    Args:
        group_by: of GROUPS, `tag`, `metadata.<key>`.
        latest: look at so many of the project's newest judgments alone, before any filter: however many there are, it costs as
            much.
        counts: also how often each label, preference and tag was said; without, it is half of the work.
    """
    grouping = _grouping(group_by, _newest(project_id, latest) if latest else None)
    rows = list(await session.execute(_figures(project_id, filters, grouping)))
    rows, truncated = rows[:MOST_ROWS], len(rows) > MOST_ROWS
    counting = _Counting(session, project_id, filters, grouping, [row.group_key for row in rows])
    of_group = await _said(counting) if counts and rows else [{}, {}, {}]
    shown = [_shown(row, grouping.names, *(each.get(row.group_key, {}) for each in of_group)) for row in rows]
    return Summary(data=shown, truncated=truncated)


def _newest(project_id: str, latest: int) -> Select[str]:
    own = select(JudgmentRow.id).where(JudgmentRow.project_id == project_id)
    return own.order_by(JudgmentRow.id.desc()).limit(latest).correlate(None)


def _grouping(group_by: Sequence[str], among: Select[str] | None) -> _Grouping:
    tag = _tag_of("tagged")
    columns = [_column(name, tag).label(f"group_{number}") for number, name in enumerate(group_by)]
    return _Grouping(group_by, columns, tag if "tag" in group_by else None, among)


def _tag_of(name: str) -> Any:
    """The tags of a judgment, one a row."""
    return func.jsonb_array_elements_text(JudgmentRow.tags).table_valued("value", name=name, joins_implicitly=True)


def _column(name: str, tag: Any) -> ColumnElement[Any]:
    if name == "tag":
        return tag.c.value
    if name.startswith(METADATA):
        return ExchangeRow.request_metadata[name.removeprefix(METADATA)].astext
    return GROUPS[name]


def _base(project_id: str, filters: JudgmentFilters, grouping: _Grouping, *columns: Any) -> Any:
    """Judgments beside their exchange, their criterion, and their judge's version."""
    same = (ExchangeRow.id == JudgmentRow.exchange_id) & (ExchangeRow.project_id == JudgmentRow.project_id)
    source = select(*columns, *grouping.columns).select_from(JudgmentRow)
    query = (
        source.join(CriterionRow, CriterionRow.id == JudgmentRow.criterion_id)
        .outerjoin(ExchangeRow, same)
        .outerjoin(JudgeVersionRow, JudgeVersionRow.id == JudgmentRow.judge_version_id)
    )
    if grouping.tag is not None:
        query = query.outerjoin(grouping.tag, literal(value=True))
    if grouping.among is not None:
        query = query.where(JudgmentRow.id.in_(grouping.among))
    if filters.eval_run_id is None:
        query = query.where(JudgmentRow.eval_run_id.is_(None))
    named = (JudgmentRow.source == "llm") & (JudgmentRow.identifier != "")
    is_member = named & JudgmentRow.eval_run_id.is_(None)  # of a panel, which has a verdict itself
    is_whole = JudgmentRow.order_shown.is_(None) | (JudgmentRow.source == "human")  # a person sees a pair in one order
    return query.where(*conditions(project_id, filters), is_whole, ~is_member)


_OF = (CriterionRow.name, JudgmentRow.criterion_id, JudgmentRow.kind, JudgmentRow.source)


def _figures(project_id: str, filters: JudgmentFilters, grouping: _Grouping) -> Any:
    def counted(condition: Any) -> Any:
        return func.count().filter(condition)

    is_ok = JudgmentRow.status == "ok"
    scored = is_ok & JudgmentRow.score.is_not(None)
    judged = is_ok & JudgmentRow.passed.is_not(None)
    query = _base(
        project_id,
        filters,
        grouping,
        *_OF,
        func.count().label("judgments"),
        counted(is_ok).label("ok"),
        counted(JudgmentRow.status == "error").label("errors"),
        counted(JudgmentRow.status == "abstained").label("abstained"),
        counted(scored).label("scored"),
        func.avg(JudgmentRow.score).filter(scored).label("mean"),
        func.count(JudgmentRow.exchange_id.distinct()).filter(scored).label("scored_exchanges"),
        counted(judged & JudgmentRow.passed).label("passed"),
        counted(judged & ~JudgmentRow.passed).label("failed"),
        func.count(JudgmentRow.exchange_id.distinct()).filter(judged).label("judged_exchanges"),
    )
    ordered = query.group_by(*_OF, *grouping.columns).order_by(func.count().desc(), *_OF, *grouping.columns)
    rows = ordered.limit(MOST_ROWS + 1).subquery()
    order = (rows.c.judgments.desc(), rows.c.name, rows.c.criterion_id, rows.c.kind, rows.c.source)
    groups = [rows.c[column.name] for column in grouping.columns]
    return select(rows, _key(rows, grouping)).order_by(*order, *groups)


def _key(rows: Any, grouping: _Grouping) -> Any:
    """Of a row's group, as text: also where a value is null."""
    parts = (rows.c.criterion_id, rows.c.source, *(rows.c[column.name] for column in grouping.columns))
    return cast(func.jsonb_build_array(*parts), Text).label("group_key")


@dataclass(frozen=True)
class _Counting:
    """Whose values are counted."""

    session: AsyncSession
    project_id: str
    filters: JudgmentFilters
    grouping: _Grouping
    keys: Sequence[str]
    """Of the groups that are shown."""


async def _said(counting: _Counting) -> list[Counts]:
    """Labels, preferences and tags."""
    tag = _tag_of("each_tag")
    return [
        await _counts(counting, JudgmentRow.label),
        await _counts(counting, JudgmentRow.preference),
        await _counts(counting, tag.c.value, tag),
    ]


async def _counts(of: _Counting, column: Any, source: Any = None) -> Counts:
    """How often each value of a column (of `source`, which is joined) is there in each group; the most frequent ones, however many
    there are."""
    groups = (*_OF, *of.grouping.columns)
    place = func.row_number().over(partition_by=groups, order_by=(func.count().desc(), column)).label("place")
    query = _base(of.project_id, of.filters, of.grouping, *_OF, column.label("counted"), func.count().label("n"), place)
    if source is not None:
        query = query.join(source, literal(value=True))
    values = query.where(column.is_not(None), JudgmentRow.status == "ok").group_by(*groups, column).subquery()
    key = _key(values, of.grouping)
    shown = select(key, values.c.counted, values.c.n).where(
        values.c.place <= MOST_VALUES, key.element == any_(literal(list(of.keys), ARRAY(Text)))
    )
    found: Counts = {}
    for row in await of.session.execute(shown.order_by(values.c.place)):
        found.setdefault(row.group_key, {})[row.counted] = row.n
    return found


def _values(row: Row[Any], names: Sequence[str]) -> list[str | None]:
    return [getattr(row, f"group_{number}") for number in range(len(names))]


def _shown(
    row: Row[Any],
    names: Sequence[str],
    labels: dict[str, int],
    preferences: dict[str, int],
    tags: dict[str, int],
) -> SummaryRow:
    decided = row.passed + row.failed
    return SummaryRow(
        criterion=row.name,
        criterion_id=row.criterion_id,
        kind=row.kind,
        source=row.source,
        group=dict(zip(names, _values(row, names), strict=True)),
        judgments=row.judgments,
        ok=row.ok,
        errors=row.errors,
        abstained=row.abstained,
        coverage=row.ok / row.judgments,
        scored=row.scored,
        mean_score=row.mean,
        mean_interval=wilson(row.mean, row.scored_exchanges) if row.scored else None,
        passed=row.passed,
        failed=row.failed,
        pass_rate=row.passed / decided if decided else None,
        pass_interval=wilson(row.passed / decided, row.judged_exchanges) if decided else None,
        labels=labels,
        preferences=preferences,
        tags=tags,
    )


def wilson(share: float, n: int) -> Interval:
    """95% interval of a proportion (Wilson 1927), as judges/statistics/intervals.py; without scipy, which would slow the
    gateway's start.

    Of a mean of scores from 0 to 1 it is never too narrow: their variance is at most share * (1 - share). `n` is how many
    answers were judged, however often: repeats of one make nothing more certain.
    """
    centre, scale = share + Z * Z / (2 * n), 1 + Z * Z / n
    margin = Z * sqrt(share * (1 - share) / n + Z * Z / (4 * n * n))
    low = 0.0 if share == 0 else max(0.0, (centre - margin) / scale)
    return Interval(low=low, high=1.0 if share == 1 else min(1.0, (centre + margin) / scale))
