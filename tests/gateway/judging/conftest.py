"""A project whose answers are judged."""

import pytest

from gateway.db.database import Database
from tests.fakes.judging import World


@pytest.fixture
async def world(database: Database) -> World:
    return await World(database).open()
