"""PostgreSQL stopped, killed and started under load: calls go on, the spool grows and drains afterwards, everything once."""

import asyncio
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.fakes.upstream import Upstream
from tests.faults.books import Books, stopped
from tests.faults.gateways import Servers, gateway_at, make_keys, migrate
from tests.faults.witnesses import Witnesses
from tests.gateway.conftest import RunningGateway
from tests.servers import start_postgres

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

CALLS = 150
"""That clients see end before, while and after the database is away."""
AWAY = "The database cannot be reached"


@pytest.fixture
def directory() -> Iterator[Path]:
    """A short path: sockets lie in it."""
    with tempfile.TemporaryDirectory(prefix="tw-") as name:
        yield Path(name)


class Postgres:
    """A server that can be stopped and started again where it was."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._running = ExitStack()
        self.url = self._running.enter_context(start_postgres(directory, durable=True))

    def stop(self) -> None:
        self._running.close()

    def start(self) -> None:
        assert self._running.enter_context(start_postgres(self._directory, durable=True)) == self.url


@pytest.fixture
def postgres(directory: Path) -> Iterator[Postgres]:
    server = Postgres(directory / "pg")
    try:
        asyncio.run(migrate(server.url))
        yield server
    finally:
        server.stop()


@pytest.fixture
def gateway(directory: Path, postgres: Postgres, redis_url: str, running_fake: Upstream) -> Iterator[RunningGateway]:
    """Its segments are small: the log is several of them."""
    servers = Servers(postgres.url, redis_url, running_fake.url)
    with gateway_at(directory, servers, exchanges__segment_bytes="65536") as gateway:
        yield gateway


def waiting_bytes(gateway: RunningGateway) -> int:
    """On disk, of segments that are there."""
    return sum(path.stat().st_size for path in (gateway.directory / "data" / "spool").glob("*/*.seg"))


async def test_calls_go_on_and_come_to_the_log_later(gateway: RunningGateway, postgres: Postgres) -> None:
    books = Books(gateway)
    async with Witnesses(gateway, await make_keys(gateway)) as clients:
        for _ in range(2):
            await clients.more(CALLS)
            await asyncio.to_thread(postgres.stop)
            size = waiting_bytes(gateway)
            await clients.more(CALLS)
            assert waiting_bytes(gateway) > size, "what is on its way to the log waits on disk"
            await asyncio.to_thread(postgres.start)
            await books.until_logged(dict(clients.seen))
        await clients.more(CALLS)
    assert clients.broken == {}
    assert {owner for owner, _, _ in clients.refused} <= {"bound"}, "who has no budget did not notice"
    assert all(status == 503 and AWAY in message for _, status, message in clients.refused), clients.refused
    await books.until_logged(clients.seen)
    await books.reports_agree()
    await stopped(gateway)
    assert waiting_bytes(gateway) == 0
    await books.agree_on(clients.seen)
