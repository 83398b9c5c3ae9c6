"""The real PostgreSQL or Redis stopped: who has no budget does not notice, who has one goes on from what was leased, and
nothing is lost or counted twice when the server is back."""

import asyncio
import os
import tempfile
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from gateway.db.database import Database
from gateway.db.migrate import upgrade
from gateway.keys.service import ensure_admin_key
from gateway.kit.money import nano_from_usd
from tests.conftest import ADMIN_KEY, chat, create_key, own_database
from tests.fakes.upstream import Upstream
from tests.gateway.conftest import SECRET_KEY, RunningGateway
from tests.polling import until
from tests.servers import start_postgres, start_redis

pytestmark = pytest.mark.slow

CONFIG = """
[budgets]
idle_seconds = 600
[[upstreams]]
name = "fake"
base_url = "{url}"
models = ["echo"]
[[prices]]
model = "echo"
input = 0.1
output = 10.0
"""
CALL = chat("echo", max_tokens=8)
SUMS = {
    "exchanges": "SELECT coalesce(sum(cost_nano), 0)::bigint FROM exchanges",
    "ledger": "SELECT coalesce(sum(cost_nano), 0)::bigint FROM ledger",
    "rollups": "SELECT coalesce(sum(cost_nano), 0)::bigint FROM usage_hours",
    "window": "SELECT spent_nano FROM budget_windows",
    "leases": "SELECT sum(greatest(granted_nano, spent_nano))::bigint FROM budget_leases",
}


@pytest.fixture
def directory() -> Iterator[Path]:
    """A short path: sockets lie in it."""
    with tempfile.TemporaryDirectory(prefix="tw-") as name:
        yield Path(name)


@contextmanager
def gateway_at(directory: Path, database_url: str, redis_url: str, upstream: Upstream) -> Generator[RunningGateway]:
    (directory / "tuneway.toml").write_text(CONFIG.format(url=upstream.url))
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TUNEWAY_")}
    environment = kept | {
        "TUNEWAY_CONFIG": str(directory / "tuneway.toml"),
        "TUNEWAY_DATA_DIR": str(directory / "data"),
        "TUNEWAY_SECRET_KEY": SECRET_KEY,
        "TUNEWAY_DATABASE__URL": database_url,
        "TUNEWAY_REDIS__URL": redis_url,
    }
    asyncio.run(_add_admin_key(database_url))
    gateway = RunningGateway(directory, database_url, environment)
    gateway.start()
    try:
        yield gateway
    finally:
        gateway.stop()


async def _add_admin_key(database_url: str) -> None:
    database = Database(database_url, pool_size=1, timeout=10)
    async with database.session() as session:
        await ensure_admin_key(session, ADMIN_KEY, secret_key=SECRET_KEY)
    await database.close()


class Caller:
    """Calls with one key, and adds up what it was told that they cost."""

    def __init__(self, gateway: RunningGateway, key: dict[str, Any]) -> None:
        self._url = f"{gateway.url}/v1/chat/completions"
        self._headers = {"authorization": f"Bearer {key['value']}"}
        self.cost = 0

    def call(self) -> httpx.Response:
        reply = httpx.post(self._url, headers=self._headers, json=CALL, timeout=30)
        if reply.status_code == 200:
            self.cost += nano_from_usd(reply.headers["x-tuneway-cost"])
        return reply

    def until_refused(self) -> httpx.Response:
        """The first refusal."""
        for _ in range(500):
            if (reply := self.call()).status_code != 200:
                return reply
        raise AssertionError("never refused")

    def until_answered(self) -> None:
        asyncio.run(until(lambda: self.call().status_code == 200))


def callers(gateway: RunningGateway, limit_usd: float) -> tuple[Caller, Caller]:
    """One without a budget, one with."""
    return asyncio.run(_callers(gateway, limit_usd))


async def _callers(gateway: RunningGateway, limit_usd: float) -> tuple[Caller, Caller]:
    headers = {"authorization": f"Bearer {ADMIN_KEY}"}
    async with httpx.AsyncClient(base_url=gateway.url, headers=headers, timeout=30) as admin:
        free, bound = await create_key(admin, "free"), await create_key(admin, "bound")
        budget = {"project_id": bound["project_id"], "period": "total", "limit_usd": limit_usd}
        assert (await admin.post("/v1/budgets", json=budget)).status_code == 200
    return Caller(gateway, free), Caller(gateway, bound)


def sums(database_url: str) -> dict[str, int]:
    async def read() -> dict[str, int]:
        engine = create_async_engine(database_url)
        async with engine.connect() as connection:
            found = {name: await connection.scalar(text(query)) for name, query in SUMS.items()}
        await engine.dispose()
        return found

    return asyncio.run(read())


async def _migrate(url: str) -> None:
    engine = create_async_engine(url)
    await upgrade(engine)
    await engine.dispose()


def test_postgresql_stopped(directory: Path, redis_url: str, running_fake: Upstream) -> None:
    with ExitStack() as cleanup:
        server = cleanup.enter_context(ExitStack())
        url = server.enter_context(start_postgres(directory / "pg", durable=True))
        asyncio.run(_migrate(url))
        gateway = cleanup.enter_context(gateway_at(directory, url, redis_url, running_fake))
        free, bound = callers(gateway, 0.05)
        assert [each.call().status_code for each in (free, bound)] == [200, 200]
        server.close()
        before = bound.cost
        refused = bound.until_refused()
        assert bound.cost > before, "it went on from the lease"
        assert refused.status_code == 503
        assert "database cannot be reached" in refused.json()["error"]["message"]
        assert refused.headers["retry-after"] == "1"
        assert free.call().status_code == 200
        assert server.enter_context(start_postgres(directory / "pg", durable=True)) == url
        bound.until_answered()
        gateway.stop()
        found = sums(url)
        assert found.pop("exchanges") == found.pop("ledger") == found.pop("rollups") == bound.cost + free.cost
        assert found == {"window": bound.cost, "leases": bound.cost}


def test_redis_stopped(directory: Path, template_url: str, running_fake: Upstream) -> None:
    with ExitStack() as cleanup:
        database_url = cleanup.enter_context(own_database(template_url))
        server = cleanup.enter_context(ExitStack())
        redis_url = server.enter_context(start_redis(directory / "redis"))
        gateway = cleanup.enter_context(gateway_at(directory, database_url, redis_url, running_fake))
        free, bound = callers(gateway, 0.003)
        assert bound.call().status_code == 200
        server.close()
        refused = bound.until_refused()
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "insufficient_quota")
        assert bound.cost > nano_from_usd(0.003) * 95 // 100
        assert free.call().status_code == 200
        gateway.stop()
        found = sums(database_url)
        assert found["window"] == found["leases"] == bound.cost
        assert found["ledger"] == bound.cost + free.cost
