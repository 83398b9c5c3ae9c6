"""Reading the exchange log: everything is a project's own."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from math import ceil, floor

from sqlalchemy import ColumnElement, Select, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import defer

from gateway.db.tables import CriterionRow, ExchangeRow, ExchangeTextRow, JudgmentRow, LedgerRow
from gateway.kit.ids import first_request_id

HIDDEN = "off"
"""The logging policy of calls that only the bill knows."""
EARLIER_SECONDS = 3600
"""A call has its id when it begins to come in, and `created_at` when all of its body is there."""
LATER_SECONDS = 60
"""Between the two the clock may be set back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeFilters:
    """Which exchanges to list; None and an empty mapping mean all."""

    model: str | None = None
    """As requested or as served."""
    status: int | None = None
    outcome: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])
    created_after: datetime | None = None
    """Inclusive."""
    created_before: datetime | None = None
    """Exclusive."""
    api_key_id: str | None = None
    upstream: str | None = None
    route: str | None = None
    """With its revision (`name@2`), or of any."""
    purpose: str | None = None
    """Empty: of applications; judge or eval."""
    end_user: str | None = None
    """Keyed hash."""
    error_code: str | None = None
    streamed: bool | None = None
    cache_hit: bool | None = None
    min_duration_ms: float | None = None
    min_cost_nano: int | None = None
    judged: "JudgedFilter | None" = None
    words: str | None = None
    """As in a web search: all of them, "in this order", or, -not (gateway/exchanges/search.py)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedFilter:
    """There is a judgment in force like this; None means any."""

    source: str | None = None
    """human, rule, llm or external."""
    criterion: str | None = None
    """By name, of any version."""
    passed: bool | None = None


def matching(project_id: str, filters: ExchangeFilters) -> Select[ExchangeRow]:
    """Rows without the bodies."""
    bodies = (defer(ExchangeRow.request, raiseload=True), defer(ExchangeRow.reply, raiseload=True))
    kind = (*_of_a_kind(filters), *_of_a_call(filters), *_judged(project_id, filters.judged))
    return _shown(project_id).options(*bodies).where(*kind, *_of_a_time(filters))


def _of_a_kind(filters: ExchangeFilters) -> Iterator[ColumnElement[bool]]:
    if filters.model is not None:
        yield (ExchangeRow.requested_model == filters.model) | (ExchangeRow.served_model == filters.model)
    if filters.status is not None:
        yield ExchangeRow.status == filters.status
    if filters.outcome is not None:
        yield ExchangeRow.outcome == filters.outcome
    if filters.metadata:
        yield ExchangeRow.request_metadata.contains(dict(filters.metadata))


def _of_a_call(filters: ExchangeFilters) -> Iterator[ColumnElement[bool]]:
    same = {
        ExchangeRow.api_key_id: filters.api_key_id,
        ExchangeRow.upstream: filters.upstream,
        ExchangeRow.purpose: filters.purpose,
        ExchangeRow.end_user: filters.end_user,
        ExchangeRow.error["code"].astext: filters.error_code,
        ExchangeRow.streamed: filters.streamed,
        ExchangeRow.cache_hit: filters.cache_hit,
    }
    yield from (column == wanted for column, wanted in same.items() if wanted is not None)
    if filters.route is not None:
        any_revision = ExchangeRow.route.startswith(f"{filters.route}@", autoescape=True)
        yield (ExchangeRow.route == filters.route) | any_revision
    if filters.min_duration_ms is not None:
        yield ExchangeRow.duration_ms >= filters.min_duration_ms
    if filters.min_cost_nano is not None:
        yield ExchangeRow.cost_nano >= filters.min_cost_nano


def _judged(project_id: str, wanted: JudgedFilter | None) -> Iterator[ColumnElement[bool]]:
    if wanted is None:
        return
    own = (JudgmentRow.project_id == project_id, JudgmentRow.exchange_id == ExchangeRow.id)
    query = select(JudgmentRow.id).where(*own, JudgmentRow.superseded_at.is_(None), JudgmentRow.status == "ok")
    if wanted.source is not None:
        query = query.where(JudgmentRow.source == wanted.source)
    if wanted.passed is not None:
        query = query.where(JudgmentRow.passed == wanted.passed)
    if wanted.criterion is not None:
        named = select(CriterionRow.id).where(
            CriterionRow.project_id == project_id, CriterionRow.name == wanted.criterion
        )
        query = query.where(JudgmentRow.criterion_id.in_(named))
    yield query.exists()


def ids_of_a_time(filters: ExchangeFilters) -> tuple[str | None, str | None]:
    """Before the first one there is nothing of that time, nor from the second one on."""
    first, last = filters.created_after, filters.created_before
    return (
        first_request_id(floor(first.timestamp()) - EARLIER_SECONDS) if first is not None else None,
        first_request_id(ceil(last.timestamp()) + LATER_SECONDS) if last is not None else None,
    )


def _of_a_time(filters: ExchangeFilters) -> Iterator[ColumnElement[bool]]:
    """By `created_at`, exactly, and by id about as much: the list is read in the order of the ids, so that only a bound on
    them spares it what is newer (or older) than it was asked for."""
    first, last = ids_of_a_time(filters)
    if first is not None:
        yield ExchangeRow.created_at >= filters.created_after
        yield ExchangeRow.id >= first
    if last is not None:
        yield ExchangeRow.created_at < filters.created_before
        yield ExchangeRow.id < last


async def find(session: AsyncSession, project_id: str, exchange_id: str) -> ExchangeRow | None:
    """The exchange with that id."""
    return await session.scalar(_shown(project_id).where(ExchangeRow.id == exchange_id))


async def find_by_reply(session: AsyncSession, project_id: str, reply_id: str) -> ExchangeRow | None:
    """The newest exchange whose reply has that id: upstreams choose it, and it may repeat."""
    query = _shown(project_id).where(ExchangeRow.reply_id == reply_id)
    return await session.scalar(query.order_by(ExchangeRow.id.desc()).limit(1))


async def ids_of(session: AsyncSession, project_id: str, names: Collection[str]) -> dict[str, str]:
    """Names (ids of exchanges, or of replies) -> ids of exchanges; of several with one reply id the newest. What is not in
    the log is not in the answer."""
    shown = _shown(project_id)
    ids = await session.scalars(shown.with_only_columns(ExchangeRow.id).where(ExchangeRow.id.in_(names)))
    found = {id: id for id in ids}
    left = [name for name in names if name not in found]
    newest = shown.with_only_columns(ExchangeRow.reply_id, func.max(ExchangeRow.id))
    by_reply = await session.execute(newest.where(ExchangeRow.reply_id.in_(left)).group_by(ExchangeRow.reply_id))
    return found | {str(reply_id): id for reply_id, id in by_reply}


async def texts_of(session: AsyncSession, ids: Collection[str]) -> dict[str, ExchangeTextRow]:
    """First words, by id; of what was read already (gateway/exchanges/reading.py) and is kept."""
    rows = await session.scalars(
        select(ExchangeTextRow).options(defer(ExchangeTextRow.words, raiseload=True))
        .where(ExchangeTextRow.exchange_id.in_(ids))
    )  # fmt: skip
    return {row.exchange_id: row for row in rows}


async def charge_of(session: AsyncSession, exchange_id: str) -> LedgerRow | None:
    """What it was charged, in parts; None where there was no usage."""
    return await session.get(LedgerRow, exchange_id)


def _shown(project_id: str) -> Select[ExchangeRow]:
    """Not what a key keeps out of the log: of that, only the ledger tells."""
    return select(ExchangeRow).where(ExchangeRow.project_id == project_id, ExchangeRow.logging != HIDDEN)
