"""The one place where building calls cleaning (gateway/datasets/cleaning/): duplicates, test suites, clusters, the split.

Memory holds a few numbers for each candidate; their texts are read from disk again and again.
"""

import hashlib
import itertools
import threading
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from gateway.datasets.building.candidate import Candidate
from gateway.datasets.building.caps import leave_out
from gateway.datasets.building.messages import written
from gateway.datasets.building.pair_checks import normalised
from gateway.datasets.building.selection import Ground
from gateway.datasets.building.workplace import Numbered
from gateway.datasets.cleaning.contamination import Suites, items_of
from gateway.datasets.cleaning.near import Bands, across, join
from gateway.datasets.cleaning.redaction import Redactor
from gateway.datasets.cleaning.splits import aside
from gateway.datasets.cleaning.unions import Unions
from gateway.datasets.validation import Interrupted

PAGE = 1000
TABLES = """
CREATE TABLE prints (number INTEGER PRIMARY KEY, row BLOB NOT NULL, question BLOB NOT NULL);
CREATE TABLE suite_texts (number INTEGER PRIMARY KEY, content TEXT NOT NULL);
CREATE TABLE aside (cluster TEXT PRIMARY KEY);
"""
DIGEST = 16


class Cleaned:
    """What is left, in clusters."""

    def __init__(self, ground: Ground, key: bytes) -> None:
        wanted = ground.recipe.redaction
        self._ground = ground
        self._redactor = Redactor(wanted.kinds, key, region=wanted.region)
        self.redacted: Counter[str] = self._redactor.counts

    def redact(self, line: dict[str, Any]) -> dict[str, Any]:
        return self._redactor.line(line)

    def split(self) -> None:
        """Every cluster goes to one side, decided by its own id. After caps."""
        share, work = self._ground.recipe.split.validation, self._ground.work
        sizes = work.db.execute("SELECT cluster, count(*) FROM kept GROUP BY cluster ORDER BY cluster")
        with work.writing():
            taken = ((id,) for id in aside(sizes, work.count(), share))
            work.db.executemany("INSERT INTO aside VALUES (?)", taken)
            work.db.execute("UPDATE candidates SET split = 'validation' WHERE cluster IN (SELECT cluster FROM aside)")


def clean(ground: Ground, key: bytes, suites: Sequence[Path], stop: threading.Event) -> Cleaned:
    """Leave out what test suites contain and what is there twice; put into clusters what must not be torn apart.

    Args:
        key: of the dataset's placeholders, at most 64 secret bytes.

    Raises:
        Interrupted: `stop` was set.
        InvalidRequest: a test suite cannot be read.
    """
    held = _Held(ground, stop)
    ground.work.db.executescript(TABLES)
    _fingerprint(held)
    if suites:
        _leave_out_contaminated(held, suites)
    if ground.recipe.duplicates.exact:
        _leave_out_copies(held)
    if ground.recipe.duplicates.near:
        _leave_out_alike(held)
    _cluster(held)
    return Cleaned(ground, key)


@dataclass(frozen=True)
class _Held:
    """Candidates, for as long as anybody wants them."""

    ground: Ground
    stop: threading.Event

    @property
    def place(self) -> Path:
        return self.ground.work.directory

    def candidates(self) -> Iterator[Numbered]:
        for each in self.ground.work.candidates():
            self.check()
            yield each

    def candidate(self, number: int) -> Candidate:
        self.check()
        return self.ground.work.candidate(number)

    def check(self) -> None:
        """Raises Interrupted."""
        if self.stop.is_set():
            raise Interrupted

    def column(self, expression: str) -> np.ndarray:
        """Integers, one for each candidate that is left, in order."""
        query = f"SELECT {expression} FROM kept ORDER BY number"  # noqa: S608
        return np.fromiter((value for (value,) in self.ground.work.db.execute(query)), np.int64)


def _fingerprint(held: _Held) -> None:
    """Digests by which equal rows and equal questions are found."""
    candidates = held.candidates()
    while page := list(itertools.islice(candidates, PAGE)):
        rows = [(each.number, _row_print(each.candidate), _print(asked(each.candidate))) for each in page]
        with held.ground.work.writing():
            held.ground.work.db.executemany("INSERT INTO prints VALUES (?, ?, ?)", rows)


def asked(candidate: Candidate) -> str:
    """What must not be on both sides of a split; where nothing was asked, the answer stands for it."""
    return candidate.question if candidate.question.strip() else candidate.answer


def _row_print(candidate: Candidate) -> bytes:
    return _print(candidate.question, candidate.answer, candidate.rejected)


def _print(*texts: str) -> bytes:
    whole = "\0".join(map(normalised, texts))
    return hashlib.sha256(whole.encode(errors="surrogatepass")).digest()[:DIGEST]


def _leave_out_copies(held: _Held) -> None:
    """Of equal rows the one with the strongest signal stays, then the first."""
    places = (
        "SELECT p.number AS number, row_number() OVER (PARTITION BY p.row ORDER BY k.rank, k.number) AS place"
        " FROM prints p JOIN kept k ON k.number = p.number"
    )
    query = f"SELECT number FROM ({places}) WHERE place > 1"  # noqa: S608
    leave_out(held.ground, [number for (number,) in held.ground.work.db.execute(query)], "duplicate")


def _leave_out_alike(held: _Held) -> None:
    """Likewise of rows that are nearly the same, and whose answers are: a label may be all that differs."""
    threshold = held.ground.recipe.duplicates.threshold
    numbers, ranks = held.column("number"), held.column("rank")

    def parts(place: int) -> tuple[str, str]:
        each = held.candidate(int(numbers[place]))
        return _whole(each), f"{each.answer}\n{each.rejected}"

    bands, unions = Bands(held.place / "rows", threshold), Unions(len(numbers))
    for each in held.candidates():
        bands.add(_whole(each.candidate))
    bands.close()
    join(bands, unions, parts, threshold)
    bands.remove()
    roots = unions.roots()
    best_first = np.lexsort((numbers, ranks, roots))
    again = best_first[1:][roots[best_first[1:]] == roots[best_first[:-1]]]
    leave_out(held.ground, numbers[again].tolist(), "near_duplicate")


def _whole(candidate: Candidate) -> str:
    return f"{candidate.question}\n{candidate.answer}\n{candidate.rejected}"


def _cluster(held: _Held) -> None:
    """Rows whose questions are alike, of one conversation, and of one user where the recipe says so."""
    work, by = held.ground.work, held.ground.recipe.split.by
    numbers = held.column("number")
    unions = Unions(len(numbers))
    place_of = np.zeros(int(numbers[-1]) + 1 if len(numbers) else 0, np.int64)
    place_of[numbers] = np.arange(len(numbers))
    same = (
        "SELECT min(p.number) OVER (PARTITION BY p.question), p.number FROM prints p JOIN kept k ON k.number = p.number"
    )
    for first, number in work.db.execute(same):
        unions.join(int(place_of[first]), int(place_of[number]))
    _join_alike(held, numbers, unions)
    for column in (("conversation",) if "conversation" in by else ()) + (("end_user",) if "user" in by else ()):
        _join_equal(held, column, place_of, unions)
    roots = numbers[unions.roots()].tolist()
    with work.writing():
        query = "UPDATE candidates SET cluster = (SELECT lower(hex(question)) FROM prints WHERE number = ?) WHERE number = ?"
        work.db.executemany(query, zip(roots, numbers.tolist(), strict=True))
    work.db.execute("CREATE INDEX by_cluster ON candidates (cluster)")


def _join_alike(held: _Held, numbers: np.ndarray, unions: Unions) -> None:
    """Of equal questions, which are together already, only the first is looked at."""
    threshold = held.ground.recipe.split.threshold
    firsts = np.flatnonzero(unions.roots() == np.arange(len(numbers)))
    bands, alike = Bands(held.place / "questions", threshold), Unions(len(firsts))
    for number in numbers[firsts].tolist():
        bands.add(asked(held.candidate(number)))
    bands.close()
    join(bands, alike, lambda place: (asked(held.candidate(int(numbers[firsts[place]]))),), threshold)
    bands.remove()
    for place, root in zip(firsts.tolist(), firsts[alike.roots()].tolist(), strict=True):
        unions.join(place, root)


def _join_equal(held: _Held, column: str, place_of: np.ndarray, unions: Unions) -> None:
    query = f"SELECT {column}, number FROM kept WHERE {column} IS NOT NULL ORDER BY 1, 2"  # noqa: S608
    rows = held.ground.work.db.execute(query)
    for (value, number), (next_value, next_number) in itertools.pairwise(rows):
        if value == next_value:
            unions.join(int(place_of[number]), int(place_of[next_number]))


def _leave_out_contaminated(held: _Held, paths: Sequence[Path]) -> None:
    """What a suite has word for word, then what it has nearly so."""
    suites = _read_suites(held, paths)
    found: list[int] = []
    for each in held.candidates():
        messages = [each.candidate.question, *_messages(each.candidate)]
        if suites.has(messages, [each.candidate.answer, each.candidate.rejected]):
            found.append(each.number)
    leave_out(held.ground, found, "contaminated")
    leave_out(held.ground, _alike_to_suites(held), "contaminated")


def _read_suites(held: _Held, paths: Sequence[Path]) -> Suites:
    """With every text in the workplace, to compare it with. Raises InvalidRequest."""
    suites, work = Suites(), held.ground.work
    with work.writing():
        for texts in items_of(paths):
            held.check()
            suites.add(texts)
            work.db.executemany("INSERT INTO suite_texts (content) VALUES (?)", ((text,) for text in texts))
    suites.close()
    return suites


def _alike_to_suites(held: _Held) -> set[int]:
    """Numbers of candidates; suites' texts come first in the bands, numbered from 1 in the workplace."""
    threshold, work = held.ground.recipe.contamination.threshold, held.ground.work
    bands = Bands(held.place / "suites", threshold)
    for (text,) in work.db.execute("SELECT content FROM suite_texts ORDER BY number"):
        bands.add(text)
    border = bands.count
    of, which = _add_messages(held, bands)
    bands.close()

    def texts(place: int) -> tuple[str]:
        if place < border:
            return (cast("str", work.scalar("SELECT content FROM suite_texts WHERE number = ?", place + 1)),)
        return (_compared(held.candidate(of[place - border]))[which[place - border]],)

    found = across(bands, border, texts, threshold)
    bands.remove()
    return {of[place - border] for place in found}


def _add_messages(held: _Held, bands: Bands) -> tuple[Sequence[int], Sequence[int]]:
    """Of each text that was added the number of its candidate, and which of the candidate's texts it is."""
    of, which = array("q"), array("l")
    for each in held.candidates():
        for place, text in enumerate(_compared(each.candidate)):
            bands.add(text)
            of.append(each.number)
            which.append(place)
    return of, which


def _compared(candidate: Candidate) -> list[str]:
    """What was asked as a whole, and message by message where there are several."""
    messages = _messages(candidate)
    return [candidate.question, *(messages if len(messages) > 1 else [])]


def _messages(candidate: Candidate) -> list[str]:
    """What users wrote before the answer."""
    line = candidate.line
    before = line["input"]["messages"] if "input" in line else line["messages"][:-1]
    return [written(message) for message in before if message["role"] == "user"]
