"""OpenAI's spend limits: a hard budget for each month."""

import asyncio
from typing import Any

import httpx
import pytest
from sqlalchemy import select, update

from gateway.db.tables import AuditLogRow, BudgetRow, BudgetWindowRow
from gateway.services import Services
from tests.contract import conforms
from tests.gateway.test_errors import error_in

pytestmark = pytest.mark.anyio

LIMIT = {"threshold_amount": 1250, "currency": "USD", "interval": "month"}


@pytest.fixture(params=["organization", "project"])
def place(request: pytest.FixtureRequest, project_key: dict[str, Any]) -> tuple[str, str]:
    """What it is for, and its URL."""
    below = "" if request.param == "organization" else f"/projects/{project_key['project_id']}"
    return request.param, f"/v1/organization{below}/spend_limit"


class TestSpendLimit:
    async def test_is_made_changed_and_deleted(
        self, admin: httpx.AsyncClient, sv: Services, place: tuple[str, str]
    ) -> None:
        scope, url = place
        error_in(await admin.get(url), 404)
        error_in(await admin.delete(url), 404)
        made = (await admin.post(url, json=LIMIT)).json()
        assert made == LIMIT | {"object": f"{scope}.spend_limit", "enforcement": {"status": "inactive"}}
        conforms(f"{scope.title()}SpendLimitResource", made)
        changed = (await admin.post(url, json=LIMIT | {"threshold_amount": 1})).json()
        assert changed["threshold_amount"] == 1
        assert (await admin.get(url)).json() == changed
        [budget] = (await admin.get("/v1/budgets")).json()["data"]
        assert (budget["scope"], budget["period"], budget["hard"], budget["limit_usd"]) == (scope, "month", True, 0.01)
        gone = (await admin.delete(url)).json()
        assert gone == {"object": f"{scope}.spend_limit.deleted", "deleted": True}
        conforms(f"{scope.title()}SpendLimitDeletedResource", gone)
        error_in(await admin.get(url), 404)
        async with sv.database.session() as session:
            logged = list(
                await session.scalars(select(AuditLogRow.type).where(AuditLogRow.resource_id == budget["id"]))
            )
        assert logged == [f"{scope}.updated"] * 3

    async def test_says_when_it_refuses(self, admin: httpx.AsyncClient, sv: Services, place: tuple[str, str]) -> None:
        _, url = place
        await admin.post(url, json=LIMIT)
        for spent, status in (
            (12_490_000_000, "inactive"),
            (12_490_000_001, "enforcing"),
            (12_500_000_000, "enforcing"),
        ):
            async with sv.database.session() as session:
                await session.execute(update(BudgetWindowRow).values(spent_nano=spent))
            assert (await admin.get(url)).json()["enforcement"] == {"status": status}

    @pytest.mark.parametrize(
        ("fields", "param"),
        [
            ({"threshold_amount": 0}, "threshold_amount"),
            ({"threshold_amount": 1_000_000_001}, "threshold_amount"),
            ({"threshold_amount": 1.5}, "threshold_amount"),
            ({"currency": "EUR"}, "currency"),
            ({"interval": "day"}, "interval"),
            ({"period": "day"}, "period"),
        ],
    )
    async def test_names_the_field_that_is_wrong(
        self, admin: httpx.AsyncClient, fields: dict[str, Any], param: str
    ) -> None:
        reply = await admin.post("/v1/organization/spend_limit", json=LIMIT | fields)
        assert error_in(reply, 400)["param"] == param

    async def test_of_a_project_that_is_unknown_or_archived(
        self, admin: httpx.AsyncClient, project_key: dict[str, Any]
    ) -> None:
        for method in ("GET", "POST", "DELETE"):
            reply = await admin.request(method, "/v1/organization/projects/proj_none/spend_limit", json=LIMIT)
            assert error_in(reply, 404)["param"] == "project_id"
        project = f"/v1/organization/projects/{project_key['project_id']}"
        await admin.post(f"{project}/archive")
        assert "archived" in error_in(await admin.post(f"{project}/spend_limit", json=LIMIT), 400)["message"]

    async def test_two_at_once_make_one(self, admin: httpx.AsyncClient, sv: Services) -> None:
        url = "/v1/organization/spend_limit"
        replies = await asyncio.gather(*(admin.post(url, json=LIMIT) for _ in range(4)))
        assert {reply.status_code for reply in replies} == {200}
        async with sv.database.session() as session:
            assert len(list(await session.scalars(select(BudgetRow)))) == 1
