"""Runs of evals whose worker is gone, or stops."""

from typing import Any

import httpx
import pytest
from sqlalchemy import update

from gateway.app import App
from gateway.db.database import Database
from gateway.db.tables import EvalOutputItemRow, EvalRunRow
from gateway.kit.clock import from_unix
from gateway.settings import Settings
from tests.fakes.evals import (
    asking,
    create_eval,
    create_run,
    ended,
    eval_worker,
    items_of,
    jsonl,
    qa,
    retrieve,
    upload,
    working,
)
from tests.polling import until

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_processes")]

Client = httpx.AsyncClient


class TestTakingOver:
    async def test_what_a_dead_worker_left_is_done_once(
        self, client: Client, app: App, settings: Settings, project_key: dict[str, Any], database: Database
    ) -> None:
        """The first one is stopped in the middle as `kill -9` would: it gives nothing back."""
        run = await create_run(
            client, (await create_eval(client))["id"], asking(*(qa(str(n), str(n)) for n in range(9)))
        )
        async with eval_worker(settings, app, project_key["value"]) as (_, first, runs):
            plain = first.chat

            async def four(*arguments: Any) -> Any:
                if len(first.asked) == 4:
                    first.gate.clear()
                return await plain(*arguments)

            first.chat = four  # type: ignore[method-assign]
            runs._release = _nothing  # type: ignore[method-assign]
            await runs.begin()
            await until(lambda: len(first.asked) == 7)

            async def four_done() -> bool:
                return len(await items_of(client, run)) == 4

            await until(four_done)
            done = {item["datasource_item_id"] for item in await items_of(client, run)}
        assert len(done) == 4
        async with eval_worker(settings, app, project_key["value"]) as (_, second, runs):
            await runs.begin()
            assert second.asked == []  # the lease still holds
            async with database.session() as session:
                await session.execute(update(EvalRunRow).values(leased_until=from_unix(1)))
            await runs.begin()
            found = await ended(client, run)
            asked = {int(body["messages"][0]["content"]) for body in second.asked}
        assert found["result_counts"] == {"total": 9, "errored": 0, "failed": 0, "passed": 9}
        assert asked == set(range(9)) - done
        items = await items_of(client, run)
        assert len(items) == 9
        judged = (await client.get("/v1/judgments", params={"eval_run": run["id"], "limit": 100})).json()["data"]
        assert sorted(each["output_item_id"] for each in judged) == sorted(item["id"] for item in items)

    async def test_half_read_data_is_read_on(
        self, client: Client, app: App, settings: Settings, project_key: dict[str, Any], database: Database
    ) -> None:
        file_id = await upload(client, jsonl(*({"item": qa(str(n), str(n))} for n in range(5))))
        source = asking() | {"source": {"type": "file_id", "id": file_id}}
        run = await create_run(client, (await create_eval(client))["id"], source)
        async with database.session() as session:
            session.add(
                EvalOutputItemRow(
                    id="outputitem_there",
                    run_id=run["id"],
                    number=0,
                    repeat=0,
                    item=qa("0", "0"),
                    cluster="#0",
                    status="queued",
                    created_at=from_unix(1),
                )
            )
        async with working(settings, app, project_key):
            found = await ended(client, run)
        assert found["result_counts"] == {"total": 5, "errored": 0, "failed": 0, "passed": 5}
        assert (await items_of(client, run))[0]["id"] == "outputitem_there"

    async def test_a_worker_that_stops_gives_its_runs_back(
        self, client: Client, app: App, settings: Settings, project_key: dict[str, Any], database: Database
    ) -> None:
        run = await create_run(client, (await create_eval(client))["id"], asking(qa("a", "a")))
        async with eval_worker(settings, app, project_key["value"]) as (_, straight, runs):
            straight.gate.clear()
            await runs.begin()
            await until(lambda: straight.under_way == 1)
        async with database.session() as session:
            row = await session.get_one(EvalRunRow, run["id"])
        assert (row.status, row.lease_holder, row.leased_until) == ("in_progress", None, None)

    async def test_who_lost_the_lease_writes_nothing(
        self, client: Client, app: App, settings: Settings, project_key: dict[str, Any], database: Database
    ) -> None:
        run = await create_run(client, (await create_eval(client))["id"], asking(qa("a", "a")))
        async with eval_worker(settings, app, project_key["value"], poll_seconds=60) as (_, straight, runs):
            straight.gate.clear()
            await runs.begin()
            await until(lambda: straight.under_way == 1)
            async with database.session() as session:
                await session.execute(update(EvalRunRow).values(lease_holder="another"))
            straight.gate.set()
            await until(lambda: runs._under_way == 0)
        assert await items_of(client, run) == []
        assert (await retrieve(client, run))["status"] == "in_progress"


async def _nothing(*_: Any) -> None:
    pass
