"""The exchange log's process: it brings everything to the database, is replaced when it dies, and outlives nobody for long."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from gateway.db.database import Database
from gateway.drain_process import stand_back
from gateway.draining import COMMAND, Draining
from gateway.errors import Unavailable
from gateway.exchanges.drain import Drain
from gateway.exchanges.followed import Begin
from gateway.exchanges.segments import orphans
from gateway.exchanges.spool import Spool
from gateway.metering.ledger import Ledger
from gateway.metering.rollups import post_rollups
from gateway.settings import Settings
from tests.gateway.exchanges.records import PLAIN, encoded
from tests.gateway.logged import ledger, stored
from tests.polling import until

pytestmark = pytest.mark.anyio

NOWHERE = {"host": "127.0.0.1", "port": 1, "user": "nobody", "database": "nothing"}
COST = PLAIN.cost_nano or 0
REMOVES = """
import json, os, pathlib, sys
begin = json.loads(sys.stdin.readline())
if sys.argv[1] == "all":
    sys.stdin.read()
paths = sorted(pathlib.Path(begin["directory"]).glob("*.seg"))
for path in paths if sys.argv[1] == "all" else paths[:1]:
    print(json.dumps({"segment": path.name, "offset": path.stat().st_size}), flush=True)
    path.unlink()
sys.exit(3)
"""
DIES = """
import asyncio, os, signal, sys
from pathlib import Path
import msgspec
from gateway.draining import Draining
from gateway.exchanges.followed import Begin
from gateway.exchanges.spool import Spool
from tests.gateway.exchanges.records import encoded

async def main():
    spool = Spool(Path(sys.argv[1]), segment_bytes=1500)
    begin = msgspec.json.decode(sys.argv[2], type=Begin)
    draining = Draining(spool, lambda offsets: msgspec.structs.replace(begin, directory=str(spool.directory), offsets=offsets), None)
    draining.start()
    spool.append(encoded("req_0"))
    await draining.drain()
    follower = draining._process.pid
    os.kill(follower, signal.SIGSTOP)
    for number in range(1, 20):
        spool.append(encoded(f"req_{number}"))
    print(follower, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


@pytest.fixture
def begin(settings: Settings, database: Database) -> Begin:
    return Begin(
        directory="",
        offsets={},
        connection=database.arguments,
        url=settings.database.url,
        seconds=0.05,
        answer_seconds=5.0,
    )


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool", segment_bytes=1500)


@pytest.fixture
def started(spool: Spool, begin: Begin) -> Callable[[dict[str, int]], Begin]:
    """What each process is told first; tests change `begin.connection`."""
    return lambda offsets: msgspec.structs.replace(begin, directory=str(spool.directory), offsets=offsets)


@pytest.fixture
async def draining(
    spool: Spool, started: Callable[[dict[str, int]], Begin], database: Database
) -> AsyncIterator[Draining]:
    draining = Draining(spool, started, Drain(spool, database, post=Ledger([post_rollups]).post))
    draining.start()
    yield draining
    await draining.close()


async def ids(database: Database) -> list[str]:
    return [row.id for row in await stored(database)]


def process_of(draining: Draining) -> psutil.Process:
    process: Any = draining._process
    return psutil.Process(process.pid)


class TestDraining:
    async def test_brings_everything_and_tells(self, draining: Draining, spool: Spool, database: Database) -> None:
        for number in range(20):
            spool.append(encoded(f"req_{number:02}"))
        assert len(spool.segments) > 2
        await draining.drain()
        assert await ids(database) == [f"req_{number:02}" for number in range(20)]
        assert sum(row.cost_nano for row in await ledger(database)) == 20 * COST
        await until(lambda: (len(spool.segments), spool.size) == (1, 0))
        assert [path.name for path in spool.directory.glob("*.seg")] == [spool.segments[0].path.name]

    async def test_nobody_has_to_ask(self, draining: Draining, spool: Spool, database: Database) -> None:
        spool.append(encoded("req_1"))
        await until(lambda: spool.size == 0)
        assert await ids(database) == ["req_1"]

    async def test_one_that_is_killed_is_replaced(self, draining: Draining, spool: Spool, database: Database) -> None:
        spool.append(encoded("req_1"))
        await draining.drain()
        process_of(draining).kill()
        spool.append(encoded("req_2"))
        await until(lambda: draining.starts == 2)
        await draining.drain()
        assert await ids(database) == ["req_1", "req_2"]
        assert len(await ledger(database)) == 2

    async def test_its_successor_begins_where_it_was(
        self, draining: Draining, spool: Spool, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        told: list[dict[str, int]] = []
        begin: Any = draining._begin
        monkeypatch.setattr(draining, "_begin", lambda offsets: told.append(offsets) or begin(offsets))
        spool.append(encoded("req_1"))
        await draining.drain()
        process_of(draining).kill()
        await until(lambda: draining.starts == 2)
        assert told[-1] == {"00000001.seg": spool.appended}

    async def test_signals_are_the_gateways_business(self, draining: Draining, spool: Spool) -> None:
        spool.append(encoded("req_1"))
        await draining.drain()
        for number in (signal.SIGTERM, signal.SIGINT):
            process_of(draining).send_signal(number)
        spool.append(encoded("req_2"))
        await draining.drain()
        assert draining.starts == 1

    async def test_is_niced(self, draining: Draining, spool: Spool) -> None:
        spool.append(encoded("req_1"))
        await draining.drain()
        assert process_of(draining).nice() > psutil.Process().nice()

    @pytest.mark.skipif(not hasattr(os, "SCHED_BATCH"), reason="other systems have no such policy")
    async def test_takes_nobodys_turn(self, draining: Draining) -> None:
        process = await until_started(draining)
        await until(lambda: os.sched_getscheduler(process.pid) == os.SCHED_BATCH)

    async def test_a_sandbox_without_such_a_policy_is_no_hindrance(self, monkeypatch: pytest.MonkeyPatch) -> None:
        asked: list[int] = []

        def refused(process: int, policy: int, parameters: Any) -> None:
            asked.append(policy)
            raise PermissionError

        monkeypatch.setattr(os, "nice", lambda by: by)
        monkeypatch.setattr(os, "SCHED_BATCH", 3, raising=False)
        monkeypatch.setattr(os, "sched_param", lambda priority: priority, raising=False)
        monkeypatch.setattr(os, "sched_setscheduler", refused, raising=False)
        stand_back()
        assert asked == [3]

    async def test_adopts_what_others_left(self, draining: Draining, tmp_path: Path, database: Database) -> None:
        dead = Spool(tmp_path / "spool", segment_bytes=1500)
        dead.append(encoded("req_dead"))
        dead.close()
        process_of_first = await until_started(draining)
        process_of_first.kill()  # the next one looks at once
        await until(lambda: not dead.directory.exists())
        assert await ids(database) == ["req_dead"]


async def until_started(draining: Draining) -> psutil.Process:
    await until(lambda: draining._process is not None)
    return process_of(draining)


class TestAway:
    async def test_is_told_and_waited_for(
        self, draining: Draining, spool: Spool, database: Database, begin: Begin, caplog: pytest.LogCaptureFixture
    ) -> None:
        there, begin.connection = begin.connection, NOWHERE
        spool.append(encoded("req_1"))
        with pytest.raises(Unavailable, match="could not be brought to the database"):
            await draining.drain()
        assert "waits for the database" in caplog.text
        begin.connection = there
        process_of(draining).kill()
        await until(lambda: spool.size == 0)
        assert await ids(database) == ["req_1"]
        assert "reaches the database again" in caplog.text

    async def test_at_the_end_what_is_left_is_the_next_ones(
        self, spool: Spool, begin: Begin, started: Callable[[dict[str, int]], Begin], database: Database, tmp_path: Path
    ) -> None:
        begin.connection = NOWHERE
        inside = Drain(spool, database, post=Ledger([post_rollups]).post)
        draining = Draining(spool, started, inside)
        draining.start()
        spool.append(encoded("req_1"))
        await until_started(draining)
        await draining.close()
        assert await ids(database) == []
        other = Spool(tmp_path / "spool", segment_bytes=1500)
        assert list(other.orphans()) == [spool.directory]
        other.close()


class TestClose:
    async def test_is_the_last_drain_and_leaves_nothing(
        self, draining: Draining, spool: Spool, database: Database
    ) -> None:
        process = await until_started(draining)
        for number in range(20):
            spool.append(encoded(f"req_{number:02}"))
        await draining.close()
        assert len(await ids(database)) == 20
        assert not spool.directory.exists()
        assert not process.is_running()

    async def test_of_one_that_was_never_started_drains_here(
        self, spool: Spool, started: Callable[[dict[str, int]], Begin], database: Database
    ) -> None:
        inside = Drain(spool, database, post=Ledger([post_rollups]).post)
        spool.append(encoded("req_1"))
        await Draining(spool, started, inside).close()
        assert await ids(database) == ["req_1"]
        assert not spool.directory.exists()

    async def test_of_one_that_always_dies_drains_here(
        self,
        spool: Spool,
        started: Callable[[dict[str, int]], Begin],
        database: Database,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        inside = Drain(spool, database, post=Ledger([post_rollups]).post)
        draining = Draining(spool, started, inside, command=(sys.executable, "-c", "raise SystemExit(3)"))
        draining.start()
        spool.append(encoded("req_1"))
        await until(lambda: "ended with status 3" in caplog.text)
        await draining.close()
        assert await ids(database) == ["req_1"]
        assert not spool.directory.exists()

    @pytest.mark.parametrize("which", ["first", "all"])
    async def test_of_one_that_died_before_it_told_what_it_removed(
        self,
        which: str,
        spool: Spool,
        started: Callable[[dict[str, int]], Begin],
        database: Database,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        for number in range(20):
            spool.append(encoded(f"req_{number:02}"))
        first = spool.segments[0].path
        inside = Drain(spool, database, post=Ledger([post_rollups]).post)
        draining = Draining(spool, started, inside, command=(sys.executable, "-c", REMOVES, which))
        draining.start()
        if which == "first":
            await until(lambda: "ended with status 3" in caplog.text)
            assert first not in [each.path for each in spool.segments]
        else:
            await until_started(draining)
        await draining.close()
        found = await ids(database)
        assert found == [f"req_{number:02}" for number in range(20 - len(found), 20)], "what it told of is drained"
        assert len(found) < 20
        assert bool(found) == (which == "first")
        assert not spool.directory.exists()


class TestKilledGateway:
    async def test_what_it_left_is_drained_and_the_process_ends(
        self, begin: Begin, tmp_path: Path, database: Database
    ) -> None:
        root = tmp_path / "spool"
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", DIES, str(root), msgspec.json.encode(begin).decode(), stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        follower = psutil.Process(int(await process.stdout.readline()))
        assert await process.wait() == -signal.SIGKILL
        assert list(orphans(root, root)) == [], "the follower has the lock: nobody else adopts"
        assert await ids(database) == ["req_0"]
        os.kill(follower.pid, signal.SIGCONT)
        await until(lambda: not follower.is_running() or follower.status() == psutil.STATUS_ZOMBIE)
        assert sorted(await ids(database)) == sorted(f"req_{number}" for number in range(20))
        assert len(await ledger(database)) == 20
        assert list(root.iterdir()) == []


class TestProcess:
    def test_is_small(self) -> None:
        code = "import sys, gateway.drain_process as p; print(sorted({'litestar', 'sqlalchemy', 'uvicorn'} & set(sys.modules)))"
        found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
        assert found.stdout.strip() == "[]"

    def test_is_this_module(self) -> None:
        assert COMMAND[1:] == ("-m", "gateway.drain_process")


class TestBacklog:
    async def test_of_a_database_that_was_away_is_drained_in_little_memory(
        self, draining: Draining, spool: Spool, database: Database, begin: Begin
    ) -> None:
        there, begin.connection = begin.connection, NOWHERE
        (await until_started(draining)).kill()
        await until(lambda: draining.starts == 2)
        body = b'"' + os.urandom(60_000).hex().encode() + b'"'
        for number in range(1000):
            spool.append(encoded(f"req_{number:04}", request=body))
        with pytest.raises(Unavailable):
            await draining.drain()
        assert spool.size > 1000 * len(body), "all of it waits"
        begin.connection = there
        process_of(draining).kill()
        await until(lambda: spool.size == 0, seconds=120)
        assert len(await ids(database)) == 1000
        assert len(await ledger(database)) == 1000
        assert peak_bytes(process_of(draining).pid) < spool.appended, "less than what waited"


def peak_bytes(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) * 1024
