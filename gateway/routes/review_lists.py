"""The items of a review queue as a list, more of them, and how far each person is."""

from typing import cast, get_args

import msgspec
from litestar import get, post
from litestar.params import FromPath, QueryParams, RawBody

from gateway.db.pages import fetch_page
from gateway.db.tables import ExchangeTextRow, ReviewDecisionRow, ReviewItemRow, ReviewQueueRow
from gateway.errors import Conflict, InvalidRequest
from gateway.kit.clock import now, unix
from gateway.protocol.decode import decode
from gateway.protocol.lists import CursorList, cursor_list
from gateway.protocol.queries import cursor, text
from gateway.protocol.review_queues import (
    ItemDecision,
    ItemState,
    ListedItem,
    ReviewerList,
    ReviewerProgress,
    ReviewItemsAdded,
    ReviewItemsCreate,
)
from gateway.reviewing import adding, choosing, listing, queues
from gateway.reviewing.queues import DONE
from gateway.routes.callers import Caller, Sv
from gateway.routes.review_objects import reviewer, shown_queue
from gateway.routes.review_queues import ONE, PAIRWISE, check_source, with_ids

STATES: tuple[str, ...] = get_args(ItemState)
decode_create = msgspec.json.Decoder(ReviewItemsCreate)


@get(ONE + "/items")
async def list_items(sv: Sv, caller: Caller, queue_id: FromPath[str], query: QueryParams) -> CursorList:
    """In their order; `state` and `judged_by` filter."""
    state, judged_by = _state(text(query, "state")), text(query, "judged_by")
    who = reviewer(caller)
    async with sv.database.session() as session:
        queue = await queues.find(session, caller.project_id, queue_id)
        order = (ReviewItemRow.position, ReviewItemRow.id)
        rows = listing.of_queue(queue, state, judged_by)
        page = await fetch_page(session, rows, ReviewItemRow, cursor(query, order="asc"), order=order)
        made = await listing.decisions(session, page.rows)
        texts = await listing.previews(session, page.rows)
    return cursor_list([_listed(queue, row, made[row.id], texts, who) for row in page.rows], has_more=page.has_more)


@post(ONE + "/items", status_code=200)
async def add_items(sv: Sv, caller: Caller, queue_id: FromPath[str], body: RawBody) -> ReviewItemsAdded:
    """Behind what is there. What is in the queue already is counted and left as it is, so it can be sent again."""
    source = decode(decode_create, body).source
    async with sv.database.session() as session:
        kind = (await queues.find(session, caller.project_id, queue_id)).kind
    check_source(source, kind)
    source = await with_ids(sv, caller, source)
    async with sv.database.session() as session:
        queue = await queues.find(session, caller.project_id, queue_id, lock=True)
        if queue.archived_at is not None:
            raise Conflict("This review queue is archived.")
        choose = choosing.pairs if kind == PAIRWISE else choosing.singles
        added, present = await adding.add(session, queue, await choose(session, caller.project_id, source))
        await session.flush()
        shown = await shown_queue(session, queue, reviewer(caller))
    return ReviewItemsAdded(added=added, present=present, queue=shown)


@get(ONE + "/people")
async def list_people(sv: Sv, caller: Caller, queue_id: FromPath[str]) -> ReviewerList:
    """Everybody who has judged or skipped something of it."""
    async with sv.database.session() as session:
        queue = await queues.find(session, caller.project_id, queue_id)
        shares = await listing.people(session, queue)
        names = await listing.names(session, [each.user_id for each in shares])
    return ReviewerList(
        data=[
            ReviewerProgress(
                user_id=each.user_id,
                name=names.get(each.user_id, ""),
                done=each.done,
                skipped=each.skipped,
                last_at=unix(each.last_at),
            )
            for each in shares
        ]
    )


def _state(value: str | None) -> ItemState | None:
    if value is not None and value not in STATES:
        raise InvalidRequest(f"Invalid 'state': expected one of {', '.join(STATES)}.", param="state")
    return cast("ItemState | None", value)


def _listed(
    queue: ReviewQueueRow,
    row: ReviewItemRow,
    made: list[ReviewDecisionRow],
    texts: dict[str, ExchangeTextRow],
    who: str,
) -> ListedItem:
    """While a queue is blind, which exchange it is comes after one's own word: it leads to the model's name."""
    is_told = not queue.blind or any(each.user_id == who and each.decision == DONE for each in made)
    places = [row.exchange_id, row.other_exchange_id] if row.other_exchange_id else [row.exchange_id]
    state = listing.state_of(queue, row, now())
    first = texts.get(row.exchange_id)
    return ListedItem(
        id=row.id,
        position=row.position,
        state=state,
        question=first.question if first and state != "gone" else None,
        answers=[found.answer if (found := texts.get(id)) and state != "gone" else None for id in places],
        exchange_ids=places if is_told else None,
        locked_by=row.locked_by if state == "locked" else None,
        locked_until=unix(row.locked_until) if state == "locked" and row.locked_until else None,
        done=row.done,
        decisions=[
            ItemDecision(user_id=each.user_id, decision=each.decision, decided_at=unix(each.decided_at))
            for each in made
        ],
    )
