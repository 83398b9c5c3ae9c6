"""Providers, whose secrets are never shown."""

import re
from typing import Any

import httpx
import msgspec
import pytest

from admin.console.provider_form import wanted
from gateway.settings import Secret, Settings
from tests.admin.console.browsers import Browser, text_of
from tests.fakes.upstream import Upstream

pytestmark = pytest.mark.anyio

URL = "/console/providers"
KEY, TOKEN = "sk-provider-0123456789-wxyz", "token-of-a-header-7f3a"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return msgspec.structs.replace(settings, encryption_key=Secret("ab" * 32))


def fields(**more: str) -> dict[str, str]:
    return {"name": "acme", "kind": "openai", "base_urls": "http://127.0.0.1:9/v1", "models": "acme-1", **more}


async def made(owner: Browser, admin: httpx.AsyncClient, **more: str) -> dict[str, Any]:
    await owner.send(URL, **fields(**more))
    return next(each for each in (await admin.get("/v1/upstreams")).json()["data"] if each["name"] == "acme")


class TestAdding:
    async def test_one_with_everything_shows_no_secret(self, owner: Browser, admin: httpx.AsyncClient) -> None:
        provider = await made(
            owner, admin, models="acme-1\nacme-2 = served-2", api_key=KEY, headers="X-Team: shop",
            secret_headers=f"X-Token: {TOKEN}", organization="org-1", proxy="http://user:password-55@proxy:3128",
        )  # fmt: skip
        assert provider["models"] == ["acme-1", {"model": "acme-2", "served_name": "served-2"}]
        assert (provider["headers"], provider["secret_headers"]) == ({"X-Team": "shop"}, ["X-Token"])
        assert (provider["has_key"], provider["has_proxy_credentials"]) == (True, True)
        for url in (URL, f"{URL}/{provider['id']}"):
            page = await owner.open(url)
            assert "acme-2" in page
            for secret in (KEY, TOKEN, "password-55"):
                assert secret not in page

    async def test_a_form_that_is_shown_again_has_no_secret_in_it(
        self, owner: Browser, admin: httpx.AsyncClient
    ) -> None:
        wrong = fields(api_key=KEY, secret_headers=f"X-Token: {TOKEN}", base_urls="ftp://x")
        page = await owner.send(URL, 400, **wrong)
        assert re.search(r'id="f-base_urls"[^>]*aria-invalid="true"', page)
        assert 'value="acme"' in page
        for secret in (KEY, TOKEN):
            assert secret not in page
        assert "no header" not in page

    async def test_a_header_that_is_none_is_told_without_its_text(self, owner: Browser) -> None:
        page = await owner.send(URL, 400, **fields(secret_headers=f"X-A: b\n{TOKEN}"))
        assert "Line 2: a header is written as" in page
        assert TOKEN not in page


class TestChanging:
    async def test_empty_secrets_stay_and_others_are_replaced(self, owner: Browser, admin: httpx.AsyncClient) -> None:
        provider = await made(owner, admin, api_key=KEY, secret_headers="X-Token: a")
        url = f"{URL}/{provider['id']}"
        await owner.send(url, **fields(models="acme-2"))
        kept = (await admin.get(f"/v1/upstreams/{provider['id']}")).json()
        assert (kept["models"], kept["key_hint"], kept["secret_headers"]) == (["acme-2"], "wxyz", ["X-Token"])
        await owner.send(url, **fields(api_key=f"{KEY}-abcd", no_secret_headers="true"))
        changed = (await admin.get(f"/v1/upstreams/{provider['id']}")).json()
        assert (changed["key_hint"], changed["secret_headers"]) == ("abcd", [])
        await owner.send(url, **fields(no_api_key="true"))
        assert not (await admin.get(f"/v1/upstreams/{provider['id']}")).json()["has_key"]

    async def test_deleted_it_is_gone(self, owner: Browser, admin: httpx.AsyncClient) -> None:
        provider = await made(owner, admin)
        assert "The provider is deleted" in text_of(await owner.send(f"{URL}/{provider['id']}/delete"))
        await owner.open(f"{URL}/{provider['id']}", 404)

    async def test_one_of_the_settings_is_shown_without_a_form(self, owner: Browser, admin: httpx.AsyncClient) -> None:
        [configured] = [
            each for each in (await admin.get("/v1/upstreams")).json()["data"] if each["source"] == "settings"
        ]
        page = await owner.open(f"{URL}/{configured['id']}")
        assert "stands in the settings" in page
        assert "Delete provider" not in page
        await owner.send(f"{URL}/{configured['id']}/delete", 409)


class TestHealth:
    async def test_a_test_says_how_the_call_went(
        self, owner: Browser, admin: httpx.AsyncClient, upstream: Upstream
    ) -> None:
        good = await made(owner, admin, base_urls=upstream.url, models="acme-1 = echo\nacme-2 = status-401")
        url = f"{URL}/{good['id']}/test"
        assert "acme-1 answered in" in text_of(await owner.send(url))
        text = text_of(await owner.send(url, model="acme-2"))
        assert "acme-2 did not answer as it should (status 401)" in text

    async def test_what_it_has_is_asked_for_when_one_wants_to_know(
        self, owner: Browser, admin: httpx.AsyncClient, upstream: Upstream
    ) -> None:
        good = await made(owner, admin, base_urls=upstream.url)
        assert "Ask the provider" in await owner.open(f"{URL}/{good['id']}")
        assert "The provider's name" in text_of(await owner.open(f"{URL}/{good['id']}?models=1"))

    async def test_one_that_is_away_says_so_and_its_page_is_there(
        self, owner: Browser, admin: httpx.AsyncClient
    ) -> None:
        away = await made(owner, admin)
        page = await owner.open(f"{URL}/{away['id']}?models=1")
        assert 'role="alert"' in page
        assert "Change it" in page

    async def test_models_that_fail_again_and_again_are_named(
        self, owner: Browser, admin: httpx.AsyncClient, client: httpx.AsyncClient
    ) -> None:
        await made(owner, admin)
        assert "No trouble known" in text_of(await owner.open(URL))
        for _ in range(5):
            await client.post("/v1/chat/completions", json={"model": "acme-1", "messages": []})
        for _ in range(5):
            body = {"model": "acme-1", "messages": [{"role": "user", "content": "x"}]}
            await client.post("/v1/chat/completions", json=body)
        assert "Failing acme-1" in text_of(await owner.open(URL))


class TestWanted:
    def test_a_new_one_takes_nothing_away(self) -> None:
        found = wanted({"name": "a", "no_secret_headers": "true"}, is_new=True)
        assert "secret_headers" not in found
        assert "api_key" not in found
