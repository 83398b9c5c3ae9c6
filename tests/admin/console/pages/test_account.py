"""One's own account: password, authenticator, sessions."""

import re
import time

import httpx
import pytest
from pyotp.totp import TOTP

from gateway.app import App
from tests.admin.console.browsers import EMAIL, Browser, text_of
from tests.gateway.people import PASSWORD

pytestmark = pytest.mark.anyio
NEW = "a much longer password"
URL = "/console/account"


def secret_of(page: str) -> str:
    [secret] = re.findall(r'data-copy="([A-Z2-7]{32})"', page)
    return secret


async def switch_on(browser: Browser) -> str:
    """The secret."""
    secret = secret_of(await browser.send(f"{URL}/totp", proof=PASSWORD))
    await browser.send(f"{URL}/totp/confirm", secret=secret, uri="otpauth://x", code=TOTP(secret).now())
    return secret


class TestTheName:
    async def test_is_changed_and_stands_in_the_head_of_pages(self, owner: Browser) -> None:
        page = await owner.send(f"{URL}/name", name="Ada <Lovelace>")
        assert "Your name is changed" in text_of(page)
        assert 'value="Ada &lt;Lovelace&gt;"' in page
        assert '<a href="/console/account">Ada &lt;Lovelace&gt;</a>' in page

    async def test_one_that_is_too_long_is_said_beside_its_field(self, owner: Browser) -> None:
        page = await owner.send(f"{URL}/name", 400, name="n" * 201)
        assert re.findall(r'id="f-(\w+)"[^>]*aria-invalid="true"', page) == ["name"]
        assert f'value="{"n" * 201}"' in page


class TestThePassword:
    async def test_is_changed_and_other_sessions_end(self, app: App, owner: Browser) -> None:
        async with Browser.of(app) as elsewhere:
            await elsewhere.sign_in(EMAIL)
            told = await owner.send(f"{URL}/password", current_password=PASSWORD, password=NEW, again=NEW)
            assert "The password is changed" in text_of(told)
            assert "<h1>Sign in</h1>" in await elsewhere.open(URL)
            assert "<h1>Overview</h1>" in await elsewhere.sign_in(EMAIL, NEW)

    @pytest.mark.parametrize(
        ("field", "fields"),
        [
            ("current_password", {"current_password": "not my password", "password": NEW, "again": NEW}),
            ("password", {"current_password": PASSWORD, "password": "short", "again": "short"}),
            ("again", {"current_password": PASSWORD, "password": NEW, "again": f"{NEW}r"}),
        ],
    )
    async def test_what_is_wrong_is_said_beside_its_field(
        self, app: App, owner: Browser, field: str, fields: dict[str, str]
    ) -> None:
        page = await owner.send(f"{URL}/password", 400, **fields)
        assert re.findall(r'id="f-(\w+)"[^>]*aria-invalid="true"', page) == [field]
        assert all(each not in page for each in fields.values() if each != "short")
        async with Browser.of(app) as elsewhere:
            assert "<h1>Overview</h1>" in await elsewhere.sign_in(EMAIL)

    async def test_a_forged_form_changes_nothing(self, owner: Browser) -> None:
        fields = {"_csrf": "forged", "current_password": PASSWORD, "password": NEW, "again": NEW}
        assert (await owner.client.post(f"{URL}/password", data=fields)).status_code == 403


class TestTheAuthenticator:
    async def test_is_set_up_with_a_secret_as_text_and_as_a_code(self, owner: Browser) -> None:
        answer = await owner.client.post(f"{URL}/totp", data={"_csrf": await csrf(owner), "proof": PASSWORD})
        assert answer.headers["cache-control"] == "no-store"
        assert re.search(r'<div class="qr"[^>]*><svg viewBox', answer.text)
        secret = secret_of(answer.text)
        done = await owner.send(f"{URL}/totp/confirm", secret=secret, uri="otpauth://x", code=TOTP(secret).now())
        assert len(re.findall(r"<li><code>[a-z2-9]{5}-[a-z2-9]{5}</code>", done)) == 10
        assert "Recovery codes left: 10" in text_of(await owner.open(URL))

    async def test_after_a_wrong_code_the_same_secret_is_there(self, owner: Browser) -> None:
        page = await owner.send(f"{URL}/totp", proof=PASSWORD)
        secret, [uri] = secret_of(page), re.findall(r'name="uri" value="([^"]+)"', page)
        again = await owner.send(f"{URL}/totp/confirm", 400, secret=secret, uri=uri.replace("&amp;", "&"), code="0")
        assert secret_of(again) == secret
        assert re.findall(r"<path[^>]+>", again) == re.findall(r"<path[^>]+>", page)
        assert (
            'id="f-code" name="code" type="text" value="" required autocomplete="one-time-code" aria-invalid' in again
        )

    async def test_a_forged_form_shows_no_secret_of_somebody_else(self, owner: Browser) -> None:
        fields = {"_csrf": "forged", "secret": "A" * 32, "uri": "otpauth://evil", "code": "1"}
        answer = await owner.client.post(f"{URL}/totp/confirm", data=fields)
        assert (answer.status_code, "A" * 32 in answer.text) == (403, False)

    @pytest.mark.parametrize("uri", ["", "https://evil.example", "otpauth://" + "x" * 4000])
    async def test_a_form_without_the_secret_is_refused(self, owner: Browser, uri: str) -> None:
        await owner.send(f"{URL}/totp", proof=PASSWORD)
        page = await owner.send(f"{URL}/totp/confirm", 400, secret="A" * 32, uri=uri, code="0")
        assert "A" * 32 not in page

    async def test_takes_the_password(self, owner: Browser) -> None:
        page = await owner.send(f"{URL}/totp", 400, proof="wrong")
        assert re.findall(r'id="f-(\w+)"[^>]*aria-invalid="true"', page) == ["proof"]

    async def test_is_asked_for_and_can_be_switched_off(self, app: App, owner: Browser) -> None:
        secret = await switch_on(owner)
        async with Browser.of(app) as elsewhere:
            assert 'name="code"' in await elsewhere.sign_in(EMAIL)
        page = await owner.send(f"{URL}/totp/disable", 400, proof=PASSWORD, code="0")
        assert re.findall(r'id="f-(\w+)"[^>]*aria-invalid="true"', page) == ["code"]
        later = TOTP(secret).at(for_time=0, counter_offset=step() + 1)
        told = await owner.send(f"{URL}/totp/disable", proof=PASSWORD, code=later)
        assert "The authenticator is off" in text_of(told)
        async with Browser.of(app) as elsewhere:
            assert "<h1>Overview</h1>" in await elsewhere.sign_in(EMAIL)


class TestSessions:
    async def test_one_elsewhere_is_ended(self, app: App, owner: Browser) -> None:
        async with Browser.of(app) as elsewhere:
            await elsewhere.sign_in(EMAIL)
            [url] = re.findall(rf'action="({URL}/sessions/[^"]+/end)"', await owner.open(URL))
            assert "The session is over" in text_of(await owner.send(url))
            assert "<h1>Sign in</h1>" in await elsewhere.open(URL)
            await owner.send(url, 404)


async def csrf(browser: Browser) -> str:
    answer: httpx.Response = await browser.client.get("/v1/sessions/current")
    return answer.json()["csrf_token"]


def step() -> int:
    return int(time.time()) // 30
