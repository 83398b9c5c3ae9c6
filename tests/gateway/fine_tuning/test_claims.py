"""Leases and turns on a real database, over two connections."""

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import text

from gateway.db.database import Database
from gateway.fine_tuning import claims, repository, service
from gateway.kit.clock import now
from tests.gateway.fine_tuning.rows import add_job, row_of

pytestmark = pytest.mark.anyio


async def claim(database: Database, holder: str, seconds: float = 60) -> str | None:
    async with database.session() as session:
        return await claims.claim(session, holder, seconds)


async def begin(database: Database, job_id: str, holder: str) -> bool:
    async with database.session() as session:
        return await claims.begin(session, job_id, holder)


class TestClaim:
    async def test_takes_the_oldest_and_each_once(self, database: Database, project: str) -> None:
        for job_id in ("ftjob-1", "ftjob-2"):
            await add_job(database, project, job_id)
        assert [await claim(database, "a") for _ in range(3)] == ["ftjob-1", "ftjob-2", None]

    async def test_while_another_decides_there_is_nothing_to_claim(
        self, database: Database, other: Database, project: str
    ) -> None:
        for job_id in ("ftjob-1", "ftjob-2"):
            await add_job(database, project, job_id)
        async with database.session() as session:
            assert await claims.claim(session, "a", 60) == "ftjob-1"
            assert await claim(other, "b") is None
        assert await claim(other, "b") == "ftjob-2"

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
            await claims.release(session, "ftjob-1", "b")
        assert await claim(database, "b") is None
        async with database.session() as session:
            await claims.release(session, "ftjob-1", "a")
        assert await claim(database, "b") == "ftjob-1"

    @pytest.mark.parametrize("status", ["validating_files", "paused", "succeeded", "failed", "cancelled"])
    async def test_leaves_alone_what_is_not_to_be_trained(self, database: Database, project: str, status: str) -> None:
        await add_job(database, project, status=status)
        assert await claim(database, "a") is None


class TestClaimValidation:
    async def test_is_exclusive_and_not_for_jobs_that_moved_on(self, database: Database, project: str) -> None:
        await add_job(database, project, status="validating_files")

        async def take(holder: str) -> bool:
            async with database.session() as session:
                return await claims.claim_validation(session, "ftjob-1", holder, 60)

        assert [await take("a"), await take("a"), await take("b")] == [True, False, False]
        async with database.session() as session:
            assert await claims.unvalidated(session, 0) == []
            assert await repository.move(session, "ftjob-1", "queued", holder="a")
            await claims.release(session, "ftjob-1", "a")
        assert not await take("c")
        assert await claim(database, "trainer") == "ftjob-1"


class TestTurns:
    @pytest.fixture
    async def two(self, database: Database, project: str) -> tuple[str, str]:
        async with database.session() as session:
            await session.execute(text("INSERT INTO projects (id, name, created_at) VALUES ('proj_2', 'q', now())"))
        return project, "proj_2"

    async def test_project_with_fewer_running_jobs_comes_first(self, database: Database, two: tuple[str, str]) -> None:
        busy, idle = two
        for number in range(3):
            await add_job(database, busy, f"ftjob-{number}")
        await add_job(database, idle, "ftjob-late")
        assert [await claim(database, "a") for _ in range(4)] == ["ftjob-0", "ftjob-late", "ftjob-1", "ftjob-2"]

    async def test_between_equals_the_one_whose_last_start_is_longest_ago(
        self, database: Database, two: tuple[str, str]
    ) -> None:
        first, second = two
        for number in range(2):
            await add_job(database, first, f"ftjob-{number}")
        await add_job(database, second, "ftjob-late")
        for expected in ("ftjob-0", "ftjob-late", "ftjob-1"):  # one device: each ends before the next begins
            assert await claim(database, expected) == expected
            assert await begin(database, expected, expected)
            async with database.session() as session:
                assert await repository.move(session, expected, "succeeded", holder=expected)
                await claims.release(session, expected, expected)

    async def test_job_whose_worker_is_gone_comes_before_any_other(
        self, database: Database, two: tuple[str, str]
    ) -> None:
        busy, idle = two
        await add_job(database, idle, "ftjob-waits")
        await add_job(database, busy, "ftjob-abandoned", status="running", started_at=now())
        assert await claim(database, "a") == "ftjob-abandoned"

    async def test_job_that_was_paused_before_its_validation_is_not_trained(
        self, database: Database, project: str
    ) -> None:
        await add_job(database, project, unvalidated=True)
        assert await claim(database, "a") is None
        async with database.session() as session:
            assert await claims.unvalidated(session, 3600) == ["ftjob-1"]
            assert await claims.claim_validation(session, "ftjob-1", "a", 60)
        row = await row_of(database)
        assert (row.status, row.unvalidated) == ("validating_files", False)


class TestBegin:
    async def test_says_when_but_not_again_when_it_is_taken_over(self, database: Database, project: str) -> None:
        await add_job(database, project)
        await claim(database, "a", -1)
        assert await begin(database, "ftjob-1", "a")
        started = (await row_of(database)).started_at
        assert await claim(database, "b") == "ftjob-1"
        assert not await begin(database, "ftjob-1", "a")
        assert await begin(database, "ftjob-1", "b")
        row = await row_of(database)
        assert (row.status, row.started_at) == ("running", started)

    @pytest.mark.parametrize("status", ["paused", "cancelled"])
    async def test_not_a_job_that_moved_since_it_was_claimed(
        self, database: Database, project: str, status: str
    ) -> None:
        for start in ("queued", "running"):
            await add_job(database, project, f"ftjob-{start}", status=start, created_at=now() - timedelta(seconds=9))
            assert await claim(database, "a") == f"ftjob-{start}"
            async with database.session() as session:
                assert await repository.move(session, f"ftjob-{start}", status)  # type: ignore[arg-type]
            assert not await begin(database, f"ftjob-{start}", "a")


class TestExtend:
    async def test_only_for_its_holder_and_says_how_the_job_is(self, database: Database, project: str) -> None:
        await add_job(database, project)
        await claim(database, "a", 1)
        before = (await row_of(database)).leased_until
        async with database.session() as session:
            assert await claims.extend(session, "ftjob-1", "a", 60) == "queued"
            assert await claims.extend(session, "ftjob-1", "b", 60) is None
        after = (await row_of(database)).leased_until
        assert before is not None
        assert after is not None
        assert after > before

    async def test_lease_outlives_a_pause_and_a_cancel_until_it_is_given_back(
        self, database: Database, project: str
    ) -> None:
        """The worker's trainer is still writing into the directory."""
        await add_job(database, project)
        await claim(database, "a")
        async with database.session() as session:
            await service.pause(session, project, "ftjob-1")
            assert await claims.extend(session, "ftjob-1", "a", 60) == "paused"
            await service.resume(session, project, "ftjob-1")
        assert await claim(database, "b") is None
        async with database.session() as session:
            await claims.release(session, "ftjob-1", "a")
        assert await claim(database, "b") == "ftjob-1"
        async with database.session() as session:
            await service.cancel(session, project, "ftjob-1")
            assert not await claims.claim_ended(session, "ftjob-1", "c", 60)
            await claims.release(session, "ftjob-1", "b")
            assert await claims.claim_ended(session, "ftjob-1", "c", 60)
