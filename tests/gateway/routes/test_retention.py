"""How long what belongs to a project is kept, through the API."""

from datetime import timedelta
from typing import Any

import httpx
import msgspec
import pytest

from gateway.db.database import Database
from gateway.kit.clock import from_unix, now, unix
from gateway.retention import repository
from gateway.retention_settings import RetentionSettings
from gateway.settings import Settings
from tests.gateway.test_errors import error_in

pytestmark = pytest.mark.anyio


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return msgspec.structs.replace(settings, retention=RetentionSettings(exchange_days=400))


@pytest.fixture
def url(project_key: dict[str, Any]) -> str:
    return f"/v1/organization/projects/{project_key['project_id']}/retention"


class TestRetention:
    async def test_at_first_the_settings_hold(self, admin: httpx.AsyncClient, url: str) -> None:
        found = (await admin.get(url)).json()
        assert found == {
            "object": "organization.project.retention",
            "project_id": url.split("/")[-2],
            "body_days": None,
            "exchange_days": None,
            "training_log_days": None,
            "in_force": {"body_days": 0, "exchange_days": 400, "training_log_days": 90},
            "bodies_before": None,
            "exchanges_before": None,
        }

    async def test_a_project_has_its_own(self, admin: httpx.AsyncClient, url: str) -> None:
        changed = (await admin.post(url, json={"body_days": 7, "exchange_days": 0})).json()
        assert changed["in_force"] == {"body_days": 7, "exchange_days": 0, "training_log_days": 90}
        assert (await admin.get(url)).json() == changed
        changed = (await admin.post(url, json={"exchange_days": None})).json()
        assert changed["in_force"] == {"body_days": 7, "exchange_days": 400, "training_log_days": 90}
        assert (await admin.post(url, json={})).json() == changed

    async def test_tells_what_is_gone(self, admin: httpx.AsyncClient, database: Database, url: str) -> None:
        own, everybody = from_unix(unix(now())) - timedelta(days=7), from_unix(unix(now())) - timedelta(days=60)
        async with database.session() as session:
            await repository.announce(session, url.split("/")[-2], "bodies", own)
            await repository.announce(session, repository.EVERYBODY, "exchanges", everybody)
            await repository.announce(session, repository.EVERYBODY, "exchanges", everybody - timedelta(days=1))
        found = (await admin.get(url)).json()
        assert (found["bodies_before"], found["exchanges_before"]) == (unix(own), unix(everybody))

    @pytest.mark.parametrize(
        ("body", "param"),
        [
            ({"body_days": -1}, "body_days"),
            ({"exchange_days": 1.5}, "exchange_days"),
            ({"training_log_days": 36_501}, "training_log_days"),
            ({"days": 1}, "days"),
        ],
    )
    async def test_what_is_wrong_is_named(
        self, admin: httpx.AsyncClient, url: str, body: dict[str, Any], param: str
    ) -> None:
        answer = await admin.post(url, json=body)
        assert error_in(answer, 400)["param"] == param

    async def test_a_project_that_is_not_there(self, admin: httpx.AsyncClient) -> None:
        for answer in (
            await admin.get("/v1/organization/projects/proj_none/retention"),
            await admin.post("/v1/organization/projects/proj_none/retention", json={}),
        ):
            assert error_in(answer, 404)["param"] == "project_id"
