"""Routes in the browser: made, split, watched, rolled back."""

import re

import httpx
import pytest

from gateway.app import App
from gateway.services import Services
from tests.admin.console.browsers import Browser, text_of
from tests.conftest import chat
from tests.gateway.people import add

pytestmark = pytest.mark.anyio

ROUTES = "/console/routes"


async def make(owner: Browser, project_id: str, **fields: str) -> str:
    """The URL of a new route of `echo` and `slow`."""
    form = {"name": "shop", "project_id": project_id, "model": ["echo", "no-usage"], "weight": ["3", "1"]}
    page = await owner.send(ROUTES, **{**form, **fields})
    [url] = set(re.findall(rf'"({ROUTES}/\w+)/edit"', page))
    return url


class TestMaking:
    async def test_the_route_answers_and_is_listed_in_words(
        self, owner: Browser, project_id: str, client: httpx.AsyncClient
    ) -> None:
        await make(owner, project_id, fallbacks="unicode | rate_limit, timeout")
        assert (await client.post("/v1/chat/completions", json=chat("shop"))).status_code == 200
        listed = text_of(await owner.open(ROUTES))
        assert "75% of the calls: echo" in listed
        assert "else: unicode (after rate limit, timeout)" in listed

    async def test_what_is_wrong_is_said_and_nothing_is_lost(self, owner: Browser, project_id: str) -> None:
        form = {"name": "shop", "project_id": project_id, "model": ["echo"], "weight": ["many"]}
        page = await owner.send(ROUTES, 400, **form)
        assert "A weight is a number" in text_of(page)
        assert 'value="many"' in page
        page = await owner.send(ROUTES, 400, **form | {"weight": ["1"], "checks": "{"})
        assert "no JSON" in text_of(page)
        page = await owner.send(ROUTES, 400, **form | {"weight": ["1"], "model": ["nothing"]})
        assert "does not exist" in text_of(page)

    async def test_a_reader_sees_it_and_changes_nothing(
        self, app: App, admin: httpx.AsyncClient, owner: Browser, project_id: str
    ) -> None:
        url = await make(owner, project_id)
        await add(admin, "reader@example.com", "reader")
        async with Browser.of(app) as browser:
            await browser.sign_in("reader@example.com")
            page = await browser.open(url)
            assert "75% of the calls: echo" in text_of(page)
            assert "Split the calls" not in page
            await browser.send(f"{url}/split", 403, candidate="echo", share="100", revision="1")


class TestChanging:
    async def test_an_edit_keeps_what_it_does_not_ask_for_and_is_refused_when_somebody_was_faster(
        self, owner: Browser, project_id: str, admin: httpx.AsyncClient
    ) -> None:
        url = await make(owner, project_id)
        id = url.rpartition("/")[2]
        timeouts = {"timeouts": {"idle": 9, "first_token": 5}, "retries": {"count": 0, "backoff_ms": 300}}
        await admin.post(f"/v1/routes/{id}", json=timeouts)
        form = {"model": ["echo"], "weight": ["1"], "retries": "3", "first_token": "5", "revision": "2"}
        await owner.send(f"{url}/edit", **form)
        route = (await admin.get(f"/v1/routes/{id}")).json()
        assert (route["timeouts"]["idle"], route["timeouts"]["first_token"]) == (9, 5)
        assert (route["retries"]["count"], route["retries"]["backoff_ms"]) == (3, 300)
        page = await owner.send(f"{url}/edit", 409, **form)
        assert "is at revision 3, not 2" in text_of(page)

    async def test_split_switch_and_roll_back(self, owner: Browser, project_id: str, admin: httpx.AsyncClient) -> None:
        url = await make(owner, project_id)
        id = url.rpartition("/")[2]

        async def weights() -> dict[str, float]:
            targets = (await admin.get(f"/v1/routes/{id}")).json()["targets"]
            return {each["model"]: each["weight"] for each in targets}

        page = await owner.send(f"{url}/split", candidate="no-usage", share="50", revision="1")
        assert "50% of the calls from now on" in text_of(page)
        assert await weights() == {"echo": 50, "no-usage": 50}
        assert "+ 50% of the calls: echo" in text_of(page)
        await owner.send(f"{url}/split", candidate="no-usage", share="100", revision="2")
        assert await weights() == {"echo": 0, "no-usage": 100}
        await owner.send(f"{url}/rollback", if_revision="3")
        assert await weights() == {"echo": 50, "no-usage": 50}
        await owner.send(f"{url}/rollback", if_revision="4", revision="1")
        assert await weights() == {"echo": 3, "no-usage": 1}
        await owner.send(f"{url}/split", 400, candidate="echo", share="101", revision="5")

    async def test_a_new_candidate_and_the_end_of_the_route(self, owner: Browser, project_id: str) -> None:
        url = await make(owner, project_id)
        page = text_of(await owner.send(f"{url}/split", candidate="unicode", share="10", revision="1"))
        assert "10% of the calls: unicode" in page
        assert "The route is deleted" in text_of(await owner.send(f"{url}/delete"))


class TestResults:
    async def test_each_target_with_its_calls(
        self, owner: Browser, project_id: str, client: httpx.AsyncClient, sv: Services
    ) -> None:
        url = await make(owner, project_id)
        for _ in range(12):
            assert (await client.post("/v1/chat/completions", json=chat("shop"))).status_code == 200
        await sv.drain.drain()
        page = await owner.open(url)
        calls = [int(each) for each in re.findall(r'%</td>\s*<td class="number">(\d+)</td>', page)]
        assert sum(calls) == 12
        part = await owner.client.get(url, headers={"hx-request": "true"})
        assert "<html" not in part.text
        assert 'id="results"' in part.text
        await owner.send(f"{url}/split", candidate="no-usage", share="50", revision="1")
        assert re.findall(r'%</td>\s*<td class="number">(\d+)</td>', await owner.open(url)) == ["0", "0"]
        every = await owner.open(f"{url}?results=all")
        assert sum(int(each) for each in re.findall(r'%</td>\s*<td class="number">(\d+)</td>', every)) == 12
