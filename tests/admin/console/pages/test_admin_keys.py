"""Admin keys in the console."""

import re

import httpx
import pytest

from gateway.app import App
from gateway.kit.clock import now, unix
from tests.admin.console.browsers import Browser, text_of
from tests.conftest import client_of
from tests.gateway.people import add

pytestmark = pytest.mark.anyio
URL = "/console/admin-keys"
API = "/v1/organization/admin_api_keys"


async def test_one_is_made_used_and_revoked(app: App, owner: Browser, admin: httpx.AsyncClient) -> None:
    page = await owner.send(URL, name="terraform", role="reader", expires_in_days="0.5")
    [secret] = re.findall(r'data-copy="(sk-admin-[^"]+)"', page)
    made = next(each for each in (await admin.get(API)).json()["data"] if each["name"] == "terraform")
    assert made["role"] == "reader"
    assert made["expires_at"] == pytest.approx(unix(now()) + 43_200, abs=60)
    async with client_of(app, secret) as client:
        assert (await client.get(API)).status_code == 200
        listed = await owner.open(URL)
        assert secret not in listed
        assert "terraform" in text_of(listed)
        assert "The key is revoked" in text_of(await owner.send(f"{URL}/{made['id']}/revoke"))
        assert (await client.get(API)).status_code == 401


async def test_the_last_lasting_one_stays(owner: Browser, admin: httpx.AsyncClient) -> None:
    [first] = (await admin.get(API)).json()["data"]
    page = await owner.send(f"{URL}/{first['id']}/revoke", 400)
    assert "make another one first" in text_of(page)
    assert (await admin.get(API)).status_code == 200


async def test_what_is_wrong_is_said_beside_its_field(owner: Browser) -> None:
    page = await owner.send(URL, 400, name="x", role="reader", expires_in_days="9999")
    assert re.findall(r'id="f-(\w+)"[^>]*aria-invalid="true"', page) == ["expires_in_days"]


async def test_readers_have_nothing_to_press(app: App, admin: httpx.AsyncClient, owner: Browser) -> None:
    await add(admin, "reader@example.com")
    async with Browser.of(app) as browser:
        await browser.sign_in("reader@example.com")
        page = await browser.open(URL)
        assert set(re.findall(r'<form method="post" action="([^"]+)"', page)) == {"/console/sign-out"}
        await browser.send(URL, 403, name="x", role="owner")
