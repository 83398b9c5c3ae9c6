"""Trust and calibration through the API, with a worker of its own."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from gateway.db.tables import CriterionRow, JudgeVersionRow
from gateway.services import Services, WorkerServices, worker_services
from gateway.settings import Settings
from tests.fakes.judging import World
from tests.fakes.working import working
from tests.gateway.judging.test_calibrations import fill
from tests.gateway.routes.test_judges import make
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
