"""Evals in the console: the list, and one with its runs."""

import csv
import io
import re
from typing import Any

import httpx
import pytest

from gateway.app import App
from gateway.settings import Settings
from tests.admin.console.browsers import Browser, text_of
from tests.admin.console.pages.eval_runs import answered, worker_of
from tests.fakes.evals import SCORE, asking, create_eval, create_run, ended, in_process, qa, working
from tests.gateway.people import add

pytestmark = pytest.mark.anyio

Client = httpx.AsyncClient


@pytest.fixture
def url(project_id: str) -> str:
    return f"/console/projects/{project_id}/evals"


@pytest.fixture
def done(app: App, settings: Settings, project_key: dict[str, Any], client: Client) -> Any:
    """Runs of an eval, each of ten questions of which `right` are answered as they should be."""
    in_process(app.services)

    async def run(of: dict[str, Any], *right: int, model: str = "echo") -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        async with working(settings, app, project_key):
            for each in right:
                items = [qa(f"q{n}", f"q{n}" if n < each else "other") for n in range(10)]
                found.append(await ended(client, await create_run(client, of["id"], asking(*items, model=model))))
        assert {each["status"] for each in found} == {"completed"}
        return found

    return run


class TestList:
    async def test_without_an_eval_it_says_what_one_is(self, owner: Browser, url: str) -> None:
        page = await owner.open(url)
        assert "No eval yet An eval is a list of questions" in text_of(page)
        assert f"{url}/new" in page

    async def test_the_last_run_with_its_interval_and_trend(
        self, owner: Browser, url: str, client: Client, done: Any
    ) -> None:
        of = await create_eval(client, name="Support labels")
        await done(of, 0, 10)
        await create_eval(client, name="untried")
        page = await owner.open(url)
        text = text_of(page)
        assert "Support labels completed echo" in text
        assert "100.0% 72.2% to 100.0%, n = 10" in text
        assert "improving +100.0 points" in text
        assert "untried not run yet" in text
        assert "data-refresh" not in page

    async def test_it_follows_runs_under_way(self, owner: Browser, url: str, client: Client) -> None:
        of = await create_eval(client)
        await create_run(client, of["id"], asking(qa("a", "a"), qa("b", "b")))
        page = await owner.open(url)
        assert "0 of 2 answers" in text_of(page)
        assert 'data-refresh="5"' in page


class TestOne:
    async def test_runs_with_quality_and_what_was_spent(
        self, owner: Browser, url: str, client: Client, done: Any
    ) -> None:
        of = await create_eval(client)
        first, second = await done(of, 8, 9)
        page = await owner.open(f"{url}/{of['id']}")
        text = text_of(page)
        assert "80.0% 49.0% to 94.3%, n = 10" in text
        assert "ready to deploy" in text
        assert f"{url}/{of['id']}/runs/{first['id']}" in page
        assert f'name="base" value="{first["id"]}" aria-label="Baseline: echo, 2" checked' in page
        assert f'name="with" value="{second["id"]}" aria-label="With: echo, 1" checked' in page
        assert '"values": [0.8, 0.9]' in page

    async def test_criteria_in_words_and_the_items_fields(self, owner: Browser, url: str, client: Client) -> None:
        of = await create_eval(client, SCORE | {"pass_threshold": 7}, name="<b>sharp</b>")
        page = await owner.open(f"{url}/{of['id']}")
        text = text_of(page)
        assert "judge : echo gives it 7 or more, of 0 to 10" in text
        assert "Score: {{ item.score }}" in text
        assert "answer string, not in every item" in text
        assert "Not run yet" in text
        assert "<b>sharp" not in page

    async def test_how_many_items_it_takes(self, owner: Browser, url: str, client: Client) -> None:
        of = await create_eval(client)
        assert "from 50.0% to 60.0%" in text_of(await owner.open(f"{url}/{of['id']}?effect=10"))
        for wrong in ("0", "x", "nan"):
            page = await owner.open(f"{url}/{of['id']}?effect={wrong}")
            assert 'id="f-effect"' in page
            assert 'aria-invalid="true"' in page

    async def test_it_is_renamed_and_deleted(self, owner: Browser, url: str, client: Client) -> None:
        of = await create_eval(client, name="old")
        one = f"{url}/{of['id']}"
        assert "new name" in text_of(await owner.send(f"{one}/rename", name="new name"))
        wrong = await owner.send(f"{one}/rename", 400, name="x" * 600)
        assert 'aria-invalid="true"' in wrong
        assert "data-confirm" in wrong
        assert "No eval yet" in text_of(await owner.send(f"{one}/delete"))

    async def test_forms_and_pages_after_a_refused_name_lead_to_the_eval(
        self, owner: Browser, url: str, client: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("admin.console.pages.evals.PAGE", 1)
        of = await create_eval(client)
        one = f"{url}/{of['id']}"
        for _ in range(2):
            await create_run(client, of["id"], asking(qa("a", "a")))
        page = await owner.send(f"{one}/rename", 400, name="x" * 600)
        [following] = re.findall(r'rel="next" href="([^"]+)"', page)
        assert following.startswith(f"{one}?after=")
        await owner.open(following)
        forms: list[str] = re.findall(r'<form method="get"[^>]*>', page)
        assert forms
        assert all(f'action="{one}' in each for each in forms)

    async def test_the_trend_of_one_model(self, owner: Browser, url: str, client: Client, done: Any) -> None:
        of = await create_eval(client)
        await done(of, 0)
        await done(of, 10, model="no-usage")
        await done(of, 0)
        one = f"{url}/{of['id']}"
        assert "regressing -100.0 points" in text_of(await owner.open(one))
        page = await owner.open(f"{one}?model=echo")
        assert "regressing" not in text_of(page)
        assert '<option value="echo" selected>' in page
        assert '<option value="no-usage">' in page

    async def test_the_trend_of_answers_of_the_data(
        self, owner: Browser, url: str, client: Client, app: App, settings: Settings, project_key: dict[str, Any]
    ) -> None:
        of = await create_eval(client)
        async with worker_of(settings, app, project_key):
            await answered(client, of, "no")
            await ended(client, await create_run(client, of["id"], asking(qa("a", "a"))))
        page = await owner.open(f"{url}/{of['id']}?model=(none)")
        assert '<option value="(none)" selected>answers of the data</option>' in page
        [rows] = re.findall(r'aria-label="Trend".*?</table>', page, flags=re.DOTALL)
        assert ("answers of the data" in rows, "echo" in rows) == (True, False)

    async def test_another_projects_is_not_there(self, owner: Browser, url: str, client: Client, admin: Client) -> None:
        of = await create_eval(client)
        other = (await admin.post("/v1/organization/projects", json={"name": "other"})).json()
        await owner.open(f"/console/projects/{other['id']}/evals/{of['id']}", 404)


class TestUnderWay:
    async def test_progress_until_a_run_ends(self, owner: Browser, url: str, client: Client) -> None:
        of = await create_eval(client)
        one = f"{url}/{of['id']}"
        run = await create_run(client, of["id"], asking(qa("a", "a")))
        page = await owner.open(one)
        assert f'hx-get="{one}/live?runs={run["id"]}"' in page
        same = await owner.client.get(f"{one}/live?runs={run['id']}")
        assert "0 of 1 answers" in text_of(same.text)
        assert "hx-refresh" not in same.headers
        for part in (f"state-{run['id']}", f"progress-{run['id']}"):
            assert f"#{part}" in re.findall(r'hx-select-oob="([^"]*)"', page)[0]
            assert f'id="{part}"' in same.text
        assert "Cancel the run</button>" in page
        page = await owner.send(f"{one}/cancel", run=run["id"])
        assert "canceled" in text_of(page)
        assert (await owner.client.get(f"{one}/live?runs={run['id']}")).headers["hx-refresh"] == "true"

    async def test_a_run_that_had_ended_is_not_said_to_end(
        self, owner: Browser, url: str, client: Client, done: Any
    ) -> None:
        of = await create_eval(client)
        [run] = await done(of, 8)
        page = text_of(await owner.send(f"{url}/{of['id']}/cancel", run=run["id"]))
        assert "The run had ended already." in page


class TestExport:
    async def test_csv_and_json(self, owner: Browser, url: str, client: Client, done: Any) -> None:
        of = await create_eval(client)
        [run] = await done(of, 8)
        lines = list(csv.DictReader(io.StringIO(await owner.open(f"{url}/{of['id']}/export?format=csv"))))
        assert [(each["id"], each["passed"], each["score"], each["n"]) for each in lines] == [
            (run["id"], "8", "0.8", "10")
        ]
        found = (await owner.client.get(f"{url}/{of['id']}/export?format=json")).json()
        assert found[0]["metrics"]["pass_rate"]["value"] == 0.8


class TestReaders:
    async def test_they_see_figures_and_no_buttons(
        self, app: App, admin: Client, owner: Browser, url: str, client: Client
    ) -> None:
        of = await create_eval(client)
        await create_run(client, of["id"], asking(qa("a", "a")))
        await add(admin, "reader@example.com", "reader")
        async with Browser.of(app) as browser:
            await browser.sign_in("reader@example.com")
            assert "New eval" not in await browser.open(url)
            page = await browser.open(f"{url}/{of['id']}")
            assert "0 of 1 answers" in text_of(page)
            for button in ("Run it", "Rename", "Cancel the run", "Delete the eval"):
                assert button not in page
            await browser.send(f"{url}/{of['id']}/delete", 403)
