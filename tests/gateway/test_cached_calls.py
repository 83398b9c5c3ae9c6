"""Calls that are answered with what was kept of calls before them, in-process."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import httpx
import msgspec
import pytest

from gateway.app import App
from gateway.cache_settings import CacheSettings
from gateway.db.changes import touch
from gateway.db.tables import ApiKeyRow
from gateway.exchanges.assemble import assemble
from gateway.inline_rules import InlineRules
from gateway.protocol.routes import Check, Fallback, FewShot, RouteCache, Target
from gateway.services import Services
from gateway.settings import RedisSettings, RouteSettings, Settings
from tests.conftest import app_of, chat, client_of
from tests.fakes.upstream import Upstream
from tests.gateway import logged
from tests.polling import until

pytestmark = pytest.mark.anyio

CHAT = "/v1/chat/completions"
MARK = "x-tuneway-cache"
KEPT = RouteCache(ttl_seconds=60)


def route(name: str, *models: str, **more: Any) -> RouteSettings:
    return RouteSettings(name=name, targets=tuple(Target(model=model) for model in models or ("echo",)), **more)


@pytest.fixture
def settings(settings: Settings) -> Settings:
    short = ({"type": "length", "most": 3, "unit": "characters"},)
    routes = (
        route("kept", cache=KEPT),
        route("opted", cache=RouteCache(mode="opt_in")),
        route("never"),
        route("for-users", cache=KEPT, sticky="user"),
        route("falls", "bare-500", cache=KEPT, fallbacks=(Fallback(model="echo"),)),
        route("shows", cache=KEPT, few_shot=FewShot(count=1)),
        route("flags", cache=KEPT, checks=(Check(name="short", rules=short, timeout_ms=9000),)),
        route("blocks", cache=KEPT, checks=(Check(name="short", rules=short, timeout_ms=9000, mode="block"),)),
        route("helps", "assistant", cache=KEPT),
    )
    return msgspec.structs.replace(settings, routes=routes, cache=CacheSettings(enabled=True, answer_seconds=5))


async def ask(client: httpx.AsyncClient, model: str = "echo", mark: str | None = None, **more: Any) -> httpx.Response:
    """With temperature 0, unless told."""
    headers = {MARK: mark} if mark else {}
    body = chat(model) | {"temperature": 0} | more
    answer = await client.post(
        CHAT, json={name: value for name, value in body.items() if value is not None}, headers=headers
    )
    assert answer.status_code == 200, answer.text
    return answer


async def is_hit(client: httpx.AsyncClient, model: str = "echo", mark: str | None = None, **more: Any) -> bool:
    return (await ask(client, model, mark, **more)).headers.get(MARK) == "hit"


def chunks(answer: httpx.Response) -> list[dict[str, Any]]:
    events = answer.text.split("\n\n")
    assert events[-2:] == ["data: [DONE]", ""]
    return [json.loads(event[len("data: ") :]) for event in events[:-2]]


def without_id(reply: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in reply.items() if name != "id"}


class TestWhoIsConcerned:
    async def test_a_call_with_temperature_0_is_answered_again(
        self, client: httpx.AsyncClient, upstream: Upstream
    ) -> None:
        first, second = await ask(client), await ask(client)
        assert (first.headers[MARK], second.headers[MARK]) == ("miss", "hit")
        assert "age" not in first.headers
        assert int(second.headers["age"]) >= 0
        assert len(upstream.requests) == 1
        assert without_id(second.json()) == without_id(first.json())

    @pytest.mark.parametrize("temperature", [None, 1, 0.1, "0"])
    async def test_with_another_only_when_it_asks(self, client: httpx.AsyncClient, temperature: Any) -> None:
        for _ in range(2):
            assert MARK not in (await ask(client, temperature=temperature)).headers
        assert not await is_hit(client, mark="on", temperature=temperature)
        assert await is_hit(client, mark="on", temperature=temperature)

    async def test_a_seed_alone_does_not_count(self, client: httpx.AsyncClient) -> None:
        for _ in range(2):
            assert MARK not in (await ask(client, temperature=None, seed=1)).headers

    async def test_where_calls_opt_in_temperature_0_is_not_enough(self, client: httpx.AsyncClient) -> None:
        for _ in range(2):
            assert MARK not in (await ask(client, "opted")).headers
        assert not await is_hit(client, "opted", "on")
        assert await is_hit(client, "opted", "on")

    async def test_a_route_without_a_cache_keeps_nothing(self, client: httpx.AsyncClient, upstream: Upstream) -> None:
        for _ in range(2):
            assert MARK not in (await ask(client, "never", "on")).headers
        assert len(upstream.requests) == 2

    @pytest.mark.parametrize("headers", [{MARK: "off"}, {"cache-control": "no-store"}, {MARK: "OFF"}])
    async def test_off_neither_reads_nor_keeps(self, client: httpx.AsyncClient, headers: dict[str, str]) -> None:
        asked = chat("echo", temperature=0)
        for _ in range(2):
            assert MARK not in (await client.post(CHAT, json=asked, headers=headers)).headers
        assert not await is_hit(client)
        assert MARK not in (await client.post(CHAT, json=asked, headers=headers)).headers

    @pytest.mark.parametrize("headers", [{MARK: "refresh"}, {"cache-control": "max-age=0, no-cache"}])
    async def test_refresh_asks_anew_and_keeps(
        self, client: httpx.AsyncClient, upstream: Upstream, headers: dict[str, str]
    ) -> None:
        await ask(client, "echo")
        answer = await client.post(CHAT, json=chat("echo", temperature=0), headers=headers)
        assert answer.headers[MARK] == "miss"
        assert len(upstream.requests) == 2
        assert await is_hit(client)

    async def test_our_header_is_stronger_than_http_s(self, client: httpx.AsyncClient) -> None:
        headers = {"cache-control": "no-store", MARK: "on"}
        found = [(await client.post(CHAT, json=chat("echo"), headers=headers)).headers[MARK] for _ in range(2)]
        assert found == ["miss", "hit"]

    async def test_another_word_is_refused(self, client: httpx.AsyncClient) -> None:
        answer = await client.post(CHAT, json=chat("echo"), headers={MARK: "yes"})
        assert answer.status_code == 400
        assert answer.json()["error"]["param"] == MARK
        assert "on, off or refresh" in answer.json()["error"]["message"]

    @pytest.mark.parametrize("purpose", ["judge", "eval"])
    async def test_nothing_that_tuneway_asks_itself(
        self, client: httpx.AsyncClient, sv: Services, project_key: dict[str, Any], upstream: Upstream, purpose: str
    ) -> None:
        """A judge that is asked again is to judge again."""
        await ask(client)
        async with sv.database.session() as session:
            (await session.get_one(ApiKeyRow, project_key["id"])).purpose = purpose
            await touch(session, "api_keys")
        await sv.mirrors.catch_up()
        for mark in (None, "on", "on"):
            assert MARK not in (await ask(client, mark=mark)).headers
        assert len(upstream.requests) == 4

    async def test_no_call_that_is_too_large(self, client: httpx.AsyncClient) -> None:
        long = [{"role": "user", "content": "x" * (256 * 1024)}]
        for _ in range(2):
            assert MARK not in (await ask(client, messages=long)).headers


class TestOff:
    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        return msgspec.structs.replace(settings, cache=CacheSettings(answer_seconds=5))

    async def test_models_have_none_unless_it_is_switched_on(
        self, client: httpx.AsyncClient, upstream: Upstream
    ) -> None:
        for mark in ("on", "on", "whatever"):
            assert MARK not in (await ask(client, mark=mark)).headers
        assert len(upstream.requests) == 3

    async def test_a_route_has_its_own(self, client: httpx.AsyncClient) -> None:
        assert [await is_hit(client, "kept") for _ in range(2)] == [False, True]


class TestWhatIsTheSame:
    @pytest.mark.parametrize(
        "more",
        [
            {"user": "ann"},
            {"safety_identifier": "ann"},
            {"metadata": {"a": "b"}},
            {"store": True},
            {"stream": False},
            {"prompt_cache_key": "k"},
        ],
    )
    async def test_what_is_said_beside_the_question(self, client: httpx.AsyncClient, more: Any) -> None:
        await ask(client)
        assert await is_hit(client, **more)

    @pytest.mark.parametrize(
        "more",
        [
            {"seed": 1},
            {"n": 2},
            {"logprobs": True},
            {"max_tokens": 10},
            {"tools": []},
            {"temperature": 0.0},
            {"anything": 1},
            {"messages": [{"role": "user", "content": "hello "}]},
        ],
    )
    async def test_everything_else_counts(self, client: httpx.AsyncClient, more: Any) -> None:
        await ask(client)
        assert not await is_hit(client, **more)
        assert await is_hit(client, **more)

    async def test_order_and_whitespace_do_not(self, client: httpx.AsyncClient) -> None:
        await client.post(CHAT, content=b'{"model":"echo","temperature":0,"messages":[{"role":"user","content":"a"}]}')
        other = b'{ "messages": [ {"content": "\\u0061", "role": "user"} ],\n"temperature": 0, "model": "echo" }'
        assert (await client.post(CHAT, content=other)).headers[MARK] == "hit"

    async def test_another_model_or_endpoint_is_another_question(self, client: httpx.AsyncClient) -> None:
        await ask(client, "echo")
        assert not await is_hit(client, "kept")
        asked = {"model": "echo", "prompt": "hello", "temperature": 0}
        found = [(await client.post("/v1/completions", json=asked)).headers[MARK] for _ in range(2)]
        assert found == ["miss", "hit"]

    async def test_who_asks_counts_where_a_route_keeps_users_apart(self, client: httpx.AsyncClient) -> None:
        await ask(client, "for-users", user="ann")
        assert not await is_hit(client, "for-users", user="bob")
        assert await is_hit(client, "for-users", user="ann")

    async def test_a_route_that_was_changed(self, client: httpx.AsyncClient, admin: httpx.AsyncClient) -> None:
        made = await admin.post(
            "/v1/routes", json={"name": "made", "targets": [{"model": "echo"}], "cache": {"ttl_seconds": 60}}
        )
        assert made.status_code == 200, made.text
        assert made.json()["cache"] == {"mode": "temperature_0", "ttl_seconds": 60}
        assert [await is_hit(client, "made") for _ in range(2)] == [False, True]
        changed = await admin.post(f"/v1/routes/{made.json()['id']}", json={"targets": [{"model": "unicode"}]})
        assert changed.status_code == 200
        assert not await is_hit(client, "made")

    async def test_a_ttl_that_is_none_is_refused(self, admin: httpx.AsyncClient) -> None:
        body = {"name": "made", "targets": [{"model": "echo"}], "cache": {"ttl_seconds": 0}}
        refused = await admin.post("/v1/routes", json=body)
        assert refused.status_code == 400
        assert refused.json()["error"]["param"] == "cache.ttl_seconds"


class TestIsolation:
    async def test_projects_share_nothing(
        self, client: httpx.AsyncClient, stranger: httpx.AsyncClient, upstream: Upstream
    ) -> None:
        await ask(client)
        assert not await is_hit(stranger)
        assert len(upstream.requests) == 2

    async def test_keys_of_a_project_share(
        self, app: App, client: httpx.AsyncClient, admin: httpx.AsyncClient, project_key: dict[str, Any]
    ) -> None:
        await ask(client)
        url = f"/v1/organization/projects/{project_key['project_id']}/service_accounts"
        other = (await admin.post(url, json={"name": "other"})).json()["api_key"]["value"]
        async with client_of(app, other) as second:
            assert await is_hit(second)

    @pytest.mark.parametrize("policy", ["metadata", "off"])
    async def test_a_key_that_keeps_no_bodies_neither_reads_nor_keeps(
        self, client: httpx.AsyncClient, admin: httpx.AsyncClient, project_key: dict[str, Any], policy: str
    ) -> None:
        await ask(client)
        url = f"/v1/organization/projects/{project_key['project_id']}/api_keys/{project_key['id']}"
        assert (await admin.post(url, json={"logging": policy})).status_code == 200
        assert MARK not in (await ask(client)).headers
        assert MARK not in (await ask(client, mark="on", seed=2)).headers
        assert (await admin.post(url, json={"logging": "full"})).status_code == 200
        assert not await is_hit(client, seed=2)


class TestWhatIsKept:
    @pytest.mark.parametrize("model", ["falls", "no-usage", "flags", "blocks"])
    async def test_no_answer_of_a_fallback_without_usage_or_against_a_rule(
        self, client: httpx.AsyncClient, model: str
    ) -> None:
        asked = {"stream": True} if model == "no-usage" else {}
        assert [await is_hit(client, model, "on", **asked) for _ in range(2)] == [False, False]

    async def test_one_that_passes_the_rules_of_its_route(self, client: httpx.AsyncClient) -> None:
        messages = [{"role": "user", "content": "abc"}]
        assert [await is_hit(client, "blocks", messages=messages) for _ in range(2)] == [False, True]

    async def test_what_cannot_be_given_again_ends_its_call(self, client: httpx.AsyncClient, sv: Services) -> None:
        """It is written down and counted like any other, and holds nothing afterwards."""
        await ask(client)
        memory: Any = sv.replies._memory  # pyright: ignore[reportPrivateUsage]
        ((place, entry),) = memory._entries.items()
        memory.put(place, msgspec.structs.replace(entry, body=b'{"id": "a-1", "choices": [{"message": null}]}'))
        answer = await client.post(CHAT, json=chat("echo", temperature=0, stream=True))
        assert answer.status_code == 500
        found = {row.id: row for row in await logged.rows(sv)}
        assert found[answer.headers["x-request-id"]].status == 500

    async def test_no_answer_that_was_not_held_against_the_rules(
        self, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Its call was cancelled when the whole answer was here: this process ends, for one."""
        asked = {"messages": [{"role": "user", "content": "abc"}]}
        with monkeypatch.context() as patch:

            async def cancelled(*_: Any, **__: Any) -> None:
                raise asyncio.CancelledError

            patch.setattr(InlineRules, "check", cancelled)
            with pytest.raises(asyncio.CancelledError):
                await ask(client, "blocks", stream=True, **asked)
        assert not await is_hit(client, "blocks", **asked)

    @pytest.mark.parametrize("model", ["status-500", "status-400", "cut"])
    async def test_no_failure(self, client: httpx.AsyncClient, model: str) -> None:
        for _ in range(2):
            answer = await client.post(CHAT, json=chat(model, temperature=0))
            assert answer.status_code >= 400
            assert MARK not in answer.headers

    @pytest.mark.parametrize("model", ["cut", "error-midway", "ends-early", "no-done"])
    async def test_no_broken_stream(self, client: httpx.AsyncClient, model: str) -> None:
        assert [await is_hit(client, model, stream=True) for _ in range(2)] == [False, False]


class TestStreams:
    async def test_a_whole_answer_is_replayed_as_a_stream(self, client: httpx.AsyncClient) -> None:
        long = "The quick brown fox. " * 30
        whole = await ask(client, messages=[{"role": "user", "content": long}])
        again = await ask(client, messages=[{"role": "user", "content": long}], stream=True)
        assert again.headers[MARK] == "hit"
        assert again.headers["content-type"].startswith("text/event-stream")
        found = chunks(again)
        assert found[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
        assert "".join(each["choices"][0]["delta"].get("content", "") for each in found) == long
        assert len(found) > 3
        assert found[-1]["choices"][0] == {"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"}
        assert {each["object"] for each in found} == {"chat.completion.chunk"}
        assert len({each["id"] for each in found}) == 1
        assert not any("usage" in each for each in found)
        assert json.loads(assemble(again.content))["choices"] == whole.json()["choices"]

    async def test_with_usage_where_it_was_asked_for(self, client: httpx.AsyncClient) -> None:
        whole = await ask(client)
        found = chunks(await ask(client, stream=True, stream_options={"include_usage": True}))
        assert found[-1]["choices"] == []
        assert found[-1]["usage"] == whole.json()["usage"]
        assert all(each["usage"] is None for each in found[:-1])

    async def test_a_streamed_answer_serves_whole_calls(self, client: httpx.AsyncClient, upstream: Upstream) -> None:
        streamed = await ask(client, stream=True)
        said = "".join(each["choices"][0]["delta"].get("content", "") for each in chunks(streamed))
        whole = await ask(client)
        assert whole.headers[MARK] == "hit"
        assert whole.json()["object"] == "chat.completion"
        assert whole.json()["choices"][0]["message"]["content"] == said
        assert whole.json()["usage"]["completion_tokens"] > 0
        assert len(upstream.requests) == 1

    async def test_calls_of_tools_too(self, client: httpx.AsyncClient) -> None:
        tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
        whole = await ask(client, "helps", tools=[tool])
        assert whole.json()["choices"][0]["message"]["tool_calls"]
        again = await ask(client, "helps", tools=[tool], stream=True)
        assert again.headers[MARK] == "hit"
        calls = json.loads(assemble(again.content))["choices"][0]["message"]["tool_calls"]
        assert calls == whole.json()["choices"][0]["message"]["tool_calls"]

    async def test_text_completions(self, client: httpx.AsyncClient) -> None:
        asked = {"model": "echo", "prompt": "say " * 100, "temperature": 0}
        whole = (await client.post("/v1/completions", json=asked)).json()
        again = await client.post("/v1/completions", json=asked | {"stream": True})
        assert again.headers[MARK] == "hit"
        assert {each["object"] for each in chunks(again)} == {"text_completion"}
        assert json.loads(assemble(again.content))["choices"] == whole["choices"]


class TestMoneyAndLog:
    async def test_a_hit_costs_nothing_and_is_logged(self, client: httpx.AsyncClient, sv: Services) -> None:
        first, second = await ask(client), await ask(client)
        assert float(first.headers["x-tuneway-cost"]) > 0
        assert float(second.headers["x-tuneway-cost"]) == 0
        assert second.headers["x-tuneway-model"] == "echo"
        asked, again = await logged.rows(sv)
        assert [asked.cache_hit, again.cache_hit] == [False, True]
        assert (again.id, again.served_model, again.upstream) == (second.headers["x-request-id"], "echo", None)
        assert (again.cost_nano, again.input_tokens, again.priced, again.outcome) == (0, None, True, "completed")
        assert json.loads(again.reply or b"") == second.json()
        assert [each.id for each in await logged.ledger(sv.database)] == [asked.id]

    async def test_each_has_an_id_of_its_own(self, client: httpx.AsyncClient, sv: Services) -> None:
        found = [(await ask(client)).json()["id"] for _ in range(3)]
        assert len(set(found)) == 3
        assert all(each.startswith("chatcmpl-") for each in found)
        assert [each.reply_id for each in await logged.rows(sv)] == found

    async def test_a_streamed_one_is_logged_whole(self, client: httpx.AsyncClient, sv: Services) -> None:
        whole = await ask(client)
        await ask(client, stream=True)
        _, again = await logged.rows(sv)
        assert (again.streamed, again.cache_hit) == (True, True)
        assert again.first_token_ms is not None
        assert without_id(json.loads(again.reply or b"")) == without_id(whole.json())

    async def test_the_log_tells_and_is_asked_for_hits(self, client: httpx.AsyncClient, sv: Services) -> None:
        ids = [(await ask(client)).headers["x-request-id"] for _ in range(2)]
        await sv.drain.drain()
        shown = (await client.get("/v1/exchanges", params={"cache_hit": "true"})).json()["data"]
        assert [(each["id"], each["cache_hit"], each["usage"], each["cost_nano"]) for each in shown] == [
            (ids[1], True, None, 0)
        ]
        others = (await client.get("/v1/exchanges", params={"cache_hit": "false"})).json()["data"]
        assert [each["id"] for each in others] == [ids[0]]

    async def test_a_used_up_budget_stops_no_hit(
        self, client: httpx.AsyncClient, admin: httpx.AsyncClient, project_key: dict[str, Any]
    ) -> None:
        await ask(client)
        budget = {"api_key_id": project_key["id"], "period": "total", "limit_usd": 0.000001}
        assert (await admin.post("/v1/budgets", json=budget)).status_code == 200
        refused = await client.post(CHAT, json=chat("echo", temperature=0, seed=2))
        assert refused.status_code == 429
        assert await is_hit(client)

    async def test_it_counts_as_a_request_and_as_no_tokens(
        self, client: httpx.AsyncClient, admin: httpx.AsyncClient, project_key: dict[str, Any]
    ) -> None:
        url = f"/v1/organization/projects/{project_key['project_id']}/rate_limits/rl-echo"
        limits = {"max_requests_per_1_minute": 2, "max_tokens_per_1_minute": 1000}
        limited = await admin.post(url, json=limits)
        assert limited.status_code == 200, limited.text
        asked = {"max_tokens": 400}
        assert [await is_hit(client, **asked) for _ in range(2)] == [False, True]
        refused = await client.post(CHAT, json=chat("echo", temperature=0, **asked))
        assert refused.status_code == 429
        assert refused.json()["error"]["type"] == "requests"

    async def test_metrics_count_hits_and_misses(self, client: httpx.AsyncClient, sv: Services) -> None:
        for _ in range(3):
            await ask(client)
        await ask(client, "never")
        told = sv.metrics.render().decode()
        assert 'tuneway_cache_lookups_total{result="hit"} 2.0' in told
        assert 'tuneway_cache_lookups_total{result="miss"} 1.0' in told


class TestErasure:
    async def test_a_deleted_exchange_is_given_to_nobody(
        self, client: httpx.AsyncClient, sv: Services, upstream: Upstream
    ) -> None:
        id = (await ask(client)).headers["x-request-id"]
        assert await is_hit(client)
        assert (await client.delete(f"/v1/exchanges/{id}")).status_code == 200
        await until(lambda: sv.replies.size == 0)
        assert not await is_hit(client)
        assert len(upstream.requests) == 2

    async def test_whoever_deletes_a_hit_deletes_what_it_repeats(
        self, client: httpx.AsyncClient, sv: Services, upstream: Upstream
    ) -> None:
        first, hit = [(await ask(client)).headers["x-request-id"] for _ in range(2)]
        await sv.drain.drain()
        assert (await client.delete(f"/v1/exchanges/{hit}")).status_code == 200
        await until(lambda: sv.replies.size == 0)
        assert not await is_hit(client)
        shown = [(await client.get(f"/v1/exchanges/{id}")).json() for id in (first, hit)]
        assert [(each["cache_hit"], each["request"] is None, each["reply"] is None) for each in shown] == [
            (False, False, False),
            (True, True, True),
        ]

    async def test_nor_is_what_a_deleted_user_asked(self, client: httpx.AsyncClient, sv: Services) -> None:
        await ask(client, user="ann")
        assert (await client.delete("/v1/exchanges", params={"user": "ann"})).status_code == 200
        await until(lambda: sv.replies.size == 0)
        assert not await is_hit(client)

    async def test_other_projects_keep_theirs(
        self, client: httpx.AsyncClient, stranger: httpx.AsyncClient, sv: Services
    ) -> None:
        id = (await ask(client)).headers["x-request-id"]
        await ask(stranger)
        before = sv.replies.size
        assert (await client.delete(f"/v1/exchanges/{id}")).status_code == 200
        await until(lambda: sv.replies.size < before)
        assert await is_hit(stranger)

    async def test_an_archived_project_s_are_forgotten(
        self, client: httpx.AsyncClient, admin: httpx.AsyncClient, sv: Services, project_key: dict[str, Any]
    ) -> None:
        await ask(client)
        assert sv.replies.size > 0
        await admin.post(f"/v1/organization/projects/{project_key['project_id']}/archive")
        await until(lambda: sv.replies.size == 0)

    async def test_what_was_asked_before_and_ends_after_is_not_kept(
        self, app: App, client: httpx.AsyncClient, sv: Services
    ) -> None:
        id = (await ask(client)).headers["x-request-id"]
        name = sv.replies.name_of("p", [b"asked before"])
        sv.replies._generations["p"] = 1
        sv.replies.put(name, b"{}", "echo", id, 60)
        assert await sv.replies.get(name) is None


class TestTime:
    async def test_an_answer_is_given_for_the_seconds_of_its_route(
        self, client: httpx.AsyncClient, sv: Services, monkeypatch: pytest.MonkeyPatch, upstream: Upstream
    ) -> None:
        began = time.time()
        later = [began]
        monkeypatch.setattr(sv.replies, "_clock", lambda: later[0])
        await ask(client, "kept")
        later[0] = began + 59
        assert await is_hit(client, "kept")
        later[0] = began + 60
        assert not await is_hit(client, "kept")
        assert len(upstream.requests) == 2


class TestTwoProcesses:
    @pytest.fixture
    async def other(
        self, app: App, settings: Settings, project_key: dict[str, Any]
    ) -> AsyncIterator[httpx.AsyncClient]:
        """The same key at another process on the same database and Redis."""
        async with AsyncExitStack() as stack:
            second = stack.enter_context(app_of(settings))
            await stack.enter_async_context(second.lifespan())
            yield await stack.enter_async_context(client_of(second, project_key["value"]))

    async def test_one_answers_with_what_the_other_was_told(
        self, client: httpx.AsyncClient, other: httpx.AsyncClient, upstream: Upstream
    ) -> None:
        await ask(client)
        await until(lambda: is_hit(other))
        asked = len(upstream.requests)
        assert await is_hit(other, stream=True)
        assert len(upstream.requests) == asked

    async def test_what_is_erased_is_erased_in_both(
        self, client: httpx.AsyncClient, other: httpx.AsyncClient, sv: Services
    ) -> None:
        id = (await ask(client)).headers["x-request-id"]
        await until(lambda: is_hit(other))
        await sv.drain.drain()
        assert (await client.delete(f"/v1/exchanges/{id}")).status_code == 200
        await until(lambda: sv.replies.size == 0)

        async def is_miss() -> bool:
            return (await ask(other, mark="on")).headers[MARK] == "miss"

        await until(is_miss)


class TestWithoutRedis:
    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        return msgspec.structs.replace(settings, redis=RedisSettings(url="redis://127.0.0.1:1/0"))

    async def test_each_process_keeps_its_own_and_no_call_fails(
        self, client: httpx.AsyncClient, sv: Services, caplog: pytest.LogCaptureFixture
    ) -> None:
        for seed in range(5):
            assert [await is_hit(client, seed=seed) for _ in range(2)] == [False, True]
        told = [record for record in caplog.records if "keeps replies only for itself" in record.getMessage()]
        assert len(told) == 1
