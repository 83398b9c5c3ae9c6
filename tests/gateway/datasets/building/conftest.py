"""A project to build datasets of."""

import pytest

from gateway.db.database import Database
from gateway.db.tables import ProjectRow
from tests.gateway.datasets.building.world import BEGIN, World


@pytest.fixture
async def world(database: Database) -> World:
    async with database.session() as session:
        session.add(ProjectRow(id="proj_1", name="first", created_at=BEGIN))
    return World(database, "proj_1")
