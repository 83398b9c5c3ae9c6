from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from gateway.db.database import Database
from gateway.db.tables import FileRow
from gateway.errors import NotFound
from gateway.files import repository
from gateway.kit.clock import now

pytestmark = pytest.mark.anyio


@pytest.fixture
async def project(database: Database) -> str:
    async with database.session() as session:
        await session.execute(text("INSERT INTO projects (id, name, created_at) VALUES ('proj_1', 'p', now())"))
    return "proj_1"


async def add(database: Database, file_id: str, **values: Any) -> None:
    row = {"filename": "a", "purpose": "evals", "bytes": 1, "sha256": "", "status": "processed", "created_at": now()}
    async with database.session() as session:
        session.add(FileRow(id=file_id, project_id="proj_1", **(row | values)))


class TestFind:
    async def test_finds_what_is_there(self, database: Database, project: str) -> None:
        await add(database, "file-1", expires_at=now() + timedelta(hours=1))
        async with database.session() as session:
            assert (await repository.find(session, project, "file-1")).id == "file-1"

    @pytest.mark.parametrize("gone", [{"deleted_at": now()}, {"expires_at": now() - timedelta(seconds=1)}])
    async def test_deleted_and_expired_are_gone(self, database: Database, project: str, gone: dict[str, Any]) -> None:
        await add(database, "file-1", **gone)
        async with database.session() as session:
            with pytest.raises(NotFound):
                await repository.find(session, project, "file-1")

    async def test_another_projects_file_does_not_exist(self, database: Database, project: str) -> None:
        await add(database, "file-1")
        async with database.session() as session:
            with pytest.raises(NotFound):
                await repository.find(session, "proj_2", "file-1")


class TestExpired:
    async def test_lists_what_is_to_be_removed_oldest_first(self, database: Database, project: str) -> None:
        for hours in (-1, -3, -2, 1):
            await add(database, f"file{hours}", expires_at=now() + timedelta(hours=hours))
        await add(database, "lasting")
        await add(database, "deleted", expires_at=now() - timedelta(hours=9), deleted_at=now())
        async with database.session() as session:
            rows = list(await session.scalars(repository.expired()))
            assert [row.id for row in rows] == ["file-3", "file-2", "file-1"]
            assert len(list(await session.scalars(repository.expired(limit=2)))) == 2
            await repository.hide(session, "file-3")
        async with database.session() as session:
            assert len(list(await session.scalars(repository.expired()))) == 2
