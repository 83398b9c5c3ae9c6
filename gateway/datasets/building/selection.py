"""From the log to candidates: answers worth learning, each with the judgments that say so."""

import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from gateway.datasets.building import rows
from gateway.datasets.building.ancestry import Ancestry
from gateway.datasets.building.candidate import Candidate
from gateway.datasets.building.logged import Bodies, Logged, ReadSubject, edited, read
from gateway.datasets.building.messages import key_of
from gateway.datasets.building.reading import Log, Sized, batches
from gateway.datasets.building.tally import Tally
from gateway.datasets.building.threads import in_thread
from gateway.datasets.building.verdicts import Required, Taken, Verdict, judge_answer
from gateway.datasets.building.workplace import Workplace
from gateway.protocol.recipes import Recipe

Progress = Callable[[int], None]
"""Told how many exchanges were looked at."""


@dataclass(frozen=True)
class Ground:
    """What a build stands on."""

    log: Log
    recipe: Recipe
    work: Workplace
    tally: Tally
    ancestry: Ancestry
    subject: ReadSubject
    judges: frozenset[str] = frozenset()
    """Versions of models that judged anything of the project."""
    trusted: frozenset[str] = frozenset()
    """Those of them whose agreement with people was shown."""
    required: Sequence[Required] = field(default_factory=list[Required])
    stop: threading.Event = field(default_factory=threading.Event)
    """Set when nobody wants the result any more."""

    def read(self, sized: Sized, bodies: Bodies | None, choice_index: int) -> Logged | None:
        """One answer; None, and counted, when a training file cannot hold it."""
        if bodies is None:
            self.tally.drop("deleted", exchange_id=sized.call.id)
            return None
        logged = read(sized.call, bodies, choice_index, self.subject, self.recipe.system)
        if logged is None:
            self.tally.drop("not_text", exchange_id=sized.call.id)
        return logged


@dataclass(frozen=True, slots=True)
class _Wanted:
    sized: Sized
    choice_index: int
    taken: Taken | None
    """None: it is only read because a person did not like it."""
    depth: int = 0


async def select_answers(ground: Ground, told: Progress, newest: int | None = None) -> None:
    """Put every answer that the recipe takes into the workplace, in the order of the exchanges' ids."""
    looked_at = 0
    async for page in ground.log.pages(newest):
        verdicts = await ground.log.verdicts([each.call.id for each in page])
        wanted = [each async for each in _wanted(ground, page, verdicts)]
        for batch in batches(wanted, lambda each: each.sized.bytes):
            bodies = await ground.log.bodies([each.sized.call.id for each in batch])
            await in_thread(partial(_take, ground, batch, bodies), ground.stop)
        looked_at += len(page)
        told(looked_at)


async def _wanted(ground: Ground, page: Sequence[Sized], verdicts: dict[str, list[Verdict]]) -> AsyncIterator[_Wanted]:
    recipe = ground.recipe
    for sized in page:
        for choice, said in by_choice(verdicts.get(sized.call.id, [])).items():
            ground.tally.considered += 1
            outcome = judge_answer(said, recipe.positive, ground.trusted, ground.required)
            if isinstance(outcome, Taken):
                yield _Wanted(sized, choice, outcome, await ground.ancestry.depth(sized.call.served_model))
                continue
            ground.tally.drop(outcome, exchange_id=sized.call.id)
            if outcome == "vetoed" and recipe.turns.learn == "every":
                yield _Wanted(sized, choice, None)


def by_choice(verdicts: Sequence[Verdict]) -> dict[int, list[Verdict]]:
    """Of comparisons nothing is said of an answer by itself. Without any verdict, the first choice is all there is."""
    found: dict[int, list[Verdict]] = {}
    for verdict in verdicts:
        if verdict.kind != "pairwise":
            found.setdefault(verdict.choice_index, []).append(verdict)
    return dict(sorted(found.items())) or {0: []}


def _take(ground: Ground, batch: Sequence[_Wanted], bodies: dict[str, Bodies]) -> None:
    candidates: list[Candidate] = []
    disliked: list[str] = []
    for wanted in batch:
        logged = ground.read(wanted.sized, bodies.get(wanted.sized.call.id), wanted.choice_index)
        if logged is None:
            continue
        if wanted.taken is None or wanted.taken.edit is not None:
            disliked.append(whole_of([*logged.messages, logged.answer]))
        if wanted.taken is not None and (candidate := _candidate(ground, wanted.taken, wanted.depth, logged)):
            candidates.append(candidate)
    first = ground.work.add(candidates)
    if ground.recipe.turns.learn == "every":
        _keep_openings(ground.work, first, candidates, disliked)


def _candidate(ground: Ground, taken: Taken, depth: int, logged: Logged) -> Candidate | None:
    where = {"exchange_id": logged.call.id}
    if taken.edit is not None:
        corrected = edited(logged, taken.edit)
        if corrected is None:
            ground.tally.drop("not_text", **where)
            return None
        logged = corrected
    is_edit = taken.standing == "edit"
    if fault := rows.fault_of(logged, ground.recipe, depth=depth, is_edit=is_edit):
        ground.tally.drop(fault, **where)
        return None
    return rows.sft(logged, ground.recipe, taken.standing, taken.judgment_ids, depth=depth)


def whole_of(messages: Sequence[dict[str, Any]]) -> str:
    """Key of a conversation up to and with an answer."""
    return key_of([{name: value for name, value in message.items() if name != "weight"} for message in messages])


def _keep_openings(work: Workplace, first: int, candidates: Sequence[Candidate], disliked: Sequence[str]) -> None:
    """So that a call whose answer is part of a longer conversation's row can be left out, and what people did not like
    is not learnt there."""
    wholes: list[tuple[str, int | None]] = [(whole, None) for whole in disliked]
    openings: list[tuple[str, int, int]] = []
    for number, candidate in enumerate(candidates, first):
        messages = candidate.line["messages"]
        wholes.append((whole_of(messages), number))
        openings += [(opening, number, place) for place, opening in _openings(messages)]
    with work.writing():
        work.db.executemany("INSERT INTO wholes VALUES (?, ?)", wholes)
        work.db.executemany("INSERT INTO openings VALUES (?, ?, ?)", openings)


def _openings(messages: Sequence[dict[str, Any]]) -> Iterator[tuple[int, str]]:
    """Of every earlier answer: its place, and the key of the conversation up to it."""
    for place, message in enumerate(messages[:-1]):
        if message["role"] == "assistant":
            yield place, whole_of(messages[: place + 1])


def settle_openings(ground: Ground) -> None:
    """After selection, where every turn is learnt."""
    work = ground.work
    work.db.executescript("CREATE INDEX by_opening ON openings (opening); CREATE INDEX by_whole ON wholes (whole);")
    contained = (
        "SELECT DISTINCT w.number FROM wholes w JOIN openings o ON o.opening = w.whole WHERE w.number IS NOT NULL"
    )
    parts = [number for (number,) in work.db.execute(f"{contained} ORDER BY w.number")]
    for number in parts:
        ground.tally.drop("part_of_longer", exchange_id=work.candidate(number).exchange_id)
    work.drop(parts, "part_of_longer")
    disliked = "SELECT o.number, o.place FROM openings o JOIN wholes w ON w.whole = o.opening WHERE w.number IS NULL"
    for number, place in list(work.db.execute(disliked)):
        candidate = work.candidate(number)
        candidate.line["messages"][place]["weight"] = 0
        work.replace(number, candidate)
