"""Single sign-on from the sign-in page, against a real OpenID Connect provider."""

import inspect
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from html import unescape
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import msgspec
import pytest

from admin.console.pages.sign_in import REFUSALS
from gateway.access import open_id
from gateway.app import App
from gateway.routes import single_sign_on
from gateway.settings import OidcSettings
from tests.admin.console.browsers import EMAIL, Browser
from tests.gateway.people import add
from tests.gateway.routes.test_single_sign_on import Provider, changed, known, local, oidc, provider, settings
from tests.gateway.test_errors import error_in

__all__ = ["known", "oidc", "provider", "settings"]
pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::authlib.deprecate.AuthlibDeprecationWarning"),
    pytest.mark.filterwarnings("ignore:get_jwt_config:DeprecationWarning"),
]
CALLBACK = "/v1/sign_in/oidc/callback"


async def test_its_button_leads_back_to_the_page_that_was_wanted(
    app: App, admin: httpx.AsyncClient, provider: Provider
) -> None:
    await add(admin, EMAIL)
    async with Browser.of(app) as browser:
        page = await browser.open("/console/projects?after=x")
        [button] = re.findall(r'<a class="button" href="(/v1/sign_in/oidc[^"]+)"', page)
        browser.client.follow_redirects = False
        away = await browser.client.get(unescape(button))
        assert away.headers["location"].startswith(provider.url)
        back = await browser.client.get(local(await provider.visit(away.headers["location"])))
        assert back.headers["location"] == "/console/projects?after=x"
        assert "<h1>Projects</h1>" in await browser.open(back.headers["location"])


class TestRefused:
    """Each refusal is a page that says what to do, and how to go on."""

    async def test_somebody_who_is_not_invited(self, app: App, provider: Provider, admin: httpx.AsyncClient) -> None:
        async with visitor(app) as browser:
            page = await shown(browser, await came_back(browser, provider))
        assert "<h1>You are not invited</h1>" in page
        assert "Ask one of its owners" in page
        assert '<a class="button" href="/console/sign-in">' in page
        assert '<a class="button" href="/v1/sign_in/oidc?return_to=%2Fconsole%2Foverview">' in page

    async def test_an_email_that_nobody_verified(self, app: App, provider: Provider, admin: httpx.AsyncClient) -> None:
        await add(admin, EMAIL)
        await provider.knows("ada", email_verified=False)
        async with visitor(app) as browser:
            assert "not verified</h1>" in await shown(browser, await came_back(browser, provider))

    async def test_another_account(self, app: App, provider: Provider, admin: httpx.AsyncClient) -> None:
        await add(admin, EMAIL)
        await provider.knows("eve")
        async with visitor(app) as browser:
            assert (await came_back(browser, provider)).headers["location"] == "/console/overview"
        async with visitor(app) as browser:
            assert "You came with another account" in await shown(browser, await came_back(browser, provider, "eve"))

    async def test_somebody_who_did_not_sign_in_there(self, app: App, provider: Provider) -> None:
        async with visitor(app) as browser:
            away = await begin(browser)
            [state] = parse_qs(urlsplit(away).query)["state"]
            answer = await browser.client.get(local(changed(await provider.visit(away, None), state=state)))
            assert "did not sign you in</h1>" in await shown(browser, answer)

    async def test_a_browser_that_began_nothing_and_one_that_began_another(self, app: App, provider: Provider) -> None:
        async with visitor(app) as browser, visitor(app) as other:
            callback = local(await provider.visit(await begin(browser)))
            assert "No sign-in is under way" in await shown(other, await other.client.get(callback))
            await begin(other)
            assert "This sign-in is over" in await shown(other, await other.client.get(callback))

    async def test_what_the_provider_says_of_another_sign_in(self, app: App, provider: Provider) -> None:
        async with visitor(app) as browser:
            callback = await provider.visit(changed(await begin(browser), nonce="of-another"))
            answer = await browser.client.get(local(callback))
            assert "did not vouch for you</h1>" in await shown(browser, answer)

    async def test_a_link_that_leads_elsewhere(self, app: App, provider: Provider) -> None:
        async with visitor(app) as browser:
            answer = await browser.client.get("/v1/sign_in/oidc", params={"return_to": "//evil.example"})
            assert "You could not be signed in" in await shown(browser, answer)

    async def test_programs_get_the_error_object(self, app: App, provider: Provider) -> None:
        async with Browser.of(app) as browser:
            assert error_in(await browser.client.get(CALLBACK), 400)["code"] == "sign_in_not_begun"

    @pytest.mark.parametrize("code", ["<script>alert(1)</script>", "", "no_such_code"])
    async def test_nobody_writes_their_own_words_on_the_page(self, app: App, provider: Provider, code: str) -> None:
        async with visitor(app) as browser:
            page = await browser.open(f"/console/sign-in/refused?{urlencode({'code': code})}")
        assert "<h1>You could not be signed in</h1>" in page
        assert "<script>alert" not in page
        assert "no_such_code" not in page


class TestRefusedByAProviderThatIsDown:
    @pytest.fixture
    def oidc(self, oidc: OidcSettings) -> OidcSettings:
        return msgspec.structs.replace(oidc, issuer="http://localhost:9")

    async def test_passwords_are_still_offered(self, app: App) -> None:
        async with visitor(app) as browser:
            answer = await browser.client.get("/v1/sign_in/oidc")
            page = await shown(browser, answer)
            assert "does not work right now</h1>" in page
            assert "sign in with a password" in page


class TestRefusedWithoutAProvider:
    @pytest.fixture
    def oidc(self) -> OidcSettings:
        return OidcSettings()

    @pytest.mark.parametrize("url", ["/v1/sign_in/oidc", CALLBACK])
    async def test_says_so_and_offers_no_button(self, app: App, url: str) -> None:
        async with visitor(app) as browser:
            page = await shown(browser, await browser.client.get(url))
        assert "There is no single sign-on here" in page
        assert "/v1/sign_in/oidc" not in page


class TestEveryRefusal:
    async def test_has_a_text(self) -> None:
        """Every code that the API's two files name."""
        text = inspect.getsource(open_id) + inspect.getsource(single_sign_on)
        codes = set(re.findall(r'code="(\w+)"', text)) | {open_id.FAILED}
        assert codes >= {"not_invited", "sign_in_expired"}
        assert codes <= set(REFUSALS)


@asynccontextmanager
async def visitor(app: App) -> AsyncIterator[Browser]:
    """A browser of somebody, which says that it wants pages."""
    async with Browser.of(app) as browser:
        browser.client.follow_redirects = False
        browser.client.headers["accept"] = "text/html,application/xhtml+xml,*/*;q=0.8"
        yield browser


async def begin(browser: Browser) -> str:
    return (await browser.client.get("/v1/sign_in/oidc", params={"return_to": "/console/overview"})).headers["location"]


async def came_back(browser: Browser, provider: Provider, subject: str = "ada") -> httpx.Response:
    return await browser.client.get(local(await provider.visit(await begin(browser), subject)))


async def shown(browser: Browser, answer: httpx.Response) -> str:
    """The page that a refusal leads to."""
    assert (answer.status_code, answer.headers["cache-control"]) == (302, "no-store")
    assert answer.headers["location"].startswith("/console/sign-in/refused?code=")
    assert "tuneway_session" not in browser.client.cookies
    return await browser.open(answer.headers["location"])
