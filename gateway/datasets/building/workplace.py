"""Candidates on disk while a dataset is built: SQLite in a directory of the build's own, nothing of which outlives it.

Memory holds a page of them, however many there are.
"""

import hashlib
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from gateway.datasets.building.candidate import Candidate, Signal

if TYPE_CHECKING:
    import sqlite3

RANK: dict[Signal, int] = {
    "edit": 0, "example": 0, "vote": 0, "human": 1, "compared": 2, "checked": 2, "regenerated": 3, "choices": 3, "unjudged": 4,
}  # fmt: skip
"""Which rows stay where there are too many: a person's word before a machine's."""

LEFT_SECONDS = 6 * 3600.0
SCHEMA = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
PRAGMA locking_mode = EXCLUSIVE;
PRAGMA cache_size = -65536;
CREATE TABLE candidates (
    number INTEGER PRIMARY KEY, content BLOB NOT NULL, rank INTEGER NOT NULL, chance BLOB NOT NULL,
    conversation TEXT NOT NULL, end_user TEXT, origin_model TEXT, depth INTEGER NOT NULL, signal TEXT NOT NULL,
    longer INTEGER NOT NULL, cluster TEXT NOT NULL DEFAULT '', split TEXT NOT NULL DEFAULT 'training',
    dropped TEXT, line INTEGER, sha256 TEXT);
CREATE VIEW kept AS SELECT * FROM candidates WHERE dropped IS NULL;
CREATE TABLE opinions (
    a TEXT NOT NULL, a_choice INTEGER NOT NULL, b TEXT NOT NULL, b_choice INTEGER NOT NULL,
    source TEXT NOT NULL, prefers INTEGER NOT NULL, judgment TEXT NOT NULL);
CREATE TABLE answers (prompt TEXT NOT NULL, exchange TEXT NOT NULL, choice INTEGER NOT NULL, content BLOB NOT NULL);
CREATE TABLE wholes (whole TEXT NOT NULL, number INTEGER);
CREATE TABLE openings (opening TEXT NOT NULL, number INTEGER NOT NULL, place INTEGER NOT NULL);
"""

encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(Candidate).decode


@dataclass(frozen=True, slots=True)
class Numbered:
    number: int
    candidate: Candidate


class Workplace:
    """Not for several threads at a time."""

    def __init__(self, place: Path, name: str) -> None:
        """A new directory below `place`; what an earlier build of the same name left there is removed."""
        place.mkdir(parents=True, exist_ok=True)
        for left in place.glob(f"{name}.*"):
            shutil.rmtree(left, ignore_errors=True)
        self.directory = Path(tempfile.mkdtemp(prefix=f"{name}.", dir=place))
        import sqlite3  # 1 MB, for those who build datasets

        self.db = sqlite3.connect(self.directory / "candidates.sqlite", check_same_thread=False, isolation_level=None)
        self.db.executescript(SCHEMA)

    def close(self) -> None:
        self.db.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    def add(self, candidates: Sequence[Candidate]) -> int:
        """Numbered in this order; the number of the first, which is 0 at the beginning."""
        first = int(self.scalar("SELECT coalesce(max(number) + 1, 0) FROM candidates"))
        rows = [_row(number, each) for number, each in enumerate(candidates, first)]
        with self.writing():
            self.db.executemany(
                "INSERT INTO candidates (number, content, rank, chance, conversation, end_user, origin_model, depth, signal,"
                " longer) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                rows,
            )
        return first

    @staticmethod
    def check(candidate: Candidate) -> None:
        """Raises what `unusable.UNUSABLE` has: it cannot be written down."""
        _row(0, candidate)

    def replace(self, number: int, candidate: Candidate) -> None:
        self.db.execute("UPDATE candidates SET content = ? WHERE number = ?", (encode(candidate), number))

    def candidates(self) -> Iterator[Numbered]:
        """Those that are not dropped. Dropping what was seen is fine meanwhile."""
        query = "SELECT number, content FROM kept ORDER BY number"
        with closing(self.db.execute(query)) as rows:
            for number, content in rows:
                yield Numbered(number, decode(content))

    def candidate(self, number: int) -> Candidate:
        return decode(self.scalar("SELECT content FROM candidates WHERE number = ?", number))

    def drop(self, numbers: Iterable[int], reason: str) -> None:
        """The first reason stays."""
        with self.writing():
            query = "UPDATE candidates SET dropped = ? WHERE number = ? AND dropped IS NULL"
            self.db.executemany(query, ((reason, number) for number in numbers))

    def count(self, condition: str = "1") -> int:
        """Of candidates that are not dropped."""
        return int(self.scalar(f"SELECT count(*) FROM kept WHERE {condition}"))  # noqa: S608

    def scalar(self, query: str, *values: Any) -> Any:
        found = self.db.execute(query, values).fetchone()
        return found[0] if found else None

    def writing(self) -> "_Writing":
        return _Writing(self.db)


def remove_left(place: Path, seconds: float = LEFT_SECONDS) -> None:
    """Remove directories that nothing was put into for so long: their worker died."""
    for directory in place.glob("*.*"):
        newest = max((each.stat().st_mtime for each in directory.glob("*")), default=directory.stat().st_mtime)
        if time.time() - newest > seconds:
            shutil.rmtree(directory, ignore_errors=True)


class _Writing:
    """One transaction: a thousand rows at a time are as quick as one."""

    def __init__(self, db: "sqlite3.Connection") -> None:
        self._db = db

    def __enter__(self) -> None:
        self._db.execute("BEGIN")

    def __exit__(self, *_: object) -> None:
        self._db.execute("COMMIT")


def _row(number: int, each: Candidate) -> tuple[Any, ...]:
    who = each.exchange_id or each.example_id or ""
    chance = hashlib.sha256(f"{who}\0{each.other_exchange_id}\0{each.question}\0{each.answer}".encode()).digest()[:16]
    longer = len(each.answer) - len(each.rejected) if each.kind == "preference" else 0
    return (
        number,
        encode(each),
        RANK[each.signal],
        chance,
        each.conversation,
        each.end_user,
        each.origin_model,
        each.depth,
        each.signal,
        longer,
    )
