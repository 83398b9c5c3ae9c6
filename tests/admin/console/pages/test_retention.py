"""How long what belongs to a project is kept, in the console."""

import re

import httpx
import pytest

from gateway.app import App
from tests.admin.console.browsers import Browser, text_of
from tests.gateway.people import add

pytestmark = pytest.mark.anyio


@pytest.fixture
def url(project_id: str) -> str:
    return f"/console/projects/{project_id}/retention"


class TestRetention:
    async def test_periods_are_shown_and_changed(
        self, owner: Browser, admin: httpx.AsyncClient, project_id: str, url: str
    ) -> None:
        assert "trainings that ended 90 days by default" in text_of(await owner.open(url))
        text = text_of(await owner.send(url, body_days="30", exchange_days="0", training_log_days=""))
        assert "said of it 30 days nothing" in text
        found = (await admin.get(f"/v1/organization/projects/{project_id}/retention")).json()
        assert (found["body_days"], found["exchange_days"], found["training_log_days"]) == (30, 0, None)
        await owner.send(url, body_days="", exchange_days="", training_log_days="")
        assert (await admin.get(f"/v1/organization/projects/{project_id}/retention")).json()["body_days"] is None

    async def test_what_is_wrong_is_said_beside_its_field(self, owner: Browser, url: str) -> None:
        page = await owner.send(url, 400, body_days="soon", exchange_days="", training_log_days="")
        assert re.search(r'id="f-body_days"[^>]*aria-invalid="true"', page)
        assert 'value="soon"' in page

    async def test_readers_have_no_form(self, app: App, admin: httpx.AsyncClient, url: str) -> None:
        await add(admin, "reader@example.com")
        async with Browser.of(app) as browser:
            await browser.sign_in("reader@example.com")
            assert "Change periods" not in await browser.open(url)
            await browser.send(url, 403, body_days="1")
