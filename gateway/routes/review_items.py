"""The work of a review queue: the next item for a person, their word on it, and how it is taken back."""

import msgspec
from litestar import get, post
from litestar.params import FromPath, RawBody
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.tables import ReviewItemRow, ReviewQueueRow
from gateway.errors import Conflict
from gateway.judgments import criteria, queries, repository
from gateway.protocol.decode import decode
from gateway.protocol.review_queues import DecisionCreate, NextCreate, NextItem, Progress, ReviewItem, UndoCreate
from gateway.reviewing import decisions, items, queues
from gateway.reviewing.items import Texts
from gateway.routes.callers import Caller, Sv
from gateway.routes.review_objects import in_force, reviewer, shown_item
from gateway.routes.review_queues import ONE
from gateway.routes.review_words import extra_names, said_of, verdicts
from gateway.services import Services

ITEM = ONE + "/items/{item_id:str}"
TRIES = 3
"""A round that found an erased answer drops all erased ones."""

decode_next = msgspec.json.Decoder(NextCreate)
decode_decision = msgspec.json.Decoder(DecisionCreate)
decode_undo = msgspec.json.Decoder(UndoCreate)


@post(ONE + "/next", status_code=200)
async def next_item(sv: Sv, caller: Caller, queue_id: FromPath[str], body: RawBody) -> NextItem:
    """Keeps the next item for the caller for a quarter of an hour: what they already have first. Nobody is given one twice,
    nor one that somebody else has before them."""
    wanted = decode(decode_next, body.strip() or b"{}")
    who = reviewer(caller)
    for _ in range(TRIES):
        async with sv.database.session() as session:
            queue = await _open(session, caller.project_id, queue_id)
            row = await items.claim(session, queue, who, wanted.besides, skipped=wanted.skipped)
            if row is None:
                return await _next(session, queue, None, who)
            texts = await items.texts(session, queue, row)
            if texts is not None:
                return await _next(session, queue, await shown_item(session, queue, row, texts, who), who)
        await _drop_gone(sv, caller.project_id, queue_id, row.id)
    raise Conflict("Answers of this review queue are being erased right now; please try again.")


@get(ONE + "/current")
async def current_item(sv: Sv, caller: Caller, queue_id: FromPath[str]) -> NextItem:
    """What the caller has before them; nothing is kept for anybody."""
    who = reviewer(caller)
    async with sv.database.session() as session:
        queue = await queues.find(session, caller.project_id, queue_id)
        row = await items.current(session, queue, who)
        texts = await items.texts(session, queue, row) if row is not None else None
        if row is None or texts is None:
            return await _next(session, queue, None, who)
        return await _next(session, queue, await shown_item(session, queue, row, texts, who), who)


@get(ITEM)
async def retrieve_item(sv: Sv, caller: Caller, queue_id: FromPath[str], item_id: FromPath[str]) -> ReviewItem:
    async with sv.database.session() as session:
        queue = await queues.find(session, caller.project_id, queue_id)
        row = await items.find(session, queue, item_id)
        return await shown_item(session, queue, row, await _texts(session, queue, row), reviewer(caller))


@post(ITEM + "/decision", status_code=200)
async def decide(sv: Sv, caller: Caller, queue_id: FromPath[str], item_id: FromPath[str], body: RawBody) -> NextItem:
    """Judgments, one for each thing that was said, and the decision, in one transaction. Sent again it changes nothing; another
    word takes the place of the first. The item is answered as it is known now: with its models and verdicts."""
    wanted, who = decode(decode_decision, body), reviewer(caller)
    async with sv.database.session() as session:
        queue = await _open(session, caller.project_id, queue_id, lock=True)
        row = await items.find(session, queue, item_id, lock=True)
        texts = await _texts(session, queue, row)
        by_name = await in_force(session, [queue])
        own = [by_name[name] for name in queue.criteria if name in by_name]
        extra = {name: await criteria.by_name(session, queue.project_id, name) for name in extra_names(queue, wanted)}
        said = said_of(queue, own, extra, wanted)
        ids = await repository.add(session, list(verdicts(queue, row, who, said, wanted)))
        await _retract(session, await decisions.complete(session, queue, row, who, ids), who)
        return await _next(session, queue, await shown_item(session, queue, row, texts, who), who)


@post(ITEM + "/skip", status_code=200)
async def skip(sv: Sv, caller: Caller, queue_id: FromPath[str], item_id: FromPath[str]) -> Progress:
    """The caller is not given it again unless they ask (`next` with skipped: true); others are."""
    async with sv.database.session() as session:
        queue = await _open(session, caller.project_id, queue_id, lock=True)
        row = await items.find(session, queue, item_id, lock=True)
        await decisions.skip(session, queue, row, reviewer(caller))
        return (await queues.progress(session, [queue], reviewer(caller)))[queue.id]


@post(ONE + "/undo", status_code=200)
async def undo(sv: Sv, caller: Caller, queue_id: FromPath[str], body: RawBody) -> NextItem:
    """Takes back the caller's latest decision, or the one on `item_id`, with its judgments: the item is their next."""
    wanted, who = decode(decode_undo, body.strip() or b"{}"), reviewer(caller)
    async with sv.database.session() as session:
        queue = await _open(session, caller.project_id, queue_id, lock=True)
        item_id = wanted.item_id
        if item_id is None:
            decision = await decisions.latest(session, queue, who)
            if decision is None:
                raise Conflict("There is nothing to undo: you have decided nothing in this review queue.")
            item_id = decision.item_id
        row = await items.find(session, queue, item_id, lock=True)
        if decision := await decisions.of(session, row.id, who):
            await _retract(session, await decisions.take_back(session, queue, row, decision), who)
        return await _next(
            session, queue, await shown_item(session, queue, row, await _texts(session, queue, row), who), who
        )


@post(ONE + "/release", status_code=200)
async def release(sv: Sv, caller: Caller, queue_id: FromPath[str]) -> Progress:
    """Whoever leaves gives back what they have before them: others need not wait for it."""
    async with sv.database.session() as session:
        queue = await queues.find(session, caller.project_id, queue_id, lock=True)
        await items.release(session, queue, reviewer(caller))
        return (await queues.progress(session, [queue], reviewer(caller)))[queue.id]


async def _open(session: AsyncSession, project_id: str, queue_id: str, *, lock: bool = False) -> ReviewQueueRow:
    """Raises NotFound, Conflict."""
    queue = await queues.find(session, project_id, queue_id, lock=lock)
    if queue.archived_at is not None:
        raise Conflict("This review queue is archived.")
    return queue


async def _texts(session: AsyncSession, queue: ReviewQueueRow, row: ReviewItemRow) -> Texts:
    """Raises Conflict."""
    texts = await items.texts(session, queue, row)
    if texts is None:
        raise Conflict("The answer of this item was erased; there is nothing left to judge.")
    return texts


async def _drop_gone(sv: Services, project_id: str, queue_id: str, item_id: str) -> None:
    async with sv.database.session() as session:
        await items.drop_gone(session, await queues.find(session, project_id, queue_id, lock=True), item_id)


async def _next(session: AsyncSession, queue: ReviewQueueRow, item: ReviewItem | None, who: str) -> NextItem:
    done = (await queues.progress(session, [queue], who))[queue.id]
    return NextItem(item=item, progress=done, waiting=0 if item else await items.waiting(session, queue, who))


async def _retract(session: AsyncSession, ids: list[str], who: str) -> None:
    """Those that nothing else has taken the place of."""
    for row in await queries.with_ids(session, ids):
        if row.superseded_at is None:
            await repository.retract(session, row, who)
