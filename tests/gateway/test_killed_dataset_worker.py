"""A worker that is killed in the middle of building a dataset, as a process: another one builds the same bytes, and nothing is
left of the dead one."""

from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from gateway.datasets.building.grounds import PLACE
from gateway.db.tables import DatasetVersionRow
from tests.conftest import chat
from tests.gateway.conftest import RunningGateway, StartGateway
from tests.gateway.datasets.building.world import sentence
from tests.gateway.workers import SECONDS, StartWorker, let_leases_run_out, workers_of
from tests.polling import until

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

CALLS = 24
AT_ONCE = {"dataset_wait_seconds": "0"}
RECIPE = {"kind": "sft", "duplicates": {"near": False}, "split": {"validation": 0.3}}
WAITING = "SELECT count(*) FROM pg_locks WHERE relation = cast(:held AS regclass) AND NOT granted"

Client = httpx.AsyncClient


@pytest.fixture
def gateway(start_gateway: StartGateway) -> RunningGateway:
    return start_gateway(encryption_key="ab" * 32)


@pytest.fixture
def start_worker(gateway: RunningGateway) -> Iterator[StartWorker]:
    with workers_of(gateway) as start:
        yield start


@pytest.fixture
async def client(gateway: RunningGateway) -> AsyncIterator[Client]:
    headers = {"authorization": f"Bearer {gateway.key['value']}"}
    async with Client(base_url=gateway.url, headers=headers, timeout=60) as client:
        yield client


@pytest.fixture
async def engine(gateway: RunningGateway) -> AsyncIterator[AsyncEngine]:
    engine = create_async_engine(gateway.database_url)
    yield engine
    await engine.dispose()


@pytest.mark.parametrize(
    ("held", "mode", "stored"),
    [("judgments", "ACCESS EXCLUSIVE", False), ("dataset_items", "SHARE", True)],
    ids=["while it selects", "while it shows what it stored"],
)
async def test_another_worker_builds_it(
    gateway: RunningGateway,
    client: Client,
    engine: AsyncEngine,
    start_worker: StartWorker,
    held: str,
    mode: str,
    stored: bool,
) -> None:
    """The tables that it wants next are held, so that it is killed at that very place."""
    dataset = await _asked_for(client)
    first = start_worker(**AT_ONCE)
    undisturbed = await _completed(client, dataset, 1)
    async with _holding(engine, held, mode) as connection:
        await _post(client, f"/v1/datasets/{dataset}/versions", snapshot_at=undisturbed["snapshot_at"])

        async def is_at_it() -> bool:
            waiting = await connection.scalar(text(WAITING), {"held": held})
            return bool(waiting) and any(_at_work(gateway))

        await until(is_at_it, SECONDS)
        first.kill()
    assert (await _version(client, dataset, 2))["status"] == "building"
    assert bool(_blobs(gateway) - await _files(client)) is stored
    await let_leases_run_out(gateway, DatasetVersionRow)
    start_worker(**AT_ONCE)
    version = await _completed(client, dataset, 2)
    await _are_the_same(client, dataset, undisturbed, version)
    assert not any(_at_work(gateway))
    assert _blobs(gateway) == await _files(client)


async def test_what_a_dead_worker_stored_goes_with_a_version_that_is_cancelled(
    gateway: RunningGateway, client: Client, engine: AsyncEngine, start_worker: StartWorker
) -> None:
    dataset = await _asked_for(client)
    async with _holding(engine, "dataset_items", "SHARE") as connection:
        worker = start_worker(**AT_ONCE)

        async def is_at_it() -> bool:
            return bool(await connection.scalar(text(WAITING), {"held": "dataset_items"}))

        await until(is_at_it, SECONDS)
        worker.kill()
    assert len(_blobs(gateway)) == 2
    await _post(client, f"/v1/datasets/{dataset}/versions/1/cancel")
    assert _blobs(gateway) == set()


@asynccontextmanager
async def _holding(engine: AsyncEngine, table: str, mode: str) -> AsyncGenerator[AsyncConnection]:
    """Until the end of the block."""
    async with engine.connect() as connection:
        await connection.execute(text(f"LOCK TABLE {table} IN {mode} MODE"))
        yield connection


async def _asked_for(client: Client) -> str:
    """A dataset of calls that somebody liked; its id."""
    exchanges: list[str] = []
    for number in range(CALLS):
        body = chat("echo") | {"messages": [{"role": "user", "content": sentence(number)}]}
        answer = await client.post("/v1/chat/completions", json=body)
        exchanges.append(answer.headers["x-request-id"])
    for exchange in exchanges:
        await _post(client, "/v1/feedback", completion_id=exchange, thumbs="up")

    async def are_logged() -> bool:
        listed = (await client.get("/v1/exchanges", params={"limit": 100})).json()["data"]
        return {each["id"] for each in listed} == set(exchanges)

    await until(are_logged, SECONDS)
    return (await _post(client, "/v1/datasets", name="liked", recipe=RECIPE))["id"]


async def _post(client: Client, url: str, **body: Any) -> dict[str, Any]:
    answer = await client.post(url, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def _version(client: Client, dataset: str, number: int) -> dict[str, Any]:
    return (await client.get(f"/v1/datasets/{dataset}/versions/{number}")).json()


async def _completed(client: Client, dataset: str, number: int) -> dict[str, Any]:
    async def has_ended() -> bool:
        return (await _version(client, dataset, number))["status"] not in ("queued", "building")

    await until(has_ended, SECONDS)
    version = await _version(client, dataset, number)
    assert version["status"] == "completed", version["error"]
    return version


async def _are_the_same(client: Client, dataset: str, one: dict[str, Any], other: dict[str, Any]) -> None:
    """Bytes, reports and where rows come from; and there are no more versions."""
    versions = (await client.get(f"/v1/datasets/{dataset}/versions")).json()["data"]
    assert [each["version"] for each in versions] == [2, 1]
    assert one["training_rows"] + one["validation_rows"] == CALLS
    assert one["validation_rows"] > 0
    assert one["content_sha256"] == other["content_sha256"]
    for split in ("training_file", "validation_file"):
        contents = [(await client.get(f"/v1/files/{each[split]}/content")).content for each in (one, other)]
        assert contents[0] == contents[1]
    for what in ("report", "items?limit=100"):
        urls = (f"/v1/datasets/{dataset}/versions/{number}/{what}" for number in (1, 2))
        told = [(await client.get(url)).json() for url in urls]
        assert told[0] == told[1]


def _at_work(gateway: RunningGateway) -> Iterator[Path]:
    return (gateway.directory / PLACE).glob("*")


def _blobs(gateway: RunningGateway) -> set[str]:
    """Everything in the storage, complete or not."""
    return {path.name for path in (gateway.directory / "blobs").glob("*")}


async def _files(client: Client) -> set[str]:
    return {each["id"] for each in (await client.get("/v1/files")).json()["data"]}
