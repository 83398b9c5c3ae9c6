"""How models answered the newest calls of a project."""

import statistics
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from gateway.db.database import Database
from gateway.db.tables import ExchangeRow
from gateway.kit.clock import from_unix
from gateway.metering import model_traffic
from gateway.metering.model_traffic import TrafficFilters, traffic
from gateway.services import Services
from tests.conftest import chat
from tests.gateway.test_errors import error_in

pytestmark = pytest.mark.anyio

URL = "/v1/model_traffic"
START = 1_700_000_000
Write = Callable[..., Any]


async def write(database: Database, project_id: str, *rows: dict[str, Any]) -> None:
    plain = {
        "project_id": project_id,
        "api_key_id": "key_1",
        "endpoint": "/chat/completions",
        "requested_model": "shop",
        "served_model": "a",
        "streamed": False,
        "outcome": "completed",
        "status": 200,
        "request": b"{}",
        "usage_estimated": False,
        "priced": True,
        "input_tokens": 10,
        "output_tokens": 5,
        "cost_nano": 2000,
        "duration_ms": 100.0,
    }
    async with database.session() as session:
        for number, changes in enumerate(rows):
            at = START + number
            identity = {"id": f"req_{at * 10**9:016x}{number:016x}", "created_at": from_unix(at)}
            session.add(ExchangeRow(**{**plain, **identity, **changes}))


async def found(client: httpx.AsyncClient, **query: Any) -> dict[str, dict[str, Any]]:
    answer = await client.get(URL, params=query)
    assert answer.status_code == 200, answer.text
    return {each["model"]: each for each in answer.json()["data"]}


class TestModelTraffic:
    async def test_speed_success_and_cost_of_each_model(
        self, client: httpx.AsyncClient, database: Database, project_key: dict[str, Any]
    ) -> None:
        times = [100.0, 200.0, 300.0, 400.0]
        rows = [{"duration_ms": each, "first_token_ms": each / 10} for each in times]
        failed = {"outcome": "failed", "status": 502, "duration_ms": 9e9, "cost_nano": None, "output_tokens": None}
        left = {"outcome": "client_left", "duration_ms": 9e9, "cost_nano": None, "output_tokens": None}
        await write(database, project_key["project_id"], *rows, failed, left, {"served_model": "b"})
        told = await found(client)
        a = told["a"]
        assert (a["calls"], a["succeeded"], a["failed"]) == (6, 4, 1)
        assert a["success"]["value"] == pytest.approx(0.8)
        assert a["success"]["low"] == pytest.approx(0.3755, abs=1e-3)  # Wilson, 4 of 5
        assert a["p50_ms"] == statistics.median(times)
        assert a["p95_ms"] == pytest.approx(385)
        assert a["first_token_ms"] == 25
        assert a["tokens_per_second"] == pytest.approx(20)
        assert a["mean_cost_usd"] == pytest.approx(2e-6)
        assert told["b"]["calls"] == 1

    async def test_of_one_revision_of_a_route(
        self, client: httpx.AsyncClient, database: Database, project_key: dict[str, Any]
    ) -> None:
        rows = [
            {"route": "shop@1"},
            {"route": "shop@2"},
            {"route": "shop@2", "served_model": "b"},
            {"route": "shopping@2"},
        ]
        await write(database, project_key["project_id"], *rows, {})
        assert {name: each["calls"] for name, each in (await found(client, route="shop")).items()} == {"a": 2, "b": 1}
        assert (await found(client, route="shop", revision=2))["a"]["calls"] == 1
        grouped = (await client.get(URL, params={"group_by": "route"})).json()["data"]
        assert {(each["route"], each["model"]) for each in grouped} >= {("shop@1", "a"), ("shop@2", "b"), (None, "a")}

    async def test_in_a_time(self, client: httpx.AsyncClient, database: Database, project_key: dict[str, Any]) -> None:
        await write(database, project_key["project_id"], *[{}] * 5)
        assert (await found(client, created_after=START + 1, created_before=START + 4))["a"]["calls"] == 3

    async def test_judges_and_evals_are_no_traffic(
        self, client: httpx.AsyncClient, database: Database, project_key: dict[str, Any]
    ) -> None:
        await write(database, project_key["project_id"], {"purpose": "judge"}, {"purpose": "eval"}, {})
        assert (await found(client))["a"]["calls"] == 1

    async def test_the_newest_calls_are_looked_at_and_it_is_said_how_far_back_they_reach(
        self, client: httpx.AsyncClient, database: Database, project_key: dict[str, Any]
    ) -> None:
        await write(database, project_key["project_id"], {"served_model": "old"}, {}, {})
        async with database.session() as session:
            rows, looked = await traffic(session, project_key["project_id"], TrafficFilters(), sample=2)
        assert [row.model for row in rows] == ["a"]
        assert (looked.calls, looked.since) == (2, from_unix(START + 1))
        answer = (await client.get(URL)).json()
        assert (answer["looked_at"], answer["since"], answer["complete"]) == (3, START, True)
        assert model_traffic.SAMPLE == 5000

    async def test_real_calls_are_there(self, client: httpx.AsyncClient, sv: Services) -> None:
        assert (await client.post("/v1/chat/completions", json=chat("echo"))).status_code == 200
        await sv.drain.drain()
        told = (await found(client))["echo"]
        assert (told["calls"], told["succeeded"]) == (1, 1)
        assert told["cost_usd"] > 0

    async def test_a_wrong_filter_is_named(self, client: httpx.AsyncClient) -> None:
        assert error_in(await client.get(URL, params={"group_by": "day"}), 400)["param"] == "group_by"
        assert error_in(await client.get(URL, params={"revision": "x"}), 400)["param"] == "revision"
