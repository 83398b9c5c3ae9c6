"""A worker that is killed in the middle of a run of an eval, as a process: another one goes on, and nothing is done twice."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest
from sqlalchemy import update

from gateway.db.database import Database
from gateway.db.tables import EvalRunRow
from gateway.kit.clock import from_unix
from tests.fakes.evals import SAME, asking, create_eval, create_run, items_of, qa, retrieve
from tests.fakes.upstream import Upstream
from tests.gateway.conftest import RunningGateway, StartGateway

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

ITEMS = 120
SECONDS = 180.0
"""A machine that does much else starts a worker in many seconds."""
StartWorker = Callable[[int], "subprocess.Popen[bytes]"]


@pytest.fixture
def gateway(start_gateway: StartGateway) -> RunningGateway:
    return start_gateway(encryption_key="ab" * 32)


@pytest.fixture
def start_worker(gateway: RunningGateway) -> Iterator[StartWorker]:
    """Starts `tuneway worker` with that many calls at a time."""
    with ExitStack() as cleanup:

        def start(calls: int) -> "subprocess.Popen[bytes]":
            environment = gateway.environment | {
                "TUNEWAY_WORKER__GATEWAY_URL": gateway.url,
                "TUNEWAY_WORKER__EVAL_CALLS": str(calls),
            }
            log = cleanup.enter_context((gateway.directory / "worker.log").open("ab"))
            command = [sys.executable, "-m", "deploy.cli", "worker"]
            process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
            cleanup.callback(kill, process)
            return process

        yield start


def kill(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(timeout=20)


async def eventually(condition: Callable[[], Awaitable[object]]) -> None:
    async with asyncio.timeout(SECONDS):
        while not await condition():  # noqa: ASYNC110 another process does it
            await asyncio.sleep(0.01)


async def test_another_worker_goes_on(gateway: RunningGateway, start_worker: StartWorker, upstream: Upstream) -> None:
    headers = {"authorization": f"Bearer {gateway.key['value']}"}
    async with httpx.AsyncClient(base_url=gateway.url, headers=headers, timeout=60) as client:
        of = await create_eval(client, SAME)
        run = await create_run(client, of["id"], asking(*(qa(str(n), str(n)) for n in range(ITEMS))))

        async def passed() -> int:
            return (await retrieve(client, run))["result_counts"]["passed"]

        first = start_worker(1)

        async def some() -> bool:
            return await passed() >= 3

        await eventually(some)
        kill(first)
        done = {item["id"]: item["exchange_id"] for item in await items_of(client, run)}
        assert 3 <= len(done) < 100
        assert (await retrieve(client, run))["status"] == "in_progress"
        await _let_the_lease_run_out(gateway)
        start_worker(4)

        async def completed() -> bool:
            return (await retrieve(client, run))["status"] == "completed"

        await eventually(completed)
        found = await retrieve(client, run)
        items: list[dict[str, Any]] = await items_of(client, run)
        items += await items_of(client, run, after=items[-1]["id"])
    assert found["result_counts"] == {"total": ITEMS, "errored": 0, "failed": 0, "passed": ITEMS}
    assert found["metrics"]["pass_rate"]["value"] == 1.0
    assert [item["datasource_item_id"] for item in items] == list(range(ITEMS))
    assert {item["id"]: item["exchange_id"] for item in items if item["id"] in done} == done
    asked = [body["messages"][0]["content"] for body in upstream.requests]
    assert set(asked) == {str(n) for n in range(ITEMS)}
    assert len(asked) <= ITEMS + 1  # the call that was under way


async def _let_the_lease_run_out(gateway: RunningGateway) -> None:
    database = Database(gateway.database_url, pool_size=1, timeout=10)
    try:
        async with database.session() as session:
            await session.execute(update(EvalRunRow).values(leased_until=from_unix(1)))
    finally:
        await database.close()
