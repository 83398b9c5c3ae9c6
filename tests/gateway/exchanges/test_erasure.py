"""What is erased while it comes to the log."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import null, select, text

from gateway.db.database import Database
from gateway.db.tables import ExchangeDeletionRow, ExchangeRow
from gateway.exchanges import erasure
from gateway.exchanges.deletions import LOCK
from gateway.kit.clock import now
from tests.gateway.routes.test_exchanges import add

pytestmark = pytest.mark.anyio


async def test_calls_that_nobody_named_are_waited_for(database: Database, project_key: dict[str, Any]) -> None:
    """A judge's, found by its judgment: the drain that brings it has looked before whether it is deleted."""
    project = project_key["project_id"]
    async with database.session() as session:
        await session.execute(text("SELECT pg_advisory_xact_lock_shared(:key)"), {"key": LOCK})
        (id,) = await add(database, {"project_id": project, "error": null()})
        erasing = asyncio.ensure_future(erasure.erase_late(database, project, [id], "key_1"))
        await asyncio.sleep(0.3)
        assert not erasing.done()
    await erasing
    async with database.session() as session:
        row = await session.get_one(ExchangeRow, id)
        assert (bytes(row.request), row.reply, row.logging) == (b"", None, "metadata")


async def test_of_two_deletions_of_a_person_the_later_counts(
    database: Database, project_key: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the clock of whoever writes second is behind."""
    first = now()
    for moment in (first, first - timedelta(minutes=5)):
        monkeypatch.setattr(erasure, "now", lambda moment=moment: moment)
        async with database.session() as session:
            await erasure.announce(session, project_key["project_id"], ["user_ann"], "key_1")
    async with database.session() as session:
        assert await session.scalar(select(ExchangeDeletionRow.deleted_at)) == first
