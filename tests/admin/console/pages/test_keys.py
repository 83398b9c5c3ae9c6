"""Keys of a project."""

import csv
import io
import re
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from admin.console.api import Api, ApiRefused
from gateway.app import App
from gateway.db.database import Database
from gateway.db.tables import ApiKeyRow
from gateway.kit.clock import now, unix
from gateway.services import Services
from tests.admin.console.browsers import Browser, text_of
from tests.conftest import chat, client_of
from tests.gateway.metering.ledger_rows import post
from tests.gateway.people import add, join

pytestmark = pytest.mark.anyio


def secret_in(html: str) -> str:
    [secret] = set(re.findall(r'data-copy="(sk-[^"]+)"', html))
    return secret


async def works(app: App, secret: str) -> bool:
    async with client_of(app, secret) as client:
        return (await client.post("/v1/chat/completions", json=chat("echo"))).status_code == 200


async def spend_today(database: Database, key: dict[str, Any], nano: int) -> None:
    parts = {"input_nano": nano, "cached_input_nano": 0, "output_nano": 0}
    whose = {"project_id": key["project_id"], "api_key_id": key["id"]}
    await post(database, {"created_at": unix(now()), **whose, **parts})


class TestMaking:
    async def test_shows_the_secret_once_and_it_works(self, app: App, owner: Browser, project_id: str) -> None:
        url = f"/console/projects/{project_id}/keys"
        made = await owner.send(url, name="web shop", expires_in_days="30", logging="metadata")
        secret = secret_in(made)
        assert await works(app, secret)
        listed = await owner.open(url)
        assert "web shop" in text_of(listed)
        assert secret not in listed

    async def test_what_is_wrong_is_said_beside_its_field_and_nothing_is_lost(
        self, owner: Browser, project_id: str
    ) -> None:
        url = f"/console/projects/{project_id}/keys"
        page = await owner.send(url, 400, name="n" * 300, allowed_models="starter")
        assert 'aria-invalid="true"' in page
        assert 'value="starter"' in page

    async def test_a_forged_form_makes_nothing(self, owner: Browser, project_id: str) -> None:
        url = f"/console/projects/{project_id}/keys"
        answer = await owner.client.post(url, data={"name": "forged", "_csrf": "made up"})
        assert answer.status_code == 403
        assert "forged" not in text_of(await owner.open(url)).replace("forged form", "")

    async def test_a_member_of_the_project_has_no_form(
        self, app: App, admin: httpx.AsyncClient, project_id: str
    ) -> None:
        person = await add(admin, "member@example.com")
        await join(admin, project_id, person["id"], "member")
        async with Browser.of(app) as browser:
            await browser.sign_in("member@example.com")
            url = f"/console/projects/{project_id}/keys"
            assert "New key" not in await browser.open(url)
            await browser.send(url, 403, name="mine")


class TestMakingWithABudget:
    FIELDS = {"name": "shop", "budget_limit_usd": "2.5", "budget_period": "day", "max_requests_per_1_minute": "9"}

    async def test_all_of_it_is_in_force_when_the_secret_is_shown(
        self, owner: Browser, admin: httpx.AsyncClient, project_id: str
    ) -> None:
        secret_in(await owner.send(f"/console/projects/{project_id}/keys", **self.FIELDS))
        [budget] = (await admin.get("/v1/budgets")).json()["data"]
        assert (budget["api_key_name"], budget["limit_usd"], budget["period"], budget["hard"]) == (
            "shop",
            2.5,
            "day",
            True,
        )
        url = f"/v1/organization/projects/{project_id}/rate_limits"
        limits = (await admin.get(url, params={"api_key_id": budget["api_key_id"]})).json()["data"]
        assert limits[0]["max_requests_per_1_minute"] == 9
        assert "$0.00 of $2.50" in text_of(await owner.open(f"/console/projects/{project_id}/keys"))

    @pytest.mark.parametrize(
        ("field", "value"),
        [("budget_limit_usd", "a lot"), ("budget_limit_usd", "-1"), ("max_requests_per_1_minute", "0")],
    )
    async def test_no_key_is_left_where_they_cannot_be_set(
        self, owner: Browser, admin: httpx.AsyncClient, project_id: str, field: str, value: str
    ) -> None:
        page = await owner.send(f"/console/projects/{project_id}/keys", 400, **self.FIELDS | {field: value})
        assert re.search(rf'id="f-{field}"[^>]*aria-invalid="true"', page)
        assert 'value="shop"' in page
        keys = (await admin.get(f"/v1/organization/projects/{project_id}/api_keys")).json()["data"]
        assert "shop" not in [each["name"] for each in keys]

    async def test_one_that_cannot_be_taken_back_is_shown_with_a_warning(
        self, owner: Browser, project_id: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def refuse(*_: object, **__: object) -> None:
            raise ApiRefused(503, {"message": "The database is away."})

        monkeypatch.setattr(Api, "delete", refuse)
        page = await owner.send(f"/console/projects/{project_id}/keys", **self.FIELDS | {"budget_limit_usd": "x"})
        assert secret_in(page)
        assert "it could not be revoked either (The database is away.)" in text_of(page)


class TestListing:
    async def test_shows_what_each_spent_this_month_and_whose_it_is(
        self, owner: Browser, database: Database, project_key: dict[str, Any]
    ) -> None:
        await spend_today(database, project_key, 3_210_000_000)
        text = text_of(await owner.open(f"/console/projects/{project_key['project_id']}/keys"))
        assert "$3.21" in text
        assert "service account" in text

    async def test_keys_of_judges_are_marked(self, owner: Browser, sv: Services, project_id: str) -> None:
        async with sv.database.session() as session:
            for row in await session.scalars(select(ApiKeyRow).where(ApiKeyRow.project_id == project_id)):
                row.purpose = "judge"
        assert "Judges ask with it" in text_of(await owner.open(f"/console/projects/{project_id}/keys"))

    async def test_as_a_file_with_what_each_spent(
        self, owner: Browser, database: Database, project_key: dict[str, Any]
    ) -> None:
        await spend_today(database, project_key, 3_210_000_001)
        url = f"/console/projects/{project_key['project_id']}/keys"
        await owner.send(url, name="=1+1", tags="a,b")
        answer = await owner.client.get(f"{url}.csv")
        assert "attachment" in answer.headers["content-disposition"]
        rows = {each["name"]: each for each in csv.DictReader(io.StringIO(answer.text))}
        assert rows["app"]["spent_usd"] == "3.210000001"
        assert (rows["'=1+1"]["spent_usd"], rows["'=1+1"]["tags"]) == ("0.000000000", "a, b")

    async def test_the_number_of_calls_does_not_follow_the_number_of_keys(
        self, owner: Browser, project_id: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        url = f"/console/projects/{project_id}/keys"
        send, asked = Api.send, list[str]()

        async def counted(self: Api, method: str, path: str, **more: Any) -> Any:
            asked.append(path)
            return await send(self, method, path, **more)

        monkeypatch.setattr(Api, "send", counted)
        await owner.open(url)
        few = len(asked)
        for number in range(5):
            await owner.send(url, name=f"key {number}")
        asked.clear()
        await owner.open(url)
        assert len(asked) == few


class TestRotatingAndRevoking:
    async def test_rotated_it_has_another_secret(self, app: App, owner: Browser, project_id: str) -> None:
        url = f"/console/projects/{project_id}/keys"
        old = secret_in(await owner.send(url, name="web"))
        [key_id] = re.findall(rf'action="{url}/(key_\w+)/rotate"[^>]*data-confirm="Give web', await owner.open(url))
        new = secret_in(await owner.send(f"{url}/{key_id}/rotate"))
        assert new != old
        assert await works(app, new)

    async def test_revoked_it_is_gone(self, owner: Browser, project_id: str) -> None:
        url = f"/console/projects/{project_id}/keys"
        await owner.send(url, name="web")
        [key_id] = re.findall(rf'action="{url}/(key_\w+)/revoke"[^>]*data-confirm="Revoke web', await owner.open(url))
        after = await owner.send(f"{url}/{key_id}/revoke")
        assert "The key is revoked" in text_of(after)
        assert key_id not in after
