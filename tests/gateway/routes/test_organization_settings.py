"""/v1/organization/settings: what runs, and how it is configured."""

from typing import Any

import httpx
import msgspec
import pytest

from gateway.app import App
from gateway.db import migrate
from gateway.db.database import Database
from gateway.db.tables import BudgetHolderRow, ReplicaRow, TrainingHardwareRow
from gateway.kit.clock import now, unix
from gateway.settings import ConsoleSettings, EngineSettings, OidcSettings, Settings
from tests.conftest import client_of
from tests.gateway.people import add, browser, sign_in
from tests.gateway.test_errors import error_in

pytestmark = pytest.mark.anyio

URL = "/v1/organization/settings"
ENGINE = "http://someone:password@127.0.0.1:9/v1"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return msgspec.structs.replace(settings, engine=EngineSettings(url=ENGINE, replicas=("http://127.0.0.1:10/v1",)))


async def told(client: httpx.AsyncClient) -> dict[str, Any]:
    answer = await client.get(URL)
    assert answer.status_code == 200, answer.text
    return answer.json()


class TestWhatRuns:
    async def test_the_version_and_the_databases_revision(self, admin: httpx.AsyncClient) -> None:
        found = await told(admin)
        assert found["version"][0].isdigit()
        assert found["database"] == {"revision": migrate.newest(), "newest": migrate.newest()}

    async def test_processes_machines_and_engines(self, admin: httpx.AsyncClient, database: Database) -> None:
        moment = now()
        hardware = {"device": "cuda", "name": "H200", "devices": 2}
        async with database.session() as session:
            session.add(BudgetHolderRow(id="1-a", host="web", created_at=moment, since=moment, seen_at=moment))
            session.add(TrainingHardwareRow(host="gpu", description=hardware, seen_at=moment))
            session.add(ReplicaRow(url=ENGINE, state="down", problem="refused", seen_at=None))
        found = await told(admin)
        seen = {"since": unix(moment), "seen_at": unix(moment)}
        assert {"id": "1-a", "host": "web"} | seen in found["gateways"]
        assert found["workers"] == [{"host": "gpu", "trains_on": "2 x H200", "seen_at": unix(moment)}]
        down, unknown = found["engines"]
        assert down == {
            "url": "http://***@127.0.0.1:9/v1", "state": "down", "problem": "refused", "seen_at": None
        }  # fmt: skip
        assert unknown["state"] == "unknown"
        assert found["worker_alive"] is False

    async def test_where_things_are_kept(self, admin: httpx.AsyncClient, settings: Settings) -> None:
        found = await told(admin)
        assert found["storage"] == {"kind": "directory", "place": f"file://{settings.data_dir}/blobs"}
        assert found["spool"]["bytes"] == 0
        assert found["spool"]["path"].startswith(f"{settings.data_dir}/spool/")

    async def test_how_long_things_are_kept(self, admin: httpx.AsyncClient, settings: Settings) -> None:
        kept = {each["what"]: each["seconds"] for each in (await told(admin))["kept"]}
        assert (kept["webhook_deliveries"], kept["failed_job_files"]) == (30 * 86_400, 86_400)
        assert kept["unfinished_uploads"] == settings.files.upload_seconds
        assert (kept["exchanges"], kept["exchange_bodies"], kept["training_logs"]) == (None, None, 90 * 86_400)

    async def test_no_single_sign_on(self, admin: httpx.AsyncClient) -> None:
        assert (await told(admin))["single_sign_on"] == {"enabled": False, "issuer": None, "redirect_url": None}


class TestSingleSignOn:
    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        return msgspec.structs.replace(
            settings,
            console=ConsoleSettings(url="https://gateway.example.com/"),
            oidc=OidcSettings(issuer="https://id.example.com", client_id="tuneway"),
        )

    async def test_says_which_address_to_register(self, admin: httpx.AsyncClient) -> None:
        assert (await told(admin))["single_sign_on"] == {
            "enabled": True,
            "issuer": "https://id.example.com",
            "redirect_url": "https://gateway.example.com/v1/sign_in/oidc/callback",
        }


class TestSecrets:
    async def test_are_not_told(self, admin: httpx.AsyncClient, settings: Settings) -> None:
        text = (await admin.get(URL)).text
        assert settings.secret_key.reveal() not in text
        assert "someone" not in text
        assert "password@" not in text

    async def test_and_nothing_else_to_anybody_but_owners(self, app: App, admin: httpx.AsyncClient) -> None:
        await add(admin, "reader@example.com")
        async with browser(app) as reader, client_of(app, None) as nobody:
            await sign_in(reader, "reader@example.com")
            error_in(await reader.get(URL), 403)
            error_in(await nobody.get(URL), 401)
