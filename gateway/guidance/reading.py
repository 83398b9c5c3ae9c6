"""Reads what guidance is made of: the newest of everything, by indexes, a page at a time, and never more than its bounds.

A page is a short statement, so that the worker's other tasks go on between two of them.
"""

from collections.abc import AsyncIterator, Sequence
from typing import Any, cast

import msgspec
from sqlalchemy import text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.bodies import Body, size_sql
from gateway.guidance.concentrations import LONGEST
from gateway.guidance.material import Called, Judged
from gateway.kit.ids import first_request_id
from gateway.protocol.guidance import GuidanceFilters

JUDGMENTS, CALLS, REPLIES, QUESTIONS = 20_000, 5000, 500, 2000
"""The newest of each that are looked at; questions are of failures."""
PAGE = 2000
REPLY_BYTES = 200_000
"""A larger one is not opened for its reason to end."""
EARLIER_SECONDS, LATER_SECONDS = 3600, 60
"""Of ids against times, as gateway/exchanges/repository.py."""
JUDGED_WITHIN = 30 * 86_400
"""Seconds after an answer: later verdicts on answers of a time that has ended are not looked for."""
CALL, JUDGMENT = "req_", "judgment_"

JUDGED = text("""
SELECT j.id, j.exchange_id, extract(epoch FROM coalesce(e.created_at, j.created_at))::float8 AS at, e.served_model AS model,
       e.requested_model, e.route, coalesce(e.end_user, j.end_user) AS end_user, e.request_metadata AS metadata,
       j.criterion_id, j.source, j.judge_version_id, j.passed, j.tags, j.counts
FROM (
    SELECT *, superseded_at IS NULL AND status = 'ok' AND eval_run_id IS NULL AND other_exchange_id IS NULL
              AND NOT (source = 'llm' AND identifier <> '') AS counts
    FROM judgments WHERE project_id = :project AND id < :before AND id >= :first ORDER BY id DESC LIMIT :page
) j LEFT JOIN exchanges e ON j.counts AND e.id = j.exchange_id AND e.project_id = j.project_id
ORDER BY j.id DESC
""").columns(metadata=JSONB, tags=JSONB)
"""Verdicts in force on single answers of real traffic; members of panels are parts of one. The others only count as looked at."""
CALLED = text("""
SELECT id, extract(epoch FROM created_at)::float8 AS at, served_model, requested_model, route, end_user,
       request_metadata AS metadata, outcome, status, error->>'code' AS code, attempts
FROM exchanges
WHERE project_id = :project AND id < :before AND id >= :first AND purpose = '' AND logging <> 'off'
ORDER BY id DESC LIMIT :page
""").columns(metadata=JSONB, attempts=JSONB)
REPLIED = text(f"""
SELECT id, request, reply FROM exchanges
WHERE id = ANY(:ids) AND logging = 'full' AND outcome = 'completed' AND reply IS NOT NULL AND {size_sql("reply")} <= :bytes
      AND {size_sql("request")} <= :bytes
""").columns(request=Body, reply=Body)  # noqa: S608
"""What is elsewhere, where large bodies are, counts as too large."""
ASKED = text("SELECT exchange_id, question FROM exchange_texts WHERE exchange_id = ANY(:ids)")


class _Choice(msgspec.Struct):
    finish_reason: str | None = None


class _Reply(msgspec.Struct):
    choices: list[_Choice] = []


class _Request(msgspec.Struct):
    max_tokens: int | None = None
    max_completion_tokens: int | None = None


_reply, _request = msgspec.json.Decoder(_Reply), msgspec.json.Decoder(_Request)


async def judged(session: AsyncSession, project_id: str, filters: GuidanceFilters) -> tuple[list[Judged], bool]:
    """Newest first, and whether there were no more."""
    found: list[Judged] = []
    looked = 0
    async for rows in _pages(session, JUDGED, project_id, JUDGMENT, filters, JUDGMENTS):
        looked += len(rows)
        found += [_judged(row) for row in rows if row.counts and _is_wanted(row, filters)]
    return found, looked < JUDGMENTS


async def called(session: AsyncSession, project_id: str, filters: GuidanceFilters) -> tuple[list[Called], bool]:
    """Newest first, and whether there were no more. Of the newest REPLIES it is read how they ended."""
    rows: list[Any] = []
    looked = 0
    async for page in _pages(session, CALLED, project_id, CALL, filters, CALLS):
        looked += len(page)
        rows += [row for row in page if _is_wanted(row, filters)]
    ends = await _ends(session, [row.id for row in rows[:REPLIES]])
    return [_called(row, ends) for row in rows], looked < CALLS


async def questions(session: AsyncSession, ids: Sequence[str]) -> dict[str, str]:
    """First words, of what was read already and is kept. Args: ids: newest first; QUESTIONS of them are looked at."""
    rows = await session.execute(ASKED, {"ids": list(ids[:QUESTIONS])})
    return {row.exchange_id: row.question for row in rows}


async def _pages(
    session: AsyncSession, query: Any, project_id: str, prefix: str, filters: GuidanceFilters, most: int
) -> AsyncIterator[Sequence[Any]]:
    first, before = _bounds(prefix, filters)
    for _ in range(most // PAGE + 1):
        page = {"project": project_id, "first": first, "before": before, "page": min(PAGE, most)}
        rows = (await session.execute(query, page)).all()
        yield rows
        most -= len(rows)
        if len(rows) < PAGE or most <= 0:
            return
        before = rows[-1].id


def _bounds(prefix: str, filters: GuidanceFilters) -> tuple[str, str]:
    """Ids that sort by time: the first that may be wanted, and the first that may not."""
    later = LATER_SECONDS if prefix == CALL else JUDGED_WITHIN
    after, before = filters.created_after, filters.created_before
    first = _id(prefix, after - EARLIER_SECONDS) if after is not None else ""
    return first, _id(prefix, before + later) if before is not None else prefix + "~"


def _id(prefix: str, second: int) -> str:
    return prefix + first_request_id(second).removeprefix(CALL)


def _is_wanted(row: Any, filters: GuidanceFilters) -> bool:
    if filters.model is not None and filters.model not in (row.requested_model, _model(row)):
        return False
    if filters.route is not None and filters.route not in (row.route, (row.route or "").partition("@")[0]):
        return False
    after, before = filters.created_after, filters.created_before
    return (after is None or row.at >= after) and (before is None or row.at < before)


def _model(row: Any) -> str | None:
    return getattr(row, "served_model", None) or getattr(row, "model", None) or row.requested_model


def _values(metadata: Any) -> dict[str, Any] | None:
    """What calls can be grouped by; long texts would be most of what there is to compare."""
    if not isinstance(metadata, dict):
        return None
    known = cast("dict[str, Any]", metadata)
    return {key: value for key, value in known.items() if isinstance(value, str) and len(value) <= LONGEST}


def _judged(row: Any) -> Judged:
    return Judged(
        row.exchange_id, row.at, _model(row), row.route, row.end_user, _values(row.metadata), row.criterion_id, row.source,
        row.judge_version_id, row.passed, row.tags,
    )  # fmt: skip


def _called(row: Any, ends: dict[str, tuple[str | None, int | None]]) -> Called:
    finish_reason, limit = ends.get(row.id, (None, None))
    tries = [each for each in row.attempts or [] if isinstance(each, dict)]
    first: dict[str, Any] = tries[0] if len(tries) > 1 and row.outcome == "completed" else {}
    return Called(
        row.id, row.at, _model(row), row.route, row.end_user, _values(row.metadata), row.outcome, row.status, row.code,
        first.get("model"), first.get("failure"), finish_reason, limit,
    )  # fmt: skip


async def _ends(session: AsyncSession, ids: Sequence[str]) -> dict[str, tuple[str | None, int | None]]:
    """Exchange -> why its reply ended, and what it was bound to."""
    found: dict[str, tuple[str | None, int | None]] = {}
    for start in range(0, len(ids), 100):
        asked = {"ids": list(ids[start : start + 100]), "bytes": REPLY_BYTES}
        for row in await session.execute(REPLIED, asked):
            found[row.id] = _end(row.request, row.reply)
    return found


def _end(request: bytes, reply: bytes) -> tuple[str | None, int | None]:
    """Nothing of what cannot be read."""
    try:
        answered, asked = _reply.decode(reply), _request.decode(request)
    except (ValueError, RecursionError):
        return None, None
    reasons = [each.finish_reason for each in answered.choices if each.finish_reason]
    reason = "length" if "length" in reasons else next(iter(reasons), None)
    return reason, asked.max_completion_tokens or asked.max_tokens
