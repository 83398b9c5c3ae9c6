"""/v1/saved_views"""

import asyncio
from typing import Any

import httpx
import pytest

from gateway.exchanges import saved_views
from tests.gateway.test_errors import error_in

pytestmark = pytest.mark.anyio

VIEWS = "/v1/saved_views"


async def save(client: httpx.AsyncClient, name: str = "slow", **query: Any) -> dict[str, Any]:
    answer = await client.post(VIEWS, json={"page": "exchanges", "name": name, "query": query})
    assert answer.status_code == 200, answer.text
    return answer.json()


async def names(client: httpx.AsyncClient, **query: Any) -> list[str]:
    return [each["name"] for each in (await client.get(VIEWS, params=query)).json()["data"]]


class TestSavedViews:
    async def test_are_saved_opened_changed_and_deleted(self, client: httpx.AsyncClient) -> None:
        made = await save(client, min_duration_ms="5000", model=["a", "b"])
        url = f"{VIEWS}/{made['id']}"
        assert made["query"] == {"min_duration_ms": "5000", "model": ["a", "b"]}
        assert (await client.get(url)).json() == made
        assert await names(client, page="exchanges") == ["slow"]
        assert await names(client, page="judgments") == []
        changed = (await client.post(url, json={"name": "slower"})).json()
        assert changed == made | {"name": "slower"}
        assert (await client.post(url, json={"query": {}})).json()["query"] == {}
        assert (await client.delete(url)).json() == {"id": made["id"], "object": "saved_view.deleted", "deleted": True}
        error_in(await client.get(url), 404)

    async def test_a_name_is_taken_once(self, client: httpx.AsyncClient) -> None:
        await save(client)
        other = await save(client, "other")
        taken = {"page": "exchanges", "name": "slow", "query": {}}
        assert error_in(await client.post(VIEWS, json=taken), 409)["param"] == "name"
        assert error_in(await client.post(f"{VIEWS}/{other['id']}", json={"name": "slow"}), 409)["param"] == "name"
        assert (await client.post(f"{VIEWS}/{other['id']}", json={"name": "other"})).status_code == 200
        assert (await client.post(VIEWS, json=taken | {"page": "judgments"})).status_code == 200

    async def test_of_two_at_once_one_gets_the_name(self, client: httpx.AsyncClient) -> None:
        body = {"page": "exchanges", "name": "slow", "query": {}}
        answers = await asyncio.gather(*(client.post(VIEWS, json=body) for _ in range(4)))
        assert sorted(each.status_code for each in answers) == [200, 409, 409, 409]

    async def test_are_no_more_than_can_be_shown(
        self, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(saved_views, "MOST", 1)
        made = await save(client)
        error_in(await client.post(VIEWS, json={"page": "exchanges", "name": "other", "query": {}}), 400)
        assert (await client.post(f"{VIEWS}/{made['id']}", json={"name": "other"})).status_code == 200

    async def test_refuses_what_is_no_view(self, client: httpx.AsyncClient) -> None:
        plain = {"page": "exchanges", "name": "slow", "query": {}}
        for changes, param in (
            ({"page": "nowhere"}, "page"), ({"name": ""}, "name"), ({"name": "n" * 101}, "name"),
            ({"query": {"a": 5}}, "query[...]"), ({"query": {"a": "x" * 1001}}, "query[...]"), ({"more": 1}, "more"),
            ({"query": {str(n): "" for n in range(51)}}, "query"),
        ):  # fmt: skip
            assert error_in(await client.post(VIEWS, json=plain | changes), 400)["param"] == param, changes

    async def test_of_another_project_are_not_there(
        self, client: httpx.AsyncClient, stranger: httpx.AsyncClient
    ) -> None:
        made = await save(client)
        await save(stranger)
        for answer in (
            await stranger.get(f"{VIEWS}/{made['id']}"),
            await stranger.post(f"{VIEWS}/{made['id']}", json={"name": "mine"}),
            await stranger.delete(f"{VIEWS}/{made['id']}"),
        ):
            error_in(answer, 404)
        assert await names(client) == ["slow"]
