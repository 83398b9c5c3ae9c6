"""Reading the exchange log."""

from typing import Any

import pytest
from sqlalchemy import Select, text
from sqlalchemy.dialects import postgresql

from gateway.db.database import Database
from gateway.exchanges.repository import ExchangeFilters, matching
from gateway.kit.clock import from_unix
from gateway.kit.ids import first_request_id
from tests.gateway.metering.ledger_rows import MIDNIGHT

pytestmark = pytest.mark.anyio


async def index_condition(database: Database, query: Select[Any]) -> str:
    """What PostgreSQL looks up in the index that it reads the newest rows by."""
    options: Any = {"dialect": postgresql.dialect(), "compile_kwargs": {"literal_binds": True}}
    ordered = query.order_by(text("id DESC")).limit(20).compile(**options)
    async with database.session() as session:
        await session.execute(text("SET LOCAL enable_seqscan = off"))
        await session.execute(text("SET LOCAL enable_sort = off"))
        plan = list(await session.scalars(text(f"EXPLAIN {ordered}".replace(":", "\\:"))))
    assert any("Index Scan Backward using ix_exchanges_project_id_id" in line for line in plan), plan
    [condition] = [line for line in plan if "Index Cond:" in line]
    return condition.replace("::text", "")


class TestMatching:
    async def test_a_time_is_found_by_the_index_and_not_by_reading_all_that_is_newer(self, database: Database) -> None:
        day = ExchangeFilters(created_after=from_unix(MIDNIGHT), created_before=from_unix(MIDNIGHT + 86_400))
        condition = await index_condition(database, matching("proj_1", day))
        assert f"(id) >= '{first_request_id(MIDNIGHT - 3600)}'" in condition
        assert f"(id) < '{first_request_id(MIDNIGHT + 86_460)}'" in condition

    async def test_without_a_time_it_is_the_projects(self, database: Database) -> None:
        assert "(project_id) = 'proj_1'" in await index_condition(database, matching("proj_1", ExchangeFilters()))
