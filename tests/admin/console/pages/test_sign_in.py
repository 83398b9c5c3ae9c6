"""Signing in and out."""

import httpx
import pytest

from gateway.app import App
from tests.admin.console.browsers import EMAIL, Browser, text_of
from tests.conftest import ADMIN_KEY
from tests.gateway.people import PASSWORD, add

pytestmark = pytest.mark.anyio


class TestSigningIn:
    async def test_nobody_is_sent_to_the_form_and_back(self, app: App, admin: httpx.AsyncClient) -> None:
        await add(admin, EMAIL, "owner")
        async with Browser.of(app) as browser:
            form = await browser.open("/console/projects?after=x")
            assert 'name="next" value="/console/projects?after=x"' in form
            page = await browser.send(
                "/console/sign-in", email=EMAIL, password=PASSWORD, next="/console/projects?after=x"
            )
        assert "<h1>Projects</h1>" in page

    async def test_a_wrong_password_is_said(self, app: App, admin: httpx.AsyncClient) -> None:
        await add(admin, EMAIL, "owner")
        async with Browser.of(app) as browser:
            page = await browser.send("/console/sign-in", 401, email=EMAIL, password="wrong")
        assert "The email, the password or the code is wrong." in text_of(page)
        assert f'value="{EMAIL}"' in page

    @pytest.mark.parametrize("wanted", ["https://evil.example", "//evil.example", "/v1/files", "/v2/console"])
    async def test_leads_to_pages_of_ours_alone(self, app: App, admin: httpx.AsyncClient, wanted: str) -> None:
        await add(admin, EMAIL, "owner")
        async with Browser.of(app) as browser:
            browser.client.follow_redirects = False
            answer = await browser.client.post(
                "/console/sign-in", data={"email": EMAIL, "password": PASSWORD, "next": wanted}
            )
        assert answer.headers["location"] == "/console/overview"

    @pytest.mark.parametrize(
        ("wanted", "header"),
        [
            ("/console/日?a=ä&b=%E6", "/console/%E6%97%A5?a=%C3%A4&b=%E6"),
            ("/console/a\r\nset-cookie: b=c", "/console/a%0D%0Aset-cookie:%20b=c"),
        ],
    )
    async def test_pages_with_other_letters_are_written_as_a_header_takes_them(
        self, app: App, admin: httpx.AsyncClient, wanted: str, header: str
    ) -> None:
        await add(admin, EMAIL, "owner")
        async with Browser.of(app) as browser:
            browser.client.follow_redirects = False
            answer = await browser.client.post(
                "/console/sign-in", data={"email": EMAIL, "password": PASSWORD, "next": wanted}
            )
        assert (answer.status_code, answer.headers["location"]) == (303, header)

    @pytest.mark.parametrize("field", ["email", "password", "code"])
    @pytest.mark.parametrize("page", ["sign-in", "first-owner"])
    async def test_a_file_in_a_field_is_nothing(self, app: App, page: str, field: str) -> None:
        async with Browser.of(app) as browser:
            answer = await browser.client.post(f"/console/{page}", files={field: ("x", b"x")})
        assert answer.status_code in (400, 401)

    async def test_a_page_of_another_site_signs_nobody_in(self, app: App, admin: httpx.AsyncClient) -> None:
        await add(admin, EMAIL, "owner")
        async with Browser.of(app) as browser:
            answer = await browser.client.post(
                "/console/sign-in",
                data={"email": EMAIL, "password": PASSWORD},
                headers={"origin": "https://evil.example", "sec-fetch-site": "cross-site"},
            )
        assert answer.status_code == 403
        assert "tuneway_session" not in answer.cookies

    async def test_signed_out_the_session_is_over(self, owner: Browser) -> None:
        page = await owner.send("/console/sign-out")
        assert "<h1>Sign in</h1>" in page
        assert "<h1>Sign in</h1>" in await owner.open("/console/overview")


class TestTheFirstOwner:
    async def test_is_made_with_the_admin_key_and_is_signed_in(self, app: App) -> None:
        async with Browser.of(app) as browser:
            page = await browser.send(
                "/console/first-owner", admin_key=ADMIN_KEY, email=EMAIL, name="Ada", password=PASSWORD
            )
        assert "<h1>Overview</h1>" in page

    async def test_a_wrong_key_makes_nobody(self, app: App) -> None:
        async with Browser.of(app) as browser:
            page = await browser.send(
                "/console/first-owner", 401, admin_key="sk-wrong-key-1234", email=EMAIL, password=PASSWORD
            )
        assert "Incorrect API key" in text_of(page)


class TestAPageThatIsNotThere:
    async def test_says_so_in_html(self, owner: Browser) -> None:
        assert "There is nothing here" in text_of(await owner.open("/console/nowhere", 404))
        assert "There is nothing here" in text_of(await owner.open("/console/projects/proj_nobody/keys", 404))
