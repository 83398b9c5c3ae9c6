"""Writing judgments: append-only, the same said twice once, and a new word in place of an old one."""

from collections.abc import Iterator, Sequence
from math import isfinite
from typing import Any, TypeVar

import msgspec
from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.tables import ExchangeDeletionRow, JudgmentRow
from gateway.errors import Conflict
from gateway.judgments.verdict import WHOSE, Verdict, says_the_same, whose
from gateway.kit.clock import now
from gateway.kit.ids import new_sorted_id

TRIES = 10
"""Against others who write the same verdict at the same time."""
AT_A_TIME = 500
"""Rows in one statement: PostgreSQL takes 65,535 parameters."""

Key = tuple[Any, ...]
T = TypeVar("T")


async def add(session: AsyncSession, verdicts: Sequence[Verdict]) -> list[str]:
    """Write verdicts; the ids of the judgments that now hold, one for each, in their order.

    Whoever says the same of the same again (see verdict.py: WHOSE, SAID) is told the judgment that is there; whoever says
    something else supersedes it: its row gets `superseded_at`, and nothing else of it changes.

    Raises:
        ValueError: a score that is no number from 0 to 1: a bug of the caller, never stored.
        Conflict: others kept writing the same at the same time.
    """
    for each in verdicts:
        _check(each)
    verdicts = await _without_erased_words(session, verdicts)
    ids: list[str] = [""] * len(verdicts)
    for wave in _waves(verdicts):
        held = await _settle(session, {whose(verdicts[place]): verdicts[place] for place in wave})
        for place in wave:
            ids[place] = held[whose(verdicts[place])]
    return ids


async def calls_named(session: AsyncSession, project_id: str, exchange_id: str) -> set[str]:
    """Exchanges in which judges were asked about an answer, as far as a judgment names them."""
    of_answer = (JudgmentRow.project_id == project_id, JudgmentRow.exchange_id == exchange_id)
    found = await session.scalars(select(JudgmentRow.judge_exchange_id).where(*of_answer))
    return {id for id in found if id}


async def retract(session: AsyncSession, row: JudgmentRow, by: str) -> JudgmentRow:
    """Take a judgment back: a row of its own says so, and supersedes it. Returns that row.

    Raises Conflict: another word has taken its place.
    """
    if row.status == "retracted":
        return row
    if row.superseded_at is not None:
        raise Conflict("This judgment was superseded; retract the one that took its place.")
    whose_it_is = {name: getattr(row, name) for name in (*WHOSE, "kind", "eval_run_id", "output_item_id")}
    word = Verdict(**whose_it_is, status="retracted", judgment_metadata={"retracted_by": by})
    [id] = await add(session, [word])
    return await session.get_one(JudgmentRow, id)


async def _without_erased_words(session: AsyncSession, verdicts: Sequence[Verdict]) -> list[Verdict]:
    """Of an exchange that was deleted nothing is written down any more that could repeat it: a judge may have been at it,
    or somebody still has its answer on the screen."""
    named = {id for each in verdicts for id in (each.exchange_id, each.other_exchange_id) if id}
    erased: set[str] = set()
    for some in _portions(sorted(named)):
        wanted = select(ExchangeDeletionRow.exchange_id).where(ExchangeDeletionRow.exchange_id.in_(some))
        erased.update(await session.scalars(wanted))
    if not erased:
        return list(verdicts)
    return [_wordless(each) if {each.exchange_id, each.other_exchange_id} & erased else each for each in verdicts]


def _wordless(each: Verdict) -> Verdict:
    raw_value = None if each.kind == "text" else each.raw_value
    return msgspec.structs.replace(
        each, edited_message=None, rationale=None, judgment_metadata=None, raw_value=raw_value
    )


def _check(each: Verdict) -> None:
    if each.score is not None and not (isfinite(each.score) and 0 <= each.score <= 1):
        raise ValueError(f"a score of {each.score} is not between 0 and 1")


def _waves(verdicts: Sequence[Verdict]) -> Iterator[list[int]]:
    """Places of the verdicts, so that each wave has one word of anybody on anything."""
    left = list(range(len(verdicts)))
    while left:
        first: dict[Key, int] = {}
        for place in left:
            first.setdefault(whose(verdicts[place]), place)
        wave = list(first.values())
        yield wave
        taken = set(wave)
        left = [place for place in left if place not in taken]


async def _settle(session: AsyncSession, wanted: dict[Key, Verdict]) -> dict[Key, str]:
    """The judgments in force after this, by whose they are."""
    held: dict[Key, str] = {}
    for _ in range(TRIES):
        left = {key: each for key, each in wanted.items() if key not in held}
        if not left:
            return held
        there = await _in_force(session, left)
        same = {key: row.id for key, row in there.items() if says_the_same(row, left[key])}
        held |= same
        old = {key: row.id for key, row in there.items() if key not in same}
        held |= await _write(session, {key: each for key, each in left.items() if key not in same}, old)
    if len(held) < len(wanted):
        raise Conflict("The same judgment was written by others at the same time; please try again.")
    return held


async def _in_force(session: AsyncSession, wanted: dict[Key, Verdict]) -> dict[Key, JudgmentRow]:
    found: dict[Key, JudgmentRow] = {}
    for some in _portions(list(wanted.values())):
        rows = await session.scalars(
            select(JudgmentRow)
            .where(
                JudgmentRow.project_id.in_({each.project_id for each in some}),
                JudgmentRow.exchange_id.in_({each.exchange_id for each in some}),
                JudgmentRow.criterion_id.in_({each.criterion_id for each in some}),
                JudgmentRow.superseded_at.is_(None),
            )
            .execution_options(populate_existing=True)
        )
        found |= {whose(row): row for row in rows}
    return {key: found[key] for key in wanted if key in found}


async def _write(session: AsyncSession, new: dict[Key, Verdict], old: dict[Key, str]) -> dict[Key, str]:
    """Rows in place of old ones; those that somebody else has written meanwhile are left out."""
    if old:
        gone = update(JudgmentRow).where(JudgmentRow.id.in_(sorted(old.values())), JudgmentRow.superseded_at.is_(None))
        await session.execute(gone.values(superseded_at=now()).execution_options(synchronize_session=False))
    rows = {key: _row(each, old.get(key)) for key, each in new.items()}
    written: set[str] = set()
    for some in _portions(list(rows.values())):
        statement = insert(JudgmentRow).values(some).on_conflict_do_nothing().returning(JudgmentRow.id)
        written.update(await session.scalars(statement))
    return {key: row["id"] for key, row in rows.items() if row["id"] in written}


def _portions(every: list[T]) -> Iterator[list[T]]:
    return (every[start : start + AT_A_TIME] for start in range(0, len(every), AT_A_TIME))


def _row(each: Verdict, supersedes_id: str | None) -> dict[str, Any]:
    return msgspec.structs.asdict(each) | {
        "id": new_sorted_id("judgment_"),
        "created_at": now(),
        "supersedes_id": supersedes_id,
        "superseded_at": None,
    }
