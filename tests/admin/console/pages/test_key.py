"""One key: what it may do, what it spends, what binds it."""

import re
from typing import Any

import httpx
import pytest

from admin.console.pages.key import limits_shown
from gateway.app import App
from gateway.kit.clock import now, unix
from gateway.services import Services
from tests.admin.console.browsers import Browser, text_of
from tests.gateway.people import add
from tests.gateway.routes.test_budgets import create, spend, this_hour

pytestmark = pytest.mark.anyio


@pytest.fixture
def url(project_key: dict[str, Any]) -> str:
    return f"/console/projects/{project_key['project_id']}/keys/{project_key['id']}"


async def key_of(admin: httpx.AsyncClient, key: dict[str, Any]) -> dict[str, Any]:
    answer = await admin.get(f"/v1/organization/projects/{key['project_id']}/api_keys/{key['id']}")
    return answer.raise_for_status().json()


class TestShowing:
    async def test_what_it_spent_and_what_binds_it(
        self, owner: Browser, admin: httpx.AsyncClient, sv: Services, project_key: dict[str, Any], url: str
    ) -> None:
        await create(admin, api_key_id=project_key["id"], limit_usd=4)
        await create(admin, project_id=project_key["project_id"], period="day", hard=False, limit_usd=100)
        await create(admin, limit_usd=1000)
        await spend(sv, project_key, 3_000_000_000, this_hour())
        text = text_of(await owner.open(url))
        for each in ("Key app, a month", "a day", "Everybody, a month", "Every model of the project"):
            assert each in text

    async def test_one_that_is_not_there(self, owner: Browser, url: str) -> None:
        await owner.open(f"{url}x", 404)

    async def test_who_only_reads_has_nothing_to_press(self, app: App, admin: httpx.AsyncClient, url: str) -> None:
        await add(admin, "reader@example.com")
        async with Browser.of(app) as browser:
            await browser.sign_in("reader@example.com")
            page = await browser.open(url)
            assert set(re.findall(r'<form method="post" action="([^"]+)"', page)) == {"/console/sign-out"}
            await browser.send(url, 403, name="mine")


class TestChanging:
    async def test_rights_are_those_that_were_chosen(
        self, owner: Browser, admin: httpx.AsyncClient, project_key: dict[str, Any], url: str
    ) -> None:
        scopes = ["model.request", "api.files.read"]
        told = await owner.send(
            url, name="shop", allowed_models="echo, ft:echo:*", tags="web, team a", logging="off",
            expires_in_days="0.5", scopes=scopes,
        )  # fmt: skip
        assert "The key is changed" in text_of(told)
        key = await key_of(admin, project_key)
        assert (key["name"], key["logging"], key["tags"]) == ("shop", "off", ["web", "team a"])
        assert (key["scopes"], key["allowed_models"]) == (scopes, ["echo", "ft:echo:*"])
        assert key["expires_at"] == pytest.approx(unix(now()) + 43_200, abs=60)
        shown = await owner.open(url)
        for scope in scopes:
            assert re.search(rf'value="{scope}" checked', shown)

    async def test_an_empty_expiry_leaves_it_and_none_takes_it_away(
        self, owner: Browser, admin: httpx.AsyncClient, project_key: dict[str, Any], url: str
    ) -> None:
        await owner.send(url, name="shop", expires_in_days="2")
        before = (await key_of(admin, project_key))["expires_at"]
        await owner.send(url, name="shop")
        assert (await key_of(admin, project_key))["expires_at"] == before is not None
        await owner.send(url, name="shop", never_expires="true")
        assert (await key_of(admin, project_key))["expires_at"] is None

    @pytest.mark.parametrize("days", ["soon", "1e9", "nan"])
    async def test_what_is_wrong_is_said_beside_its_field(self, owner: Browser, url: str, days: str) -> None:
        page = await owner.send(url, 400, name="shop", expires_in_days=days, tags="kept")
        assert re.search(r'id="f-expires_in_days"[^>]*aria-invalid="true"', page)
        assert 'value="kept"' in page


class TestItsBudgetAndLimits:
    async def test_a_budget_of_it(
        self, owner: Browser, admin: httpx.AsyncClient, project_key: dict[str, Any], url: str
    ) -> None:
        fields = {"budget_limit_usd": "0.100000001", "budget_period": "day", "budget_hard": "false"}
        await owner.send(f"{url}/budget", **fields, budget_thresholds="90, 10%")
        [budget] = (await admin.get("/v1/budgets")).json()["data"]
        assert (budget["api_key_id"], budget["limit_usd"], budget["period"]) == (project_key["id"], 0.100000001, "day")
        assert (budget["hard"], budget["thresholds"]) == (False, [10, 90])

    async def test_a_second_one_of_the_same_period_is_refused_by_the_page(self, owner: Browser, url: str) -> None:
        await owner.send(f"{url}/budget", budget_limit_usd="1")
        assert "There is a budget for each month" in text_of(
            await owner.send(f"{url}/budget", 409, budget_limit_usd="2")
        )

    async def test_limits_are_set_and_taken_away(self, owner: Browser, url: str) -> None:
        assert "no limit" in text_of(await owner.open(url))
        told = text_of(await owner.send(f"{url}/limits", max_requests_per_1_minute="1234", max_concurrent_requests="7"))
        assert "1,234" in told
        told = text_of(await owner.send(f"{url}/limits/reset"))
        assert "1,234" not in told

    async def test_a_limit_that_is_none_is_said_beside_its_field(self, owner: Browser, url: str) -> None:
        page = await owner.send(f"{url}/limits", 400, max_requests_per_1_minute="0")
        assert re.search(r'id="f-max_requests_per_1_minute"[^>]*aria-invalid="true"', page)


class TestLimitsShown:
    def test_models_are_listed_that_differ_from_all_together(self) -> None:
        same = {"max_requests_per_1_minute": 5, "max_tokens_per_1_minute": 2**31 - 1}
        rows = [{"model": "*"} | same, {"model": "a"} | same, {"model": "b"} | same | {"max_requests_per_1_minute": 2}]
        shown = limits_shown(rows)
        assert [each["model"] for each in shown] == ["*", "b"]
        assert shown[0]["values"]["max_tokens_per_1_minute"] is None
        assert shown[1]["values"]["max_requests_per_1_minute"] == 2
