"""Moves and events on a real database, over two connections."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import select

from gateway.db.database import Database
from gateway.db.tables import FineTuningEventRow
from gateway.errors import NotFound
from gateway.fine_tuning import repository
from gateway.fine_tuning.repository import MESSAGE_LIMIT, storable
from gateway.fine_tuning.transitions import FROM
from gateway.kit.clock import now
from tests.gateway.fine_tuning.rows import add_job, row_of

pytestmark = pytest.mark.anyio

STATUSES = ("validating_files", "queued", "running", "paused", "succeeded", "failed", "cancelled")


class TestMove:
    @pytest.mark.parametrize("start", STATUSES)
    @pytest.mark.parametrize("end", sorted(FROM))
    async def test_only_along_transitions(self, database: Database, project: str, start: str, end: str) -> None:
        await add_job(database, project, status=start)
        async with database.session() as session:
            assert await repository.move(session, "ftjob-1", end) is (start in FROM[end])  # type: ignore[arg-type]
        row = await row_of(database)
        assert row.status == (end if start in FROM[end] else start)

    async def test_end_closes_everything_but_the_lease(self, database: Database, project: str) -> None:
        """Whoever has it may still write into the job's directory."""
        await add_job(database, project, status="running", estimated_finish=now(), lease_holder="a")
        async with database.session() as session:
            assert await repository.move(session, "ftjob-1", "succeeded", fine_tuned_model="ft:x")
        row = await row_of(database)
        assert row.finished_at is not None
        assert (row.lease_holder, row.estimated_finish) == ("a", None)
        assert row.fine_tuned_model == "ft:x"

    async def test_only_from_one_state(self, database: Database, project: str) -> None:
        await add_job(database, project, status="validating_files")
        async with database.session() as session:
            assert not await repository.move(session, "ftjob-1", "queued", only_from="paused")

    @pytest.mark.parametrize("end", ["queued", "cancelled"])
    async def test_worker_never_moves_a_paused_job(self, database: Database, project: str, end: str) -> None:
        await add_job(database, project, status="paused", lease_holder="a")
        async with database.session() as session:
            assert not await repository.move(session, "ftjob-1", end, holder="a")  # type: ignore[arg-type]
        assert (await row_of(database)).status == "paused"

    async def test_with_a_holder_only_while_its_lease_is_the_jobs(self, database: Database, project: str) -> None:
        await add_job(database, project, status="running", lease_holder="b")
        async with database.session() as session:
            assert not await repository.move(session, "ftjob-1", "failed", holder="a")
            assert await repository.move(session, "ftjob-1", "failed", holder="b")

    async def test_of_two_at_once_one_wins(self, database: Database, other: Database, project: str) -> None:
        await add_job(database, project, status="running")

        async def move(each: Database, status: Any) -> bool:
            async with each.session() as session:
                return await repository.move(session, "ftjob-1", status)

        moved = await asyncio.gather(move(database, "succeeded"), move(other, "cancelled"))
        assert sorted(moved) == [False, True]


class TestEvents:
    async def test_same_key_is_told_once(self, database: Database, project: str) -> None:
        await add_job(database, project)
        async with database.session() as session:
            for message in ("first", "second"):
                await repository.add_event(session, "ftjob-1", "key", message)
            assert await repository.was_told(session, "ftjob-1", "first")
            assert not await repository.was_told(session, "ftjob-1", "second")

    async def test_metrics_told_again_replace_the_earlier_and_keep_their_place(
        self, database: Database, project: str
    ) -> None:
        await add_job(database, project)
        async with database.session() as session:
            await repository.add_metrics(session, "ftjob-1", 1, "old", {"step": 1}, created_at=now())
            await repository.add_event(session, "ftjob-1", "after", "after")
            await repository.add_metrics(session, "ftjob-1", 1, "new", {"step": 1, "more": 2}, created_at=now())
        async with database.session() as session:
            rows = list(await session.scalars(select(FineTuningEventRow).order_by(FineTuningEventRow.number)))
        assert [row.message for row in rows] == ["new", "after"]
        assert rows[0].values == {"step": 1, "more": 2}

    def test_text_is_made_storable(self) -> None:
        assert storable("a\x00b") == "a\ufffdb"
        assert len(storable("x" * 100_000)) == MESSAGE_LIMIT + 4


class TestFind:
    async def test_another_projects_job_does_not_exist(self, database: Database, project: str) -> None:
        await add_job(database, project)
        async with database.session() as session:
            assert (await repository.find(session, project, "ftjob-1")).id == "ftjob-1"
            with pytest.raises(NotFound):
                await repository.find(session, "proj_2", "ftjob-1")
