"""Pairs whose opposite is among the pairs too, and those that go round in a circle, are left out after selection.

The same two answers come in several calls of one prompt, and one says of them what another denies: they are known by
their texts, not by their exchanges.
"""

import itertools
import threading
from collections.abc import Iterator

from gateway.datasets.building.candidate import Candidate
from gateway.datasets.building.caps import leave_out
from gateway.datasets.building.messages import key_of
from gateway.datasets.building.pair_checks import normalised
from gateway.datasets.building.preferences import Contradiction, Preference, contradictions
from gateway.datasets.building.selection import Ground
from gateway.datasets.building.workplace import RANK, Workplace
from gateway.datasets.validation import Interrupted

PAGE = 1000
TABLE = """
CREATE TABLE preferences (
    number INTEGER PRIMARY KEY, prompt TEXT NOT NULL, chosen TEXT NOT NULL, rejected TEXT NOT NULL,
    rank INTEGER NOT NULL, votes INTEGER NOT NULL);
"""


def settle_contradictions(ground: Ground, stop: threading.Event) -> None:
    """Of pairs, before duplicates are gone: who says the same counts. Raises Interrupted."""
    _keep_preferences(ground.work, stop)
    found: dict[Contradiction, list[int]] = {"contradictory": [], "circular": []}
    for numbers, preferences in _by_prompt(ground.work):
        for place, reason in contradictions(preferences).items():
            found[reason].append(numbers[place])
        _check(stop)
    for reason, numbers in found.items():
        leave_out(ground, numbers, reason)


def _keep_preferences(work: Workplace, stop: threading.Event) -> None:
    work.db.executescript(TABLE)
    candidates = work.candidates()
    while page := list(itertools.islice(candidates, PAGE)):
        rows = [(each.number, *_said(each.candidate)) for each in page]
        with work.writing():
            work.db.executemany("INSERT INTO preferences VALUES (?, ?, ?, ?, ?, ?)", rows)
        _check(stop)
    work.db.execute("CREATE INDEX by_prompt_of_pair ON preferences (prompt, number)")


def _said(candidate: Candidate) -> tuple[str, str, str, int, int]:
    """As columns of the table, behind the number."""
    asked = candidate.line["input"]
    prompt = key_of([asked["messages"], asked.get("tools", [])])
    chosen, rejected = key_of(normalised(candidate.answer)), key_of(normalised(candidate.rejected))
    return prompt, chosen, rejected, RANK[candidate.signal], candidate.votes


def _by_prompt(work: Workplace) -> Iterator[tuple[list[int], list[Preference]]]:
    """Of each prompt with several pairs, their numbers and what they say."""
    several = "SELECT prompt FROM preferences GROUP BY prompt HAVING count(*) > 1"
    columns = "prompt, number, chosen, rejected, rank, votes"
    rows = work.db.execute(f"SELECT {columns} FROM preferences WHERE prompt IN ({several}) ORDER BY prompt, number")  # noqa: S608
    for _, pairs in itertools.groupby(rows, lambda row: row[0]):
        found = [(number, Preference(*said)) for _, number, *said in pairs]
        yield [number for number, _ in found], [preference for _, preference in found]


def _check(stop: threading.Event) -> None:
    if stop.is_set():
        raise Interrupted
