"""Trust and calibration through the API, with a worker of its own."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from gateway.db.database import Database
from gateway.db.tables import CriterionRow, JudgeVersionRow
from gateway.services import Services, WorkerServices, worker_services
from gateway.settings import Settings
from tests.fakes.judging import World
from tests.fakes.working import working
from tests.gateway.judging.test_calibrations import fill
from tests.gateway.routes.test_judges import exchange_ids, make
from tests.gateway.test_errors import error_in
from tests.polling import until

pytestmark = pytest.mark.anyio

Client = httpx.AsyncClient
KEPT = {"name": "kept", "kind": "boolean", "description": "Is it kept?"}


@pytest.fixture
async def wv(settings: Settings) -> AsyncIterator[WorkerServices]:
    async with worker_services(settings) as wv:
        yield wv


async def test_a_judge_earns_trust(
    client: Client, sv: Services, wv: WorkerServices, project_key: dict[str, Any]
) -> None:
    made = await make(client, criterion=KEPT)
    url = f"/v1/judges/{made['id']}"
    before = (await client.get(f"{url}/trust")).json()
    assert (before["trusted"], before["calibration"], before["coverage"]["asked"]) == (False, None, 0)
    assert len(before["reasons"]) == 2
    await _fill(sv, made, project_key["project_id"])
    async with working(wv):
        queued = await client.post(f"{url}/calibrate")
        assert queued.json() == {
            "object": "judge.calibration.queued",
            "judge_version_id": made["version"]["id"],
            "criterion_id": made["version"]["criterion_id"],
        }

        async def calibrated() -> bool:
            return (await client.get(f"{url}/trust")).json()["calibration"] is not None

        await until(calibrated)
    after = (await client.get(f"{url}/trust")).json()
    assert (after["trusted"], after["reasons"]) == (True, [])
    [standing] = (await client.get("/v1/judge_standings")).json()["data"]
    assert (standing["trusted"], standing["reasons"], standing["n"]) == (True, [], 42)
    figures = ("kappa", "kappa_low", "kappa_high")
    assert [standing[name] for name in figures] == [after["calibration"][name] for name in figures]
    assert (standing["asked"], standing["coverage"], standing["waiting"], standing["late"]) == (42, 1.0, 0, False)
    assert (after["min_kappa"], after["min_n"], after["min_coverage"]) == (0.4, 30, 0.9)
    assert (after["coverage"]["ok"], after["coverage"]["share"]) == (42, 1.0)
    assert after["calibration"] == after["history"][0]
    assert after["calibration"]["kappa_low"] < after["calibration"]["kappa"] < after["calibration"]["kappa_high"]
    stricter = await client.post(url, json={"spec": {"type": "llm", "model": "echo", "prompt": "Be strict."}})
    assert stricter.status_code == 200
    anew = (await client.get(f"{url}/trust")).json()
    assert (anew["trusted"], anew["calibration"], len(anew["history"])) == (False, None, 1), "another version"


async def _fill(sv: Services, made: dict[str, Any], project_id: str) -> None:
    world = World(sv.database, project_id)
    async with sv.database.session() as session:
        version = await session.get_one(JudgeVersionRow, made["version"]["id"])
        criterion = await session.get_one(CriterionRow, made["version"]["criterion_id"])
    await fill(world, version, criterion, [[20, 1], [1, 20]])


@pytest.mark.parametrize("criterion", ["preference", "comment", "correction", "nothing"])
async def test_only_what_can_be_compared(client: Client, criterion: str) -> None:
    made = await make(client)
    answer = await client.post(f"/v1/judges/{made['id']}/calibrate", json={"criterion": criterion})
    assert error_in(answer, 400)["param"] == "criterion"


async def test_thumbs_may_stand_for_a_rubric(client: Client) -> None:
    made = await make(client)
    answer = await client.post(f"/v1/judges/{made['id']}/calibrate", json={"criterion": "thumbs"})
    assert answer.status_code == 200
    assert answer.json()["criterion_id"] != made["version"]["criterion_id"]


async def test_lag_is_shown_to_prometheus(client: Client, sv: Services) -> None:
    async def shown() -> bool:
        return "tuneway_judging_waiting 0.0" in (await client.get("/metrics")).text

    await until(shown)
    sv.metrics.show_judging(3, 61.5)
    text = (await client.get("/metrics")).text
    assert "tuneway_judging_waiting 3.0" in text
    assert "tuneway_judging_lag_seconds 61.5" in text


class TestStandings:
    async def test_of_every_judge_with_its_own_lag_and_spend(
        self, client: Client, sv: Services, project_key: dict[str, Any], database: Database
    ) -> None:
        first = await make(client, criterion=KEPT)
        second = await make(client, name="other")
        await make(client, name="json", criterion=None, spec={"type": "rule", "rules": [{"type": "json"}]})
        ids = await exchange_ids(client, sv, 2)
        await client.post(f"/v1/judges/{second['id']}/judge", json={"exchange_ids": ids})
        await _fill(sv, first, project_key["project_id"])
        async with database.session() as session:
            spent = {"id": first["version"]["id"]}
            paid = "UPDATE judgments SET cost_nano = 1000000, judge_exchange_id = 'req_9' WHERE judge_version_id = :id"
            await session.execute(text(paid), spent)
        found = {each["id"]: each for each in (await client.get("/v1/judge_standings")).json()["data"]}
        assert len(found) == 3
        told, waiting = found[first["id"]], found[second["id"]]
        assert (told["calls"], told["cost_usd"], told["waiting"]) == (42, 0.042, 0)
        assert (waiting["calls"], waiting["waiting"], waiting["asked"], waiting["coverage"]) == (0, 2, 2, 0.0)
        assert waiting["lag_seconds"] >= 0
        assert not told["trusted"]
        assert [each["trusted"] for each in found.values()] == [True, False, False], "rules need no trust; newest first"

    async def test_those_that_are_archived_are_left_out(self, client: Client) -> None:
        made = await make(client)
        await client.delete(f"/v1/judges/{made['id']}")
        assert (await client.get("/v1/judge_standings")).json()["data"] == []
