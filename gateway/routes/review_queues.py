"""/v1/review_queues (an extension): answers of the log that people judge, one after the other. docs/console.md"""

from collections.abc import Sequence

import msgspec
from litestar import delete, get, post
from litestar.params import FromPath, QueryParams, RawBody
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.pages import fetch_page
from gateway.db.tables import ReviewQueueRow
from gateway.errors import InvalidRequest
from gateway.judgments import criteria
from gateway.keys.ring import ApiKey
from gateway.kit.clock import now
from gateway.protocol.decode import decode
from gateway.protocol.lists import CursorList, Deleted, cursor_list
from gateway.protocol.metadata import check_metadata
from gateway.protocol.queries import LAST_SECOND, cursor, flag
from gateway.protocol.review_queues import (
    Answer,
    ReviewQueue,
    ReviewQueueCreate,
    ReviewQueueUpdate,
    ReviewSource,
)
from gateway.reviewing import choosing, queues
from gateway.routes.callers import Caller, Sv
from gateway.routes.new_exchanges import exchanges_named, not_in_the_log
from gateway.routes.review_objects import reviewer, shown_queue, shown_queues
from gateway.services import Services

ALL = "/v1/review_queues"
ONE = ALL + "/{queue_id:str}"
PAIRWISE = "pairwise"
DEFAULT = {"single": "thumbs", PAIRWISE: "preference"}
BESIDE = ("edit", "text")
"""Kinds of criteria: corrections and comments can be given of every single answer, and are no criteria of a queue."""

decode_create = msgspec.json.Decoder(ReviewQueueCreate)
decode_update = msgspec.json.Decoder(ReviewQueueUpdate)


@get(ALL)
async def list_queues(sv: Sv, caller: Caller, query: QueryParams) -> CursorList:
    """Newest first; archived=true: also archived ones. Each with its progress."""
    rows = queues.of_project(caller.project_id, archived=flag(query, "archived"))
    async with sv.database.session() as session:
        page = await fetch_page(session, rows, ReviewQueueRow, cursor(query), order=(ReviewQueueRow.id,))
        shown = await shown_queues(session, page.rows, reviewer(caller))
    return cursor_list(shown, has_more=page.has_more)


@post(ALL, status_code=200)
async def create_queue(sv: Sv, caller: Caller, body: RawBody) -> ReviewQueue:
    """Filled at once: what is answered later is not in it."""
    wanted = decode(decode_create, body)
    check_source(wanted.source, wanted.kind)
    wanted.source = await with_ids(sv, caller, wanted.source)
    async with sv.database.session() as session:
        names = await _criteria(session, caller.project_id, wanted)
        choose = choosing.pairs if wanted.kind == PAIRWISE else choosing.singles
        chosen = await choose(session, caller.project_id, wanted.source)
        if not chosen.items:
            raise InvalidRequest(_nothing(wanted), param="source")
        row = await queues.make(session, caller.project_id, wanted, names, chosen, reviewer(caller))
        return await shown_queue(session, row, reviewer(caller))


@get(ONE)
async def retrieve_queue(sv: Sv, caller: Caller, queue_id: FromPath[str]) -> ReviewQueue:
    async with sv.database.session() as session:
        row = await queues.find(session, caller.project_id, queue_id)
        return await shown_queue(session, row, reviewer(caller))


@post(ONE, status_code=200)
async def update_queue(sv: Sv, caller: Caller, queue_id: FromPath[str], body: RawBody) -> ReviewQueue:
    """Its name."""
    changes = decode(decode_update, body)
    async with sv.database.session() as session:
        row = await queues.find(session, caller.project_id, queue_id, lock=True)
        row.name = changes.name
        return await shown_queue(session, row, reviewer(caller))


@delete(ONE, status_code=200)
async def archive_queue(sv: Sv, caller: Caller, queue_id: FromPath[str]) -> Deleted:
    """Nobody is given items of it any more. What was judged stays."""
    async with sv.database.session() as session:
        row = await queues.find(session, caller.project_id, queue_id, lock=True)
        row.archived_at = row.archived_at or now()
    return Deleted(id=queue_id, object="review_queue.deleted")


def check_source(source: ReviewSource, kind: str) -> None:
    """Whatever can be said without the database. Args: kind: of the queue. Raises InvalidRequest."""
    check_metadata(source.metadata, "source.metadata")
    if source.pairs is not None and kind != PAIRWISE:
        raise InvalidRequest("Invalid 'source.pairs': only a pairwise queue has pairs.", param="source.pairs")
    if source.pairs is not None and source.answers is not None:
        raise InvalidRequest("Give 'source.answers' or 'source.pairs', not both.", param="source.answers")
    if source.answers == [] or source.pairs == []:
        raise InvalidRequest("Invalid 'source': an empty list; leave it out to choose by filters.", param="source")
    for name in ("judge_id", "criterion"):
        if getattr(source, name) is not None and source.found is None:
            message = f"Invalid 'source.{name}': it goes with 'found': failed, disagreeing, low_score or unjudged."
            raise InvalidRequest(message, param=f"source.{name}")
    for name in ("created_after", "created_before"):
        if (second := getattr(source, name)) is not None and not 0 <= second <= LAST_SECOND:
            raise InvalidRequest(f"Invalid 'source.{name}': Unix seconds are expected.", param=f"source.{name}")


async def with_ids(sv: Services, caller: ApiKey, source: ReviewSource) -> ReviewSource:
    """Answers that are named by the ids of their replies, by those of exchanges. Raises NotFound."""
    named = [*(source.answers or ()), *(each for pair in source.pairs or () for each in pair)]
    if not named:
        return source
    found = await exchanges_named(sv, caller.project_id, {each.exchange_id for each in named})
    for each in named:
        if each.exchange_id not in found:
            raise not_in_the_log(each.exchange_id, "source")

    def known(each: Answer) -> Answer:
        return Answer(exchange_id=found[each.exchange_id], choice_index=each.choice_index)

    answers = [known(each) for each in source.answers] if source.answers is not None else None
    pairs = [(known(one), known(other)) for one, other in source.pairs] if source.pairs is not None else None
    return msgspec.structs.replace(source, answers=answers, pairs=pairs)


async def _criteria(session: AsyncSession, project_id: str, wanted: ReviewQueueCreate) -> Sequence[str]:
    """Raises InvalidRequest: there is no such criterion, or it does not suit the queue."""
    names = list(dict.fromkeys(wanted.criteria or [DEFAULT[wanted.kind]]))
    for name in names:
        row = await criteria.by_name(session, project_id, name, param="criteria")
        if row.kind in BESIDE:
            message = f"Invalid 'criteria': '{name}' can be given with every answer; name what answers are judged by."
            raise InvalidRequest(message, param="criteria")
        if (row.kind == PAIRWISE) is not (wanted.kind == PAIRWISE):
            suits = "two answers" if row.kind == PAIRWISE else "one answer"
            raise InvalidRequest(f"Invalid 'criteria': '{name}' judges {suits}.", param="criteria")
    return names


def _nothing(wanted: ReviewQueueCreate) -> str:
    what = "two answers to the same question are" if wanted.kind == PAIRWISE else "answer is"
    return f"No {what} in the log that these filters let through, with texts. Widen the time or leave filters out."
