"""What a key may do holds for its calls, and what its logging policy leaves out is nowhere."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import msgspec
import pytest

from gateway.app import App
from gateway.exchanges.policy import NOT_KEPT
from gateway.services import Services
from gateway.settings import RoutingSettings, Settings
from tests.conftest import chat, client_of
from tests.fakes.upstream import Upstream
from tests.gateway.logged import ledger, rows
from tests.gateway.test_errors import error_in

pytestmark = pytest.mark.anyio

CHAT = "/v1/chat/completions"
PROJECTS = "/v1/organization/projects"
WORDS = "whatever-the-client-said"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    routing = RoutingSettings(aliases={"nickname": "echo"}, fallbacks={"status-500": ("echo",)})
    return msgspec.structs.replace(settings, routing=routing)


@pytest.fixture
async def project(admin: httpx.AsyncClient) -> str:
    return (await admin.post(PROJECTS, json={"name": "p"})).json()["id"]


@asynccontextmanager
async def key_with(app: App, admin: httpx.AsyncClient, project: str, **rights: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A client with a new key of the project."""
    made = await admin.post(f"{PROJECTS}/{project}/api_keys", json=rights)
    assert made.status_code == 200, made.text
    async with client_of(app, made.json()["value"]) as client:
        yield client


async def may_call(client: httpx.AsyncClient, model: str) -> bool:
    answer = await client.post(CHAT, json=chat(model))
    if answer.status_code == 200:
        return True
    assert error_in(answer, 404)["code"] == "model_not_found"
    return False


async def listed(client: httpx.AsyncClient) -> set[str]:
    return {each["id"] for each in (await client.get("/v1/models")).json()["data"]}


class TestModels:
    async def test_of_a_key_are_its_only_ones(self, app: App, admin: httpx.AsyncClient, project: str) -> None:
        async with key_with(app, admin, project, allowed_models=["echo", "status-4*"]) as client:
            assert [await may_call(client, model) for model in ("echo", "slow", "nickname")] == [True, False, False]
            assert await listed(client) == {
                "echo",
                "status-400",
                "status-401",
                "status-402",
                "status-404",
                "status-429",
            }
            assert (await client.get("/v1/models/echo")).status_code == 200
            for path in ("/v1/models/slow", "/v1/models/nickname"):
                assert error_in(await client.get(path), 404)["code"] == "model_not_found"

    async def test_a_forbidden_one_is_as_one_that_does_not_exist(
        self, app: App, admin: httpx.AsyncClient, project: str, upstream: Upstream
    ) -> None:
        async with key_with(app, admin, project, allowed_models=["echo"]) as client:
            forbidden = error_in(await client.post(CHAT, json=chat("slow")), 404)
            unknown = error_in(await client.post(CHAT, json=chat("none")), 404)
            assert forbidden == unknown | {"message": unknown["message"].replace("none", "slow")}
        assert upstream.requests == []

    async def test_an_alias_is_allowed_by_its_own_name(self, app: App, admin: httpx.AsyncClient, project: str) -> None:
        async with key_with(app, admin, project, allowed_models=["nickname"]) as client:
            assert [await may_call(client, model) for model in ("nickname", "echo")] == [True, False]
            assert await listed(client) == {"nickname"}

    async def test_of_a_project_hold_for_every_key(self, app: App, admin: httpx.AsyncClient, project: str) -> None:
        url = f"{PROJECTS}/{project}/model_permissions"
        async with key_with(app, admin, project) as client, key_with(app, admin, project, tags=["x"]) as other:
            await admin.post(url, json={"mode": "allow_list", "model_ids": ["echo"]})
            for each in (client, other):
                assert [await may_call(each, model) for model in ("echo", "unicode")] == [True, False]
            await admin.delete(url)
            assert await may_call(client, "unicode")

    async def test_a_denied_one_answers_by_no_other_name(
        self, app: App, admin: httpx.AsyncClient, project: str, upstream: Upstream
    ) -> None:
        """Neither by an alias, nor as a route's target, nor as a fallback."""
        route = {"name": "way", "targets": [{"model": "echo"}, {"model": "unicode"}]}
        assert (await admin.post("/v1/routes", json=route)).status_code == 200
        permissions = {"mode": "deny_list", "model_ids": ["echo"]}
        await admin.post(f"{PROJECTS}/{project}/model_permissions", json=permissions)
        async with key_with(app, admin, project) as client:
            assert [await may_call(client, model) for model in ("echo", "nickname", "unicode")] == [False, False, True]
            served = {(await client.post(CHAT, json=chat("way"))).headers["x-tuneway-model"] for _ in range(12)}
            assert served == {"unicode"}
            answer = await client.post(CHAT, json=chat("status-500"))
            assert answer.status_code != 200
            assert {"echo", "nickname"} & await listed(client) == set()
            assert "way" in await listed(client)

    async def test_a_job_trains_only_what_its_key_may_call(
        self, app: App, admin: httpx.AsyncClient, project: str
    ) -> None:
        body = {"model": "slow", "training_file": "file-x"}
        async with key_with(app, admin, project, allowed_models=["echo"]) as client:
            for path in ("/v1/fine_tuning/jobs", "/v1/fine_tuning/estimate"):
                assert error_in(await client.post(path, json=body), 404)["code"] == "model_not_found"

    async def test_a_grader_asks_only_what_its_key_may_call(
        self, app: App, admin: httpx.AsyncClient, project: str, upstream: Upstream
    ) -> None:
        grader = {"type": "score_model", "name": "g", "model": "echo", "input": [{"role": "user", "content": "x"}]}
        async with key_with(app, admin, project, allowed_models=["slow"]) as client:
            for name in ("validate", "run"):
                body = {"grader": grader} | ({"model_sample": "x"} if name == "run" else {})
                error = error_in(await client.post(f"/v1/fine_tuning/alpha/graders/{name}", json=body), 400)
                assert "The model `echo` does not exist" in error["message"]
        assert upstream.requests == []


class TestScopes:
    async def test_hold_for_model_calls(
        self, app: App, admin: httpx.AsyncClient, project: str, upstream: Upstream, sv: Services
    ) -> None:
        async with key_with(app, admin, project, scopes=["api.files.read"]) as client:
            for path in (CHAT, "/v1/completions"):
                error = error_in(await client.post(path, json=chat("echo")), 403)
                assert error["code"] == "insufficient_permissions"
                assert "Missing scopes: model.request." in error["message"]
        assert upstream.requests == []
        assert [(row.outcome, row.status) for row in await rows(sv)] == [("refused", 403)] * 2

    async def test_weights_take_one_of_their_own(self, app: App, admin: httpx.AsyncClient, project: str) -> None:
        url = "/v1/models/ft:echo:x::1/export"
        async with key_with(app, admin, project, scopes=["api.all.read"]) as client:
            assert "api.model.export" in error_in(await client.get(url), 403)["message"]
        async with key_with(app, admin, project, scopes=["api.all.read", "api.model.export"]) as client:
            error_in(await client.get(url), 404)


class TestLogging:
    @pytest.mark.parametrize("stream", [False, True])
    @pytest.mark.parametrize("policy", ["metadata", "off"])
    async def test_keeps_no_body_anywhere(
        self, app: App, admin: httpx.AsyncClient, project: str, sv: Services, policy: str, *, stream: bool
    ) -> None:
        """Not in the database, and not on the way there: the spool is read before it is drained."""
        asked = {"model": "echo", "messages": [{"role": "user", "content": WORDS}], "stream": stream}
        async with key_with(app, admin, project, logging=policy) as client:
            reply = await client.post(CHAT, json=asked | {"metadata": {"team": "a"}})
            assert reply.status_code == 200
            written = b"".join(path.read_bytes() for path in sv.spool.directory.glob("*.seg"))
            assert reply.headers["x-request-id"].encode() in written
            assert WORDS.encode() not in written
            assert b"assistant" not in written
            (row,) = await rows(sv)
            assert (row.request, row.reply, row.outcome) == (b"", None, "completed")
            assert row.request_metadata == ({"team": "a"} if policy == "metadata" else None)
            (entry,) = await ledger(sv.database)
        assert (entry.id, entry.input_tokens, entry.cost_nano) == (row.id, 12, 82_000)

    async def test_metadata_shows_everything_but_the_bodies(
        self, app: App, admin: httpx.AsyncClient, project: str, sv: Services
    ) -> None:
        async with key_with(app, admin, project, logging="metadata") as client:
            reply = await client.post(CHAT, json=chat("echo"))
            await sv.drain.drain()
            shown = (await client.get(f"/v1/exchanges/{reply.headers['x-request-id']}")).json()
            by_reply = (await client.get(f"/v1/exchanges/{reply.json()['id']}")).json()
        assert by_reply == shown
        assert (shown["logging"], shown["request"], shown["reply"]) == ("metadata", None, None)
        assert {"request_text", "reply_text"} & set(shown) == set()
        assert (shown["usage"]["input_tokens"], shown["status"], shown["cost_nano"]) == (12, 200, 82_000)

    async def test_off_is_out_of_the_log(self, app: App, admin: httpx.AsyncClient, project: str, sv: Services) -> None:
        async with key_with(app, admin, project, logging="off") as client:
            reply = await client.post(CHAT, json=chat("echo"))
            await sv.drain.drain()
            assert (await client.get("/v1/exchanges")).json()["data"] == []
            for id in (reply.headers["x-request-id"], reply.json()["id"]):
                error_in(await client.get(f"/v1/exchanges/{id}"), 404)

    async def test_an_errors_message_may_repeat_what_was_sent(
        self, app: App, admin: httpx.AsyncClient, project: str, sv: Services
    ) -> None:
        async with key_with(app, admin, project, logging="metadata") as client:
            told = error_in(await client.post(CHAT, json=chat(WORDS)), 404)
            assert WORDS in told["message"]
        (row,) = await rows(sv)
        assert row.error == told | {"message": NOT_KEPT}

    async def test_full_keeps_all(self, app: App, admin: httpx.AsyncClient, project: str, sv: Services) -> None:
        async with key_with(app, admin, project, logging="full") as client:
            await client.post(CHAT, json=chat("echo"))
        (row,) = await rows(sv)
        assert b"hello" in row.request
        assert row.reply is not None

    async def test_metrics_count_every_call(self, app: App, admin: httpx.AsyncClient, project: str) -> None:
        async with key_with(app, admin, project, logging="off") as client:
            await client.post(CHAT, json=chat("echo"))
            lines = (await client.get("/metrics")).text.splitlines()
        assert 'tuneway_calls_total{endpoint="/chat/completions",outcome="completed"} 1.0' in lines
        assert 'tuneway_tokens_total{direction="input"} 12.0' in lines
