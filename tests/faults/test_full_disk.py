"""A disk without room for the log: calls are refused and say why, alerts tell of it, and once there is room everything goes on
by itself, with nothing lost, doubled or broken.

The log lies on a file system of its own, a few times as large as what it keeps for calls on their way, where this process may mount one. Everywhere else its
files may grow to some length only (RLIMIT_FSIZE of the gateway's process), to which a write comes as to the end of a disk.
"""

import asyncio
import os
import resource
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from gateway.exchanges.spool import RESERVE_BYTES
from tests.conftest import ADMIN_KEY, own_database
from tests.fakes.upstream import Upstream
from tests.faults.books import Books, stopped
from tests.faults.gateways import Servers, gateway_at, make_keys, serving
from tests.faults.witnesses import Witnesses
from tests.gateway.conftest import RunningGateway
from tests.polling import until

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

ROOM = 4 * RESERVE_BYTES
CALLS = 100
SECONDS = 60.0


@dataclass
class Disk:
    """Where the log lies, and how it gets full and empty again."""

    gateway: RunningGateway
    fill: Callable[[], object]
    empty: Callable[[], object]


def _mounted(directory: Path, cleanup: ExitStack) -> bool:
    """Whether a small file system could be put there."""
    directory.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={ROOM}", "tmpfs", str(directory)]
    try:
        done = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False
    if done:
        cleanup.callback(subprocess.run, ["umount", "-l", str(directory)], check=True)
    return done


@pytest.fixture(params=["file system", "limit"])
def disk(request: pytest.FixtureRequest, template_url: str, redis_url: str, running_fake: Upstream) -> Iterator[Disk]:
    """One with room at first."""
    with ExitStack() as cleanup:
        directory = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="tw-")))
        spool, ballast = directory / "data" / "spool", directory / "data" / "spool" / ".ballast"
        by_mount = request.param == "file system"
        if by_mount and not _mounted(spool, cleanup):
            pytest.skip("mounting a tmpfs needs root")
        database_url = cleanup.enter_context(own_database(template_url))
        servers = Servers(database_url, redis_url, running_fake.url)
        gateway = cleanup.enter_context(
            gateway_at(directory, servers, exchanges__segment_bytes="65536", exchanges__drain_seconds="0.05")
        )
        if by_mount:
            yield Disk(gateway, lambda: _fill(ballast), ballast.unlink)
        else:
            yield Disk(gateway, lambda: _limit(gateway, 1), lambda: _limit(gateway, resource.RLIM_INFINITY))


def _fill(ballast: Path) -> None:
    """To the last byte, which has to be done again when the log has given some back."""
    with ballast.open("ab") as file:
        for size in (4096, 1):
            try:
                while os.write(file.fileno(), bytes(size)):
                    pass
            except OSError:
                continue


def _limit(gateway: RunningGateway, size: int) -> None:
    process = serving(gateway)
    assert process is not None
    process.rlimit(psutil.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


async def test_calls_are_refused_while_it_is_full(disk: Disk) -> None:
    gateway, books = disk.gateway, Books(disk.gateway)
    async with Witnesses(gateway, await make_keys(gateway)) as clients:
        await clients.more(CALLS)
        assert clients.refused == {}
        await until(lambda: disk.fill() or clients.refused.total() >= CALLS, SECONDS)
        alarm, metrics = await _told(gateway)
        await asyncio.to_thread(disk.empty)
        await clients.more(CALLS)
    assert clients.broken.keys() <= {"stream without [DONE]"}, clients.broken
    assert alarm["severity"] == "critical"
    assert "the disk refuses the exchange log" in alarm["message"]
    assert metrics["tuneway_spool_disk_refuses"] == 1
    assert metrics["tuneway_unrecordable_calls_total"] > 0
    for _, status, message in clients.refused:
        assert status == 503
        assert "exchange log" in message
    await books.until_logged(clients.seen)
    await books.reports_agree()
    assert not list((gateway.directory / "data").glob("rejected/*"))
    await stopped(gateway)
    await books.agree_on(clients.seen)


async def _told(gateway: RunningGateway) -> tuple[dict[str, Any], dict[str, float]]:
    """The alert that says so, and all metrics."""
    headers = {"authorization": f"Bearer {ADMIN_KEY}"}
    async with httpx.AsyncClient(base_url=gateway.url, headers=headers, timeout=30) as admin:
        alerts = (await admin.get("/v1/organization/alerts")).raise_for_status().json()["data"]
        lines = (await admin.get("/metrics")).raise_for_status().text.splitlines()
    [alarm, *_] = [each for each in alerts if each["kind"] == "spool_full"]
    values = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    return alarm, {name: float(value) for name, value in values}
