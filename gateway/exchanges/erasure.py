"""Erasing exchanges: what was said in them goes, from wherever Tuneway keeps it; that they took place and cost stays.

Two steps. `announce` says that an exchange, or everything of an end user up to now, is deleted, and whatever comes to the
log later comes without its bodies. `erase` empties what is there. Whoever dies between the two does both again: each may
be done twice.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Text, and_, case, delete, func, literal, null, or_, select, text, update
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.changes import touch
from gateway.db.database import Database
from gateway.db.guidance_lock import hold_while_erasing
from gateway.db.reply_generations import forget_replies
from gateway.db.tables import (
    DatasetItemRow,
    EvalOutputItemRow,
    EvalRunRow,
    ExchangeBlobRow,
    ExchangeDeletionRow,
    ExchangeRow,
    ExchangeTextRow,
    GuidanceReportRow,
    JudgingTaskRow,
    JudgmentRow,
    StoredCompletionRow,
    TrainingExampleRow,
)
from gateway.exchanges.deletions import LOCK
from gateway.kit.clock import now

ERASED = "(erased)"
EXAMPLES = "training_examples"
"""The mirror of those that are shown to models (gateway/examples/shown.py)."""
AT_A_TIME = 1000
"""Exchanges in one transaction."""
CALLS = "calls"
"""In the metadata of a judgment of a run of an eval: more calls that repeat the answer (gateway/tasks/finish_eval_items.py)."""


async def announce(session: AsyncSession, project_id: str, keys: Sequence[str], by: str) -> None:
    """In a transaction that ends soon after. Args: keys: ids of exchanges, or `USER` + hash; by: who deletes."""
    await session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK})
    await _tell(session, project_id, keys, by)
    await forget_replies(session, project_id)


async def _tell(session: AsyncSession, project_id: str, keys: Sequence[str], by: str) -> None:
    """Of a user's later deletion, the later time counts."""
    rows = [{"exchange_id": key, "project_id": project_id, "deleted_at": now(), "deleted_by": by} for key in keys]
    for start in range(0, len(rows), AT_A_TIME):
        statement = insert(ExchangeDeletionRow).values(rows[start : start + AT_A_TIME])
        later = {"deleted_at": func.greatest(statement.excluded.deleted_at, ExchangeDeletionRow.deleted_at)}
        await session.execute(statement.on_conflict_do_update(index_elements=["exchange_id"], set_=later))


async def page_of_user(session: AsyncSession, project_id: str, end_user: str, after: str) -> list[str]:
    """Ids of the next exchanges of an end user. Args: after: the last id of the page before; empty for the first."""
    of_user = (ExchangeRow.project_id == project_id, ExchangeRow.end_user == end_user, ExchangeRow.id > after)
    return list(await session.scalars(select(ExchangeRow.id).where(*of_user).order_by(ExchangeRow.id).limit(AT_A_TIME)))


@dataclass(frozen=True, slots=True)
class Erased:
    """Returned by `erase`."""

    count: int
    """Of the exchanges asked for, those that were not deleted before."""
    others: Sequence[str]
    """Calls that repeat them, of judges and of evals."""


async def erase_late(database: Database, project_id: str, ids: Sequence[str], by: str) -> None:
    """Once more, what an `erase` has found by itself, or nobody announced: its calls may have been on their way to the log, past
    whoever looks whether they are deleted. Those are waited for here."""
    for start in range(0, len(ids), AT_A_TIME):
        some = ids[start : start + AT_A_TIME]
        async with database.session() as session:
            await announce(session, project_id, some, by)
        async with database.session() as session:
            await erase(session, project_id, some, by)


async def erase(session: AsyncSession, project_id: str, ids: Sequence[str], by: str) -> Erased:
    """Empty these exchanges of a project, and all that repeats them: what judges were asked and said of them, comments and
    edits, stored completions, examples, items of evals and open tasks. Lines of datasets are marked: their files keep them until they are
    built anew. At most AT_A_TIME ids.

    This nulls texts of judgments, which are otherwise never changed: what somebody wanted erased is stronger.
    """
    known = select(func.count()).where(ExchangeDeletionRow.exchange_id.in_(ids))
    before = await session.scalar(known) or 0
    await _end_judging(session, project_id, ids)
    await _forget_guidance(session, project_id)
    answers = sorted({*ids, *await _erase_eval_items(session, project_id, ids)})
    asked: list[str] = []
    for start in range(0, len(answers), AT_A_TIME):
        asked += await _erase_judged(session, project_id, answers[start : start + AT_A_TIME])
    every = sorted({*answers, *asked})
    await _tell(session, project_id, every, by)
    for start in range(0, len(every), AT_A_TIME):
        await _empty(session, project_id, every[start : start + AT_A_TIME])
        await _mark(session, project_id, every[start : start + AT_A_TIME])
        await _end_judging(session, project_id, every[start : start + AT_A_TIME])
    return Erased(len(ids) - before, sorted({*every} - {*ids}))


async def _end_judging(session: AsyncSession, project_id: str, ids: Sequence[str]) -> None:
    """First of all: whoever writes a judge's verdict now is waited for, so that its call is found; whoever comes later finds
    the task done, and erases the call itself (gateway/tasks/judge_answers.py)."""
    named = or_(JudgingTaskRow.exchange_id.in_(ids), JudgingTaskRow.other_exchange_id.in_(ids))
    open_ = (JudgingTaskRow.project_id == project_id, JudgingTaskRow.done_at.is_(None), named)
    statement = update(JudgingTaskRow).where(*open_).values(done_at=now())
    await session.execute(statement.execution_options(synchronize_session=False))


async def _forget_guidance(session: AsyncSession, project_id: str) -> None:
    """It may name what calls had in their metadata. Whoever computes it now has read what goes here, and stores nothing."""
    await hold_while_erasing(session, project_id)
    own = update(GuidanceReportRow).where(GuidanceReportRow.project_id == project_id)
    forgotten = own.values(report=null(), computed_at=null(), generation=GuidanceReportRow.generation + 1)
    await session.execute(forgotten.execution_options(synchronize_session=False))


async def _erase_eval_items(session: AsyncSession, project_id: str, ids: Sequence[str]) -> list[str]:
    """Items that runs of evals took from these as stored completions; returns the ids of the calls that answered them, which
    repeat what was asked."""
    stored = select(StoredCompletionRow.completion_id).where(
        StoredCompletionRow.project_id == project_id, StoredCompletionRow.exchange_id.in_(ids)
    )
    names = list(await session.scalars(stored))
    if not names:  # nearly always, and items have no index for this
        return []
    runs = select(EvalRunRow.id).where(EvalRunRow.project_id == project_id)
    copies = (EvalOutputItemRow.run_id.in_(runs), EvalOutputItemRow.item["completion_id"].astext.in_(names))
    emptied = (
        update(EvalOutputItemRow)
        .where(*copies)
        .values(
            item=func.jsonb_build_object("completion_id", EvalOutputItemRow.item["completion_id"]),
            sample=null(),
            results=[],
        )
        .returning(EvalOutputItemRow.exchange_id)
        .execution_options(synchronize_session=False)
    )
    return [id for id in await session.scalars(emptied) if id]


async def _erase_judged(session: AsyncSession, project_id: str, ids: Sequence[str]) -> list[str]:
    """What judgments repeat of these, and what items of evals do whose answers they are; returns the ids of the calls in
    which judges were asked."""
    of_these = or_(JudgmentRow.exchange_id.in_(ids), JudgmentRow.other_exchange_id.in_(ids))
    judged = (JudgmentRow.project_id == project_id, of_these)
    calls = case((JudgmentRow.eval_run_id.is_not(None), JudgmentRow.judgment_metadata[CALLS]))
    rows = list(
        await session.execute(select(JudgmentRow.judge_exchange_id, calls, JudgmentRow.output_item_id).where(*judged))
    )
    await session.execute(
        update(JudgmentRow).where(*judged).values(**_NO_WORDS).execution_options(synchronize_session=False)
    )
    items = sorted({item for _, _, item in rows if item})
    for start in range(0, len(items), AT_A_TIME):
        tested = update(EvalOutputItemRow).where(EvalOutputItemRow.id.in_(items[start : start + AT_A_TIME]))
        await session.execute(tested.values(sample=null(), results=[]).execution_options(synchronize_session=False))
    return [id for call, others, _ in rows for id in (call, *(others or ())) if id]


async def empty_aged(session: AsyncSession, project_id: str, ids: Sequence[str]) -> None:
    """What the log itself and its stored completions say of exchanges that nobody may keep any longer (docs/retention.md):
    nobody asked for these to be deleted, so what was made of them stays. At most AT_A_TIME ids."""
    stored = (StoredCompletionRow.project_id == project_id, StoredCompletionRow.exchange_id.in_(ids))
    gone = update(StoredCompletionRow).where(*stored, StoredCompletionRow.deleted_at.is_(None))
    values = {"deleted_at": now(), "completion_metadata": null()}
    await session.execute(gone.values(**values).execution_options(synchronize_session=False))
    await _empty(session, project_id, ids)


async def take_words(session: AsyncSession, project_id: str, since: str, end: str) -> int:
    """Of judgments of exchanges from the id `since` on, before `end`: what repeats them. Returns of how many; 0:
    there are no more."""
    says = or_(
        JudgmentRow.edited_message.is_not(None),
        JudgmentRow.rationale.is_not(None),
        JudgmentRow.judgment_metadata.is_not(None),
        and_(JudgmentRow.kind == "text", JudgmentRow.raw_value.is_not(None)),
    )
    aged = (JudgmentRow.project_id == project_id, JudgmentRow.exchange_id >= since, JudgmentRow.exchange_id < end)
    ids = list(await session.scalars(select(JudgmentRow.id).where(*aged, says).limit(AT_A_TIME)))
    silent = update(JudgmentRow).where(JudgmentRow.id.in_(ids)).values(**_NO_WORDS)
    await session.execute(silent.execution_options(synchronize_session=False))
    return len(ids)


async def erase_words_of(session: AsyncSession, project_id: str, end_user: str) -> None:
    """What an end user said of answers. Examples made of a correction of theirs go, and lines of datasets with one are marked.

    No copy of a correction is written meanwhile: whoever writes one holds the lock, too, and looks whether the words are still there.
    """
    await session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK})
    theirs = (JudgmentRow.project_id == project_id, JudgmentRow.end_user == end_user)
    wrote = (DatasetItemRow.exchange_id == JudgmentRow.exchange_id, DatasetItemRow.judgment_ids.op("?")(JudgmentRow.id))
    learnt = update(DatasetItemRow).where(
        *wrote, *theirs, JudgmentRow.kind == "edit", DatasetItemRow.erased_at.is_(None)
    )
    await session.execute(learnt.values(erased_at=now()).execution_options(synchronize_session=False))
    corrected = select(JudgmentRow.exchange_id).where(*theirs, JudgmentRow.kind == "edit")
    made = (TrainingExampleRow.source == "edit", TrainingExampleRow.exchange_id.in_(corrected))
    await _erase_examples(session, project_id, *made)
    await session.execute(update(JudgmentRow).where(*theirs).values(**_NO_WORDS))


_NO_WORDS: dict[str, Any] = {
    "edited_message": null(),
    "rationale": null(),
    "judgment_metadata": null(),
    "raw_value": case((JudgmentRow.kind == "text", null()), else_=JudgmentRow.raw_value),
}


async def _empty(session: AsyncSession, project_id: str, ids: Sequence[str]) -> None:
    """In the log: as if the key had kept no bodies (gateway/exchanges/policy.py)."""
    message = func.jsonb_set(ExchangeRow.error, literal(["message"], ARRAY(Text)), func.to_jsonb(literal(ERASED, Text)))
    here = (ExchangeRow.project_id == project_id, ExchangeRow.id.in_(ids))
    await session.execute(
        update(ExchangeRow)
        .where(*here)
        .values(
            request=b"",
            reply=None,
            request_metadata=null(),
            error=case((ExchangeRow.error.is_(None), null()), else_=message),
            logging=case((ExchangeRow.logging == "full", "metadata"), else_=ExchangeRow.logging),
        )
        .execution_options(synchronize_session=False)
    )
    own = select(ExchangeRow.id).where(*here)
    blobs = update(ExchangeBlobRow).where(ExchangeBlobRow.exchange_id.in_(own), ExchangeBlobRow.doomed_at.is_(None))
    await session.execute(blobs.values(doomed_at=now()).execution_options(synchronize_session=False))
    texts = delete(ExchangeTextRow).where(ExchangeTextRow.exchange_id.in_(own))
    await session.execute(texts.execution_options(synchronize_session=False))


async def _mark(session: AsyncSession, project_id: str, ids: Sequence[str]) -> None:
    moment = now()
    copies = or_(DatasetItemRow.exchange_id.in_(ids), DatasetItemRow.other_exchange_id.in_(ids))
    for statement in (
        update(StoredCompletionRow)
        .where(StoredCompletionRow.project_id == project_id, StoredCompletionRow.exchange_id.in_(ids))
        .values(deleted_at=func.coalesce(StoredCompletionRow.deleted_at, moment), completion_metadata=null()),
        update(DatasetItemRow).where(copies, DatasetItemRow.erased_at.is_(None)).values(erased_at=moment),
    ):
        await session.execute(statement.execution_options(synchronize_session=False))
    await _erase_examples(session, project_id, TrainingExampleRow.exchange_id.in_(ids))


async def _erase_examples(session: AsyncSession, project_id: str, *which: ColumnElement[bool]) -> None:
    """With the lines of datasets that were made of them, and from what is shown to models."""
    here, moment = (TrainingExampleRow.project_id == project_id, *which), now()
    examples = select(TrainingExampleRow.id).where(*here)
    lines = update(DatasetItemRow).where(DatasetItemRow.example_id.in_(examples), DatasetItemRow.erased_at.is_(None))
    gone = func.coalesce(TrainingExampleRow.deleted_at, moment)
    for statement in (
        lines.values(erased_at=moment),
        update(TrainingExampleRow).where(*here).values(line={}, note="", deleted_at=gone),
    ):
        await session.execute(statement.execution_options(synchronize_session=False))
    if await session.scalar(examples.limit(1)):
        await touch(session, EXAMPLES)
