"""Which answers of the log a queue is filled with, and how two of them become a pair."""

import hashlib
from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import dataclass
from math import ceil, floor
from typing import Any

from sqlalchemy import ColumnElement, Select, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.bodies import size_of
from gateway.db.large_bodies import load_pair
from gateway.db.tables import CriterionRow, ExchangeRow, JudgeVersionRow, JudgmentRow
from gateway.errors import InvalidRequest
from gateway.kit.clock import from_unix
from gateway.kit.ids import first_request_id
from gateway.protocol.review_queues import ReviewSource
from gateway.reviewing.bodies import answers_of, question_of

Place = tuple[str, int]
"""An exchange, and which of its choices."""
ENDPOINTS = ("/chat/completions", "/completions")
MOST_CONSIDERED = 100_000
"""Of the newest that match, a random sample is drawn."""
MOST_READ = 5_000
"""Exchanges whose texts are read to find pairs."""
MOST_BYTES = 1_000_000
"""Of a request or reply: nobody reviews what is longer."""
AT_A_TIME = 200
SPARE = 200
EARLIER_SECONDS, LATER_SECONDS = 3600, 60
"""Ids are of the time when a call began to come in, `created_at` of when it was there; clocks may be set back."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """Items in their order, as columns of `review_items`."""

    items: list[dict[str, Any]]
    considered: int | None
    """How many answers a random sample was drawn from; None where they were not counted."""


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer of the log that can be reviewed."""

    place: Place
    question: str
    said: str


async def singles(session: AsyncSession, project_id: str, source: ReviewSource) -> Chosen:
    """Raises InvalidRequest: an answer that was named is not there."""
    if source.answers is not None:
        named = list(dict.fromkeys((each.exchange_id, each.choice_index) for each in source.answers))
        found = {each.place async for each in _answered(session, project_id, named)}
        _refuse_missing(named, found)
        return Chosen([_item(place) for place in named], None)
    places = await _places(session, project_id, source)
    taken: list[dict[str, Any]] = []
    async for each in _answered(session, project_id, places):
        taken.append(_item(each.place))
        if len(taken) == source.limit:
            break
    return Chosen(taken, len(places) if source.order == "random" else None)


async def pairs(session: AsyncSession, project_id: str, source: ReviewSource) -> Chosen:
    """Raises InvalidRequest: an answer that was named is not there, or two of a pair answer different questions."""
    if source.pairs is not None:
        return await _named_pairs(session, project_id, source)
    if source.answers is not None:
        places = list(dict.fromkeys((each.exchange_id, each.choice_index) for each in source.answers))
    else:
        newest = await _places(session, project_id, source, all_choices=True)
        places = newest[:MOST_READ]
    groups: dict[str, dict[str, Place]] = {}
    async for each in _answered(session, project_id, places, all_choices=source.answers is None):
        groups.setdefault(each.question, {}).setdefault(each.said, each.place)
    found = [pair for group in groups.values() for pair in _two_by_two(sorted(group.values(), reverse=True))]
    if source.order == "random":
        found.sort(key=lambda pair: _drawn(source.seed, pair))
    else:
        found.sort(key=lambda pair: max(pair), reverse=True)
    return Chosen([_item(*pair) for pair in found[: source.limit]], None)


async def _named_pairs(session: AsyncSession, project_id: str, source: ReviewSource) -> Chosen:
    """What says the same word for word is left out: there is nothing to prefer."""
    named = [
        ((one.exchange_id, one.choice_index), (other.exchange_id, other.choice_index))
        for one, other in source.pairs or ()
    ]
    places = list(dict.fromkeys(place for pair in named for place in pair))
    found = {each.place: each async for each in _answered(session, project_id, places)}
    _refuse_missing(places, set(found))
    unique: dict[frozenset[Place], tuple[Place, Place]] = {}
    for number, (one, other) in enumerate(named):
        if found[one].question != found[other].question:
            raise InvalidRequest(
                f"Invalid 'source.pairs': '{one[0]}' and '{other[0]}' answer different questions; a preference is between "
                "two answers to the same messages (system prompts may differ).",
                param=f"source.pairs[{number}]",
            )
        if found[one].said != found[other].said:
            unique.setdefault(frozenset((one, other)), (one, other))
    return Chosen([_item(*pair) for pair in unique.values()], None)


def _two_by_two(places: Sequence[Place]) -> Iterator[tuple[Place, Place]]:
    """Each answer in one pair; the earlier one is A."""
    for at in range(0, len(places) - 1, 2):
        yield places[at + 1], places[at]


def _item(place: Place, other: Place | None = None) -> dict[str, Any]:
    return {
        "exchange_id": place[0],
        "choice_index": place[1],
        "other_exchange_id": other[0] if other else None,
        "other_choice_index": other[1] if other else None,
    }


def _refuse_missing(named: Sequence[Place], found: set[Place]) -> None:
    for exchange_id, choice_index in named:
        if (exchange_id, choice_index) not in found:
            raise InvalidRequest(
                f"Invalid 'source': the log has no answer {choice_index} of '{exchange_id[:100]}' with its texts in this "
                "project.",
                param="source",
            )


async def _places(
    session: AsyncSession, project_id: str, source: ReviewSource, *, all_choices: bool = False
) -> list[Place]:
    """Answers that match: newest first, or in the order of a random draw."""
    by_judgments = source.found not in (None, "unjudged")
    most = MOST_READ if all_choices else MOST_CONSIDERED if source.order == "random" else source.limit * 2 + SPARE
    if by_judgments:
        rows = await session.execute(_judged(project_id, source).limit(most))
        found = [(str(row.exchange_id), int(row.choice_index)) for row in rows]
    else:
        query = select(ExchangeRow.id).where(*_reviewable(project_id, source))
        if source.found == "unjudged":
            query = query.where(
                ~_judgments(project_id, source).where(JudgmentRow.exchange_id == ExchangeRow.id).exists()
            )
        ids = await session.scalars(query.order_by(ExchangeRow.id.desc()).limit(most))
        found = [(id, 0) for id in ids]
    if source.order == "random" and not all_choices:
        found.sort(key=lambda place: _drawn(source.seed, place))
    return found


def _drawn(seed: int, value: object) -> bytes:
    """A place in the lottery: always the same for the same seed."""
    return hashlib.sha256(f"{seed}:{value}".encode()).digest()


def _reviewable(project_id: str, source: ReviewSource) -> Iterator[ColumnElement[bool]]:
    """On rows of `exchanges`: what people may read, and what nobody but a client asked for."""
    yield ExchangeRow.project_id == project_id
    yield ExchangeRow.logging == "full"
    yield ExchangeRow.purpose == ""
    yield ExchangeRow.outcome == "completed"
    yield ExchangeRow.endpoint.in_(ENDPOINTS)
    yield ExchangeRow.reply.is_not(None)
    if source.model is not None:
        yield (ExchangeRow.requested_model == source.model) | (ExchangeRow.served_model == source.model)
    if source.metadata:
        yield ExchangeRow.request_metadata.contains(dict(source.metadata))
    if source.created_after is not None:
        yield ExchangeRow.created_at >= from_unix(source.created_after)
        yield ExchangeRow.id >= first_request_id(floor(source.created_after) - EARLIER_SECONDS)
    if source.created_before is not None:
        yield ExchangeRow.created_at < from_unix(source.created_before)
        yield ExchangeRow.id < first_request_id(ceil(source.created_before) + LATER_SECONDS)


def _judgments(project_id: str, source: ReviewSource) -> Select[Any]:
    """In force, of real traffic."""
    rows = select(JudgmentRow).where(
        JudgmentRow.project_id == project_id,
        JudgmentRow.superseded_at.is_(None),
        JudgmentRow.status == "ok",
        JudgmentRow.eval_run_id.is_(None),
    )
    if source.judge_id is not None:
        versions = select(JudgeVersionRow.id).where(JudgeVersionRow.judge_id == source.judge_id)
        rows = rows.where(JudgmentRow.judge_version_id.in_(versions))
    if source.criterion is not None:
        of_name = (CriterionRow.project_id == project_id, CriterionRow.name == source.criterion)
        rows = rows.where(JudgmentRow.criterion_id.in_(select(CriterionRow.id).where(*of_name)))
    return rows


def _judged(project_id: str, source: ReviewSource) -> Select[Any]:
    """Exchange and choice of answers of which the newest judgments say what is looked for."""
    rows = _judgments(project_id, source).where(JudgmentRow.other_exchange_id.is_(None))
    one = (JudgmentRow.exchange_id, JudgmentRow.choice_index)
    if source.found == "failed":
        rows = rows.where(JudgmentRow.passed.is_(False))
    elif source.found == "low_score":
        rows = rows.where(JudgmentRow.score <= source.max_score)
    else:
        rows = rows.where(JudgmentRow.passed.is_not(None))
    columns = (JudgmentRow.id, *one, JudgmentRow.criterion_id, JudgmentRow.passed)
    newest = rows.with_only_columns(*columns).order_by(JudgmentRow.id.desc()).limit(MOST_CONSIDERED).subquery()
    answer = (newest.c.exchange_id, newest.c.choice_index)
    found = select(*answer, func.max(newest.c.id).label("latest")).group_by(*answer)
    if source.found == "disagreeing":
        both = select(*answer, func.max(newest.c.id).label("latest")).group_by(*answer, newest.c.criterion_id)
        both = both.having(func.bool_or(newest.c.passed), func.bool_or(~newest.c.passed)).subquery()
        found = select(both.c.exchange_id, both.c.choice_index, func.max(both.c.latest).label("latest"))
        found = found.group_by(both.c.exchange_id, both.c.choice_index)
    of = found.subquery()
    query: Select[Any] = select(of.c.exchange_id, of.c.choice_index)  # type: ignore[assignment]
    query = query.join(ExchangeRow, ExchangeRow.id == of.c.exchange_id)
    return query.where(*_reviewable(project_id, source)).order_by(of.c.latest.desc(), of.c.choice_index)


async def _answered(
    session: AsyncSession, project_id: str, places: Sequence[Place], *, all_choices: bool = False
) -> AsyncGenerator[Answered]:
    """Those of the places whose texts are there, in their order, read a few at a time.

    Args:
        all_choices: every choice of each exchange, whichever is named.
    """
    size = size_of("request") + size_of("reply")
    kept = (ExchangeRow.project_id == project_id, ExchangeRow.logging == "full", size <= MOST_BYTES)
    for start in range(0, len(places), AT_A_TIME):
        some = places[start : start + AT_A_TIME]
        rows = await session.execute(
            select(ExchangeRow.id, ExchangeRow.request, ExchangeRow.reply).where(
                *kept, ExchangeRow.id.in_({place[0] for place in some})
            )
        )
        by_id = {id: await _read(session, id, request, reply) for id, request, reply in rows}
        for place in some:
            row = by_id.get(place[0])
            for answer in _of(row, None if all_choices else place[1]) if row else ():
                yield answer


async def _read(session: AsyncSession, id: str, request: bytes, reply: bytes | None) -> ExchangeRow:
    whole, answer = await load_pair(session, request, reply)
    return ExchangeRow(id=id, request=whole, reply=answer)


def _of(row: ExchangeRow, wanted: int | None) -> Iterator[Answered]:
    question = question_of(row)
    if question is None:
        return
    for index, said in answers_of(row).items():
        if wanted is None or index == wanted:
            yield Answered((row.id, index), question.key, said.key)
