"""/v1/organization/alerts: what is not as it should be, and nothing else."""

from typing import Any

import httpx
import msgspec
import pytest
from sqlalchemy import text, update

from gateway.db.database import Database
from gateway.db.tables import BudgetWindowRow, LoadedModelRow, ReplicaRow
from gateway.kit.clock import now, unix
from gateway.protocol.routes import Breaker
from gateway.services import Services
from gateway.settings import EngineSettings, Settings
from tests.fakes.judging import World
from tests.fakes.tuned_models import add_job, add_tuned
from tests.gateway.metering.logged_calls import log
from tests.gateway.test_errors import error_in

pytestmark = pytest.mark.anyio

URL = "/v1/organization/alerts"
ENGINE, ASLEEP = "http://127.0.0.1:9/v1", "http://127.0.0.1:10/v1"
NANO = 10**9


async def alerts(client: httpx.AsyncClient, project_id: str | None = None) -> list[dict[str, Any]]:
    answer = await client.get(URL if project_id is None else f"/v1/organization/projects/{project_id}/alerts")
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


async def budget(admin: httpx.AsyncClient, database: Database, spent: float, **changes: Any) -> str:
    """Of 10 dollars, of which so much is spent."""
    wanted = {"period": "total", "limit_usd": 10, "name": "all of us"} | changes
    answer = await admin.post("/v1/budgets", json=wanted)
    assert answer.status_code == 200, answer.text
    async with database.session() as session:
        row = update(BudgetWindowRow).where(BudgetWindowRow.budget_id == answer.json()["id"])
        await session.execute(row.values(spent_nano=round(spent * NANO)))
    return answer.json()["id"]


def calls(number: int, **changes: Any) -> list[dict[str, Any]]:
    """So many, a minute ago."""
    at = unix(now()) - 60
    return [{"created_at": at + n / 1000, **changes} for n in range(number)]


async def test_nothing_to_tell(admin: httpx.AsyncClient, database: Database) -> None:
    await log(database, *calls(25))
    assert await alerts(admin) == []


class TestBudgets:
    async def test_of_which_most_is_spent(
        self, admin: httpx.AsyncClient, database: Database, project_key: dict[str, Any]
    ) -> None:
        await budget(admin, database, 7.99)
        mine = await budget(admin, database, 8, project_id=project_key["project_id"])
        [found] = await alerts(admin)
        assert (found["kind"], found["severity"], found["subject_id"]) == ("budget_threshold", "warning", mine)
        assert "all of us is spent to 80% ($8" in found["message"]
        assert (found["value"], found["project_id"]) == (0.8, project_key["project_id"])
        assert await alerts(admin, project_key["project_id"]) == [found]

    async def test_exhausted_is_critical_where_it_refuses_and_comes_first(
        self, admin: httpx.AsyncClient, database: Database
    ) -> None:
        await budget(admin, database, 12, hard=False)
        await budget(admin, database, 10, period="month")
        first, second = await alerts(admin)
        assert (first["severity"], second["severity"]) == ("critical", "warning")
        assert "calls are refused" in first["message"]
        assert "refuses nothing" in second["message"]
        assert {first["kind"], second["kind"]} == {"budget_exhausted"}


class TestTraffic:
    async def test_more_than_one_of_a_hundred_failed(self, admin: httpx.AsyncClient, database: Database) -> None:
        failed = calls(2, outcome="failed", status=502, project_id="proj_bad")
        await log(database, *calls(18, project_id="proj_bad"), *failed, *calls(99, project_id="proj_well"))
        [found] = await alerts(admin)
        assert (found["kind"], found["value"], found["limit"], found["n"]) == ("error_rate", 0.1, 0.01, 20)
        assert found["subject_id"] == "proj_bad"
        assert found["since"] <= unix(now()) - 3000

    async def test_what_clients_did_wrong_is_no_error_of_ours(
        self, admin: httpx.AsyncClient, database: Database
    ) -> None:
        await log(database, *calls(30, outcome="refused", status=400))
        assert await alerts(admin) == []

    async def test_of_a_few_calls_nothing_is_told(self, admin: httpx.AsyncClient, database: Database) -> None:
        await log(database, *calls(19, outcome="failed", status=502))
        assert await alerts(admin) == []

    async def test_one_answer_in_twenty_is_slow(self, admin: httpx.AsyncClient, database: Database) -> None:
        await log(database, *calls(19, duration_ms=100.0, project_id="proj_slow"))
        await log(database, *calls(2, duration_ms=5001.0, project_id="proj_slow", reply_id="x", created_at=unix(now())))
        [found] = await alerts(admin)
        assert (found["kind"], found["value"], found["n"], found["unit"]) == ("latency", 5001.0, 21, "ms")

    async def test_an_hour_later_it_is_past(self, admin: httpx.AsyncClient, database: Database) -> None:
        at = unix(now()) - 3700
        await log(database, *({"outcome": "failed", "status": 502, "created_at": at + n / 1000} for n in range(30)))
        assert await alerts(admin) == []


class TestJudgesAndModels:
    async def test_a_judge_that_is_behind(self, admin: httpx.AsyncClient, database: Database) -> None:
        world = await World(database).open()
        judge, version = await world.judge()
        await world.ask(version, "req_1", "req_2")
        assert await alerts(admin) == []
        async with database.session() as session:
            await session.execute(text("UPDATE judging_tasks SET created_at = now() - interval '20 minutes'"))
        [found] = await alerts(admin)
        assert (found["kind"], found["subject_id"], found["n"]) == ("judge_lag", judge.id, 2)
        assert 1200 <= found["value"] < 1300
        assert await alerts(admin, world.project_id) == [found | {"value": pytest.approx(found["value"], abs=60)}]

    async def test_an_adapter_that_cannot_be_loaded(
        self, admin: httpx.AsyncClient, database: Database, project_key: dict[str, Any]
    ) -> None:
        model = await add_tuned(database, await add_job(database, project_key))
        state = {"state": "failed", "code": "rank", "problem": "Its rank is too large.", "changed_at": now()}
        async with database.session() as session:
            session.add(LoadedModelRow(model_id=model.id, replica=ENGINE, probe=None, **state))
        [found] = await alerts(admin, project_key["project_id"])
        assert (found["kind"], found["subject_id"]) == ("adapter_failed", model.id)
        assert "Its rank is too large." in found["message"]


class TestReplicas:
    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        engine = EngineSettings(url=ENGINE, replicas=(ASLEEP,), model="base", model_path="/nowhere")
        return msgspec.structs.replace(settings, engine=engine)

    async def test_one_is_down(self, admin: httpx.AsyncClient, database: Database) -> None:
        """Of those in the settings: another's row is of the past. One that sleeps is well."""
        rows = ((ENGINE, "down"), (ASLEEP, "asleep"), ("http://gone/v1", "down"))
        async with database.session() as session:
            session.add_all(ReplicaRow(url=url, state=state, problem="refused", seen_at=now()) for url, state in rows)
        [found] = await alerts(admin)
        assert (found["kind"], found["subject_id"], found["severity"]) == ("replica_down", ENGINE, "critical")
        assert "refused" in found["message"]

    async def test_its_password_is_not_told(
        self, admin: httpx.AsyncClient, database: Database, sv: Services, settings: Settings
    ) -> None:
        url = "http://user:zebra@engine:8000/v1"
        engine = msgspec.structs.replace(settings.engine, url=url, replicas=())
        object.__setattr__(sv, "settings", msgspec.structs.replace(sv.settings, engine=engine))
        async with database.session() as session:
            session.add(ReplicaRow(url=url, state="down", problem="refused", seen_at=now()))
        [found] = await alerts(admin)
        assert (found["id"], found["subject_id"]) == ("replica_down:http://engine:8000/v1", "http://engine:8000/v1")
        assert "zebra" not in str(found)


class TestThisGateway:
    async def test_an_upstream_gets_no_calls(
        self, admin: httpx.AsyncClient, sv: Services, project_key: dict[str, Any]
    ) -> None:
        sv.traffic.breakers.failed(("fake", "http://fake", "echo"), "server_error", Breaker(failures=1))
        [found] = await alerts(admin)
        assert (found["kind"], found["subject_id"], found["severity"]) == ("upstream_failing", "fake", "critical")
        assert await alerts(admin, project_key["project_id"]) == []

    async def test_the_spool_is_deep(self, admin: httpx.AsyncClient, sv: Services) -> None:
        sv.spool.size = 65_000_000
        [found] = await alerts(admin)
        assert (found["kind"], found["value"], found["limit"]) == ("spool_depth", 65_000_000, 64_000_000)
        assert "(2% of what may wait; calls are refused at 100%)" in found["message"]

    async def test_the_spool_is_full(self, admin: httpx.AsyncClient, sv: Services) -> None:
        sv.spool.size = sv.spool.max_bytes = 30_000_000
        [found] = await alerts(admin)
        assert (found["kind"], found["severity"], found["limit"]) == ("spool_full", "critical", 30_000_000)
        assert found["message"] == "Calls are refused: 30 MB of finished calls wait for the database."

    async def test_the_disk_refuses(
        self, admin: httpx.AsyncClient, sv: Services, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sv.spool, "_trouble", "No space left on device")
        monkeypatch.setattr(sv.spool, "_look_at", float("inf"))
        [found] = await alerts(admin)
        assert (found["kind"], found["subject_id"]) == ("spool_full", sv.spool.directory.name)
        assert "the disk refuses the exchange log (No space left on device)" in found["message"]


async def test_there_is_no_such_project(admin: httpx.AsyncClient) -> None:
    error_in(await admin.get("/v1/organization/projects/proj_none/alerts"), 404)


class TestUptime:
    async def test_less_than_999_of_1000_calls_of_a_day_were_answered(
        self, admin: httpx.AsyncClient, database: Database
    ) -> None:
        """In an hour that is past: the error rate of the last one tells of none of them."""
        hours = unix(now()) - 2 * 3600
        early = [{"created_at": hours + n / 1000, "project_id": "proj_bad"} for n in range(1998)]
        failed = [{**each, "outcome": "failed", "status": 502} for each in early[:2]]
        refused = [{**each, "outcome": "refused", "status": 503} for each in early[2:3]]
        await log(database, *failed, *refused, *early[3:])
        [found] = await alerts(admin)
        assert (found["kind"], found["id"], found["severity"]) == ("uptime", "uptime:proj_bad", "warning")
        assert (found["value"], found["limit"], found["n"]) == (1 - 3 / 1998, 0.999, 1998)
        assert "99.85% of the calls" in found["message"]
        assert "the limit is 99.9%" in found["message"]
        assert found["since"] == hours // 3600 * 3600

    @pytest.mark.parametrize(("failed", "number"), [(1, 999), (1, 1000), (2, 2000)])
    async def test_one_call_alone_is_not_too_many(
        self, admin: httpx.AsyncClient, database: Database, failed: int, number: int
    ) -> None:
        at = unix(now()) - 2 * 3600
        changes = {"outcome": "failed", "status": 502}
        await log(database, *({"created_at": at + n / 1000, **(changes if n < failed else {})} for n in range(number)))
        assert await alerts(admin) == []

    async def test_a_day_later_it_is_past(self, admin: httpx.AsyncClient, database: Database) -> None:
        at = unix(now()) - 26 * 3600
        await log(database, *({"created_at": at + n / 1000, "outcome": "failed", "status": 502} for n in range(1200)))
        assert await alerts(admin) == []
