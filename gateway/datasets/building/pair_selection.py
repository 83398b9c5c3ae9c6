"""From the log to candidates: pairs of answers to one prompt, one of which was said to be better."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

import msgspec

from gateway.datasets.building import rows
from gateway.datasets.building.candidate import Candidate, Signal
from gateway.datasets.building.logged import Bodies, Logged, edited
from gateway.datasets.building.pair_checks import fault_of
from gateway.datasets.building.reading import Sized, batches
from gateway.datasets.building.selection import Ground, Progress, by_choice
from gateway.datasets.building.threads import in_thread
from gateway.datasets.building.unusable import counted
from gateway.datasets.building.verdicts import Verdict, is_believed, newest_edit

AT_ONCE = 500
"""Pairs whose exchanges are looked up together."""
MOST_ANSWERS = 16
"""Of one prompt that are compared with each other: the first ones."""
SAME = 1e-9
"""Scores that differ by less are the same."""
PREFERS = {"a": 1, "b": -1}

Refuses = Callable[[str], bool]
"""Whether an answer declines to answer."""
Ref = tuple[str, int]
"""An exchange's id and the number of a choice."""


class Answer(msgspec.Struct, kw_only=True):
    """A scored answer of a prompt."""

    exchange_id: str
    choice_index: int
    scores: dict[str, float]
    """By version of a criterion, the mean of what was said."""
    judgment_ids: list[str]
    fault: str | None = None
    """Why it may not be chosen."""
    is_liked: bool = False
    """By a person."""


@dataclass(frozen=True, slots=True)
class _Pair:
    chosen: Ref
    rejected: Ref
    signal: Signal
    judgment_ids: Sequence[str]
    votes: int = 1
    """How many more were for it than against it."""


async def select_pairs(ground: Ground, refuses: Refuses, told: Progress, newest: int | None = None) -> None:
    """Put every pair that the recipe takes into the workplace: edits in the order of the exchanges, then comparisons, then
    scored answers in the order of their first exchange."""
    looked_at = 0
    making = _Making(ground, refuses)
    async for page in ground.log.pages(newest):
        verdicts = await ground.log.verdicts([each.call.id for each in page])
        _keep_opinions(ground, itertools.chain.from_iterable(verdicts.values()))
        await _read_page(making, page, verdicts)
        looked_at += len(page)
        told(looked_at)
    ground.work.db.executescript(
        "CREATE INDEX by_pair ON opinions (a, a_choice, b, b_choice);"
        "CREATE INDEX by_prompt ON answers (prompt, exchange, choice);"
    )
    for pairs in (_of_opinions(ground), _of_answers(ground)):
        while some := list(itertools.islice(pairs, AT_ONCE)):
            await making.add(some)


def _keep_opinions(ground: Ground, verdicts: Iterable[Verdict]) -> None:
    found: list[tuple[str, int, str, int, str, int, str]] = []
    for each in verdicts:
        if each.kind == "pairwise" and each.other_exchange_id and _counts(ground, each):
            a, b = (each.exchange_id, each.choice_index), (each.other_exchange_id, each.other_choice_index or 0)
            prefers = PREFERS.get(each.preference or "", 0)
            if a > b:
                a, b, prefers = b, a, -prefers
            found.append((*a, *b, each.source, prefers, each.id))
    with ground.work.writing():
        ground.work.db.executemany("INSERT INTO opinions VALUES (?, ?, ?, ?, ?, ?, ?)", found)


def _counts(ground: Ground, verdict: Verdict) -> bool:
    """Whether a comparison is one that the recipe asks for; one of a judge that is not, is counted."""
    if verdict.source != "llm":
        return verdict.source == "human" and "votes" in ground.recipe.pairs.sources
    if "judges" not in ground.recipe.pairs.sources:
        return False
    fault = "one_order_only" if not verdict.reconciled else None
    if fault is None and not is_believed(verdict, ground.recipe.positive, ground.trusted):
        fault = "untrusted_judge"
    if fault is not None:
        ground.tally.considered += 1
        ground.tally.drop(fault, exchange_id=verdict.exchange_id, other_exchange_id=verdict.other_exchange_id)
    return fault is None


@dataclass(frozen=True, slots=True)
class _Spoken:
    """An exchange with edits or scores."""

    sized: Sized
    verdicts: dict[int, list[Verdict]]
    depth: int


@dataclass(frozen=True, slots=True)
class _Found:
    """In a batch."""

    candidates: list[Candidate] = field(default_factory=list[Candidate])
    answers: list[tuple[str, str, int, bytes]] = field(default_factory=list[tuple[str, str, int, bytes]])
    """Rows of the table: prompt, exchange, choice and the `Answer`."""


async def _read_page(making: "_Making", page: Sequence[Sized], verdicts: dict[str, list[Verdict]]) -> None:
    ground = making.ground
    spoken: list[_Spoken] = []
    for sized in page:
        said = {choice: each for choice, each in by_choice(verdicts.get(sized.call.id, [])).items() if each}
        if said:
            spoken.append(_Spoken(sized, said, await ground.ancestry.depth(sized.call.served_model)))
    for batch in batches(spoken, lambda each: each.sized.bytes):
        bodies = await ground.log.bodies([each.sized.call.id for each in batch])
        await in_thread(partial(making.read_batch, batch, bodies), ground.stop)


def scores_of(ground: Ground, verdicts: Sequence[Verdict]) -> dict[str, float]:
    """By version of a criterion. What passes or fails without a score is 1 or 0."""
    said: dict[str, list[float]] = {}
    for each in verdicts:
        score = each.score if each.score is not None else None if each.passed is None else float(each.passed)
        if score is not None and is_believed(each, ground.recipe.positive, ground.trusted):
            said.setdefault(each.criterion_id, []).append(score)
    return {criterion: sum(scores) / len(scores) for criterion, scores in said.items()}


def _of_opinions(ground: Ground) -> Iterator[_Pair]:
    """What most people prefer; judges decide where no person spoke."""
    columns = "a, a_choice, b, b_choice, source, prefers, judgment"
    rows = ground.work.db.execute(f"SELECT {columns} FROM opinions ORDER BY {columns}")  # noqa: S608
    for (a, a_choice, b, b_choice), opinions in itertools.groupby(rows, lambda row: row[:4]):
        ground.tally.considered += 1
        said = [(source, prefers, judgment) for *_, source, prefers, judgment in opinions]
        people = [each for each in said if each[0] == "human"]
        counted = people or said
        side = sum(prefers for _, prefers, _ in counted)
        if side == 0:
            fault = "contradictory" if any(prefers for _, prefers, _ in counted) else "tie"
            ground.tally.drop(fault, exchange_id=a, other_exchange_id=b)
            continue
        first, second = (a, a_choice), (b, b_choice)
        ids = [judgment for _, prefers, judgment in counted if prefers * side > 0]
        chosen, rejected = (first, second) if side > 0 else (second, first)
        yield _Pair(chosen, rejected, "vote" if people else "compared", ids, abs(side))


def _of_answers(ground: Ground) -> Iterator[_Pair]:
    """Of each prompt the two answers that are furthest apart."""
    order = "SELECT prompt, min(exchange) AS first, count(*) FROM answers GROUP BY prompt ORDER BY first, prompt"
    for prompt, first, count in ground.work.db.execute(order):
        ground.tally.considered += 1
        if count == 1:
            ground.tally.drop("single_candidate", exchange_id=first)
            continue
        query = "SELECT content FROM answers WHERE prompt = ? ORDER BY exchange, choice LIMIT ?"
        found = [
            msgspec.msgpack.decode(content, type=Answer)
            for (content,) in ground.work.db.execute(query, (prompt, MOST_ANSWERS))
        ]
        pair = furthest(found, ground.recipe.pairs.sources, ground.recipe.pairs.min_margin)
        if isinstance(pair, str):
            ground.tally.drop(pair, exchange_id=first)
        else:
            yield pair


def furthest(answers: Sequence[Answer], sources: Sequence[str], min_margin: float) -> _Pair | str:
    """The two whose scores by the criteria that both were judged by differ most, or why there are none."""
    best: tuple[float, Answer, Answer] | None = None
    barred = ""
    comparable = False
    for a, b in itertools.combinations(answers, 2):
        if _source(a, b) not in sources:
            continue
        comparable = True
        margin = _margin(a, b)
        if margin is None:
            continue
        better, worse = (a, b) if margin > 0 else (b, a)
        if abs(margin) >= SAME and (fault := _fault(better, worse)):
            barred = barred or fault
        elif best is None or abs(margin) > best[0]:
            best = abs(margin), better, worse
    if best is None:
        return barred or ("no_common_criterion" if comparable else "single_candidate")
    if best[0] < max(min_margin, SAME):
        return barred or ("tie" if best[0] < SAME else "margin")
    _, chosen, rejected = best
    return _Pair(
        (chosen.exchange_id, chosen.choice_index),
        (rejected.exchange_id, rejected.choice_index),
        _source(chosen, rejected),
        [*chosen.judgment_ids, *rejected.judgment_ids],
    )


def _source(a: Answer, b: Answer) -> Literal["choices", "regenerated"]:
    return "choices" if a.exchange_id == b.exchange_id else "regenerated"


def _margin(a: Answer, b: Answer) -> float | None:
    """None: no criterion is common to both."""
    common = sorted(a.scores.keys() & b.scores.keys())
    return sum(a.scores[name] - b.scores[name] for name in common) / len(common) if common else None


def _fault(better: Answer, worse: Answer) -> str | None:
    """Why the one with the higher scores is not to be preferred."""
    return better.fault or ("liked" if worse.is_liked and not better.is_liked else None)


class _Making:
    """Checks pairs and puts the good ones into the workplace."""

    def __init__(self, ground: Ground, refuses: Refuses) -> None:
        self.ground, self._refuses = ground, refuses

    def read_batch(self, batch: Sequence[_Spoken], bodies: dict[str, Bodies]) -> None:
        """Pairs of edits, and scored answers by their prompt."""
        ground, found = self.ground, _Found()
        for spoken in batch:
            for choice, said in spoken.verdicts.items():
                with counted(ground.tally, exchange_id=spoken.sized.call.id):
                    self._read_one(spoken, choice, said, bodies.get(spoken.sized.call.id), found)
        ground.work.add(found.candidates)
        with ground.work.writing():
            ground.work.db.executemany("INSERT INTO answers VALUES (?, ?, ?, ?)", found.answers)

    def _read_one(
        self, spoken: _Spoken, choice: int, said: Sequence[Verdict], bodies: Bodies | None, found: _Found
    ) -> None:
        """Raises UNUSABLE."""
        sources = self.ground.recipe.pairs.sources
        edit = newest_edit(said) if "edits" in sources else None
        scores = scores_of(self.ground, said) if {"regenerated", "choices"} & set(sources) else {}
        if edit is None and not scores:
            return
        logged = self.ground.read(spoken.sized, bodies, choice)
        if logged is None:
            return
        if scores:
            found.answers.append(_row(self.ground, logged, scores, said))
        if edit is not None and (candidate := self._of_edit(logged, edit, spoken.depth)) is not None:
            found.candidates.append(candidate)

    def _of_edit(self, logged: Logged, edit: Verdict, depth: int) -> Candidate | None:
        self.ground.tally.considered += 1
        corrected = edited(logged, edit.edited_message or {})
        if corrected is None:
            self.ground.tally.drop("not_text", exchange_id=logged.call.id)
            return None
        return self._checked(
            corrected, logged, _Pair((logged.call.id, 0), (logged.call.id, 0), "edit", [edit.id]), depth
        )

    async def add(self, pairs: Sequence[_Pair]) -> None:
        """Look up both sides of each pair, and keep those that are good."""
        log = self.ground.log
        ids = {each[0] for pair in pairs for each in (pair.chosen, pair.rejected)}
        sized, verdicts = await log.calls(ids), await log.verdicts({pair.chosen[0] for pair in pairs})
        there = [pair for pair in pairs if self._is_taken(pair, sized, verdicts)]
        size = lambda pair: sized[pair.chosen[0]].bytes + sized[pair.rejected[0]].bytes  # noqa: E731
        for batch in batches(there, size):
            bodies = await log.bodies({each[0] for pair in batch for each in (pair.chosen, pair.rejected)})
            depths = [await self.ground.ancestry.depth(sized[pair.chosen[0]].call.served_model) for pair in batch]
            await in_thread(partial(self._add, batch, sized, bodies, depths), self.ground.stop)

    def _is_taken(self, pair: _Pair, sized: dict[str, Sized], verdicts: dict[str, list[Verdict]]) -> bool:
        fault = None
        if pair.chosen[0] not in sized or pair.rejected[0] not in sized:
            fault = "not_taken"
        said = by_choice(verdicts.get(pair.chosen[0], [])).get(pair.chosen[1], [])
        fault = fault or _fault_of(self.ground, said)
        if fault is not None:
            self.ground.tally.drop(fault, exchange_id=pair.chosen[0], other_exchange_id=pair.rejected[0])
        return fault is None

    def _add(
        self, batch: Sequence[_Pair], sized: dict[str, Sized], bodies: dict[str, Bodies], depths: Sequence[int]
    ) -> None:
        candidates: list[Candidate] = []
        for pair, depth in zip(batch, depths, strict=True):
            with counted(self.ground.tally, exchange_id=pair.chosen[0], other_exchange_id=pair.rejected[0]):
                chosen, rejected = (
                    self.ground.read(sized[exchange], bodies.get(exchange), choice)
                    for exchange, choice in (pair.chosen, pair.rejected)
                )
                if chosen is None or rejected is None:
                    continue
                candidate = self._checked(chosen, rejected, pair, depth)
                if candidate is not None:
                    candidates.append(candidate)
        self.ground.work.add(candidates)

    def _checked(self, chosen: Logged, rejected: Logged, pair: _Pair, depth: int) -> Candidate | None:
        """The pair, or None and the reason counted."""
        recipe = self.ground.recipe
        fault: str | None = rows.fault_of(chosen, recipe, depth=depth, is_edit=pair.signal == "edit")
        if fault is None and not rejected.text.strip():
            fault = "empty_answer"
        if fault is None and chosen.prompt != rejected.prompt:
            fault = "different_prompts"
        if fault is None:
            refusals = self._refuses(chosen.text), self._refuses(rejected.text)
            fault = fault_of(chosen.text, rejected.text, recipe.pairs, refusals=refusals)
        if fault is not None:
            self.ground.tally.drop(fault, exchange_id=pair.chosen[0], other_exchange_id=pair.rejected[0])
            return None
        made = rows.preference(chosen, rejected, pair.signal, pair.judgment_ids, depth=depth, votes=pair.votes)
        self.ground.work.check(made)
        return made


def _fault_of(ground: Ground, said: Sequence[Verdict]) -> str | None:
    """Why an answer may not be chosen."""
    if any(each.source == "human" and each.passed is False for each in said):
        return "vetoed"
    believed = [each for each in said if is_believed(each, ground.recipe.positive, ground.trusted)]
    return None if all(condition.holds(believed) for condition in ground.required) else "condition_not_met"


def _row(
    ground: Ground, logged: Logged, scores: dict[str, float], said: Sequence[Verdict]
) -> tuple[str, str, int, bytes]:
    fault = _fault_of(ground, said)
    answer = Answer(
        exchange_id=logged.call.id,
        choice_index=logged.choice_index,
        scores=scores,
        judgment_ids=[each.id for each in said if each.criterion_id in scores],
        fault=fault,
        is_liked=fault != "vetoed" and any(each.source == "human" and each.passed for each in said),
    )
    return logged.prompt, logged.call.id, logged.choice_index, msgspec.msgpack.encode(answer)
