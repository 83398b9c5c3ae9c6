"""Records on local disk: torn, broken, adopted, refused by the disk."""

import errno
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from gateway.errors import Unavailable
from gateway.exchanges import spool as spool_module
from gateway.exchanges.segments import HEADER, LOCK, Segment, orphan_segments
from gateway.exchanges.spool import Spool


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture
def spool(root: Path) -> Iterator[Spool]:
    spool = Spool(root, segment_bytes=1000)
    yield spool
    spool.close()


def read(segment: Segment, *, max_records: int = 100, max_bytes: int = 10_000) -> list[bytes]:
    return segment.read(max_records=max_records, max_bytes=max_bytes)[0]


def everything(directory: Path) -> list[bytes]:
    return [payload for segment in orphan_segments(directory) for payload in read(segment)]


class TestTurn:
    def test_begins_a_segment_so_that_the_last_can_go(self, spool: Spool) -> None:
        spool.append(b"one")
        spool.turn()
        spool.append(b"two")
        assert [(segment.sealed, read(segment)) for segment in spool.segments] == [(True, [b"one"]), (False, [b"two"])]
        assert spool.segments[0].length == HEADER.size + 3

    def test_an_empty_one_stays(self, spool: Spool) -> None:
        spool.turn()
        spool.turn()
        assert len(spool.segments) == 1

    def test_where_none_can_be_made_it_goes_on_with_the_one_it_has(
        self, spool: Spool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(*_: object) -> int:
            raise OSError(errno.ENOSPC, "no space left on device")

        spool.append(b"one")
        with monkeypatch.context() as patch:
            patch.setattr(spool_module.os, "open", full)
            spool.turn()
        spool.append(b"two")
        assert everything(spool.directory) == [b"one", b"two"]


class TestAppend:
    def test_can_be_read_at_once(self, spool: Spool) -> None:
        spool.append(b"one")
        spool.append(b"2")
        spool.append(b"three" * 10)
        assert read(spool.segments[0]) == [b"one", b"2", b"three" * 10]
        assert spool.size == 3 * HEADER.size + 54

    def test_goes_on_in_a_new_segment(self, spool: Spool) -> None:
        for number in range(30):
            spool.append(str(number).encode() * 50)
        assert [segment.sealed for segment in spool.segments] == [True, True, False]
        assert everything(spool.directory) == [str(number).encode() * 50 for number in range(30)]

    def test_a_segment_that_cannot_be_made_refuses_no_record(
        self, spool: Spool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(*_: object) -> int:
            raise OSError(errno.ENOSPC, "no space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(spool_module.os, "open", full)
            spool.append(b"x" * 2000)
            spool.append(b"y")
        spool.append(b"z")
        assert everything(spool.directory) == [b"x" * 2000, b"y", b"z"]


class TestDisk:
    def test_that_refuses_makes_the_service_unavailable(self, spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(*_: object) -> int:
            raise OSError(errno.ENOSPC, "no space left on device")

        spool.append(b"one")
        with monkeypatch.context() as patch:
            patch.setattr(spool_module.os, "writev", full)
            with pytest.raises(Unavailable, match="cannot be written"):
                spool.append(b"two")
        spool.append(b"three")
        assert read(spool.segments[0]) == [b"one", b"three"]

    def test_half_a_record_is_taken_back(self, spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
        half_written(spool, monkeypatch)
        spool.append(b"three")
        assert everything(spool.directory) == [b"one", b"three"]

    def test_half_a_record_that_stays_hides_nothing(self, spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
        def stuck(*_: object) -> None:
            raise OSError(errno.EIO, "input/output error")

        with monkeypatch.context() as patch:
            patch.setattr(spool_module.os, "ftruncate", stuck)
            half_written(spool, monkeypatch)
        spool.append(b"three")
        assert everything(spool.directory) == [b"one", b"three"]


def half_written(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A record, and half of another one."""
    spool.append(b"one")

    def half(file: int, record: Sequence[bytes]) -> int:
        whole = b"".join(record)
        return os.write(file, whole[: len(whole) // 2])

    with monkeypatch.context() as patch:
        patch.setattr(spool_module.os, "writev", half)
        with pytest.raises(Unavailable):
            spool.append(b"two" * 20)


class TestRead:
    def test_goes_on_where_it_stopped(self, spool: Spool) -> None:
        for number in range(5):
            spool.append(bytes([number]))
        segment = spool.segments[0]
        first, segment.offset = segment.read(max_records=2, max_bytes=10_000)
        rest, segment.offset = segment.read(max_records=100, max_bytes=10_000)
        assert [*first, *rest] == [bytes([number]) for number in range(5)]
        assert segment.read(max_records=100, max_bytes=10_000) == ([], segment.offset)

    def test_takes_no_more_than_asked(self, spool: Spool) -> None:
        for _ in range(3):
            spool.append(b"x" * 100)
        assert len(read(spool.segments[0], max_bytes=250)) == 2

    def test_takes_one_record_however_large(self, spool: Spool) -> None:
        spool.append(b"x" * 900)
        assert read(spool.segments[0], max_bytes=10) == [b"x" * 900]

    def test_stops_at_a_torn_record_wherever_it_was_cut(self, spool: Spool) -> None:
        spool.append(b"one")
        spool.append(b"two")
        path = spool.segments[0].path
        whole = path.read_bytes()
        for length in range(HEADER.size + 3, len(whole)):
            path.write_bytes(whole[:length])
            assert read(Segment(path)) == [b"one"], length

    def test_stops_at_zeros(self, spool: Spool) -> None:
        """As power loss may leave them. They are no records of nothing, whose checksum would be right."""
        spool.append(b"one")
        with spool.segments[0].path.open("ab") as file:
            file.write(bytes(100))
        assert read(spool.segments[0]) == [b"one"]

    def test_stops_at_a_changed_byte(self, spool: Spool) -> None:
        spool.append(b"one")
        spool.append(b"two")
        path = spool.segments[0].path
        whole = path.read_bytes()
        for place in range(HEADER.size + 3, len(whole)):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
            assert read(Segment(path)) == [b"one"], place


class TestClose:
    def test_leaves_nothing_of_an_empty_spool(self, root: Path) -> None:
        spool = Spool(root, segment_bytes=1000)
        spool.append(b"one")
        segment = spool.segments[0]
        spool.drained(segment, segment.read(max_records=1, max_bytes=1000)[1])
        spool.close()
        assert list(root.iterdir()) == []

    def test_leaves_what_was_not_drained_to_others(self, root: Path) -> None:
        spool = Spool(root, segment_bytes=1000)
        spool.append(b"one")
        spool.close()
        other = Spool(root, segment_bytes=1000)
        assert [everything(directory) for directory in other.orphans()] == [[b"one"]]
        other.close()


class TestOrphans:
    def test_one_that_lives_is_left_alone(self, root: Path, spool: Spool) -> None:
        other = Spool(root, segment_bytes=1000)
        other.append(b"one")
        assert list(spool.orphans()) == []
        other.close()
        assert list(spool.orphans()) == [other.directory]

    def test_one_that_was_killed_is_found(self, root: Path, spool: Spool) -> None:
        code = (
            "import os, sys, signal, pathlib\n"
            "from gateway.exchanges.spool import Spool\n"
            "Spool(pathlib.Path(sys.argv[1]), segment_bytes=1000).append(b'last words')\n"
            "os.kill(os.getpid(), signal.SIGKILL)"
        )
        subprocess.run([sys.executable, "-c", code, str(root)], check=False, timeout=60)
        assert [everything(directory) for directory in spool.orphans()] == [[b"last words"]]

    def test_is_locked_while_somebody_looks_at_it(self, root: Path, spool: Spool) -> None:
        dead = Spool(root, segment_bytes=1000)
        dead.append(b"one")
        dead.close()
        other = Spool(root, segment_bytes=1000)
        for _ in spool.orphans():
            assert list(other.orphans()) == []
        assert list(other.orphans()) == [dead.directory]
        other.close()

    def test_other_things_are_left_alone(self, root: Path, spool: Spool) -> None:
        (root / "a file").write_text("x")
        (root / ".being made").mkdir()
        assert list(spool.orphans()) == []

    def test_a_directory_is_locked_before_it_can_be_seen(self, root: Path, spool: Spool) -> None:
        assert (spool.directory / LOCK).exists()
        assert not spool.directory.name.startswith(".")
        assert spool.directory.stat().st_mode & 0o077 == 0
