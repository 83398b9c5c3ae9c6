"""SQL of projects and service accounts."""

import pytest
from msgspec import UNSET
from sqlalchemy import select

from gateway.db.database import Database
from gateway.db.tables import ApiKeyRow, ChangeRow, ProjectRow, ServiceAccountRow
from gateway.errors import NotFound
from gateway.keys.service import create_project_key
from gateway.kit.clock import now
from gateway.projects import repository
from gateway.projects.owners import owners_of

pytestmark = pytest.mark.anyio


@pytest.fixture
async def key(database: Database) -> ApiKeyRow:
    """A key of the account "a" in the project "p"."""
    async with database.session() as session:
        session.add(ProjectRow(id="p", name="x", created_at=now(), archived_at=None))
        await session.flush()
        account = ServiceAccountRow(id="a", project_id="p", name="x", role="member", created_at=now())
        session.add(account)
        await session.flush()
        row, _ = await create_project_key(session, account, name="n", secret_key="k" * 40)
    return row


async def version(database: Database) -> int:
    """How often the keys have changed."""
    async with database.session() as session:
        return await session.scalar(select(ChangeRow.version).where(ChangeRow.name == "api_keys")) or 0


class TestArchive:
    async def test_twice_is_once(self, database: Database, key: ApiKeyRow) -> None:
        moments, versions = [], []
        for _ in range(2):
            async with database.session() as session:
                row = await repository.project(session, "p")
                await repository.archive(session, row)
                moments.append(row.archived_at)
            versions.append(await version(database))
        assert moments[0] == moments[1]
        assert versions[0] == versions[1]


class TestDeleteServiceAccount:
    async def test_revokes_its_keys_and_tells_everybody(self, database: Database, key: ApiKeyRow) -> None:
        before = await version(database)
        async with database.session() as session:
            await repository.delete_service_account(session, "a")
        async with database.session() as session:
            assert (await session.get_one(ApiKeyRow, key.id)).revoked_at is not None
            with pytest.raises(NotFound):
                await repository.service_account(session, "p", "a")
        assert await version(database) > before

    async def test_its_name_stays_with_the_keys_it_had(self, database: Database, key: ApiKeyRow) -> None:
        async with database.session() as session:
            await repository.delete_service_account(session, "a")
            owner = (await owners_of(session, [key]))[key.id]
        assert owner.shown.service_account is not UNSET
        assert (owner.shown.service_account.id, owner.has_access) == ("a", False)


async def test_an_unknown_project_is_not_found(database: Database) -> None:
    async with database.session() as session:
        with pytest.raises(NotFound):
            await repository.project(session, "x")
