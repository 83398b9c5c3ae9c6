"""/v1/exchanges"""

import asyncio
import json
from typing import Any

import httpx
import pytest

from gateway.db.database import Database
from gateway.db.tables import ExchangeRow
from gateway.exchanges import repository
from gateway.kit.clock import from_unix
from gateway.kit.ids import first_request_id
from gateway.services import Services
from tests.conftest import chat
from tests.gateway.exchanges.records import PLAIN
from tests.gateway.metering.ledger_rows import MIDNIGHT
from tests.gateway.test_errors import error_in

pytestmark = pytest.mark.anyio

CHAT, EXCHANGES = "/v1/chat/completions", "/v1/exchanges"
BODIES = {"request", "request_text", "reply", "reply_text"}


def id_at(moment: float, number: int = 0) -> str:
    """Of a call that began to come in at that Unix second."""
    return f"{first_request_id(int(moment))}{number:016x}"


async def add(database: Database, *rows: dict[str, Any]) -> list[str]:
    """Exchanges, each with its changes; their ids. An id is of the second of its `created_at`, unless it is given."""
    columns = ExchangeRow.__table__.columns.keys()
    plain = {name: getattr(PLAIN, name) for name in PLAIN.__struct_fields__ if name in columns}
    ids: list[str] = []
    async with database.session() as session:
        for number, changes in enumerate(rows):
            values = plain | {"id": id_at((plain | changes)["created_at"], number)} | changes
            session.add(ExchangeRow(**values | {"created_at": from_unix(values["created_at"])}))
            ids.append(values["id"])
    return ids


async def listed(client: httpx.AsyncClient, **query: Any) -> list[dict[str, Any]]:
    answer = await client.get(EXCHANGES, params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


async def ids(client: httpx.AsyncClient, **query: Any) -> list[str]:
    return [each["id"] for each in await listed(client, **query)]


class TestRetrieve:
    async def test_waits_for_one_that_has_just_ended(
        self, client: httpx.AsyncClient, sv: Services, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        find, missed = repository.find, asyncio.Event()

        async def watched(*args: Any) -> ExchangeRow | None:
            row = await find(*args)
            if row is None:
                missed.set()
            return row

        monkeypatch.setattr(repository, "find", watched)
        reply = await client.post(CHAT, json=chat("echo"))
        asking = asyncio.create_task(client.get(f"{EXCHANGES}/{reply.headers['x-request-id']}"))
        await missed.wait()
        await sv.drain.drain()
        assert (await asking).status_code == 200

    async def test_says_everything_about_a_call(
        self, client: httpx.AsyncClient, project_key: dict[str, Any], sv: Services
    ) -> None:
        asked = chat("echo", metadata={"team": "a"}, temperature=1.0)
        reply = await client.post(CHAT, json=asked)
        await sv.drain.drain()
        shown = (await client.get(f"{EXCHANGES}/{reply.headers['x-request-id']}")).json()
        times = {name: shown.pop(name) for name in ("created_at", "duration_ms", "upstream_ms")}
        assert all(times.values())
        assert shown == {
            "id": reply.headers["x-request-id"],
            "object": "exchange",
            "endpoint": "/chat/completions",
            "requested_model": "echo",
            "served_model": "echo",
            "route": None,
            "attempts": None,
            "upstream": "fake",
            "streamed": False,
            "outcome": "completed",
            "status": 200,
            "error": None,
            "request": asked,
            "reply": reply.json(),
            "reply_id": "chatcmpl-fake",
            "usage": {"input_tokens": 12, "cached_input_tokens": 4, "output_tokens": 4, "estimated": False},
            "cost_usd": "0.000082",
            "cost_nano": 82_000,
            "priced": True,
            "first_token_ms": None,
            "api_key_id": project_key["id"],
            "logging": "full",
            "metadata": {"team": "a"},
            "purpose": "",
            "end_user": None,
            "cache_hit": False,
            "cost_parts": {"input_nano": 40_000, "cached_input_nano": 2_000, "output_nano": 40_000, "request_nano": 0},
        }

    async def test_a_stream_is_shown_as_one_reply(self, client: httpx.AsyncClient, sv: Services) -> None:
        reply = await client.post(CHAT, json=chat("echo", stream=True))
        await sv.drain.drain()
        shown = (await client.get(f"{EXCHANGES}/{reply.headers['x-request-id']}")).json()
        assert shown["reply"]["choices"][0]["message"]["content"] == "one two three four "
        assert (shown["streamed"], shown["first_token_ms"] > 0) == (True, True)

    async def test_a_refusal_has_no_reply_and_costs_nothing(self, client: httpx.AsyncClient, sv: Services) -> None:
        refused = await client.post(CHAT, content=b'{"model": "nothing", "messages": [\xff]}')
        await sv.drain.drain()
        shown = (await client.get(f"{EXCHANGES}/{refused.headers['x-request-id']}")).json()
        assert (shown["outcome"], shown["status"], shown["error"]) == ("refused", 400, refused.json()["error"])
        assert (shown["request"], shown["request_text"]) == (None, '{"model": "nothing", "messages": [\ufffd]}')
        assert (shown["reply"], "reply_text" in shown) == (None, False)
        assert (shown["usage"], shown["cost_usd"], shown["cost_nano"], shown["priced"]) == (None, None, None, True)

    async def test_bodies_come_as_they_were(self, client: httpx.AsyncClient, sv: Services) -> None:
        body = b'{ "model":"echo", "messages":[{"role":"user","content":"\\u00e9"}], "big":123456789012345678901, "x":1.00 }'
        reply = await client.post(CHAT, content=body)
        await sv.drain.drain()
        answer = await client.get(f"{EXCHANGES}/{reply.headers['x-request-id']}")
        assert body in answer.content
        assert reply.content in answer.content

    async def test_by_the_replys_id_the_newest(self, client: httpx.AsyncClient, sv: Services) -> None:
        replies = [await client.post(CHAT, json=chat("echo", user=str(number))) for number in range(3)]
        await sv.drain.drain()
        shown = (await client.get(f"{EXCHANGES}/chatcmpl-fake")).json()
        assert shown["id"] == replies[-1].headers["x-request-id"]

    async def test_another_projects_is_404(
        self, client: httpx.AsyncClient, stranger: httpx.AsyncClient, sv: Services
    ) -> None:
        reply = await client.post(CHAT, json=chat("echo"))
        await sv.drain.drain()
        for id in (reply.headers["x-request-id"], "chatcmpl-fake"):
            assert (await client.get(f"{EXCHANGES}/{id}")).status_code == 200
            error = error_in(await stranger.get(f"{EXCHANGES}/{id}"), 404)
            assert error["code"] == "not_found"
        assert await listed(stranger) == []
        error_in(await stranger.get(EXCHANGES, params={"after": reply.headers["x-request-id"]}), 400)

    async def test_one_that_cannot_be_read_back_is_shown_as_text(
        self, client: httpx.AsyncClient, project_key: dict[str, Any], database: Database
    ) -> None:
        own = {"project_id": project_key["project_id"], "reply": b"<html>\xff", "request": b"[" * 5000}
        [id] = await add(database, own)
        shown = (await client.get(f"{EXCHANGES}/{id}")).json()
        assert (shown["reply"], shown["reply_text"]) == (None, "<html>\ufffd")
        assert (shown["request"], shown["request_text"]) == (None, "[" * 5000)

    async def test_an_unpriced_one_says_so(self, client: httpx.AsyncClient, sv: Services) -> None:
        await client.post(CHAT, json=chat("unpriced"))
        await sv.drain.drain()
        (shown,) = await listed(client)
        assert (shown["priced"], shown["cost_usd"], shown["cost_nano"]) == (False, None, None)
        assert shown["usage"]["input_tokens"] == 12


class TestList:
    async def test_is_newest_first_and_without_bodies(self, client: httpx.AsyncClient, sv: Services) -> None:
        calls = [await client.post(CHAT, json=chat("echo")) for _ in range(3)]
        await sv.drain.drain()
        made = [call.headers["x-request-id"] for call in calls]
        answer = (await client.get(EXCHANGES)).json()
        assert [each["id"] for each in answer["data"]] == made[::-1]
        assert (answer["object"], answer["has_more"]) == ("list", False)
        assert (answer["first_id"], answer["last_id"]) == (made[-1], made[0])
        assert all(not BODIES & set(each) for each in answer["data"])
        assert "hello" not in json.dumps(answer)

    async def test_is_paged(self, client: httpx.AsyncClient, project_key: dict[str, Any], database: Database) -> None:
        made = await add(database, *({"project_id": project_key["project_id"]} for _ in range(25)))
        assert len(await ids(client)) == 20
        shown: list[str] = []
        while len(page := await ids(client, limit=10, **({"after": shown[-1]} if shown else {}))) == 10:
            shown += page
        assert [*shown, *page] == made[::-1]
        assert (await ids(client, order="asc", limit=2)) == made[:2]
        for query, param in (({"limit": 101}, "limit"), ({"limit": 0}, "limit"), ({"after": "req_x"}, "after")):
            assert error_in(await client.get(EXCHANGES, params=query), 400)["param"] == param

    async def test_filters(self, client: httpx.AsyncClient, project_key: dict[str, Any], database: Database) -> None:
        own = {"project_id": project_key["project_id"], "request_metadata": None}
        made = await add(
            database,
            own | {"requested_model": "x"},
            own | {"served_model": "x", "created_at": MIDNIGHT + 10},
            own | {"status": 404, "outcome": "refused"},
            own | {"outcome": "client_left", "request_metadata": {"team": "a", "k y": "v"}},
            own | {"request_metadata": {"team": "b"}, "created_at": MIDNIGHT + 20.5},
        )
        for query, numbers in (
            ({"model": "x"}, [1, 0]),
            ({"status": 404}, [2]),
            ({"outcome": "client_left"}, [3]),
            ({"metadata[team]": "a"}, [3]),
            ({"metadata[team]": "a", "metadata[k y]": "v"}, [3]),
            ({"metadata[team]": "a", "metadata[k y]": "w"}, []),
            ({"created_after": MIDNIGHT + 10}, [4, 1]),
            ({"created_before": MIDNIGHT + 10}, [3, 2, 0]),
            ({"created_after": MIDNIGHT + 10, "created_before": MIDNIGHT + 20}, [1]),
            ({"model": "x", "created_after": MIDNIGHT + 11}, []),
        ):
            assert await ids(client, **query) == [made[number] for number in numbers], query

    async def test_a_time_is_when_a_call_was_complete_however_long_it_took_to_come_in(
        self, client: httpx.AsyncClient, project_key: dict[str, Any], database: Database
    ) -> None:
        own = {"project_id": project_key["project_id"], "created_at": MIDNIGHT}
        long_before, soon_after = id_at(MIDNIGHT - 3600), id_at(MIDNIGHT + 59)  # the clock was set back meanwhile
        await add(database, own | {"id": long_before}, own | {"id": soon_after})
        assert await ids(client, created_after=MIDNIGHT) == [soon_after, long_before]
        assert await ids(client, created_before=MIDNIGHT + 1) == [soon_after, long_before]
        assert await ids(client, created_after=MIDNIGHT + 1) == []
        assert await ids(client, created_before=MIDNIGHT) == []

    async def test_a_time_at_the_end_of_all_times(
        self, client: httpx.AsyncClient, project_key: dict[str, Any], database: Database
    ) -> None:
        made = await add(database, {"project_id": project_key["project_id"]})
        assert await ids(client, created_after=1, created_before=253_402_300_799) == made
        assert await ids(client, created_after=253_402_300_799) == []

    async def test_refuses_filters_that_mean_nothing(self, client: httpx.AsyncClient) -> None:
        for query, param in (
            ({"status": "x"}, "status"), ({"status": 99}, "status"), ({"outcome": "lost"}, "outcome"),
            ({"created_after": "x"}, "created_after"), ({"created_before": 2**50}, "created_before"),
            ({"order": "up"}, "order"),
        ):  # fmt: skip
            assert error_in(await client.get(EXCHANGES, params=query), 400)["param"] == param
