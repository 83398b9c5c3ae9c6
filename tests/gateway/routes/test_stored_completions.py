"""GET, POST and DELETE on /v1/chat/completions"""

from typing import Any

import httpx
import pytest

from gateway.db.database import Database
from gateway.services import Services
from tests.conftest import chat, client_of
from tests.contract import conforms
from tests.gateway.test_errors import error_in

pytestmark = pytest.mark.anyio

CHAT = "/v1/chat/completions"
PARTS = [{"type": "text", "text": "what"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}]


async def stored(client: httpx.AsyncClient, sv: Services, model: str = "echo", **more: Any) -> str:
    """The id by which it is stored."""
    reply = await client.post(CHAT, json=chat(model, store=True, **more))
    assert reply.status_code == 200, reply.text
    await sv.drain.drain()
    last = (await client.get(CHAT, params={"order": "desc", "limit": 1})).json()
    assert last["data"][0]["request_id"] == reply.headers["x-request-id"]
    return last["data"][0]["id"]


async def ids(client: httpx.AsyncClient, **query: Any) -> list[str]:
    answer = await client.get(CHAT, params=query)
    assert answer.status_code == 200, answer.text
    conforms("ChatCompletionList", answer.json())
    return [each["id"] for each in answer.json()["data"]]


class TestStored:
    async def test_is_the_answer_with_what_it_was_asked(self, client: httpx.AsyncClient, sv: Services) -> None:
        asked = chat("echo", store=True, metadata={"team": "a"}, temperature=0.5, seed=3, user="ann")
        reply = await client.post(CHAT, json=asked)
        await sv.drain.drain()
        shown = (await client.get(f"{CHAT}/{reply.json()['id']}")).json()
        conforms("CreateChatCompletionResponse", shown)
        answer = reply.json()
        assert {name: shown[name] for name in ("id", "object", "created", "model", "usage")} == {
            name: answer[name] for name in ("id", "object", "created", "model", "usage")
        }
        assert shown["choices"][0]["message"]["content"] == answer["choices"][0]["message"]["content"]
        assert {"logprobs": None}.items() <= shown["choices"][0].items()
        more = {"request_id": reply.headers["x-request-id"], "metadata": {"team": "a"}, "temperature": 0.5, "seed": 3}
        assert {name: shown[name] for name in more} == more
        assert (shown["input_user"], shown["tools"], shown["response_format"], shown["top_p"]) == (
            "ann",
            None,
            None,
            None,
        )

    async def test_of_a_stream_is_the_whole_answer(self, client: httpx.AsyncClient, sv: Services) -> None:
        id = await stored(client, sv, stream=True)
        shown = (await client.get(f"{CHAT}/{id}")).json()
        conforms("CreateChatCompletionResponse", shown)
        assert shown["choices"][0]["message"]["content"] == "one two three four "

    async def test_only_what_was_asked_to_be(self, client: httpx.AsyncClient, sv: Services) -> None:
        for more in ({}, {"store": False}, {"store": None}):
            await client.post(CHAT, json=chat("echo", **more))
        await client.post(CHAT, json=chat("status-500", store=True))
        await client.post(CHAT, json=chat("cut", store=True, stream=True))
        await sv.drain.drain()
        assert await ids(client) == []

    async def test_with_an_id_that_an_upstream_used_before_is_found_by_that_of_the_call(
        self, client: httpx.AsyncClient, sv: Services
    ) -> None:
        calls = [await client.post(CHAT, json=chat("echo", store=True)) for _ in range(3)]
        await sv.drain.drain()
        names = await ids(client)
        assert names == ["chatcmpl-fake", *(call.headers["x-request-id"] for call in calls[1:])]
        shown = [(await client.get(f"{CHAT}/{name}")).json() for name in names]
        assert [each["id"] for each in shown] == names
        assert [each["request_id"] for each in shown] == [call.headers["x-request-id"] for call in calls]

    async def test_nothing_where_the_key_keeps_no_bodies(
        self, app: Any, admin: httpx.AsyncClient, client: httpx.AsyncClient, project_key: Any, sv: Services
    ) -> None:
        url = f"/v1/organization/projects/{project_key['project_id']}/api_keys"
        made = (await admin.post(url, json={"name": "bare", "logging": "metadata"})).json()
        async with client_of(app, made["value"]) as bare:
            assert (await bare.post(CHAT, json=chat("echo", store=True))).status_code == 200
        await sv.drain.drain()
        assert await ids(client) == []


class TestList:
    async def test_is_oldest_first_and_paged(self, client: httpx.AsyncClient, sv: Services) -> None:
        made = [await stored(client, sv) for _ in range(3)]
        assert await ids(client) == made
        assert await ids(client, order="desc") == made[::-1]
        page = (await client.get(CHAT, params={"limit": 2})).json()
        assert (page["first_id"], page["last_id"], page["has_more"]) == (made[0], made[1], True)
        assert await ids(client, after=made[1]) == made[2:]
        assert error_in(await client.get(CHAT, params={"after": "chatcmpl-none"}), 400)["param"] == "after"

    async def test_filters(self, client: httpx.AsyncClient, sv: Services) -> None:
        one = await stored(client, sv, metadata={"team": "a", "stage": "x"})
        two = await stored(client, sv, "slow", metadata={"team": "a"})
        three = await stored(client, sv)
        for query, expected in (
            ({"model": "slow"}, [two]),
            ({"model": "nothing"}, []),
            ({"metadata[team]": "a"}, [one, two]),
            ({"metadata[team]": "a", "metadata[stage]": "x"}, [one]),
            ({"metadata[team]": "b"}, []),
            ({"model": "echo"}, [one, three]),
        ):
            assert await ids(client, **query) == expected, query

    async def test_of_nothing_has_its_ids_null(self, client: httpx.AsyncClient) -> None:
        empty = {"object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False}
        assert (await client.get(CHAT)).json() == empty


class TestChange:
    async def test_replaces_the_metadata_and_not_the_log(self, client: httpx.AsyncClient, sv: Services) -> None:
        id = await stored(client, sv, metadata={"team": "a"})
        changed = (await client.post(f"{CHAT}/{id}", json={"metadata": {"stage": "x"}})).json()
        conforms("CreateChatCompletionResponse", changed)
        assert changed["metadata"] == {"stage": "x"}
        assert (await client.get(f"{CHAT}/{id}")).json() == changed
        assert (await client.get(f"/v1/exchanges/{id}")).json()["metadata"] == {"team": "a"}
        emptied = (await client.post(f"{CHAT}/{id}", json={"metadata": None})).json()
        assert emptied["metadata"] == {}

    async def test_refuses_anything_else(self, client: httpx.AsyncClient, sv: Services) -> None:
        url = f"{CHAT}/{await stored(client, sv)}"
        for body, param in (
            ({}, "metadata"), ({"model": "x", "metadata": {}}, "model"), ({"metadata": {"x": 1}}, "metadata[...]"),
            ({"metadata": {"x" * 65: ""}}, "metadata"),
        ):  # fmt: skip
            assert error_in(await client.post(url, json=body), 400)["param"] == param


class TestDelete:
    async def test_leaves_the_exchange(self, client: httpx.AsyncClient, sv: Services) -> None:
        id = await stored(client, sv)
        deleted = (await client.delete(f"{CHAT}/{id}")).json()
        conforms("ChatCompletionDeleted", deleted)
        assert deleted == {"id": id, "object": "chat.completion.deleted", "deleted": True}
        assert await ids(client) == []
        for method, url in (("GET", id), ("POST", id), ("DELETE", id), ("GET", f"{id}/messages")):
            answer = await client.request(method, f"{CHAT}/{url}", json={"metadata": {}} if method == "POST" else None)
            assert error_in(answer, 404)["param"] == "completion_id"
        assert (await client.get(f"/v1/exchanges/{id}")).json()["reply"] is not None


class TestMessages:
    async def test_are_those_that_were_sent(self, client: httpx.AsyncClient, sv: Services) -> None:
        call = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
        messages = [
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": PARTS, "name": "ann"},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "content": "7", "tool_call_id": "call_1"},
        ]
        id = await stored(client, sv, messages=messages)
        answer = (await client.get(f"{CHAT}/{id}/messages")).json()
        conforms("ChatCompletionMessageList", answer)
        assert [each["id"] for each in answer["data"]] == [f"{id}-{number}" for number in range(4)]
        assert [each["role"] for each in answer["data"]] == ["system", "user", "assistant", "tool"]
        assert [each["content"] for each in answer["data"]] == ["Be kind.", "what", None, "7"]
        assert [each["content_parts"] for each in answer["data"]] == [None, PARTS, None, None]
        assert answer["data"][1]["name"] == "ann"
        assert answer["data"][2]["tool_calls"] == [call]
        assert answer["data"][3]["tool_call_id"] == "call_1"
        page = (await client.get(f"{CHAT}/{id}/messages", params={"limit": 1, "after": f"{id}-1"})).json()
        assert ([each["id"] for each in page["data"]], page["has_more"]) == ([f"{id}-2"], True)
        back = (await client.get(f"{CHAT}/{id}/messages", params={"order": "desc", "limit": 1})).json()
        assert back["first_id"] == f"{id}-3"


async def test_are_a_projects_own(
    client: httpx.AsyncClient, stranger: httpx.AsyncClient, sv: Services, database: Database
) -> None:
    """Also where upstreams gave two projects' completions one id."""
    mine, theirs = await stored(client, sv, user="ann"), await stored(stranger, sv, user="bob")
    assert mine == theirs == "chatcmpl-fake"
    assert (await stranger.get(f"{CHAT}/{theirs}")).json()["input_user"] == "bob"
    await stranger.delete(f"{CHAT}/{theirs}")
    assert await ids(client) == [mine]
    assert await ids(stranger) == []
