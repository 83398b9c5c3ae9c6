"""A worker that is killed in the middle of a run of an eval, as a process: another one goes on, and nothing is done twice."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from gateway.db.tables import EvalRunRow
from tests.fakes.evals import SAME, asking, create_eval, create_run, items_of, qa, retrieve
from tests.fakes.upstream import Upstream
from tests.gateway.conftest import RunningGateway, StartGateway
from tests.gateway.workers import SECONDS, StartWorker, let_leases_run_out, workers_of
from tests.polling import until

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

ITEMS = 120


@pytest.fixture
def gateway(start_gateway: StartGateway) -> RunningGateway:
    return start_gateway(encryption_key="ab" * 32)


@pytest.fixture
def start_worker(gateway: RunningGateway) -> Iterator[StartWorker]:
    with workers_of(gateway) as start:
        yield start


async def test_another_worker_goes_on(gateway: RunningGateway, start_worker: StartWorker, upstream: Upstream) -> None:
    headers = {"authorization": f"Bearer {gateway.key['value']}"}
    async with httpx.AsyncClient(base_url=gateway.url, headers=headers, timeout=60) as client:
        of = await create_eval(client, SAME)
        run = await create_run(client, of["id"], asking(*(qa(str(n), str(n)) for n in range(ITEMS))))

        async def passed() -> int:
            return (await retrieve(client, run))["result_counts"]["passed"]

        first = start_worker(eval_calls="1")

        async def some() -> bool:
            return await passed() >= 3

        await until(some, SECONDS)
        first.kill()
        done = {item["id"]: item["exchange_id"] for item in await items_of(client, run)}
        assert 3 <= len(done) < 100
        assert (await retrieve(client, run))["status"] == "in_progress"
        await let_leases_run_out(gateway, EvalRunRow)
        start_worker(eval_calls="4")

        async def completed() -> bool:
            return (await retrieve(client, run))["status"] == "completed"

        await until(completed, SECONDS)
        found = await retrieve(client, run)
        items: list[dict[str, Any]] = await items_of(client, run)
        items += await items_of(client, run, after=items[-1]["id"])
        [judged] = (await client.get("/v1/judgments/summary", params={"eval_run": run["id"]})).json()["data"]
    assert (judged["judgments"], judged["passed"]) == (ITEMS, ITEMS)
    assert found["result_counts"] == {"total": ITEMS, "errored": 0, "failed": 0, "passed": ITEMS}
    assert found["metrics"]["pass_rate"]["value"] == 1.0
    assert [item["datasource_item_id"] for item in items] == list(range(ITEMS))
    assert {item["id"]: item["exchange_id"] for item in items if item["id"] in done} == done
    asked = [body["messages"][0]["content"] for body in upstream.requests]
    assert set(asked) == {str(n) for n in range(ITEMS)}
    assert len(asked) <= ITEMS + 1  # the call that was under way
