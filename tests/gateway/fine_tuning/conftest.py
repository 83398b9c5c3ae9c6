"""A project, and a second worker's connections, for tests of SQL."""

from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text

from gateway.db.database import Database
from gateway.settings import Settings


@pytest.fixture
async def other(settings: Settings) -> AsyncIterator[Database]:
    """Another worker's connections."""
    other = Database(settings.database.url, pool_size=2, timeout=10)
    yield other
    await other.close()


@pytest.fixture
async def project(database: Database) -> str:
    async with database.session() as session:
        await session.execute(text("INSERT INTO projects (id, name, created_at) VALUES ('proj_1', 'p', now())"))
        account = "INSERT INTO service_accounts (id, project_id, name, role, created_at) VALUES ('svc', 'proj_1', 'a', 'member', now())"
        await session.execute(text(account))
        key = (
            "INSERT INTO api_keys (id, name, hash, redacted_value, project_id, service_account_id, created_at)"
            " VALUES ('key_1', 'a', 'hash', 'sk-...', 'proj_1', 'svc', now())"
        )
        await session.execute(text(key))
    return "proj_1"
