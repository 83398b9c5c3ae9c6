"""Candidates on disk."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.datasets.building.candidate import Candidate, Signal
from gateway.datasets.building.workplace import Workplace, remove_left


def candidate(answer: str, signal: Signal = "human") -> Candidate:
    return Candidate(
        kind="sft", line={"messages": []}, question="?", answer=answer, conversation="c", exchange_id=answer, signal=signal
    )  # fmt: skip


@pytest.fixture
def work(tmp_path: Path) -> Iterator[Workplace]:
    work = Workplace(tmp_path, "dsver_1")
    yield work
    work.close()


class TestWorkplace:
    def test_numbers_go_on_where_the_last_batch_ended(self, work: Workplace) -> None:
        assert work.add([candidate("a"), candidate("b")]) == 0
        assert work.add([]) == 2
        assert work.add([candidate("c")]) == 2
        assert [(each.number, each.candidate.answer) for each in work.candidates()] == [(0, "a"), (1, "b"), (2, "c")]

    def test_the_first_reason_stays(self, work: Workplace) -> None:
        work.add([candidate("a"), candidate("b")])
        work.drop([0], "duplicate")
        work.drop([0, 1], "total_cap")
        assert work.db.execute("SELECT dropped FROM candidates ORDER BY number").fetchall() == [
            ("duplicate",),
            ("total_cap",),
        ]
        assert work.count() == 0

    def test_what_is_replaced_is_read_back(self, work: Workplace) -> None:
        work.add([candidate("a")])
        work.replace(0, candidate("b"))
        assert work.candidate(0).answer == "b"

    def test_a_persons_word_comes_first(self, work: Workplace) -> None:
        signals: list[Signal] = ["unjudged", "checked", "human", "edit"]
        work.add([candidate(str(place), signal) for place, signal in enumerate(signals)])
        rows = work.db.execute("SELECT signal FROM kept ORDER BY rank").fetchall()
        assert [signal for (signal,) in rows] == signals[::-1]


class TestLeftovers:
    def test_nothing_outlives_it(self, tmp_path: Path) -> None:
        work = Workplace(tmp_path, "dsver_1")
        work.add([candidate("a")])
        work.close()
        assert list(tmp_path.iterdir()) == []

    def test_a_new_build_of_a_version_removes_what_the_last_one_left(self, tmp_path: Path) -> None:
        left, other = Workplace(tmp_path, "dsver_1"), Workplace(tmp_path, "dsver_2")
        left.db.close()
        again = Workplace(tmp_path, "dsver_1")
        assert sorted(tmp_path.iterdir()) == sorted([other.directory, again.directory])
        other.close()
        again.close()

    def test_what_nobody_touched_for_hours_goes(self, tmp_path: Path) -> None:
        old, fresh = Workplace(tmp_path, "dsver_1"), Workplace(tmp_path, "dsver_2")
        old.db.close()
        long_ago = time.time() - 7 * 3600
        for path in (old.directory, *old.directory.iterdir()):
            os.utime(path, (long_ago, long_ago))
        remove_left(tmp_path)
        assert list(tmp_path.iterdir()) == [fresh.directory]
        fresh.close()

    def test_a_place_that_is_not_there_yet(self, tmp_path: Path) -> None:
        remove_left(tmp_path / "nowhere")
