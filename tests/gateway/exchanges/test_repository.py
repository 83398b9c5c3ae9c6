"""Reading the exchange log."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import Select, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.database import Database
from gateway.exchanges.repository import ExchangeFilters, matching
from gateway.kit.clock import from_unix
from gateway.kit.ids import first_request_id
from tests.gateway.metering.ledger_rows import MIDNIGHT

pytestmark = pytest.mark.anyio


FILL = """
INSERT INTO exchanges (id, created_at, project_id, api_key_id, endpoint, requested_model, streamed, outcome, status, request,
                       usage_estimated, priced, duration_ms)
SELECT 'req_' || lpad(to_hex((extract(epoch FROM at) * 1000000000)::bigint), 16, '0') || lpad(n::text, 16, '0'), at,
       'proj_' || n % 2, 'key_1', '/chat/completions', 'm', false, 'completed', 200, '', false, true, 1
FROM (SELECT n, to_timestamp(:midnight + n * 60) AS at FROM generate_series(1, 30000) n) calls
"""


async def plan(session: AsyncSession, query: Select[Any]) -> str:
    """How PostgreSQL reads the newest rows."""
    options: Any = {"dialect": postgresql.dialect(), "compile_kwargs": {"literal_binds": True}}
    ordered = query.order_by(text("id DESC")).limit(20).compile(**options)
    lines = await session.scalars(text(f"EXPLAIN {ordered}".replace(":", "\\:")))
    return "\n".join(lines).replace("::text", "")


async def index_condition(session: AsyncSession, query: Select[Any]) -> str:
    """What it looks up in the index that has them in their order."""
    found = await plan(session, query)
    assert "Index Scan Backward using ix_exchanges_project_id_id" in found, found
    assert "Sort" not in found, found
    [condition] = [line for line in found.splitlines() if "Index Cond:" in line]
    return condition


@pytest.fixture
async def many(database: Database) -> AsyncIterator[AsyncSession]:
    """A transaction in which there are many exchanges, and statistics of them. Nothing of them stays."""
    try:
        async with AsyncSession(database.engine) as session:
            await session.execute(text(FILL), {"midnight": MIDNIGHT})
            await session.execute(text("ANALYZE exchanges"))
            yield session
    finally:
        async with database.session() as session:
            await session.execute(text("TRUNCATE exchanges"))


class TestMatching:
    async def test_a_time_is_found_by_the_index_and_not_by_reading_all_that_is_newer(self, many: AsyncSession) -> None:
        """Of a project that the statistics do not know yet. It is taken to have one row: then any index would do that has
        the project, and a sort of what is found."""
        day = ExchangeFilters(created_after=from_unix(MIDNIGHT), created_before=from_unix(MIDNIGHT + 86_400))
        condition = await index_condition(many, matching("proj_new", day))
        assert f"(id) >= '{first_request_id(MIDNIGHT - 3600)}'" in condition
        assert f"(id) < '{first_request_id(MIDNIGHT + 86_460)}'" in condition
