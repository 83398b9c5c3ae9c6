"""/v1/budgets/holders: who holds parts of budgets."""

from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import update

from gateway.budgets import holds
from gateway.db.database import Database
from gateway.db.tables import FineTuningJobRow
from gateway.kit.clock import now, unix
from gateway.services import Services
from tests.conftest import chat
from tests.fakes.tuned_models import add_job
from tests.gateway.budgets.processes import Process, exactly, leases
from tests.gateway.budgets.silence import add_witness, silence
from tests.gateway.test_errors import error_in

pytestmark = pytest.mark.anyio

HOLDERS = "/v1/budgets/holders"
MICRO = 1000
"""Nano-dollars in a millionth of a dollar."""

Admin = httpx.AsyncClient


@pytest.fixture
async def budget(admin: Admin, project_key: dict[str, Any]) -> dict[str, Any]:
    body = {"project_id": project_key["project_id"], "period": "month", "limit_usd": 0.001}
    return (await admin.post("/v1/budgets", json=body)).json()


@pytest.fixture
async def dead(database: Database, budget: dict[str, Any], project_key: dict[str, Any]) -> str:
    """A process that leased 900 millionths of the budget, and was not heard of since."""
    process = Process(database, "77-dead")
    await process.poll()
    cover = process.budgets.of(project_key["project_id"], project_key["id"])
    assert cover is not None
    await process.budgets.reserve(cover, now().timestamp(), exactly(900 * MICRO))
    await silence(database, "77-dead")
    return "77-dead"


@pytest.fixture
async def job(database: Database, budget: dict[str, Any], project_key: dict[str, Any]) -> FineTuningJobRow:
    """A job that something is set aside for."""
    row = await add_job(database, project_key)
    async with database.session() as session:
        await holds.hold(session, row.project_id, row.api_key_id, row.id, 100 * MICRO)
    return row


async def set_job(database: Database, job: FineTuningJobRow, **values: Any) -> None:
    async with database.session() as session:
        await session.execute(update(FineTuningJobRow).where(FineTuningJobRow.id == job.id).values(values))


async def ids(admin: Admin, **query: Any) -> list[str]:
    answer = await admin.get(HOLDERS, params=query)
    assert answer.status_code == 200, answer.text
    return [each["id"] for each in answer.json()["data"]]


async def release(admin: Admin, holder: str) -> httpx.Response:
    return await admin.post(f"{HOLDERS}/{holder}/release")


class TestList:
    async def test_says_who_holds_what(self, admin: Admin, dead: str, budget: dict[str, Any]) -> None:
        [shown] = (await admin.get(HOLDERS)).json()["data"]
        assert 301 <= shown.pop("silent_seconds") < 400
        assert shown.pop("host")
        assert shown.pop("created_at") - shown.pop("seen_at") in (300, 301, 302)
        window = budget["window"]
        assert shown == {
            "id": dead,
            "object": "budget.holder",
            "kind": "gateway",
            "unspent_usd": 0.0009,
            "leases": [
                {
                    "budget_id": budget["id"],
                    "window_starts_at": window["starts_at"],
                    "window_ends_at": window["ends_at"],
                    "granted_usd": 0.0009,
                    "spent_usd": 0.0,
                    "unspent_usd": 0.0009,
                }
            ],
        }
        assert (await admin.get(f"{HOLDERS}/{dead}")).json()["leases"] == shown["leases"]

    async def test_of_jobs_too_and_together_they_are_what_the_budget_shows(
        self, admin: Admin, dead: str, job: FineTuningJobRow, budget: dict[str, Any]
    ) -> None:
        shown = (await admin.get(f"{HOLDERS}/{job.id}")).json()
        assert (shown["kind"], shown["host"], shown["seen_at"]) == ("fine_tuning_job", None, None)
        assert (shown["created_at"], shown["unspent_usd"]) == (unix(job.created_at), 0.0001)
        every = (await admin.get(HOLDERS)).json()["data"]
        window = (await admin.get(f"/v1/budgets/{budget['id']}")).json()["window"]
        assert sum(each["unspent_usd"] for each in every) == window["leased_usd"] == 0.001

    async def test_is_paged_oldest_first(
        self, admin: Admin, dead: str, job: FineTuningJobRow, database: Database
    ) -> None:
        await add_witness(database)
        assert await ids(admin) == ["witness", dead, job.id]
        assert await ids(admin, limit=1) == ["witness"]
        assert await ids(admin, after="witness", limit=1) == [dead]
        assert await ids(admin, order="desc") == [job.id, dead, "witness"]
        assert error_in(await admin.get(HOLDERS, params={"after": "x"}), 400)["param"] == "after"

    async def test_a_process_that_answers_calls_is_there(
        self, admin: Admin, client: httpx.AsyncClient, sv: Services
    ) -> None:
        await admin.post("/v1/budgets", json={"period": "day", "limit_usd": 10})
        assert (await client.post("/v1/chat/completions", json=chat("echo", max_tokens=5))).status_code == 200
        assert await ids(admin) == [sv.spool.directory.name]

    async def test_nobody(self, admin: Admin) -> None:
        assert await ids(admin) == []
        assert error_in(await admin.get(f"{HOLDERS}/x"), 404)["param"] == "holder_id"
        assert error_in(await release(admin, "x"), 404)["param"] == "holder_id"


class TestRelease:
    async def test_frees_what_a_dead_process_holds(
        self, admin: Admin, dead: str, database: Database, budget: dict[str, Any]
    ) -> None:
        await add_witness(database)
        was = (await admin.get(f"{HOLDERS}/{dead}")).json()
        answer = await release(admin, dead)
        assert (answer.status_code, answer.json()["leases"]) == (200, was["leases"])
        assert await ids(admin) == ["witness"]
        assert (await leases(database))[""] == (0, 0)
        assert (await admin.get(f"/v1/budgets/{budget['id']}")).json()["window"]["leased_usd"] == 0
        error_in(await release(admin, dead), 404)

    async def test_is_in_the_audit_log(
        self, admin: Admin, dead: str, database: Database, budget: dict[str, Any]
    ) -> None:
        await add_witness(database)
        await release(admin, dead)
        logs = (await admin.get("/v1/organization/audit_logs", params={"resource_ids[]": dead})).json()["data"]
        [entry] = logs
        assert entry["type"] == "organization.updated"
        assert entry["organization.updated"]["changes_requested"] == {
            "budget_holder": {"id": dead, "released": True, "unspent_usd": 0.0009, "budgets": {budget["id"]: 0.0009}}
        }

    async def test_one_that_is_alive_is_refused(self, admin: Admin, dead: str, database: Database) -> None:
        await add_witness(database)
        await silence(database, dead, 10)
        before = await leases(database)
        answer = await release(admin, dead)
        assert "77-dead runs" in error_in(answer, 409)["message"]
        assert answer.headers["x-should-retry"] == "false"
        assert await leases(database) == before

    async def test_one_whose_spool_is_here_is_refused(
        self, admin: Admin, dead: str, database: Database, sv: Services
    ) -> None:
        """Also where it is silent: whoever adopts it knows what it spent."""
        await add_witness(database)
        (sv.spool.directory.parent / dead).mkdir()
        before = await leases(database)
        assert "is on this machine" in error_in(await release(admin, dead), 409)["message"]
        assert await leases(database) == before

    async def test_a_job_that_goes_on_is_refused(self, admin: Admin, job: FineTuningJobRow, database: Database) -> None:
        for status in ("validating_files", "queued", "running", "paused"):
            await set_job(database, job, status=status, finished_at=None)
            message = error_in(await release(admin, job.id), 409)["message"]
            assert f"{job.id} is {status}" in message
            assert f"POST /v1/fine_tuning/jobs/{job.id}/cancel" in message

    async def test_a_job_that_may_still_be_settled_is_refused(
        self, admin: Admin, job: FineTuningJobRow, database: Database
    ) -> None:
        long_ago, soon = now() - timedelta(seconds=301), now() + timedelta(seconds=30)
        for finished, leased in ((now(), None), (long_ago, soon)):
            await set_job(database, job, status="cancelled", finished_at=finished, leased_until=leased)
            assert "has just ended" in error_in(await release(admin, job.id), 409)["message"]

    async def test_a_job_that_ended_and_that_nobody_settles_is_not(
        self, admin: Admin, job: FineTuningJobRow, database: Database
    ) -> None:
        long_ago = now() - timedelta(seconds=301)
        await set_job(
            database, job, status="cancelled", created_at=long_ago, finished_at=long_ago, leased_until=long_ago
        )
        assert (await release(admin, job.id)).status_code == 200
        assert await ids(admin) == []
