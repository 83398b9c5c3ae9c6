"""How the gateway is configured, to be read."""

import re
from typing import get_args

import httpx
import msgspec
import pytest

from admin.console.pages.settings import KEPT, TITLES, text_of
from gateway.app import App
from gateway.protocol.organization_settings import Kept
from gateway.settings import AlertSettings, ConsoleSettings, Settings, UpstreamSettings
from tests.admin.console.browsers import Browser
from tests.admin.console.browsers import text_of as read
from tests.gateway.people import add

pytestmark = pytest.mark.anyio
URL = "/console/settings"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    provider = UpstreamSettings(
        name="my <own>", base_url="http://127.0.0.1:9/v1", models=("own-model",), headers={"x-k": "v"}
    )
    return msgspec.structs.replace(
        settings,
        console=ConsoleSettings(url="http://gateway"),
        alerts=AlertSettings(error_rate=0.25),
        upstreams=(*settings.upstreams, provider),
    )


class TestThePage:
    async def test_tells_values_defaults_and_what_to_register(self, owner: Browser, settings: Settings) -> None:
        page = await owner.open(URL)
        told = read(page)
        assert "http://gateway/v1/sign_in/oidc/callback" in told
        assert "TUNEWAY_ALERTS__ERROR_RATE 0.25 changed 0.01" in told
        assert "Providers: my <own> [[upstreams]]" in told
        assert "x-k = ***" in told
        assert settings.secret_key.reveal() not in page
        assert "secret_key TUNEWAY_SECRET_KEY set" in told
        assert "No worker gave a sign of life" in told
        assert "Deliveries of webhooks 30 d 0 h" in told
        assert page.count("<h1>") == 1
        assert "<code>tuneway serve</code> makes one" in page
        assert page.count('href="/console/prices">prices</a>') == 1, "once, not after each price"

    async def test_shows_what_is_asked_for(self, owner: Browser) -> None:
        changed = await owner.open(f"{URL}?changed=true&q=error_rate")
        assert re.findall(r'<th scope="row"><code>(\w+)', changed) == ["error_rate"]
        nothing = await owner.open(f"{URL}?q=no+such+word+anywhere")
        assert "Nothing matches" in read(nothing)
        assert "Sign-in" in await owner.open(f"{URL}?q=lock_seconds")

    async def test_every_section_has_a_title(self) -> None:
        sections = {each.name for each in msgspec.structs.fields(Settings)}
        assert set(TITLES) - {""} <= sections
        structs = {
            each.name for each in msgspec.structs.fields(Settings) if isinstance(each.default, msgspec.Struct | tuple)
        }
        assert structs <= set(TITLES)
        assert [set(get_args(each.type)) for each in msgspec.structs.fields(Kept) if each.name == "what"] == [set(KEPT)]

    async def test_is_for_owners_and_not_in_the_menu_of_others(
        self, app: App, owner: Browser, admin: httpx.AsyncClient
    ) -> None:
        link = f'<a href="{URL}"'
        assert link in await owner.open("/console/projects")
        await add(admin, "reader@example.com")
        async with Browser.of(app) as browser:
            await browser.sign_in("reader@example.com")
            assert link not in await browser.open("/console/projects")
            assert "This is not yours to do" in read(await browser.open(URL, 403))


class TestText:
    @pytest.mark.parametrize(
        ("value", "text"),
        [
            (None, ""),
            (False, "false"),
            (0, "0"),
            (["a", "b"], "a, b"),
            ({"m": {"requests_per_minute": 3, "tokens_per_day": None}}, "m = { requests_per_minute = 3 }"),
            ([{"model": "m", "weight": 1.0}], "{ model = m, weight = 1.0 }"),
            ({"a": ["b", "c"]}, "a = [b, c]"),
        ],
    )
    def test_is_like_that_of_a_configuration_file(self, value: object, text: str) -> None:
        assert text_of(value) == text
