"""How things are: of everything, and of one project."""

import re
from typing import Any

import httpx
import pytest

from gateway import open_alerts
from gateway.app import App
from gateway.db.database import Database
from gateway.kit.clock import now, unix
from gateway.protocol.alerts import Alert
from tests.admin.console.browsers import Browser, text_of
from tests.gateway.metering.logged_calls import log

pytestmark = pytest.mark.anyio


@pytest.fixture
def url(project_id: str) -> str:
    return f"/console/projects/{project_id}"


async def calls(database: Database, project_id: str, number: int, **changes: Any) -> None:
    at = unix(now()) - 90
    await log(database, *({"project_id": project_id, "created_at": at + n / 1000, **changes} for n in range(number)))


class TestOfAProject:
    async def test_without_calls_it_says_how_to_send_the_first(self, owner: Browser, url: str) -> None:
        page = await owner.open(url)
        assert "No calls yet" in text_of(page)
        assert "/v1/chat/completions" in page
        assert f'href="{url}/keys"' in page

    async def test_figures_tables_and_charts(
        self, owner: Browser, url: str, project_id: str, database: Database
    ) -> None:
        await calls(database, project_id, 30, served_model="gpt-large", duration_ms=250.0)
        await calls(database, project_id, 10, served_model=None, outcome="failed", status=502, api_key_id="key_9")
        page = await owner.open(url)
        text = text_of(page)
        assert "Requests 40 none in the time before" in text
        assert "Failed 25.00% 10 of 40" in text
        assert "n = 30" in text
        assert re.search(rf'href="{url}/exchanges\?model=gpt-large&amp;created_after=\d+&amp;created_before=\d+"', page)
        assert len(re.findall(r'<figure id="chart-', page)) == 6
        assert f'data-link="{url}/exchanges?created_after={{from}}&amp;created_before={{to}}"' in page

    @pytest.mark.parametrize("length", ["1h", "24h", "7d", "30d", "90d"])
    async def test_every_length(
        self, length: str, owner: Browser, url: str, project_id: str, database: Database
    ) -> None:
        await calls(database, project_id, 3)
        page = await owner.open(f"{url}?range={length}&group_by=model")
        assert f'<option value="{length}" selected>' in page
        assert '<option value="model" selected>' in page
        assert "Requests 3 " in text_of(page)

    async def test_what_is_refreshed_is_a_part_of_the_page(
        self, owner: Browser, url: str, project_id: str, database: Database
    ) -> None:
        await calls(database, project_id, 3)
        part = (await owner.client.get(url, headers={"hx-request": "true"})).text
        assert "<html" not in part
        assert 'data-chart-of="chart-requests"' in part
        first = await owner.client.get(f"{url}?empty=1", headers={"hx-request": "true"})
        assert first.headers["hx-refresh"] == "true"

    async def test_alerts_lead_to_where_one_acts(
        self, owner: Browser, url: str, project_id: str, database: Database
    ) -> None:
        await calls(database, project_id, 25, outcome="failed", status=502)
        page = await owner.open(url)
        assert "Critical: 100.0% of the calls of the last hour failed (25 of 25)" in text_of(page)
        assert re.search(rf'href="{url}/exchanges\?outcome=failed&amp;created_after=\d+"', page)

    async def test_what_people_no_longer_like_leads_to_those_answers(
        self, owner: Browser, url: str, project_id: str, database: Database
    ) -> None:
        alert = Alert(
            kind="quality_drift", severity="warning", message="Fewer pass.", since=1_700_000_000, project_id=project_id,
            subject_type="criterion", subject_id="criterion_1", criterion="helpful", source="human",
        )  # fmt: skip
        async with database.session() as session:
            await open_alerts.note(session, [alert])
        page = await owner.open(url)
        assert "Warning: Fewer pass." in text_of(page)
        judged = "judged_by=human&amp;criterion=helpful&amp;passed=false&amp;created_after=1700000000"
        assert f'href="{url}/exchanges?{judged}"' in page

    async def test_between_two_moments(self, owner: Browser, url: str, project_id: str, database: Database) -> None:
        await calls(database, project_id, 3)
        at = unix(now())
        page = await owner.open(f"{url}?start={at - 600}&end={at}")
        assert "Requests 3 " in text_of(page)
        assert "data-refresh" not in page
        await owner.open(f"{url}?start=tomorrow", 400)


class TestOfEverything:
    async def test_projects_and_their_alerts(
        self, owner: Browser, url: str, project_id: str, database: Database
    ) -> None:
        await calls(database, project_id, 25, outcome="failed", status=502)
        page = await owner.open("/console/overview?range=7d&group_by=project_id")
        assert f'href="{url}?range=7d"' in page
        assert "first: 100.0% of the calls" in text_of(page)
        assert 'data-link="/console/overview?start={from}&amp;end={to}"' in page
        at = unix(now())
        narrow = await owner.open(f"/console/overview?start={at - 600}&end={at}")
        assert re.search(rf'href="{url}/exchanges\?created_after=\d+&amp;created_before=\d+"', narrow)

    async def test_asks_as_often_however_many_projects_there_are(
        self, owner: Browser, app: App, admin: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, database: Database
    ) -> None:
        asked: list[str] = []
        service = app.litestar.state.service

        async def counting(scope: Any, receive: Any, send: Any) -> None:
            asked.append(scope["path"])
            await service(scope, receive, send)

        monkeypatch.setattr(app.litestar.state, "service", counting)
        await owner.open("/console/overview")
        few = len(asked)
        for number in range(8):
            made = await admin.post("/v1/organization/projects", json={"name": f"p{number}"})
            await calls(database, made.json()["id"], 2)
        asked.clear()
        await owner.open("/console/overview")
        assert len(asked) == few <= 8
