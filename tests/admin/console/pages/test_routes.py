"""Routes in the browser: made, split, watched, rolled back."""

import re
from typing import Any

import httpx
import pytest

from gateway.app import App
from gateway.services import Services
from tests.admin.console.browsers import Browser, text_of
from tests.conftest import chat
from tests.gateway.people import add

pytestmark = pytest.mark.anyio

ROUTES = "/console/routes"
EVERYTHING = {
    "sticky": "user", "balance": "least_load", "hedge": "300", "retries": "2", "backoff_ms": "50", "max_backoff_ms": "900",
    "connect": "1.5", "first_token": "7", "idle": "8", "total": "90", "failures": "0", "open_seconds": "2.5",
    "few_shot": "3", "few_shot_tags": "a, b", "few_shot_tokens": "700", "few_shot_score": "0.5",
    "cache": "opt_in", "cache_seconds": "90",
    "check_0_name": "form", "check_0_mode": "block", "check_0_ms": "50", "check_0_rules": '[{"type": "json"}]',
    "check_1_name": "brief", "check_1_ms": "500", "check_1_rules": '{"type": "length", "most": 9}',
}  # fmt: skip


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
        page = await owner.send(ROUTES, 400, **form | {"weight": ["1"], "check_3_rules": "{"})
        assert "no JSON" in text_of(page)
        page = await owner.send(ROUTES, 400, **form | {"weight": ["1"], "model": ["nothing"]})
        assert "does not exist" in text_of(page)

    async def test_every_field_of_a_route_can_be_filled_in_and_is_there_again(
        self, owner: Browser, project_id: str, admin: httpx.AsyncClient
    ) -> None:
        url = await make(owner, project_id, **EVERYTHING)
        [route] = (await admin.get("/v1/routes")).json()["data"]
        assert route["retries"] == {"count": 2, "backoff_ms": 50, "max_backoff_ms": 900}
        assert route["timeouts"] == {"connect": 1.5, "first_token": 7, "idle": 8, "total": 90}
        assert route["breaker"] == {"failures": 0, "open_seconds": 2.5}
        assert (route["sticky"], route["balance"], route["hedge"]) == ("user", "least_load", {"after_ms": 300})
        assert route["few_shot"] == {"count": 3, "tags": ["a", "b"], "max_tokens": 700, "min_score": 0.5}
        assert route["cache"] == {"mode": "opt_in", "ttl_seconds": 90}
        assert [(each["name"], each["mode"], each["timeout_ms"]) for each in route["checks"]] == [
            ("form", "block", 50),
            ("brief", "flag", 500),
        ]
        page = await owner.open(f"{url}/edit")
        shown = dict(re.findall(r'<input id="f-([\w]+)"[^>]*? value="([^"]*)"', page))
        assert {name: shown[name] for name in EVERYTHING if name in shown} == {
            name: text for name, text in EVERYTHING.items() if name in shown
        }
        assert len(set(EVERYTHING) & set(shown)) > 19
        assert '<option value="opt_in" selected>' in page

    async def test_a_check_by_a_judge_has_its_rules(
        self, owner: Browser, project_id: str, client: httpx.AsyncClient, admin: httpx.AsyncClient
    ) -> None:
        rules = {"type": "rule", "rules": [{"type": "json"}]}
        assert (await client.post("/v1/judges", json={"name": "formal", "spec": rules})).status_code == 200
        url = await make(owner, project_id, check_0_name="form", check_0_judge="formal")
        form = {"model": ["echo"], "weight": ["1"], "check_0_name": "form", "check_0_judge": "formal"}
        await owner.send(f"{url}/edit", **form, revision="1")
        [route] = (await admin.get("/v1/routes")).json()["data"]
        assert [each["rules"] for each in route["checks"]] == [[{"type": "json"}]]

    @pytest.mark.parametrize(
        ("wrong", "field"),
        [
            ({"model": ["", "echo", "slow"], "weight": ["", "1", "many"]}, "m-2"),
            ({"model": ["echo", "nothing"], "weight": ["1", "1"]}, "m-2"),
            ({"fallbacks": "slow | sunshine"}, "f-fallbacks"),
            ({"hedge": "100"}, "f-hedge"),
            ({"hedge": "soon"}, "f-hedge"),
            ({"sticky": "mood"}, "f-sticky"),
            ({"idle": "0"}, "f-idle"),
            ({"open_seconds": "long"}, "f-open_seconds"),
            ({"max_backoff_ms": "1"}, "f-max_backoff_ms"),
            ({"few_shot": "3", "few_shot_score": "7"}, "f-few_shot_score"),
            ({"cache": "opt_in", "cache_seconds": "0"}, "f-cache_seconds"),
            ({"check_4_name": "a b", "check_4_rules": '{"type": "json"}'}, "f-check_0_name"),
            ({"check_0_name": "a", "check_0_rules": '[{"type": "regex", "pattern": "("}]'}, "f-check_0_rules"),
            ({"check_0_name": "a", "check_0_rules": '{"type": "json"}', "check_5_rules": "{"}, "f-check_1_rules"),
            ({"check_0_name": "a", "check_0_judge": "nobody"}, "f-check_0_judge"),
            ({"check_0_name": "a", "check_0_rules": "[]", "check_0_ms": "1"}, "f-check_0_rules"),
        ],
    )
    async def test_what_is_wrong_is_said_at_its_field(
        self, owner: Browser, project_id: str, wrong: dict[str, Any], field: str
    ) -> None:
        form = {"name": "shop", "project_id": project_id, "model": ["echo"], "weight": ["1"], **wrong}
        page = await owner.send(ROUTES, 400, **form)
        assert 'aria-invalid="true"' in re.findall(rf'id="{field}"[^>]*>', page)[0]

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

    async def test_numbers_are_as_they_were_where_another_field_is_changed(
        self, owner: Browser, project_id: str, admin: httpx.AsyncClient
    ) -> None:
        url = await make(owner, project_id)
        id = url.rpartition("/")[2]
        targets = [{"model": "echo", "weight": 33.333333}, {"model": "no-usage", "weight": 1234567.0}]
        await admin.post(f"/v1/routes/{id}", json={"targets": targets, "timeouts": {"total": 123.45678}})
        page = await owner.open(f"{url}/edit")
        weights = re.findall(r'name="weight"[^>]*value="([^"]*)"', page)
        assert weights == ["33.333333", "1234567", "", ""]
        assert re.search(r'name="total"[^>]*value="123.45678"', page)
        form = {"model": ["echo", "no-usage"], "weight": weights[:2], "hedge": "300", "revision": "2"}
        await owner.send(f"{url}/edit", **form)
        assert (await admin.get(f"/v1/routes/{id}")).json()["targets"] == targets

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
