"""/v1/budgets: what a key, a project or everybody may spend."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from gateway.app import App
from gateway.db.tables import AuditLogRow, BudgetEventRow, BudgetLeaseRow, BudgetWindowRow, ChangeRow, UsageHourRow
from gateway.kit.clock import now, unix
from gateway.services import Services
from tests.conftest import client_of
from tests.gateway.test_errors import error_in

pytestmark = pytest.mark.anyio

DAY = 86_400


async def create(admin: httpx.AsyncClient, **fields: Any) -> dict[str, Any]:
    reply = await admin.post("/v1/budgets", json={"period": "month", "limit_usd": 10} | fields)
    assert reply.status_code == 200, reply.text
    return reply.json()


async def spend(sv: Services, key: dict[str, Any], nano: int, hour: datetime) -> None:
    """In the rollups, as if it had been called."""
    async with sv.database.session() as session:
        names = ("requests", "input_tokens", "cached_input_tokens", "output_tokens", "device_ms", "input_nano",
                 "cached_input_nano", "output_nano", "request_nano")  # fmt: skip
        session.add(
            UsageHourRow(
                hour=hour, project_id=key["project_id"], api_key_id=key["id"], user_id="", model="m", kind="call",
                endpoint="/chat/completions", batch=False, priced=True, cost_nano=nano, **dict.fromkeys(names, 0),
            )
        )  # fmt: skip


def this_hour() -> datetime:
    return now().replace(minute=0, second=0, microsecond=0)


class TestCreate:
    async def test_of_each_scope(self, admin: httpx.AsyncClient, project_key: dict[str, Any]) -> None:
        project, key = project_key["project_id"], project_key["id"]
        everybody = await create(admin)
        of_project = await create(admin, project_id=project)
        of_key = await create(admin, api_key_id=key, name="web", hard=False, thresholds=[90, 10, 90])
        assert (everybody["scope"], everybody["project_id"], everybody["api_key_id"]) == ("organization", None, None)
        assert (of_project["scope"], of_project["project_id"]) == ("project", project)
        assert (of_key["scope"], of_key["project_id"], of_key["api_key_id"]) == ("api_key", project, key)
        assert (of_key["api_key_name"], of_project["api_key_name"]) == (project_key["name"], None)
        assert (of_key["hard"], of_key["thresholds"], of_key["name"]) == (False, [10, 90], "web")
        assert (everybody["hard"], everybody["thresholds"]) == (True, [50, 80, 100])
        assert everybody["id"].startswith("budget_")
        assert (everybody["object"], everybody["source"]) == ("budget", "budgets")
        assert (await admin.get(f"/v1/budgets/{of_key['id']}")).json() == of_key

    @pytest.mark.parametrize("period", ["total", "day", "week", "month"])
    async def test_says_the_window_that_is_on(self, admin: httpx.AsyncClient, period: str) -> None:
        budget = await create(admin, period=period)
        window = budget["window"]
        start = datetime.fromtimestamp(window["starts_at"], UTC)
        if period == "total":
            assert (window["starts_at"], window["ends_at"]) == (budget["created_at"], None)
        else:
            assert (start.hour, start.minute, start.second) == (0, 0, 0)
            assert window["starts_at"] <= budget["created_at"] < window["ends_at"]
        if period == "week":
            assert (start.weekday(), window["ends_at"] - window["starts_at"]) == (0, 7 * DAY)
        if period == "month":
            assert start.day == 1
        assert (window["spent_usd"], window["leased_usd"], window["remaining_usd"]) == (0, 0, 10)

    @pytest.mark.parametrize("limit", ["0.1", "1e-9", "0", "10000000", "1234567.123456789", "0.000000001"])
    async def test_takes_a_limit_to_the_nano_dollar(self, admin: httpx.AsyncClient, limit: str) -> None:
        body = b'{"period": "day", "limit_usd": %s}' % limit.encode()
        reply = await admin.post("/v1/budgets", content=body)
        assert reply.json()["limit_usd"] == float(limit)

    @pytest.mark.parametrize(
        "limit",
        ["1e-10", "0.0000000001", "-1", "10000000.000000001", "1e400", "1e999999999", '"5"', "true", "null", "NaN"],
    )
    async def test_refuses_any_other_limit_by_its_field(self, admin: httpx.AsyncClient, limit: str) -> None:
        body = b'{"period": "day", "limit_usd": %s}' % limit.encode()
        error = error_in(await admin.post("/v1/budgets", content=body), 400)
        assert error["param"] == ("limit_usd" if limit != "NaN" else None)

    @pytest.mark.parametrize(
        ("fields", "param"),
        [
            ({"period": "year"}, "period"),
            ({"period": None}, "period"),
            ({"scope": "user"}, "scope"),
            ({"scope": "project"}, "project_id"),
            ({"scope": "api_key"}, "api_key_id"),
            ({"scope": "organization", "project_id": "KNOWN"}, "project_id"),
            ({"scope": "project", "project_id": "KNOWN", "api_key_id": "KNOWN"}, "api_key_id"),
            ({"thresholds": [0]}, "thresholds[0]"),
            ({"thresholds": [50, 101]}, "thresholds[1]"),
            ({"thresholds": list(range(1, 22))}, "thresholds"),
            ({"thresholds": ["a"]}, "thresholds[0]"),
            ({"name": ""}, "name"),
            ({"name": "a" * 257}, "name"),
            ({"hard": "yes"}, "hard"),
            ({"limit": 5}, "limit"),
        ],
    )
    async def test_names_the_field_that_is_wrong(
        self, admin: httpx.AsyncClient, project_key: dict[str, Any], fields: dict[str, Any], param: str
    ) -> None:
        known = {"project_id": project_key["project_id"], "api_key_id": project_key["id"]}
        body = {name: known[name] if value == "KNOWN" else value for name, value in fields.items()}
        reply = await admin.post("/v1/budgets", json={"period": "day", "limit_usd": 1} | body)
        assert error_in(reply, 400)["param"] == param
        assert (await admin.get("/v1/budgets")).json()["data"] == []

    async def test_does_not_know_a_project_or_a_key(
        self, admin: httpx.AsyncClient, project_key: dict[str, Any]
    ) -> None:
        """Like every other field that names what there is not: 404."""
        other = (await admin.post("/v1/organization/projects", json={"name": "other"})).json()["id"]
        key = project_key["id"]
        for fields, param in (
            ({"project_id": "proj_none"}, "project_id"),
            ({"project_id": "proj_none", "api_key_id": key}, "project_id"),
            ({"api_key_id": "key_none"}, "api_key_id"),
            ({"api_key_id": key, "project_id": other}, "api_key_id"),
        ):
            reply = await admin.post("/v1/budgets", json={"period": "day", "limit_usd": 1} | fields)
            assert error_in(reply, 404)["param"] == param
        assert (await admin.get("/v1/budgets")).json()["data"] == []

    async def test_one_for_each_scope_and_period(self, admin: httpx.AsyncClient, project_key: dict[str, Any]) -> None:
        first = await create(admin, api_key_id=project_key["id"])
        again = await admin.post(
            "/v1/budgets", json={"period": "month", "limit_usd": 1, "api_key_id": project_key["id"]}
        )
        assert first["id"] in error_in(again, 409)["message"]
        assert again.headers["x-should-retry"] == "false"
        await create(admin, api_key_id=project_key["id"], period="day")
        await create(admin, project_id=project_key["project_id"])
        await admin.delete(f"/v1/budgets/{first['id']}")
        await create(admin, api_key_id=project_key["id"])

    async def test_refuses_archived_projects_and_revoked_keys(
        self, admin: httpx.AsyncClient, project_key: dict[str, Any]
    ) -> None:
        project = f"/v1/organization/projects/{project_key['project_id']}"
        await admin.delete(f"{project}/api_keys/{project_key['id']}")
        body = {"period": "day", "limit_usd": 1}
        revoked = await admin.post("/v1/budgets", json=body | {"api_key_id": project_key["id"]})
        assert "revoked" in error_in(revoked, 400)["message"]
        await admin.post(f"{project}/archive")
        archived = await admin.post("/v1/budgets", json=body | {"project_id": project_key["project_id"]})
        assert "archived" in error_in(archived, 400)["message"]

    async def test_tells_every_process_and_the_audit_log(
        self, admin: httpx.AsyncClient, sv: Services, project_key: dict[str, Any]
    ) -> None:
        budget = await create(admin, project_id=project_key["project_id"])
        await admin.post(f"/v1/budgets/{budget['id']}", json={"limit_usd": 5})
        await admin.delete(f"/v1/budgets/{budget['id']}")
        async with sv.database.session() as session:
            change = await session.get_one(ChangeRow, "budgets")
            query = (
                select(AuditLogRow).where(AuditLogRow.resource_id == budget["id"]).order_by(AuditLogRow.effective_at)
            )
            logged = list(await session.scalars(query))
        assert change.version == 3
        assert [(row.type, row.project_id, row.detail["id"]) for row in logged] == [
            ("project.updated", project_key["project_id"], project_key["project_id"])
        ] * 3
        changes = [row.detail["changes_requested"]["budget"] for row in logged]
        assert (changes[0]["limit_usd"], changes[1]["limit_usd"], changes[2]["deleted"]) == (10, 5, True)


class TestWindow:
    async def test_shows_what_is_spent_and_leased(
        self, admin: httpx.AsyncClient, sv: Services, project_key: dict[str, Any]
    ) -> None:
        budget = await create(admin, limit_usd=0.5)
        async with sv.database.session() as session:
            window = (await session.scalars(select(BudgetWindowRow))).one()
            window.spent_nano = 125_000_001
            place = {"budget_id": window.budget_id, "starts_at": window.starts_at}
            session.add(BudgetLeaseRow(**place, holder="a", granted_nano=100_000_000, spent_nano=90_000_000))
            session.add(BudgetLeaseRow(**place, holder="b", granted_nano=0, spent_nano=35_000_001))
        shown = (await admin.get(f"/v1/budgets/{budget['id']}")).json()["window"]
        assert (shown["spent_usd"], shown["leased_usd"]) == (0.125000001, 0.01)
        assert (shown["remaining_usd"], shown["percent"]) == (0.374999999, 25.0)

    async def test_what_was_spent_before_it_was_made_counts(
        self, admin: httpx.AsyncClient, sv: Services, project_key: dict[str, Any]
    ) -> None:
        await spend(sv, project_key, 3_000_000_000, this_hour())
        await spend(sv, project_key, 9_000_000_000, this_hour() - timedelta(days=32))
        stranger = {"project_id": "proj_other", "id": "key_other"}
        await spend(sv, stranger, 500_000_000, this_hour())
        of_key = await create(admin, api_key_id=project_key["id"], thresholds=[20, 30, 50])
        of_all = await create(admin)
        assert (of_key["window"]["spent_usd"], of_all["window"]["spent_usd"]) == (3, 3.5)
        events = (await admin.get(f"/v1/budgets/{of_key['id']}/events")).json()["data"]
        assert sorted(each["threshold"] for each in events) == [20, 30]

    async def test_a_window_that_was_not_made_yet_shows_what_it_will_begin_with(
        self, admin: httpx.AsyncClient, sv: Services, project_key: dict[str, Any]
    ) -> None:
        of_project = await create(admin, project_id=project_key["project_id"], period="week")
        of_all = await create(admin, period="day")
        async with sv.database.session() as session:
            for table in (BudgetLeaseRow, BudgetWindowRow):
                for row in await session.scalars(select(table)):
                    await session.delete(row)
        await spend(sv, project_key, 2_000_000_000, this_hour())
        await spend(sv, project_key | {"project_id": "other"}, 1_000_000_000, this_hour())
        for budget, spent in ((of_project, 2), (of_all, 3)):
            assert (await admin.get(f"/v1/budgets/{budget['id']}")).json()["window"]["spent_usd"] == spent

    async def test_of_many_in_a_list_each_begins_with_its_own(
        self, admin: httpx.AsyncClient, sv: Services, project_key: dict[str, Any]
    ) -> None:
        """Two kinds of owners, and a day and a month: none is mistaken for another, and who spent nothing has 0."""
        project, key = project_key["project_id"], project_key["id"]
        second = (await admin.post(f"/v1/organization/projects/{project}/api_keys", json={"name": "second"})).json()[
            "id"
        ]
        idle = (await admin.post(f"/v1/organization/projects/{project}/api_keys", json={"name": "idle"})).json()["id"]
        whose = ({}, {"project_id": project}, {"api_key_id": key}, {"api_key_id": second}, {"api_key_id": idle})
        for period in ("day", "month"):
            for each in whose:
                await create(admin, period=period, **each)
        async with sv.database.session() as session:
            for row in await session.scalars(select(BudgetWindowRow)):
                await session.delete(row)
        await spend(sv, project_key, 2_000_000_000, this_hour())
        await spend(sv, project_key | {"id": second}, 1_000_000_000, this_hour())
        await spend(sv, {"project_id": "other", "id": "key_other"}, 4_000_000_000, this_hour())
        listed = (await admin.get("/v1/budgets")).json()["data"]
        assert [each["window"]["spent_usd"] for each in listed] == [7, 3, 2, 1, 0] * 2


class TestList:
    async def test_pages_and_filters(self, admin: httpx.AsyncClient, project_key: dict[str, Any]) -> None:
        everybody = await create(admin)
        of_project = await create(admin, project_id=project_key["project_id"])
        of_key = await create(admin, api_key_id=project_key["id"])

        async def ids(**query: Any) -> list[str]:
            return [each["id"] for each in (await admin.get("/v1/budgets", params=query)).json()["data"]]

        assert await ids() == [everybody["id"], of_project["id"], of_key["id"]]
        assert await ids(limit=1, after=everybody["id"]) == [of_project["id"]]
        assert await ids(order="desc", limit=1) == [of_key["id"]]
        assert await ids(**{"project_ids[]": project_key["project_id"]}) == [of_project["id"], of_key["id"]]
        assert await ids(api_key_ids=project_key["id"]) == [of_key["id"]]
        assert await ids(scope="organization") == [everybody["id"]]
        assert error_in(await admin.get("/v1/budgets", params={"scope": "x"}), 400)["param"] == "scope"


class TestUpdate:
    async def test_changes_what_is_given(self, admin: httpx.AsyncClient) -> None:
        before = await create(admin, name="first")
        url = f"/v1/budgets/{before['id']}"
        after = (await admin.post(url, json={"limit_usd": 0.25, "thresholds": []})).json()
        assert after == before | {
            "limit_usd": 0.25,
            "thresholds": [],
            "window": before["window"] | {"remaining_usd": 0.25},
        }
        assert (await admin.post(url, json={"name": None, "hard": False})).json()["name"] is None
        for body, param in (({"period": "day"}, "period"), ({"limit_usd": -1}, "limit_usd"), ({"hard": None}, "hard")):
            assert error_in(await admin.post(url, json=body), 400)["param"] == param
        assert error_in(await admin.post("/v1/budgets/budget_none", json={}), 404)["param"] == "budget_id"

    async def test_a_lowered_limit_reaches_its_thresholds_at_once(
        self, admin: httpx.AsyncClient, sv: Services, project_key: dict[str, Any]
    ) -> None:
        await spend(sv, project_key, 1_000_000_000, this_hour())
        budget = await create(admin)
        url = f"/v1/budgets/{budget['id']}"
        assert (await admin.get(f"{url}/events")).json()["data"] == []
        lowered = (await admin.post(url, json={"limit_usd": 1.25})).json()
        assert (lowered["window"]["remaining_usd"], lowered["window"]["percent"]) == (0.25, 80.0)
        events = (await admin.get(f"{url}/events")).json()["data"]
        assert sorted((each["threshold"], each["limit_usd"], each["spent_usd"]) for each in events) == [
            (50, 1.25, 1), (80, 1.25, 1),
        ]  # fmt: skip
        assert {each["window_starts_at"] for each in events} == {budget["window"]["starts_at"]}

    async def test_spend_limits_are_changed_where_they_were_made(self, admin: httpx.AsyncClient) -> None:
        limit = {"threshold_amount": 500, "currency": "USD", "interval": "month"}
        await admin.post("/v1/organization/spend_limit", json=limit)
        [budget] = (await admin.get("/v1/budgets")).json()["data"]
        assert (budget["source"], budget["limit_usd"], budget["period"]) == ("spend_limit", 5, "month")
        for refused in (
            await admin.post(f"/v1/budgets/{budget['id']}", json={"limit_usd": 1}),
            await admin.delete(f"/v1/budgets/{budget['id']}"),
        ):
            assert "/v1/organization/spend_limit" in error_in(refused, 409)["message"]


class TestDelete:
    async def test_is_gone(self, admin: httpx.AsyncClient) -> None:
        budget = await create(admin)
        answer = (await admin.delete(f"/v1/budgets/{budget['id']}")).json()
        assert answer == {"id": budget["id"], "object": "budget.deleted", "deleted": True}
        for reply in (
            await admin.get(f"/v1/budgets/{budget['id']}"),
            await admin.delete(f"/v1/budgets/{budget['id']}"),
        ):
            assert error_in(reply, 404)["param"] == "budget_id"
        assert (await admin.get("/v1/budgets")).json()["data"] == []


class TestEvents:
    async def test_newest_first(self, admin: httpx.AsyncClient, sv: Services) -> None:
        budget, moment = await create(admin), now()
        async with sv.database.session() as session:
            for number in (1, 2):
                session.add(
                    BudgetEventRow(
                        id=f"e{number}", created_at=moment + timedelta(seconds=number), budget_id=budget["id"],
                        starts_at=moment, threshold=number, limit_nano=10, spent_nano=5,
                    )
                )  # fmt: skip
        page = (await admin.get(f"/v1/budgets/{budget['id']}/events", params={"limit": 1})).json()
        assert ([each["id"] for each in page["data"]], page["has_more"]) == (["e2"], True)
        assert page["data"][0] == {
            "id": "e2", "object": "budget.event", "created_at": unix(moment + timedelta(seconds=2)), "budget_id": budget["id"],
            "window_starts_at": unix(moment), "threshold": 2, "limit_usd": 1e-8, "spent_usd": 5e-9, "announced_at": None,
        }  # fmt: skip
        assert error_in(await admin.get("/v1/budgets/budget_none/events"), 404)["param"] == "budget_id"


class TestCurrent:
    async def test_a_key_sees_what_binds_it_and_no_amounts_of_others(
        self, admin: httpx.AsyncClient, client: httpx.AsyncClient, sv: Services, project_key: dict[str, Any]
    ) -> None:
        assert (await client.get("/v1/budgets/current")).json() == {"object": "list", "data": []}
        await spend(sv, project_key, 4_000_000_000, this_hour())
        await create(admin, api_key_id=project_key["id"], limit_usd=4)
        await create(admin, project_id=project_key["project_id"], name="ours")
        await create(admin, limit_usd=123, name="all of us")
        await create(admin, period="day", hard=False)
        of_all, of_project, of_key = (await client.get("/v1/budgets/current")).json()["data"]
        assert (of_all["scope"], of_all["exhausted"]) == ("organization", False)
        assert {of_all[name] for name in ("name", "limit_usd", "spent_usd", "remaining_usd")} == {None}
        assert (of_project["name"], of_project["limit_usd"], of_project["spent_usd"]) == ("ours", 10, 4)
        assert (of_project["remaining_usd"], of_project["exhausted"]) == (6, False)
        assert (of_key["scope"], of_key["remaining_usd"], of_key["exhausted"]) == ("api_key", 0, True)

    async def test_another_projects_key_sees_nothing_of_it(
        self, admin: httpx.AsyncClient, stranger: httpx.AsyncClient, project_key: dict[str, Any]
    ) -> None:
        await create(admin, api_key_id=project_key["id"])
        await create(admin, project_id=project_key["project_id"])
        assert (await stranger.get("/v1/budgets/current")).json()["data"] == []

    async def test_another_key_of_the_project_sees_the_projects_alone(
        self, app: App, admin: httpx.AsyncClient, project_key: dict[str, Any]
    ) -> None:
        await create(admin, api_key_id=project_key["id"])
        await create(admin, project_id=project_key["project_id"])
        url = f"/v1/organization/projects/{project_key['project_id']}/service_accounts"
        account = (await admin.post(url, json={"name": "second"})).json()
        async with client_of(app, account["api_key"]["value"]) as second:
            [budget] = (await second.get("/v1/budgets/current")).json()["data"]
        assert budget["scope"] == "project"
