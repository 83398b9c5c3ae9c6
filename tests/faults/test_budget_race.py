"""Four gateways, a thousand calls at once on one key, some failing, some cut, one gateway killed: never over the budget,
hardly any of it left, and every sum of it the same.
"""

import asyncio
import json
import os
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import pytest
from sqlalchemy import text

from gateway.db.database import Database
from gateway.keys.service import ensure_admin_key
from gateway.kit.money import NANO
from tests.conftest import ADMIN_KEY, chat, create_key, own_database
from tests.fakes.upstream import Upstream
from tests.gateway.conftest import SECRET_KEY, RunningGateway
from tests.polling import until

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

GATEWAYS = 4
CALLS = 1_000
LIMIT_USD = "0.05"
LIMIT = int(Decimal(LIMIT_USD) * NANO)
KILLED_AFTER = 120
"""Replies."""
PATIENCE = 40.0
"""Seconds that a client tries again for."""
SEED = 20261121
TRY_AGAIN = {"", "budget_reserved", "service_unavailable", "model_loading"}
"""Codes; empty: the gateway is gone."""
CONFIG = """
[[upstreams]]
name = "fake"
base_url = "{url}"
models = ["echo", "endless"]
[[prices]]
model = "echo"
input = 0.1
output = 1.0
[[prices]]
model = "endless"
input = 0.1
output = 1.0
"""
SUMS = {
    "ledger": "SELECT sum(cost_nano)::bigint FROM ledger",
    "exchanges": "SELECT sum(cost_nano)::bigint FROM exchanges",
    "rollups": "SELECT sum(cost_nano)::bigint FROM usage_hours",
    "window": "SELECT spent_nano FROM budget_windows",
    "leases": "SELECT sum(greatest(granted_nano, spent_nano))::bigint FROM budget_leases",
}


@pytest.fixture
def gateways(
    template_url: str, redis_url: str, running_fake: Upstream, tmp_path: Path
) -> Iterator[list[RunningGateway]]:
    """They share a database and a data directory, as processes of one machine do."""
    running_fake.forget()
    with ExitStack() as cleanup:
        database_url = cleanup.enter_context(own_database(template_url))
        asyncio.run(_add_admin_key(database_url))
        (tmp_path / "tuneway.toml").write_text(CONFIG.format(url=running_fake.url))
        kept = {name: value for name, value in os.environ.items() if not name.startswith("TUNEWAY_")}
        environment = kept | {
            "TUNEWAY_CONFIG": str(tmp_path / "tuneway.toml"),
            "TUNEWAY_DATA_DIR": str(tmp_path / "data"),
            "TUNEWAY_SECRET_KEY": SECRET_KEY,
            "TUNEWAY_DATABASE__URL": database_url,
            "TUNEWAY_DATABASE__POOL_SIZE": "4",
            "TUNEWAY_REDIS__URL": redis_url,
            "TUNEWAY_TIMEOUTS__DRAIN": "0.1",
        }
        made: list[RunningGateway] = []
        for number in range(GATEWAYS):
            directory = tmp_path / str(number)
            directory.mkdir()
            made.append(RunningGateway(directory, database_url, environment))
            cleanup.callback(made[-1].stop)
        with ThreadPoolExecutor() as pool:
            list(pool.map(RunningGateway.start, made))
        yield made


@dataclass
class Load:
    """A thousand clients, each with one call that it wants answered, at whatever gateway it reaches."""

    gateways: list[RunningGateway]
    key: str
    ended: Counter[str] = field(default_factory=Counter[str])
    chance: random.Random = field(default_factory=lambda: random.Random(SEED))

    async def run(self) -> None:
        headers = {"authorization": f"Bearer {self.key}"}
        connector = aiohttp.TCPConnector(limit=0)
        timeout = aiohttp.ClientTimeout(total=60)
        async with aiohttp.ClientSession(headers=headers, connector=connector, timeout=timeout) as session:
            await asyncio.gather(*(self._client(session, number) for number in range(CALLS)))

    async def _client(self, session: aiohttp.ClientSession, number: int) -> None:
        body = self._body(number)
        deadline = time.monotonic() + PATIENCE
        turn = number
        while True:
            try:
                end = await self._call(session, self.gateways[turn % GATEWAYS], body)
            except (aiohttp.ClientError, OSError):  # the one that was killed
                end, turn = "", turn + 1
            if end not in TRY_AGAIN or time.monotonic() > deadline:
                self.ended[end] += 1
                return
            await asyncio.sleep(self.chance.uniform(0.2, 1.0))

    def _body(self, number: int) -> dict[str, Any]:
        """Of a price by chance, below its bound. A tenth fails at the upstream, a tenth is cut by the client."""
        most = self.chance.randint(100, 300)
        used = self.chance.randint(most // 2, most)
        body = chat("echo", max_tokens=most, stream=number % 3 == 0, metadata={"tokens": str(used)})
        match number % 10:
            case 0:
                body["metadata"]["fault"] = self.chance.choice(("error", "cut"))
            case 1:
                body |= {"model": "endless", "stream": True}
            case _:
                pass
        return body

    async def _call(self, session: aiohttp.ClientSession, gateway: RunningGateway, body: dict[str, Any]) -> str:
        async with session.post(f"{gateway.url}/v1/chat/completions", json=body) as reply:
            if reply.status != 200:
                return str((await reply.json())["error"]["code"])
            if body["model"] == "endless":
                await reply.content.readline()
                return "left"
            await reply.read()
            return "answered"


@pytest.fixture
async def database(gateways: list[RunningGateway]) -> AsyncIterator[Database]:
    database = Database(gateways[0].database_url, pool_size=1, timeout=10)
    yield database
    await database.close()


async def test_never_overspent_and_hardly_anything_left(gateways: list[RunningGateway], database: Database) -> None:
    victim = gateways[0]
    async with _admin(victim) as admin:
        key = await create_key(admin, "race")
        budget = {"api_key_id": key["id"], "period": "month", "limit_usd": float(LIMIT_USD)}
        assert (await admin.post("/v1/budgets", json=budget)).status_code == 200
    load = Load(gateways, key["value"])
    killing = asyncio.create_task(_kill(victim, load))
    await asyncio.sleep(1)  # until every gateway knows the key
    await load.run()
    await killing
    assert load.ended.total() == CALLS
    assert not load.ended.keys() & TRY_AGAIN, load.ended
    assert load.ended["answered"] > 100, load.ended
    assert load.ended["insufficient_quota"] > 100, "the load was enough to spend it"
    await until(lambda: len(_spools(gateways[1])) == GATEWAYS - 1)
    for gateway in gateways[1:]:
        await asyncio.to_thread(gateway.stop)
    sums = {name: await _sum(database, query) for name, query in SUMS.items()}
    await asyncio.to_thread(victim.start)
    sums["costs"] = await _costs(victim)
    assert len(set(sums.values())) == 1, sums
    assert LIMIT * 95 // 100 <= sums["ledger"] <= LIMIT


async def _add_admin_key(database_url: str) -> None:
    database = Database(database_url, pool_size=1, timeout=10)
    async with database.session() as session:
        await ensure_admin_key(session, ADMIN_KEY, secret_key=SECRET_KEY)
    await database.close()


async def _kill(victim: RunningGateway, load: Load) -> None:
    """In the middle."""
    await until(lambda: load.ended.total() >= KILLED_AFTER)
    await asyncio.to_thread(victim.kill)


def _admin(gateway: RunningGateway) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=gateway.url, headers={"authorization": f"Bearer {ADMIN_KEY}"}, timeout=30)


def _spools(gateway: RunningGateway) -> list[str]:
    return os.listdir(Path(gateway.environment["TUNEWAY_DATA_DIR"]) / "spool")


async def _sum(database: Database, query: str) -> int:
    async with database.session() as session:
        return await session.scalar(text(query)) or 0


async def _costs(gateway: RunningGateway) -> int:
    """What the Administration API says."""
    async with _admin(gateway) as admin:
        query = {"start_time": int(time.time()) // 86_400 * 86_400 - 86_400, "limit": 7}
        reply = await admin.get("/v1/organization/costs", params=query)
    assert reply.status_code == 200, reply.text
    buckets = json.loads(reply.text, parse_float=Decimal)["data"]
    values = [each["amount"]["value"] for bucket in buckets for each in bucket["results"]]
    return int(sum(map(Decimal, values)) * NANO)
