"""Keys of a project."""

import re

import httpx
import pytest

from gateway.app import App
from tests.admin.console.browsers import Browser, text_of
from tests.conftest import chat, client_of
from tests.gateway.people import add, join

pytestmark = pytest.mark.anyio


def secret_in(html: str) -> str:
    [secret] = set(re.findall(r'data-copy="(sk-[^"]+)"', html))
    return secret


async def works(app: App, secret: str) -> bool:
    async with client_of(app, secret) as client:
        return (await client.post("/v1/chat/completions", json=chat("echo"))).status_code == 200


class TestMaking:
    async def test_shows_the_secret_once_and_it_works(self, app: App, owner: Browser, project_id: str) -> None:
        url = f"/console/projects/{project_id}/keys"
        made = await owner.send(url, name="web shop", expires_in_days="30", logging="metadata")
        secret = secret_in(made)
        assert await works(app, secret)
        listed = await owner.open(url)
        assert "web shop" in text_of(listed)
        assert secret not in listed

    async def test_what_is_wrong_is_said_beside_its_field_and_nothing_is_lost(
        self, owner: Browser, project_id: str
    ) -> None:
        url = f"/console/projects/{project_id}/keys"
        page = await owner.send(url, 400, name="n" * 300, allowed_models="starter")
        assert 'aria-invalid="true"' in page
        assert 'value="starter"' in page

    async def test_a_forged_form_makes_nothing(self, owner: Browser, project_id: str) -> None:
        url = f"/console/projects/{project_id}/keys"
        answer = await owner.client.post(url, data={"name": "forged", "_csrf": "made up"})
        assert answer.status_code == 403
        assert "forged" not in text_of(await owner.open(url)).replace("forged form", "")

    async def test_a_member_of_the_project_has_no_form(
        self, app: App, admin: httpx.AsyncClient, project_id: str
    ) -> None:
        person = await add(admin, "member@example.com")
        await join(admin, project_id, person["id"], "member")
        async with Browser.of(app) as browser:
            await browser.sign_in("member@example.com")
            url = f"/console/projects/{project_id}/keys"
            assert "New key" not in await browser.open(url)
            await browser.send(url, 403, name="mine")


class TestRotatingAndRevoking:
    async def test_rotated_it_has_another_secret(self, app: App, owner: Browser, project_id: str) -> None:
        url = f"/console/projects/{project_id}/keys"
        old = secret_in(await owner.send(url, name="web"))
        [key_id] = re.findall(rf'action="{url}/(key_\w+)/rotate"[^>]*data-confirm="Give web', await owner.open(url))
        new = secret_in(await owner.send(f"{url}/{key_id}/rotate"))
        assert new != old
        assert await works(app, new)

    async def test_revoked_it_is_gone(self, owner: Browser, project_id: str) -> None:
        url = f"/console/projects/{project_id}/keys"
        await owner.send(url, name="web")
        [key_id] = re.findall(rf'action="{url}/(key_\w+)/revoke"[^>]*data-confirm="Revoke web', await owner.open(url))
        after = await owner.send(f"{url}/{key_id}/revoke")
        assert "The key is revoked" in text_of(after)
        assert key_id not in after
