"""Group commit: who waits goes on once the disk has everything, one call of the disk serves many, and failures are told."""

import asyncio
import errno
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.errors import SpoolFull, Unavailable
from gateway.exchanges import spool as spool_module
from gateway.exchanges.spool import Spool
from tests.polling import until

pytestmark = pytest.mark.anyio


class Disk:
    """In the place of fdatasync: what it was asked to bring, and how long that takes."""

    def __init__(self) -> None:
        self.synced: list[bytes] = []
        """What each file had in it."""
        self.open = threading.Event()
        self.open.set()
        self.asked = 0
        self.failure: OSError | None = None

    def __call__(self, file: int) -> None:
        self.asked += 1
        assert self.open.wait(30)
        if self.failure:
            raise self.failure
        with open(f"/proc/self/fd/{file}", "rb") as written:
            self.synced.append(written.read())


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    disk = Disk()
    monkeypatch.setattr(spool_module, "_fdatasync", disk)
    yield disk
    disk.open.set()


@pytest.fixture
def spool(tmp_path: Path, disk: Disk) -> Iterator[Spool]:
    spool = Spool(tmp_path / "spool", segment_bytes=1000, sync="group")
    yield spool
    disk.open.set()
    spool.close(leave=True)


async def one_behind_the_other(spool: Spool, disk: Disk) -> list[asyncio.Future[None]]:
    """Two that wait: the disk is at the first one, and does not come to an end before it is opened."""
    disk.open.clear()
    waiting: list[asyncio.Future[None]] = []
    for record in (b"one", b"two"):
        spool.append(record)
        waiting.append(asyncio.ensure_future(spool.synced()))
        await until(lambda: disk.asked)
    return waiting


class TestSynced:
    async def test_waits_for_the_disk(self, spool: Spool, disk: Disk) -> None:
        disk.open.clear()
        spool.append(b"one")
        waiting = asyncio.ensure_future(spool.synced())
        await until(lambda: disk.asked)
        assert not waiting.done()
        disk.open.set()
        await waiting
        assert b"one" in disk.synced[-1]

    async def test_one_call_serves_all_that_wait(self, spool: Spool, disk: Disk) -> None:
        async def record(number: int) -> None:
            spool.append(bytes([number]))
            await spool.synced()

        await asyncio.gather(*(record(number) for number in range(50)))
        assert disk.asked == 1

    async def test_what_came_while_the_disk_worked_waits_for_the_next(self, spool: Spool, disk: Disk) -> None:
        first, second = await one_behind_the_other(spool, disk)
        disk.open.set()
        await asyncio.gather(first, second)
        assert disk.asked == 2
        assert b"two" in disk.synced[-1]

    async def test_segments_before_the_last_one_too(self, spool: Spool, disk: Disk) -> None:
        for number in range(5):
            spool.append(bytes([number]) * 600)
        await spool.synced()
        together = b"".join(disk.synced)
        assert [bytes([number]) * 600 in together for number in range(5)] == [True] * 5

    async def test_the_name_of_a_new_segment_too(
        self, spool: Spool, disk: Disk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        named: list[Path] = []
        monkeypatch.setattr(spool_module, "_sync_directory", named.append)
        for _ in range(2):
            spool.append(b"x")
            await spool.synced()
        assert named == [spool.directory]

    async def test_one_who_left_holds_up_nobody(self, spool: Spool, disk: Disk) -> None:
        disk.open.clear()
        spool.append(b"one")
        left, stays = (asyncio.ensure_future(spool.synced()) for _ in range(2))
        await until(lambda: disk.asked)
        left.cancel()
        disk.open.set()
        await stays

    async def test_leaves_no_file_open(self, spool: Spool, disk: Disk) -> None:
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(5):
            spool.append(b"x" * 600)
            await spool.synced()
        assert len(os.listdir("/proc/self/fd")) <= before + 1  # that of the segment before, until the next round

    async def test_without_it_nothing_waits(self, tmp_path: Path, disk: Disk) -> None:
        spool = Spool(tmp_path / "spool", segment_bytes=1000)
        spool.append(b"one")
        await spool.synced()
        assert disk.asked == 0
        spool.close(leave=True)


class TestFailure:
    async def test_is_told_to_all_that_wait_and_stops_new_calls(
        self, spool: Spool, disk: Disk, caplog: pytest.LogCaptureFixture
    ) -> None:
        disk.failure = OSError(errno.EIO, "Input/output error")
        spool.append(b"one")
        found = await asyncio.gather(spool.synced(), spool.synced(), return_exceptions=True)
        assert [type(each) for each in found] == [Unavailable] * 2
        with pytest.raises(SpoolFull):
            spool.check()
        assert "Input/output error" in caplog.text

    async def test_is_told_to_what_came_while_the_disk_worked(self, spool: Spool, disk: Disk) -> None:
        """It is in the same file, of which a kernel tells a failure once: the next call of the disk would say that all is well."""
        first, second = await one_behind_the_other(spool, disk)
        await asyncio.sleep(0)
        disk.failure = OSError(errno.EIO, "Input/output error")
        disk.open.set()
        with pytest.raises(Unavailable):
            await first
        disk.failure = None
        with pytest.raises(Unavailable):
            await second

    async def test_what_comes_later_is_in_another_file(self, spool: Spool, disk: Disk) -> None:
        """What the disk refused once, it may tell that it has: nobody asks it for that again."""
        disk.failure = OSError(errno.EIO, "Input/output error")
        spool.append(b"one")
        with pytest.raises(Unavailable):
            await spool.synced()
        disk.failure = None
        spool.append(b"two")
        await spool.synced()
        assert len(spool.segments) == 2
        assert b"one" not in disk.synced[-1]
        assert b"two" in disk.synced[-1]
