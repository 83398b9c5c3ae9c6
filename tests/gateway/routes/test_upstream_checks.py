"""A call of one token, and what a provider has."""

from typing import Any

import httpx
import msgspec
import pytest

from gateway.app import App, build_app
from gateway.settings import Secret, Settings
from tests.conftest import ADMIN_KEY, client_of
from tests.fakes.anthropic import running_anthropic
from tests.fakes.upstream import Upstream
from tests.gateway import logged
from tests.gateway.routes.test_upstreams import KEY, URL, made
from tests.gateway.test_errors import error_in

pytestmark = pytest.mark.anyio


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return msgspec.structs.replace(settings, encryption_key=Secret("ab" * 32))


async def outcome(admin: httpx.AsyncClient, id: str, **body: Any) -> dict[str, Any]:
    answer = await admin.post(f"{URL}/{id}/test", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


class TestTest:
    async def test_asks_for_one_token_and_says_how_it_went(
        self, app: App, admin: httpx.AsyncClient, upstream: Upstream
    ) -> None:
        models: list[Any] = [{"model": "ours", "served_name": "echo"}, "acme-1"]
        id = (await made(admin, base_url=upstream.url, api_key=KEY, models=models))["id"]
        result = await outcome(admin, id)
        assert result == {
            "object": "upstream.test",
            "upstream": "acme",
            "model": "ours",
            "ok": True,
            "status": 200,
            "ms": result["ms"],
            "error": None,
        }
        asked = upstream.requests[0]
        assert (asked["model"], asked["max_tokens"]) == ("echo", 1)
        assert upstream.headers[0]["Authorization"] == f"Bearer {KEY}"
        assert (await outcome(admin, id, model="acme-1"))["model"] == "acme-1"
        assert await logged.rows(app.services) == []

    async def test_anthropics_api_with_its_own_header(self, admin: httpx.AsyncClient) -> None:
        with running_anthropic() as anthropic:
            models = [{"model": "ours", "served_name": "echo"}]
            id = (await made(admin, kind="anthropic", base_url=anthropic.url, models=models, api_key=KEY))["id"]
            assert (await outcome(admin, id))["ok"]
            assert (anthropic.headers[0]["x-api-key"], anthropic.requests[0]["max_tokens"]) == (KEY, 1)

    async def test_a_model_that_wants_the_limit_under_its_newer_name(
        self, admin: httpx.AsyncClient, upstream: Upstream
    ) -> None:
        models = [{"model": "ours", "served_name": "no-max-tokens"}]
        assert (await outcome(admin, (await made(admin, base_url=upstream.url, models=models))["id"]))["ok"]
        assert upstream.requests[-1]["max_completion_tokens"] == 1
        assert "max_tokens" not in upstream.requests[-1]

    @pytest.mark.parametrize(
        ("served", "status", "told"),
        [
            ("status-400", 400, "upstream says status-400"),
            ("status-401", 401, "refused this gateway's credentials"),
            ("status-404", 404, "upstream says status-404"),
            ("status-429", 429, "upstream says status-429"),
            ("status-500", 500, "upstream says status-500"),
            ("status-503", 503, "upstream says status-503"),
            ("web-page", None, "something else than a chat completion"),
            ("cut-before", None, "broke before its reply was complete"),
        ],
    )
    async def test_what_goes_wrong_is_the_answer(
        self, served: str, status: int | None, told: str, admin: httpx.AsyncClient, upstream: Upstream
    ) -> None:
        models = [{"model": "ours", "served_name": served}]
        result = await outcome(admin, (await made(admin, base_url=upstream.url, models=models))["id"])
        assert (result["ok"], result["status"]) == (False, status)
        assert told in result["error"]["message"]

    async def test_nobody_there(self, admin: httpx.AsyncClient) -> None:
        result = await outcome(admin, (await made(admin))["id"])
        assert (result["ok"], result["status"], result["error"]["code"]) == (False, None, "upstream_unreachable")

    async def test_a_provider_that_repeats_the_key_does_not_show_it(
        self, admin: httpx.AsyncClient, upstream: Upstream
    ) -> None:
        models = [{"model": "ours", "served_name": "tells-key"}]
        id = (await made(admin, base_url=upstream.url, models=models, api_key=KEY))["id"]
        result = await outcome(admin, id)
        assert result["error"]["message"] == "what is Bearer ***?"

    async def test_a_model_that_it_does_not_serve(self, admin: httpx.AsyncClient, upstream: Upstream) -> None:
        id = (await made(admin, base_url=upstream.url))["id"]
        empty = (await made(admin, name="empty", models=[]))["id"]
        for path, body in ((id, {"model": "echo"}), (empty, {}), (id, {"model": 5})):
            assert error_in(await admin.post(f"{URL}/{path}/test", json=body), 400)["param"] == "model"
        assert upstream.requests == []

    async def test_one_of_the_settings(self, admin: httpx.AsyncClient, upstream: Upstream) -> None:
        id = (await admin.get(URL)).json()["data"][0]["id"]
        assert (await admin.post(f"{URL}/{id}/test")).json()["ok"] is True
        assert upstream.headers[0]["Authorization"] == "Bearer sk-fake"

    async def test_secrets_that_cannot_be_opened(
        self, app: App, admin: httpx.AsyncClient, settings: Settings, upstream: Upstream
    ) -> None:
        id = (await made(admin, base_url=upstream.url, api_key=KEY))["id"]
        changed = {"encryption_key": Secret("cd" * 32), "data_dir": settings.data_dir / "other"}
        other = build_app(msgspec.structs.replace(settings, **changed))
        async with other.lifespan(), client_of(other, ADMIN_KEY) as there:
            result = await outcome(there, id)
            assert (result["ok"], result["status"]) == (False, None)
            assert "cannot be opened" in result["error"]["message"]
            listed = error_in(await there.get(f"{URL}/{id}/available_models"), 502)
            assert "cannot be opened" in listed["message"]
        assert upstream.headers == []


class TestAvailableModels:
    async def test_are_what_the_provider_lists(self, admin: httpx.AsyncClient, upstream: Upstream) -> None:
        models: list[Any] = [{"model": "ours", "served_name": "echo"}, {"model": "also", "served_name": "echo"}, "m"]
        id = (await made(admin, base_url=upstream.url, api_key=KEY, models=models))["id"]
        listed = (await admin.get(f"{URL}/{id}/available_models")).json()
        assert listed["data"] == [
            {"id": "echo", "object": "upstream.available_model", "models": ["ours", "also"]},
            {"id": "no-usage", "object": "upstream.available_model", "models": []},
        ]
        assert upstream.headers[0]["Authorization"] == f"Bearer {KEY}"

    async def test_before_any_is_named_here(self, admin: httpx.AsyncClient, upstream: Upstream) -> None:
        id = (await made(admin, base_url=upstream.url, models=[]))["id"]
        assert len((await admin.get(f"{URL}/{id}/available_models")).json()["data"]) == 2

    async def test_a_provider_without_such_a_list(self, admin: httpx.AsyncClient, upstream: Upstream) -> None:
        elsewhere = (await made(admin, base_url=f"{upstream.url}/nothing", models=[]))["id"]
        nobody = (await made(admin, name="nobody", models=[]))["id"]
        for id in (elsewhere, nobody):
            error_in(await admin.get(f"{URL}/{id}/available_models"), 502)


class TestPermission:
    async def test_a_projects_key_is_refused(self, admin: httpx.AsyncClient, client: httpx.AsyncClient) -> None:
        id = (await made(admin))["id"]
        error_in(await client.post(f"{URL}/{id}/test"), 403)
        error_in(await client.get(f"{URL}/{id}/available_models"), 403)

    async def test_what_is_not_there_is_404(self, admin: httpx.AsyncClient) -> None:
        error_in(await admin.post(f"{URL}/upstream_x/test"), 404)
        error_in(await admin.get(f"{URL}/upstream_x/available_models"), 404)
