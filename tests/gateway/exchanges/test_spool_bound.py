"""A spool that is full, or whose disk refuses: nothing more is taken on, what is under way is kept, and it goes on by itself."""

import errno
import logging
import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import SpoolFull, Unavailable
from gateway.exchanges import spool as spool_module
from gateway.exchanges.segments import RESERVE, orphan_segments
from gateway.exchanges.spool import Spool

TMPFS_BYTES = 8 * 1024 * 1024


def full(*_: object) -> int:
    raise OSError(errno.ENOSPC, "No space left on device")


def drain(spool: Spool) -> None:
    for segment in spool.pending():
        spool.drained(segment, segment.read(max_records=1_000_000, max_bytes=1 << 30)[1])


def everything(directory: Path) -> list[bytes]:
    return [
        payload
        for segment in orphan_segments(directory)
        for payload in segment.read(max_records=1_000_000, max_bytes=1 << 30)[0]
    ]


@pytest.fixture
def spool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Spool]:
    monkeypatch.setattr(spool_module, "LOOK_AGAIN_SECONDS", 0.0)
    spool = Spool(tmp_path / "spool", segment_bytes=100_000, max_bytes=1000)
    yield spool
    spool.close()


class TestBound:
    def test_refuses_from_there_on_and_no_longer(self, spool: Spool) -> None:
        while spool.size < 1000:
            spool.check()
            spool.append(b"x" * 92)
        for _ in range(2):
            with pytest.raises(SpoolFull, match="full, because the database does not take it"):
                spool.check()
        assert spool.refused == 2
        drain(spool)
        spool.check()

    def test_what_is_under_way_is_still_recorded(self, spool: Spool) -> None:
        spool.append(b"x" * 1000)
        spool.append(b"under way")
        assert everything(spool.directory)[-1] == b"under way"

    def test_is_told_before_and_when_it_is_reached_once(self, spool: Spool, caplog: pytest.LogCaptureFixture) -> None:
        def told() -> list[tuple[int, str]]:
            return [(each.levelno, each.getMessage().split()[7]) for each in caplog.records]

        for _ in range(2):
            caplog.clear()
            for _ in range(12):
                spool.append(b"x" * 92)
            assert told() == [(logging.WARNING, "80%"), (logging.CRITICAL, "100%")]
            drain(spool)

    def test_a_record_that_cannot_be_read_does_not_count_for_ever(self, tmp_path: Path) -> None:
        spool = Spool(tmp_path / "other", segment_bytes=100)
        spool.append(b"x" * 50)
        spool.append(b"y" * 50)
        (segment, _) = spool.pending()
        spool.drained(segment, 58)  # the second one is broken
        segment.path.unlink()
        spool.gone(segment)
        assert spool.size == 0
        spool.close()


class TestDisk:
    def test_a_call_under_way_is_recorded_with_what_was_kept_for_it(
        self, spool: Spool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write = os.writev

        def while_reserved(file: int, record: Sequence[bytes]) -> int:
            return full() if (spool.directory / RESERVE).exists() else write(file, record)

        with monkeypatch.context() as patch:
            patch.setattr(spool_module.os, "writev", while_reserved)
            spool.append(b"under way")
            assert everything(spool.directory) == [b"under way"]
            patch.setattr(spool_module, "_allocate", full)
            with pytest.raises(SpoolFull, match="cannot be written"):
                spool.check()
            assert spool.trouble == "No space left on device"
            assert spool.refused == 1
        spool.check()
        assert spool.trouble is None
        assert (spool.directory / RESERVE).exists()

    def test_it_is_not_asked_at_every_call(self, spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
        looked: list[Any] = []
        monkeypatch.setattr(spool_module, "LOOK_AGAIN_SECONDS", 3600.0)
        with monkeypatch.context() as patch:
            patch.setattr(spool_module.os, "writev", full)
            with pytest.raises(Unavailable):
                spool.append(b"x")
        monkeypatch.setattr(spool_module, "_allocate", lambda *given: looked.append(given))
        for _ in range(3):
            with pytest.raises(SpoolFull):
                spool.check()
        assert looked == []

    def test_that_is_full_from_the_beginning_refuses(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(spool_module, "_allocate", full)
            spool = Spool(tmp_path / "spool", segment_bytes=1000)
            with pytest.raises(SpoolFull):
                spool.check()
        spool.close()

    def test_a_full_one_loses_nothing_and_comes_back(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A real one."""
        disk = tmp_path / "disk"
        disk.mkdir()
        options = f"size={TMPFS_BYTES}"
        mounting = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(disk)]
        if subprocess.run(mounting, check=False, capture_output=True).returncode:
            pytest.skip("needs a disk of its own, and the right to mount one")
        try:
            self._fill(disk, monkeypatch)
        finally:
            subprocess.run(["umount", "-l", str(disk)], check=True)

    def _fill(self, disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(spool_module, "LOOK_AGAIN_SECONDS", 0.0)
        spool = Spool(disk / "spool", segment_bytes=1 << 20)
        ballast = disk / "ballast"
        with ballast.open("wb", buffering=0) as file:
            file.write(bytes(TMPFS_BYTES))  # as much as there is room for: the reserve is kept
        written: list[bytes] = []

        def append() -> None:
            record = bytes([len(written) % 256]) * 300_000
            spool.append(record)
            written.append(record)

        while spool.trouble is None:
            append()
        with pytest.raises(SpoolFull):
            spool.check()
        with suppress(Unavailable):
            while True:
                append()
        assert len(written) > 10, "those under way were recorded"
        assert everything(spool.directory) == written
        ballast.unlink()
        spool.check()
        spool.append(b"again")
        assert everything(spool.directory) == [*written, b"again"]
        spool.close()
