"""POST /v1/organization/projects/{project}/working_keys: the way back from a key that was revoked."""

from typing import Any

import httpx
import msgspec
import pytest
from sqlalchemy import select, update

from gateway.db.database import Database
from gateway.db.tables import ApiKeyRow, WorkingKeyRow
from gateway.kit.clock import from_unix
from gateway.kit.sealing import Sealer, read_keys
from gateway.settings import Secret, Settings
from gateway.working_keys import Ended, Purpose, WorkingKeys
from tests.gateway.test_errors import error_in

pytestmark = pytest.mark.anyio

KEY = "ab" * 32


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return msgspec.structs.replace(settings, encryption_key=Secret(KEY))


@pytest.fixture
def project(project_key: dict[str, Any]) -> str:
    """Its URL."""
    return f"/v1/organization/projects/{project_key['project_id']}"


@pytest.fixture
def keys(settings: Settings) -> WorkingKeys:
    return WorkingKeys(Sealer(read_keys(KEY)), settings.secret_key.reveal())


async def make(admin: httpx.AsyncClient, project: str, purpose: str = "judge") -> dict[str, Any]:
    answer = await admin.post(f"{project}/working_keys", json={"purpose": purpose})
    assert answer.status_code == 200, answer.text
    return answer.json()


async def secret(database: Database, keys: WorkingKeys, project: str, purpose: Purpose = "judge") -> str:
    async with database.session() as session:
        return await keys.secret(session, project.rsplit("/", 1)[1], purpose)


async def revoke(admin: httpx.AsyncClient, project: str, key_id: str) -> None:
    assert (await admin.delete(f"{project}/api_keys/{key_id}")).status_code == 200


async def rows(database: Database) -> list[tuple[str, bool]]:
    """Key and whether it is in force, oldest first."""
    async with database.session() as session:
        found = await session.scalars(select(WorkingKeyRow).order_by(WorkingKeyRow.created_at))
        return [(row.api_key_id, row.deleted_at is None) for row in found]


class TestCreate:
    async def test_the_first_one_is_what_judges_ask_with_from_then_on(
        self, admin: httpx.AsyncClient, project: str, database: Database, keys: WorkingKeys
    ) -> None:
        made = await make(admin, project)
        assert (made["object"], made["name"], made["owner"]["service_account"]["name"]) == (
            "organization.project.api_key",
            "Judges",
            "Judges",
        )
        assert made["id"] in {key["id"] for key in (await admin.get(f"{project}/api_keys")).json()["data"]}
        asked = await secret(database, keys, project)
        assert asked.endswith(made["redacted_value"][-3:])
        assert await rows(database) == [(made["id"], True)]

    async def test_nobody_sees_its_secret(self, admin: httpx.AsyncClient, project: str) -> None:
        assert (await make(admin, project)).get("value") is None

    async def test_its_calls_are_those_of_judges(
        self, admin: httpx.AsyncClient, project: str, database: Database
    ) -> None:
        made = await make(admin, project, "eval")
        async with database.session() as session:
            assert (await session.get_one(ApiKeyRow, made["id"])).purpose == "eval"
        listed = (await admin.get(f"{project}/api_keys")).json()["data"]
        assert [each["purpose"] for each in listed] == [None, "eval"]

    async def test_each_purpose_has_its_own(
        self, admin: httpx.AsyncClient, project: str, database: Database, keys: WorkingKeys
    ) -> None:
        judges, evals = await make(admin, project), await make(admin, project, "eval")
        await revoke(admin, project, judges["id"])
        assert await secret(database, keys, project, "eval")
        assert evals["name"] == "Evals"


class TestAnother:
    async def test_in_the_place_of_one_that_was_revoked(
        self, admin: httpx.AsyncClient, project: str, database: Database, keys: WorkingKeys
    ) -> None:
        first = await make(admin, project)
        before = await secret(database, keys, project)
        await revoke(admin, project, first["id"])
        with pytest.raises(Ended, match=r'working_keys with {"purpose": "judge"}'):
            await secret(database, keys, project)
        second = await make(admin, project)
        assert second["id"] != first["id"]
        assert await secret(database, keys, project) != before
        assert await rows(database) == [(first["id"], False), (second["id"], True)]
        assert second["owner"]["service_account"]["id"] == first["owner"]["service_account"]["id"]

    async def test_or_has_expired(
        self, admin: httpx.AsyncClient, project: str, database: Database, keys: WorkingKeys
    ) -> None:
        first = await make(admin, project)
        async with database.session() as session:
            await session.execute(update(ApiKeyRow).where(ApiKeyRow.id == first["id"]).values(expires_at=from_unix(1)))
        with pytest.raises(Ended):
            await secret(database, keys, project)
        assert (await make(admin, project))["id"] != first["id"]
        assert await secret(database, keys, project)

    async def test_or_went_with_its_service_account(
        self, admin: httpx.AsyncClient, project: str, database: Database, keys: WorkingKeys
    ) -> None:
        first = (await make(admin, project))["owner"]["service_account"]
        assert (await admin.delete(f"{project}/service_accounts/{first['id']}")).status_code == 200
        second = (await make(admin, project))["owner"]["service_account"]
        assert (second["id"] == first["id"], second["name"]) == (False, "Judges")
        assert await secret(database, keys, project)

    async def test_none_while_it_works(self, admin: httpx.AsyncClient, project: str, database: Database) -> None:
        first = await make(admin, project)
        error = error_in(await admin.post(f"{project}/working_keys", json={"purpose": "judge"}), 409)
        assert first["id"] in error["message"]
        assert await rows(database) == [(first["id"], True)]

    async def test_is_told_of(self, admin: httpx.AsyncClient, project: str) -> None:
        made = await make(admin, project)
        told = (await admin.get("/v1/organization/audit_logs")).json()["data"][0]
        assert (told["type"], told["api_key.created"]["id"]) == ("api_key.created", made["id"])


class TestRefused:
    @pytest.mark.parametrize("body", [{}, {"purpose": "train"}, {"purpose": "judge", "colour": "red"}])
    async def test_what_is_no_purpose(self, admin: httpx.AsyncClient, project: str, body: dict[str, str]) -> None:
        error = error_in(await admin.post(f"{project}/working_keys", json=body), 400)
        assert error["param"] == ("colour" if "colour" in body else "purpose")

    async def test_a_project_that_is_not_there(self, admin: httpx.AsyncClient) -> None:
        answer = await admin.post("/v1/organization/projects/proj_x/working_keys", json={"purpose": "judge"})
        assert error_in(answer, 404)["param"] == "project_id"


class TestWithoutEncryptionKey:
    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        return msgspec.structs.replace(settings, encryption_key=Secret(""))

    async def test_says_what_is_missing(self, admin: httpx.AsyncClient, project: str, database: Database) -> None:
        error = error_in(await admin.post(f"{project}/working_keys", json={"purpose": "judge"}), 400)
        assert error["code"] == "no_encryption_key"
        assert await rows(database) == []
