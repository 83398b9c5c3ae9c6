"""Budgets of everybody, of projects and of keys; who holds parts of them."""

import re
from datetime import timedelta
from typing import Any

import httpx
import pytest

from gateway.app import App
from gateway.db.tables import BudgetHolderRow, BudgetLeaseRow
from gateway.kit.clock import from_unix, now
from gateway.services import Services
from tests.admin.console.browsers import Browser, text_of
from tests.gateway.people import add
from tests.gateway.routes.test_budgets import create, spend, this_hour

pytestmark = pytest.mark.anyio

URL = "/console/budgets"


async def every(admin: httpx.AsyncClient) -> list[dict[str, Any]]:
    return (await admin.get("/v1/budgets")).json()["data"]


class TestMaking:
    async def test_one_of_everybody_and_one_of_a_project(
        self, owner: Browser, admin: httpx.AsyncClient, project_id: str
    ) -> None:
        told = await owner.send(URL, limit_usd="$12.50", period="week", hard="true", thresholds="75%", name="all of us")
        assert "The budget is in force" in text_of(told)
        await owner.send(URL, limit_usd="3", project_id=project_id, hard="false")
        first, second = await every(admin)
        assert (first["scope"], first["limit_usd"], first["period"], first["hard"]) == (
            "organization",
            12.5,
            "week",
            True,
        )
        assert (first["thresholds"], first["name"]) == ([75], "all of us")
        assert (second["project_id"], second["hard"], second["thresholds"]) == (project_id, False, [50, 80, 100])

    async def test_one_of_a_key_within_its_project(
        self, owner: Browser, admin: httpx.AsyncClient, project_key: dict[str, Any]
    ) -> None:
        url = f"/console/projects/{project_key['project_id']}/budgets"
        text = text_of(await owner.send(url, limit_usd="3", period="total", api_key_id=project_key["id"]))
        assert "Key app, in total" in text
        assert [each["api_key_id"] for each in await every(admin)] == [project_key["id"]]

    @pytest.mark.parametrize(
        ("field", "value"), [("limit_usd", "lots"), ("limit_usd", ""), ("limit_usd", "1e3"), ("thresholds", "101")]
    )
    async def test_what_is_wrong_is_said_beside_its_field(
        self, owner: Browser, admin: httpx.AsyncClient, field: str, value: str
    ) -> None:
        page = await owner.send(URL, 400, **{"limit_usd": "7", "thresholds": "50", "name": "kept"} | {field: value})
        assert re.search(rf'id="f-{field}"[^>]*aria-invalid="true"', page)
        assert 'value="kept"' in page
        assert await every(admin) == []

    async def test_readers_see_them_and_have_no_form(self, app: App, admin: httpx.AsyncClient) -> None:
        budget = await create(admin, name="shown")
        await add(admin, "reader@example.com")
        async with Browser.of(app) as browser:
            await browser.sign_in("reader@example.com")
            for url in (URL, f"{URL}/{budget['id']}", f"{URL}/holders"):
                page = await browser.open(url)
                assert set(re.findall(r'<form method="post" action="([^"]+)"', page)) == {"/console/sign-out"}
            assert "shown" in text_of(await browser.open(URL))
            await browser.send(URL, 403, limit_usd="1")


class TestShowing:
    async def test_bars_say_what_is_spent_set_aside_and_left(
        self, owner: Browser, admin: httpx.AsyncClient, sv: Services, project_key: dict[str, Any]
    ) -> None:
        await spend(sv, project_key, 4_000_000_000, this_hour())
        budget = await create(admin, limit_usd=4, project_id=project_key["project_id"])
        soft = await create(admin, limit_usd=100, hard=False)
        await _hold(sv, soft, 7_000_000_000)
        page = await owner.open(URL)
        text = text_of(page)
        assert re.search(r'<progress value="100(\.0)?" max="100" class="full"', page)
        for each in ("$4.00 of $4.00", "Used up: calls are refused", "$4.00 of $100.00", "$7.00", "$96.00"):
            assert each in text, each
        assert f"{URL}/{budget['id']}" in page

    async def test_within_a_project_those_of_everybody_are_there_and_others_not(
        self, owner: Browser, admin: httpx.AsyncClient, project_id: str
    ) -> None:
        other = (await admin.post("/v1/organization/projects", json={"name": "other"})).json()["id"]
        await create(admin, name="of everybody")
        await create(admin, project_id=project_id, name="of ours")
        await create(admin, project_id=other, name="of others")
        text = text_of(await owner.open(f"/console/projects/{project_id}/budgets"))
        assert "of everybody" in text
        assert "of ours" in text
        assert "of others" not in text

    async def test_thresholds_that_were_reached(
        self, owner: Browser, admin: httpx.AsyncClient, sv: Services, project_key: dict[str, Any]
    ) -> None:
        await spend(sv, project_key, 3_000_000_000, this_hour())
        budget = await create(admin, limit_usd=4, thresholds=[75])
        text = text_of(await owner.open(f"{URL}/{budget['id']}"))
        assert re.search(r"75% \$3\.00 \$4\.00", text)

    async def test_what_was_made_elsewhere_is_changed_there(self, owner: Browser, admin: httpx.AsyncClient) -> None:
        limit = {"threshold_amount": 500, "currency": "USD", "interval": "month"}
        await admin.post("/v1/organization/spend_limit", json=limit)
        [budget] = await every(admin)
        page = await owner.open(f"{URL}/{budget['id']}")
        assert "changed there" in text_of(page)
        assert "Delete budget" not in page


class TestChanging:
    async def test_limit_kind_and_thresholds(self, owner: Browser, admin: httpx.AsyncClient) -> None:
        budget = await create(admin, limit_usd=0.25, name="old")
        url = f"{URL}/{budget['id']}"
        page = await owner.open(url)
        assert 'value="0.25"' in page
        await owner.send(url, limit_usd="0.000000001", hard="false", thresholds="", name="")
        [changed] = await every(admin)
        assert (changed["limit_usd"], changed["hard"], changed["thresholds"]) == (1e-9, False, [])
        assert (changed["name"], changed["period"]) == (None, budget["period"])

    async def test_deleted_it_is_gone(self, owner: Browser, admin: httpx.AsyncClient, project_id: str) -> None:
        budget = await create(admin, project_id=project_id)
        text = text_of(await owner.send(f"{URL}/{budget['id']}/delete"))
        assert "The budget is deleted" in text
        assert await every(admin) == []


async def _hold(sv: Services, budget: dict[str, Any], nano: int, holder: str = "1-gone") -> None:
    """By a process that has said nothing for an hour, while another speaks."""
    starts_at = from_unix(budget["window"]["starts_at"])
    long_ago = now() - timedelta(hours=1)
    async with sv.database.session() as session:
        session.add(BudgetHolderRow(id=holder, host="lost", created_at=long_ago, since=long_ago, seen_at=long_ago))
        session.add(
            BudgetLeaseRow(budget_id=budget["id"], starts_at=starts_at, holder=holder, granted_nano=nano, spent_nano=0)
        )


class TestHolders:
    async def test_nobody_holds_anything(self, owner: Browser) -> None:
        assert "Nobody holds anything" in text_of(await owner.open(f"{URL}/holders"))

    async def test_one_is_shown_and_released_after_a_question(
        self, owner: Browser, admin: httpx.AsyncClient, sv: Services
    ) -> None:
        await _hold(sv, await create(admin), 7_000_000_000)
        async with sv.database.session() as session:
            long_ago = now() - timedelta(hours=1)
            session.add(BudgetHolderRow(id="2-here", host="h", created_at=long_ago, since=long_ago, seen_at=now()))
        page = await owner.open(f"{URL}/holders")
        assert "lost" in page
        assert "Be sure that its machine is gone" in page
        told = text_of(await owner.send(f"{URL}/holders/1-gone/release"))
        assert "7 dollars are free again" in told
        assert "1-gone" not in told

    async def test_one_that_may_be_alive_is_refused_in_words(
        self, owner: Browser, admin: httpx.AsyncClient, sv: Services
    ) -> None:
        await _hold(sv, await create(admin), 7_000_000_000)
        async with sv.database.session() as session:
            (await session.get_one(BudgetHolderRow, "1-gone")).seen_at = now()
        page = await owner.send(f"{URL}/holders/1-gone/release", 409)
        assert 'role="alert"' in page
        assert "1-gone" in page
