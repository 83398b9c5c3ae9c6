"""What one process is told of keys holds in another: two real gateways on one database."""

import asyncio
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests.admin.test_cli import SECRET_KEY, add_admin_key, free_port, running
from tests.conftest import ADMIN_KEY, own_database
from tests.polling import until

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

PROJECTS = "/v1/organization/projects"


@dataclass(frozen=True)
class Gateways:
    first: str
    """Administered here."""
    second: str
    """Called here."""

    def administer(self, method: str, path: str, **body: Any) -> dict[str, Any]:
        headers = {"authorization": f"Bearer {ADMIN_KEY}"}
        answer = httpx.request(method, self.first + path, headers=headers, json=body or None, timeout=30)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def status(self, secret: str, path: str = "/v1/models") -> int:
        """What a call of the second gateway gets."""
        return httpx.get(self.second + path, headers={"authorization": f"Bearer {secret}"}, timeout=30).status_code


@pytest.fixture(scope="module")
def gateways(template_url: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateways]:
    directory, ports = tmp_path_factory.mktemp("gateways"), (free_port(), free_port())
    with own_database(template_url) as database_url:
        asyncio.run(add_admin_key(database_url))
        environment = {name: value for name, value in os.environ.items() if not name.startswith("TUNEWAY_")} | {
            "TUNEWAY_DATA_DIR": str(directory),
            "TUNEWAY_SECRET_KEY": SECRET_KEY,
            "TUNEWAY_DATABASE__URL": database_url,
            "TUNEWAY_REDIS__URL": redis_url,
        }
        with (
            running(environment, directory / "first.log", ports[0]),
            running(environment, directory / "second.log", ports[1]),
        ):
            yield Gateways(*(f"http://127.0.0.1:{port}" for port in ports))


@pytest.fixture
async def key(gateways: Gateways) -> tuple[str, str]:
    """The URL and the secret of a key that the second gateway takes."""
    project = gateways.administer("POST", PROJECTS, name="p")
    made = gateways.administer("POST", f"{PROJECTS}/{project['id']}/api_keys", name="app")
    await until(lambda: gateways.status(made["value"]) == 200)
    return f"{PROJECTS}/{project['id']}/api_keys/{made['id']}", made["value"]


class TestAnotherProcess:
    async def test_refuses_a_revoked_key(self, gateways: Gateways, key: tuple[str, str]) -> None:
        gateways.administer("DELETE", key[0])
        await until(lambda: gateways.status(key[1]) == 401)

    async def test_refuses_keys_of_an_archived_project(self, gateways: Gateways, key: tuple[str, str]) -> None:
        gateways.administer("POST", f"{key[0].rsplit('/', 2)[0]}/archive")
        await until(lambda: gateways.status(key[1]) == 401)

    async def test_knows_a_rotated_keys_secrets(self, gateways: Gateways, key: tuple[str, str]) -> None:
        new = gateways.administer("POST", f"{key[0]}/rotate", overlap_seconds=600)
        await until(lambda: gateways.status(new["value"]) == 200)
        assert gateways.status(key[1]) == 200
        newest = gateways.administer("POST", f"{key[0]}/rotate", overlap_seconds=0)
        await until(lambda: gateways.status(newest["value"]) == 200)
        assert [gateways.status(secret) for secret in (key[1], new["value"])] == [401, 401]

    async def test_holds_to_new_rights(self, gateways: Gateways, key: tuple[str, str]) -> None:
        gateways.administer("POST", key[0], scopes=["api.files.read"])
        await until(lambda: gateways.status(key[1]) == 403)
        assert gateways.status(key[1], "/v1/files") == 200

    async def test_lets_a_key_expire_by_itself(self, gateways: Gateways, key: tuple[str, str]) -> None:
        gateways.administer("POST", key[0], expires_in_seconds=1)
        await until(lambda: gateways.status(key[1]) == 401)
