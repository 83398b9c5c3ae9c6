"""From the log to candidates: answers worth learning, each with the judgments that say so."""

import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from operator import itemgetter

from gateway.datasets.building import rows
from gateway.datasets.building.ancestry import Ancestry
from gateway.datasets.building.candidate import Candidate
from gateway.datasets.building.logged import Bodies, Logged, ReadSubject, edited, read
from gateway.datasets.building.messages import Json, key_of, keys_so_far
from gateway.datasets.building.reading import Log, Sized, batches
from gateway.datasets.building.tally import Tally
from gateway.datasets.building.threads import in_thread
from gateway.datasets.building.unusable import UNUSABLE, counted
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
    taken: Taken
    depth: int


@dataclass(frozen=True, slots=True)
class _Conversation:
    """By keys of `whole_of`."""

    whole: str
    openings: list[tuple[int, str]]
    """Of every earlier answer: its place, and the conversation up to it."""


@dataclass(frozen=True, slots=True)
class _Found:
    """In a batch."""

    candidates: list[Candidate] = field(default_factory=list[Candidate])
    conversations: list[_Conversation] = field(default_factory=list[_Conversation])
    """Of each candidate, where every turn is learnt."""


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
    if ground.recipe.turns.learn == "every":
        await _keep_disliked(ground)


async def _wanted(ground: Ground, page: Sequence[Sized], verdicts: dict[str, list[Verdict]]) -> AsyncIterator[_Wanted]:
    recipe = ground.recipe
    for sized in page:
        for choice, said in by_choice(verdicts.get(sized.call.id, [])).items():
            ground.tally.considered += 1
            outcome = judge_answer(said, recipe.positive, ground.trusted, ground.required)
            if isinstance(outcome, Taken):
                yield _Wanted(sized, choice, outcome, await ground.ancestry.depth(sized.call.served_model))
            else:
                ground.tally.drop(outcome, exchange_id=sized.call.id)


def by_choice(verdicts: Sequence[Verdict]) -> dict[int, list[Verdict]]:
    """Of comparisons nothing is said of an answer by itself. Without any verdict, the first choice is all there is."""
    found: dict[int, list[Verdict]] = {}
    for verdict in verdicts:
        if verdict.kind != "pairwise":
            found.setdefault(verdict.choice_index, []).append(verdict)
    return dict(sorted(found.items())) or {0: []}


def _take(ground: Ground, batch: Sequence[_Wanted], bodies: dict[str, Bodies]) -> None:
    found = _Found()
    for wanted in batch:
        if ground.stop.is_set():
            return  # so does whoever waits for this
        with counted(ground.tally, exchange_id=wanted.sized.call.id):
            _take_one(ground, wanted, bodies.get(wanted.sized.call.id), found)
    first = ground.work.add(found.candidates)
    if ground.recipe.turns.learn == "every":
        _keep_openings(ground.work, first, found)


def _take_one(ground: Ground, wanted: _Wanted, bodies: Bodies | None, found: _Found) -> None:
    """Raises UNUSABLE; nothing of it is noted then."""
    logged = ground.read(wanted.sized, bodies, wanted.choice_index)
    if logged is None:
        return
    if (candidate := _candidate(ground, wanted.taken, wanted.depth, logged)) is not None:
        ground.work.check(candidate)
        if ground.recipe.turns.learn == "every":
            found.conversations.append(_conversation(candidate.line["messages"]))
        found.candidates.append(candidate)


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


def _conversation(messages: Sequence[Json]) -> _Conversation:
    *before, whole = keys_so_far(map(_unweighted, messages))
    openings = [
        (place, key)
        for place, (message, key) in enumerate(zip(messages, before, strict=False))
        if message["role"] == "assistant"
    ]
    return _Conversation(whole, openings)


def whole_of(messages: Sequence[Json]) -> str:
    """Key of a conversation up to and with an answer."""
    return key_of([_unweighted(message) for message in messages])


def _unweighted(message: Json) -> Json:
    return {name: value for name, value in message.items() if name != "weight"}


def _keep_openings(work: Workplace, first: int, found: _Found) -> None:
    """So that a call whose answer is part of a longer conversation's row can be left out."""
    numbered = list(enumerate(found.conversations, first))
    openings = [(key, number, place) for number, each in numbered for place, key in each.openings]
    with work.writing():
        work.db.executemany("INSERT INTO wholes VALUES (?, ?)", ((each.whole, number) for number, each in numbered))
        work.db.executemany("INSERT INTO openings VALUES (?, ?, ?)", openings)


async def _keep_disliked(ground: Ground) -> None:
    """So that what people did not like is not learnt as an earlier turn: also where its own call is none that the recipe takes."""
    log = ground.log.unfiltered()
    async for page in log.disliked_pages():
        verdicts = await log.verdicts([each.call.id for each in page])
        disliked = [(sized, choice) for sized in page for choice in _disliked(ground, verdicts.get(sized.call.id, []))]
        for batch in batches(disliked, lambda each: each[0].bytes):
            bodies = await log.bodies([sized.call.id for sized, _ in batch])
            await in_thread(partial(_note_disliked, ground, batch, bodies), ground.stop)


def _disliked(ground: Ground, verdicts: Sequence[Verdict]) -> Iterator[int]:
    """Choices that a person vetoed, or wrote anew."""
    for choice, said in by_choice(verdicts).items():
        outcome = judge_answer(said, ground.recipe.positive, ground.trusted, ground.required)
        if outcome == "vetoed" or (isinstance(outcome, Taken) and outcome.edit is not None):
            yield choice


def _note_disliked(ground: Ground, batch: Sequence[tuple[Sized, int]], bodies: dict[str, Bodies]) -> None:
    """Nothing is counted: whatever could have become a row was counted before."""
    wholes: list[str] = []
    for sized, choice in batch:
        there = bodies.get(sized.call.id)
        with suppress(*UNUSABLE):
            logged = read(sized.call, there, choice, ground.subject, ground.recipe.system) if there else None
            if logged is not None:
                wholes.append(whole_of([*logged.messages, logged.answer]))
    with ground.work.writing():
        ground.work.db.executemany("INSERT INTO wholes VALUES (?, NULL)", ((whole,) for whole in wholes))


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
    disliked = (
        "SELECT DISTINCT o.number, o.place FROM openings o JOIN wholes w ON w.whole = o.opening"
        " WHERE w.number IS NULL ORDER BY o.number"
    )
    for number, places in groupby(list(work.db.execute(disliked)), itemgetter(0)):
        candidate = work.candidate(number)
        for _, place in places:
            candidate.line["messages"][place]["weight"] = 0
        work.replace(number, candidate)
