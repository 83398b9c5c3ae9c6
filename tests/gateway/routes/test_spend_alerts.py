"""OpenAI's spend alerts: soft budgets with one threshold, told by webhook."""

from typing import Any

import httpx
import pytest

from gateway.budgets import repository
from gateway.services import Services
from gateway.tasks.announce_events import of_budget
from tests.contract import conforms
from tests.gateway.routes.test_budgets import spend, this_hour
from tests.gateway.test_errors import error_in

pytestmark = pytest.mark.anyio

CHANNEL = {"type": "email", "recipients": ["cfo@example.com"], "subject_prefix": "Hm"}
ALERT: dict[str, Any] = {
    "threshold_amount": 200, "currency": "USD", "interval": "month", "notification_channel": CHANNEL,
}  # fmt: skip


@pytest.fixture(params=["organization", "project"])
def place(request: pytest.FixtureRequest, project_key: dict[str, Any]) -> tuple[str, str]:
    below = "" if request.param == "organization" else f"/projects/{project_key['project_id']}"
    return request.param, f"/v1/organization{below}/spend_alerts"


class TestSpendAlert:
    async def test_lives(self, admin: httpx.AsyncClient, place: tuple[str, str]) -> None:
        scope, url = place
        made = (await admin.post(url, json=ALERT)).json()
        assert made == ALERT | {"id": made["id"], "object": f"{scope}.spend_alert"}
        conforms(f"{scope.title()}SpendAlert", made)
        one = f"{url}/{made['id']}"
        other = {"type": "email", "recipients": ["a@b.c", "d@e.f"], "subject_prefix": None}
        changed = (await admin.post(one, json=ALERT | {"threshold_amount": 0, "notification_channel": other})).json()
        assert (changed["threshold_amount"], changed["notification_channel"]) == (0, other)
        assert (await admin.get(one)).json() == changed
        gone = (await admin.delete(one)).json()
        assert gone == {"id": made["id"], "object": f"{scope}.spend_alert.deleted", "deleted": True}
        conforms(f"{scope.title()}SpendAlertDeletedResource", gone)
        for method in ("GET", "POST", "DELETE"):
            assert error_in(await admin.request(method, one, json=ALERT), 404)["param"] == "alert_id"

    async def test_list_pages_both_ways(self, admin: httpx.AsyncClient, place: tuple[str, str]) -> None:
        scope, url = place
        ids = [(await admin.post(url, json=ALERT | {"threshold_amount": n})).json()["id"] for n in (100, 200, 300)]
        page = (await admin.get(url, params={"limit": 2})).json()
        conforms(f"{scope.title()}SpendAlertListResource", page)
        assert ([each["id"] for each in page["data"]], page["has_more"]) == (ids[:2], True)
        assert (page["first_id"], page["last_id"]) == (ids[0], ids[1])
        for query, expected in (
            ({"after": ids[1]}, ids[2:]),
            ({"before": ids[2], "limit": 1}, ids[1:2]),
            ({"order": "desc", "limit": 1}, ids[2:]),
            ({"limit": 0}, []),
        ):
            assert [each["id"] for each in (await admin.get(url, params=query)).json()["data"]] == expected

    async def test_one_of_another_place_is_not_here(
        self, admin: httpx.AsyncClient, project_key: dict[str, Any]
    ) -> None:
        made = (await admin.post("/v1/organization/spend_alerts", json=ALERT)).json()
        of_project = f"/v1/organization/projects/{project_key['project_id']}/spend_alerts"
        error_in(await admin.get(f"{of_project}/{made['id']}"), 404)
        assert (await admin.get(of_project)).json()["data"] == []

    async def test_refuses_nothing_and_tells_with_its_channel(
        self, admin: httpx.AsyncClient, sv: Services, project_key: dict[str, Any]
    ) -> None:
        await spend(sv, project_key, 2_000_000_000, this_hour())
        made = (await admin.post("/v1/organization/spend_alerts", json=ALERT)).json()
        [budget] = (await admin.get("/v1/budgets")).json()["data"]
        assert (budget["id"], budget["hard"], budget["source"]) == (made["id"], False, "spend_alert")
        [event] = (await admin.get(f"/v1/budgets/{made['id']}/events")).json()["data"]
        assert (event["threshold"], event["limit_usd"]) == (100, 2)
        async with sv.database.session() as session:
            [(row, of)] = await repository.unannounced(session, 10)
            told = of_budget(row, of)
        assert (told.type, told.data["notification_channel"]) == ("budget.threshold_reached", CHANNEL)

    @pytest.mark.parametrize(
        ("fields", "param"),
        [
            ({"threshold_amount": -1}, "threshold_amount"),
            ({"currency": "usd"}, "currency"),
            ({"interval": "week"}, "interval"),
            ({"notification_channel": CHANNEL | {"type": "sms"}}, "notification_channel.type"),
            ({"notification_channel": CHANNEL | {"recipients": []}}, "notification_channel.recipients"),
            ({"notification_channel": CHANNEL | {"recipients": ["a@b.c", "x"]}}, "notification_channel.recipients[1]"),
            ({"notification_channel": CHANNEL | {"subject_prefix": "x" * 257}}, "notification_channel.subject_prefix"),
        ],
    )
    async def test_names_the_field_that_is_wrong(
        self, admin: httpx.AsyncClient, fields: dict[str, Any], param: str
    ) -> None:
        reply = await admin.post("/v1/organization/spend_alerts", json=ALERT | fields)
        assert error_in(reply, 400)["param"] == param
        assert (await admin.get("/v1/organization/spend_alerts")).json()["data"] == []
