"""Guidance in the console: clusters, their examples, suggestions that lead to forms filled in, and a model's opinion."""

import csv
import io
import re
from collections.abc import AsyncIterator
from html import unescape
from typing import Any

import httpx
import pytest

from gateway.app import App
from gateway.services import Services, WorkerServices, worker_services
from gateway.settings import Settings
from gateway.tasks.read_exchanges import read_exchanges
from tests.admin.console.browsers import Browser, text_of
from tests.fakes.guidance import compute
from tests.gateway.people import add

pytestmark = pytest.mark.anyio

Client = httpx.AsyncClient


@pytest.fixture
def url(project_id: str) -> str:
    return f"/console/projects/{project_id}/guidance"


@pytest.fixture
async def wv(settings: Settings) -> AsyncIterator[WorkerServices]:
    async with worker_services(settings) as wv:
        yield wv


@pytest.fixture
async def failing(client: Client, admin: Client, sv: Services, project_id: str) -> list[str]:
    """Eight answers for the team `legal` that people did not like, twelve others that they did; newest last."""
    await admin.post("/v1/routes", json={"name": "shop", "project_id": project_id, "targets": [{"model": "echo"}]})
    await sv.mirrors.refresh()
    ids: list[str] = []
    for n in range(20):
        messages = [{"role": "user", "content": f"How do I return <b>order</b> {n}?" if n < 8 else f"{'x' * n}?"}]
        metadata = {"team": "legal" if n < 8 else "sales"}
        body = {"model": "shop", "messages": messages, "metadata": metadata}
        ids.append((await client.post("/v1/chat/completions", json=body)).headers["x-request-id"])
    await sv.drain.drain()
    for n, each in enumerate(ids):
        said = {"completion_id": each, "thumbs": "down" if n < 8 else "up", "tags": ["not JSON"] if n < 8 else []}
        assert (await client.post("/v1/feedback", json=said)).status_code == 200
    return ids[:8]


@pytest.fixture
async def shown(owner: Browser, url: str, failing: list[str], wv: WorkerServices, project_id: str) -> str:
    """The page once a worker has done its part."""
    await owner.open(url)
    await read_exchanges(wv)
    await compute(wv, project_id)
    return await owner.open(url)


def link(html: str, text: str) -> str:
    found = re.search(rf'href="([^"]*)">{text}</a>', html)
    assert found is not None, text
    return unescape(found[1])


class TestShown:
    async def test_first_it_is_computed(self, owner: Browser, url: str) -> None:
        page = await owner.open(url)
        assert "It is being computed" in text_of(page)
        assert 'hx-trigger="every 1s"' in page

    async def test_once_it_is_there_it_takes_the_place_of_waiting_with_all_that_goes_with_it(
        self, owner: Browser, url: str, shown: str
    ) -> None:
        fragment = (await owner.client.get(url, headers={"hx-request": "true"})).text
        assert "<html" not in fragment
        assert "every 1s" not in fragment
        for there in ("People: thumbs not met", "CSV", "Ask a model what is behind it"):
            assert there in text_of(fragment)

    async def test_the_clusters_with_how_many_and_where(self, shown: str) -> None:
        text = text_of(shown)
        assert "People: thumbs not met 8 of 20 answers 40.0% (21.9% to 61.3%)" in text
        assert "People say: not JSON 8 of 20 answers" in text
        assert "team=legal : 100% (68% to 100%, n = 8) ; elsewhere 0%" in text
        assert "hx-trigger" not in shown.partition('id="clusters"')[2].partition(">")[0]

    async def test_examples_lead_to_their_exchanges_and_what_people_write_is_text(
        self, owner: Browser, shown: str, failing: list[str]
    ) -> None:
        assert "<b>order</b>" not in shown
        newest = failing[-1]
        assert f"/exchanges/{newest}" in shown
        opened = await owner.open(link(shown, r"How do I return &lt;b&gt;order&lt;/b&gt; 7\?"))
        assert newest in opened
        assert "<b>order</b>" not in opened

    async def test_nothing_fails(self, owner: Browser, url: str, wv: WorkerServices, project_id: str) -> None:
        await owner.open(url)
        await compute(wv, project_id)
        text = text_of(await owner.open(url))
        assert "Nothing fails more than once" in text
        assert "Nobody has said what they think of answers" in text

    async def test_filters_stay_in_the_url(
        self, owner: Browser, url: str, failing: list[str], wv: WorkerServices, project_id: str
    ) -> None:
        await owner.open(f"{url}?route=shop&model=echo")
        await compute(wv, project_id, route="shop", model="echo")
        page = await owner.open(f"{url}?route=shop&model=echo")
        assert 'value="shop"' in page
        assert "People: thumbs not met" in text_of(page)
        assert "/export?model=echo&route=shop&format=csv" in unescape(page)

    async def test_filters_go_on_in_the_log(
        self, owner: Browser, url: str, failing: list[str], wv: WorkerServices, project_id: str
    ) -> None:
        await owner.open(f"{url}?route=shop&from=2020-01-01T00:00")
        await compute(wv, project_id, route="shop", created_after=1_577_836_800)
        page = await owner.open(f"{url}?route=shop&from=2020-01-01T00:00")
        log = link(page, "All in the log")
        assert "judged_by=human&passed=false&criterion=" in log
        assert log.endswith("&route=shop&from=2020-01-01T00%3A00")
        assert failing[-1] in await owner.open(log)

    async def test_a_time_that_is_none_is_named(self, owner: Browser, url: str) -> None:
        assert 'aria-invalid="true"' in await owner.open(f"{url}?from=soon", 400)

    async def test_is_in_the_menu(self, shown: str, url: str) -> None:
        assert f'href="{url}" aria-current="page">Guidance</a>' in shown


class TestSuggestions:
    async def test_more_data_leads_to_the_form_filled_in(self, owner: Browser, shown: str) -> None:
        assert "More data on team=legal" in text_of(shown)
        form = await owner.open(link(shown, "Build a dataset"))
        assert "team=legal</textarea>" in form
        assert 'name="routes" type="text" value="shop"' in form
        review = await owner.open(link(shown, "Review failures"))
        assert 'value="team=legal"' in review

    async def test_a_rule_for_the_route_is_pasted_into_its_form(
        self, owner: Browser, shown: str, admin: Client
    ) -> None:
        assert "A check on the route shop" in text_of(shown)
        copied = re.search(r'data-copy="([^"]*json[^"]*)"', shown)
        assert copied
        change = link(shown, "Change shop")
        assert "shop" in text_of(await owner.open(change))
        check = {"check_0_name": "format", "check_0_rules": unescape(copied[1]), "revision": "1"}
        await owner.send(change, model=["echo"], weight=["1"], **check)
        [route] = (await admin.get("/v1/routes")).json()["data"]
        assert [each["rules"] for each in route["checks"]] == [[{"type": "json", "object": True}]]

    async def test_a_rule_is_all_there_in_the_form_of_a_judge(self, owner: Browser, shown: str) -> None:
        form = await owner.open(link(shown, "Let a judge watch it first"))
        assert re.findall(r"<legend>(\d\. [^<]*)", form) == ["1. Is JSON"]
        assert 'name="rule_0_object" type="checkbox" value="true" checked' in form

    async def test_words_for_the_prompt(self, shown: str) -> None:
        assert "Reply with one JSON object and nothing else" in text_of(shown)

    async def test_a_reader_sees_no_button_that_changes(self, app: App, admin: Client, url: str, shown: str) -> None:
        await add(admin, "eve@example.com", "reader")
        async with Browser.of(app) as reader:
            await reader.sign_in("eve@example.com")
            page = await reader.open(url)
        assert "More data on team=legal" in text_of(page)
        for absent in ("Build a dataset", "Change shop", "Ask a model"):
            assert absent not in text_of(page)


class TestOpinion:
    async def test_is_shown_beside_the_facts(self, owner: Browser, shown: str, url: str) -> None:
        text = text_of(await owner.send(url, asked="assistant"))
        assert "What assistant thinks" in text
        assert "assistant thinks (low confidence)" in text

    async def test_an_answer_that_is_none_is_refused_in_words(self, owner: Browser, shown: str, url: str) -> None:
        page = await owner.send(url, 502, asked="echo")
        assert "The model's answer cannot be used" in text_of(page)
        assert "People: thumbs not met" in text_of(page)
        assert 'value="echo"' in page


class TestExport:
    async def test_csv_and_json(self, owner: Browser, shown: str, url: str) -> None:
        rows = list(csv.DictReader(io.StringIO(await owner.open(f"{url}/export"))))
        assert {row["title"]: (row["n"], row["of"]) for row in rows}["People: thumbs not met"] == ("8", "20")
        assert rows[0]["concentrated_in"] == "team=legal"
        found: dict[str, Any] = (await owner.client.get(f"{url}/export?format=json")).json()
        assert found["data"][0]["examples"][0]["question"].startswith("How do I return")
