"""Rate limits of a project and of its keys."""

import re
from typing import Any

import httpx
import pytest

from gateway.app import App
from tests.admin.console.browsers import Browser, text_of
from tests.gateway.people import add

pytestmark = pytest.mark.anyio


@pytest.fixture
def url(project_id: str) -> str:
    return f"/console/projects/{project_id}/limits"


async def limits_of(admin: httpx.AsyncClient, project_id: str, **query: str) -> dict[str, dict[str, Any]]:
    listed = await admin.get(f"/v1/organization/projects/{project_id}/rate_limits", params={"limit": 100} | query)
    return {each["model"]: each for each in listed.json()["data"]}


class TestLimits:
    async def test_of_all_together_and_of_one_model(
        self, owner: Browser, admin: httpx.AsyncClient, project_id: str, url: str
    ) -> None:
        await owner.send(url, model="*", max_requests_per_1_minute="1111")
        text = text_of(await owner.send(url, model="模型 é", max_tokens_per_1_day="2222"))
        assert "All together 1,111" in text
        found = await limits_of(admin, project_id)
        assert found["*"]["max_requests_per_1_minute"] == 1111
        assert found["模型 é"]["max_tokens_per_1_day"] == 2222
        await owner.send(url, model="模型 é", what="reset")
        assert "max_tokens_per_1_day" not in (await limits_of(admin, project_id))["模型 é"]

    async def test_of_a_key(
        self, owner: Browser, admin: httpx.AsyncClient, project_key: dict[str, Any], url: str
    ) -> None:
        await owner.send(url, api_key_id=project_key["id"], model="echo", max_concurrent_requests="3")
        of_key = await limits_of(admin, project_key["project_id"], api_key_id=project_key["id"])
        assert of_key["echo"]["max_concurrent_requests"] == 3
        assert "max_concurrent_requests" not in (await limits_of(admin, project_key["project_id"]))["echo"]
        assert "echo" in text_of(await owner.open(f"{url}?api_key_id={project_key['id']}"))

    async def test_what_is_wrong_is_said_beside_its_field(self, owner: Browser, url: str) -> None:
        page = await owner.send(url, 400, model="*", max_tokens_per_1_day="many")
        assert re.search(r'id="f-max_tokens_per_1_day"[^>]*aria-invalid="true"', page)

    async def test_readers_have_no_form(self, app: App, admin: httpx.AsyncClient, url: str) -> None:
        await add(admin, "reader@example.com")
        async with Browser.of(app) as browser:
            await browser.sign_in("reader@example.com")
            assert "Set limits" not in await browser.open(url)
            await browser.send(url, 403, model="*", max_tokens_per_1_day="1")
