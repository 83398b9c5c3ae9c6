"""A key that spends."""

import pytest

from gateway.db.database import Database
from tests.gateway.budgets.processes import add_key


@pytest.fixture
async def key(database: Database) -> None:
    await add_key(database)
