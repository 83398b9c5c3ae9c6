"""/v1/criteria"""

from typing import Any

import httpx
import pytest

from tests.gateway.test_errors import error_in

pytestmark = pytest.mark.anyio

CRITERIA = "/v1/criteria"
TONE = {"name": "tone", "kind": "categorical", "description": "How it sounds.", "labels": ["kind", "rude"]}


async def make(client: httpx.AsyncClient, body: dict[str, Any], url: str = CRITERIA) -> dict[str, Any]:
    answer = await client.post(url, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def names(client: httpx.AsyncClient, **query: Any) -> list[tuple[str, int]]:
    rows = (await client.get(CRITERIA, params=query)).json()["data"]
    return [(row["name"], row["version"]) for row in rows]


class TestMade:
    async def test_says_everything(self, client: httpx.AsyncClient, project_key: dict[str, Any]) -> None:
        made = await make(client, TONE)
        id, created_at = made.pop("id"), made.pop("created_at")
        assert id.startswith("crit_")
        assert created_at > 1_700_000_000
        assert made == TONE | {
            "object": "criterion", "created_by": project_key["id"], "version": 1, "lowest": None, "highest": None,
            "passing_labels": None, "pass_score": None, "direction": "max", "level": "exchange", "archived_at": None,
        }  # fmt: skip
        assert (await client.get(f"{CRITERIA}/{id}")).json()["name"] == "tone"

    async def test_twice_is_one(self, client: httpx.AsyncClient) -> None:
        assert await make(client, TONE) == await make(client, TONE)

    async def test_refuses_what_makes_no_sense(self, client: httpx.AsyncClient) -> None:
        for changes, param in (({"name": "a b"}, "name"), ({"kind": "vague"}, "kind"), ({"lowest": 1}, "lowest")):
            assert error_in(await client.post(CRITERIA, json=TONE | changes), 400)["param"] == param


class TestChanged:
    async def test_is_the_next_version_and_the_first_stays(self, client: httpx.AsyncClient) -> None:
        first = await make(client, TONE)
        second = await make(client, {"description": "How it reads."}, f"{CRITERIA}/{first['id']}")
        assert (second["version"], second["labels"], second["description"]) == (2, ["kind", "rude"], "How it reads.")
        assert (await client.get(f"{CRITERIA}/{first['id']}")).json() == first
        third = await make(client, {"labels": ["kind", "cold"]}, f"{CRITERIA}/{first['id']}")
        assert (third["version"], third["description"]) == (3, "How it reads.")

    async def test_to_what_it_is_changes_nothing(self, client: httpx.AsyncClient) -> None:
        first = await make(client, TONE)
        assert await make(client, {"labels": ["kind", "rude"]}, f"{CRITERIA}/{first['id']}") == first

    async def test_keeps_name_and_kind(self, client: httpx.AsyncClient) -> None:
        url = f"{CRITERIA}/{(await make(client, TONE))['id']}"
        for change in ("name", "kind"):
            assert error_in(await client.post(url, json={change: "text"}), 400)["param"] == change


class TestListed:
    async def test_shows_the_version_in_force(self, client: httpx.AsyncClient) -> None:
        first = await make(client, TONE)
        await make(client, {"description": "x"}, f"{CRITERIA}/{first['id']}")
        await make(client, {"name": "other", "kind": "boolean"})
        assert await names(client) == [("other", 1), ("tone", 2)]
        assert await names(client, versions="true", name="tone") == [("tone", 2), ("tone", 1)]

    async def test_an_archived_one_is_left_out(self, client: httpx.AsyncClient) -> None:
        made = await make(client, TONE)
        assert (await client.delete(f"{CRITERIA}/{made['id']}")).json()["object"] == "criterion.deleted"
        assert await names(client) == []
        assert await names(client, archived="true") == [("tone", 1)]
        assert (await client.get(f"{CRITERIA}/{made['id']}")).json()["archived_at"] is not None

    async def test_is_a_projects_own(self, client: httpx.AsyncClient, stranger: httpx.AsyncClient) -> None:
        made = await make(client, TONE)
        assert await names(stranger) == []
        for method in ("GET", "POST", "DELETE"):
            answer = await stranger.request(method, f"{CRITERIA}/{made['id']}", content=b"{}")
            assert error_in(answer, 404)["param"] == "criterion_id"
