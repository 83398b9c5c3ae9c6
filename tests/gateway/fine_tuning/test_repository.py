"""Leases and moves on a real database, over two connections."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import select, text

from gateway.db.database import Database
from gateway.db.tables import FineTuningEventRow, FineTuningJobRow
from gateway.errors import NotFound
from gateway.fine_tuning import repository
from gateway.fine_tuning.repository import MESSAGE_LIMIT, storable
from gateway.fine_tuning.transitions import FROM
from gateway.kit.clock import now
from gateway.settings import Settings

pytestmark = pytest.mark.anyio

STATUSES = ("validating_files", "queued", "running", "succeeded", "failed", "cancelled")


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


async def add_job(database: Database, project: str, job_id: str = "ftjob-1", **values: Any) -> str:
    row = {
        "id": job_id,
        "project_id": project,
        "api_key_id": "key_1",
        "created_at": now(),
        "model": "base",
        "status": "queued",
        "training_file": "file-1",
        "method": {},
        "seed": 1,
    }
    async with database.session() as session:
        session.add(FineTuningJobRow(**(row | values)))
    return job_id


async def row_of(database: Database, job_id: str = "ftjob-1") -> FineTuningJobRow:
    async with database.session() as session:
        row = await session.get(FineTuningJobRow, job_id)
        assert row is not None
        return row


async def claim(database: Database, holder: str, seconds: float = 60) -> str | None:
    async with database.session() as session:
        return await repository.claim(session, holder, seconds)


class TestClaim:
    async def test_takes_the_oldest_and_each_once(self, database: Database, project: str) -> None:
        for job_id in ("ftjob-1", "ftjob-2"):
            await add_job(database, project, job_id)
        assert [await claim(database, "a") for _ in range(3)] == ["ftjob-1", "ftjob-2", None]

    async def test_is_exclusive_while_another_transaction_has_not_ended(
        self, database: Database, other: Database, project: str
    ) -> None:
        await add_job(database, project)
        async with database.session() as session:
            assert await repository.claim(session, "a", 60) == "ftjob-1"
            assert await claim(other, "b") is None

    async def test_of_many_at_once_each_gets_another(self, database: Database, other: Database, project: str) -> None:
        for number in range(6):
            await add_job(database, project, f"ftjob-{number}")
        both = [claim(each, f"holder-{number}") for number, each in enumerate([database, other] * 3)]
        got = [job for job in await asyncio.gather(*both) if job]
        assert len(got) == len(set(got))
        while job := await claim(database, "last"):
            got.append(job)
        assert sorted(got) == [f"ftjob-{number}" for number in range(6)]

    async def test_lease_that_ran_out_is_taken_over(self, database: Database, project: str) -> None:
        await add_job(database, project, status="running")
        assert await claim(database, "dead", -1) == "ftjob-1"
        assert await claim(database, "next") == "ftjob-1"
        assert (await row_of(database)).lease_holder == "next"

    async def test_released_job_is_taken_at_once_but_only_its_holder_releases(
        self, database: Database, project: str
    ) -> None:
        await add_job(database, project)
        await claim(database, "a")
        async with database.session() as session:
            await repository.release(session, "ftjob-1", "b")
        assert await claim(database, "b") is None
        async with database.session() as session:
            await repository.release(session, "ftjob-1", "a")
        assert await claim(database, "b") == "ftjob-1"

    @pytest.mark.parametrize("status", ["validating_files", "succeeded", "failed", "cancelled"])
    async def test_leaves_alone_what_is_not_to_be_trained(self, database: Database, project: str, status: str) -> None:
        await add_job(database, project, status=status)
        assert await claim(database, "a") is None


class TestClaimValidation:
    async def test_is_exclusive_and_not_for_jobs_that_moved_on(self, database: Database, project: str) -> None:
        await add_job(database, project, status="validating_files")

        async def take(holder: str) -> bool:
            async with database.session() as session:
                return await repository.claim_validation(session, "ftjob-1", holder, 60)

        assert [await take("a"), await take("a"), await take("b")] == [True, False, False]
        async with database.session() as session:
            assert await repository.unvalidated(session, 0) == []
            assert await repository.move(session, "ftjob-1", "queued", holder="a")
        assert not await take("c")
        assert await claim(database, "trainer") == "ftjob-1"


class TestExtendLease:
    async def test_only_for_its_holder_and_a_job_that_goes_on(self, database: Database, project: str) -> None:
        await add_job(database, project)
        await claim(database, "a", 1)
        before = (await row_of(database)).leased_until
        async with database.session() as session:
            assert await repository.extend_lease(session, "ftjob-1", "a", 60)
            assert not await repository.extend_lease(session, "ftjob-1", "b", 60)
        after = (await row_of(database)).leased_until
        assert before is not None
        assert after is not None
        assert after > before
        async with database.session() as session:
            assert await repository.move(session, "ftjob-1", "cancelled")
            assert not await repository.extend_lease(session, "ftjob-1", "a", 60)


class TestMove:
    @pytest.mark.parametrize("start", STATUSES)
    @pytest.mark.parametrize("end", sorted(FROM))
    async def test_only_along_transitions(self, database: Database, project: str, start: str, end: str) -> None:
        await add_job(database, project, status=start)
        async with database.session() as session:
            assert await repository.move(session, "ftjob-1", end) is (start in FROM[end])  # type: ignore[arg-type]
        row = await row_of(database)
        assert row.status == (end if start in FROM[end] else start)

    async def test_end_closes_everything(self, database: Database, project: str) -> None:
        await add_job(database, project, status="running", estimated_finish=now())
        await claim(database, "a")
        async with database.session() as session:
            assert await repository.move(session, "ftjob-1", "succeeded", fine_tuned_model="ft:x")
        row = await row_of(database)
        assert row.finished_at is not None
        assert (row.leased_until, row.lease_holder, row.estimated_finish) == (None, None, None)
        assert row.fine_tuned_model == "ft:x"

    async def test_with_a_holder_only_while_its_lease_is_the_jobs(self, database: Database, project: str) -> None:
        await add_job(database, project, status="running")
        await claim(database, "b")
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
