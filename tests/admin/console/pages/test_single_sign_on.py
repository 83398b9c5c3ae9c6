"""Single sign-on from the sign-in page, against a real OpenID Connect provider."""

import re
from html import unescape

import httpx
import pytest

from gateway.app import App
from tests.admin.console.browsers import EMAIL, Browser
from tests.gateway.people import add
from tests.gateway.routes.test_single_sign_on import Provider, known, local, oidc, provider, settings

__all__ = ["known", "oidc", "provider", "settings"]
pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::authlib.deprecate.AuthlibDeprecationWarning"),
    pytest.mark.filterwarnings("ignore:get_jwt_config:DeprecationWarning"),
]


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
