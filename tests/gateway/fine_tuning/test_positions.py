import pytest
from sqlalchemy import select, text

from gateway.db.database import Database
from gateway.db.tables import FineTuningEventRow
from gateway.fine_tuning import repository
from gateway.fine_tuning.positions import is_news, message, tell_positions
from tests.gateway.fine_tuning.rows import add_job

pytestmark = pytest.mark.anyio


async def tell(*databases: Database) -> None:
    for database in databases:
        async with database.session() as session:
            await tell_positions(session)


async def told(database: Database, job_id: str) -> list[int]:
    """How many jobs were ahead, one number an event."""
    async with database.session() as session:
        query = select(FineTuningEventRow).where(FineTuningEventRow.job_id == job_id)
        rows = list(await session.scalars(query.order_by(FineTuningEventRow.number)))
    ahead = [(row.values or {})["jobs_ahead"] for row in rows]
    assert [row.message for row in rows] == [message(number) for number in ahead]
    return ahead


class TestTellPositions:
    async def test_when_it_begins_to_wait_and_when_it_changes(self, database: Database, project: str) -> None:
        await add_job(database, project, "ftjob-runs", status="running")
        for number in (1, 2):
            await add_job(database, project, f"ftjob-{number}")
        for _ in range(3):
            await tell(database)
        assert [await told(database, f"ftjob-{number}") for number in (1, 2)] == [[1], [2]]
        async with database.session() as session:
            assert await repository.move(session, "ftjob-runs", "succeeded")
            assert await repository.move(session, "ftjob-1", "running")
        await tell(database)
        assert [await told(database, f"ftjob-{number}") for number in (1, 2)] == [[1], [2, 1]]

    async def test_another_projects_first_job_comes_before_a_second(self, database: Database, project: str) -> None:
        async with database.session() as session:
            await session.execute(text("INSERT INTO projects (id, name, created_at) VALUES ('proj_2', 'q', now())"))
        await add_job(database, project, "ftjob-runs", status="running")
        for number in (1, 2):
            await add_job(database, project, f"ftjob-{number}")
        await tell(database)
        await add_job(database, "proj_2", "ftjob-other")
        await tell(database)
        assert await told(database, "ftjob-other") == [2]
        assert [await told(database, f"ftjob-{number}") for number in (1, 2)] == [[1], [2, 3]]

    async def test_nothing_to_a_job_that_is_next_on_a_free_device(self, database: Database, project: str) -> None:
        await add_job(database, project)
        await tell(database)
        assert await told(database, "ftjob-1") == []

    async def test_paused_jobs_neither_wait_nor_count(self, database: Database, project: str) -> None:
        await add_job(database, project, "ftjob-paused", status="paused")
        await add_job(database, project, "ftjob-early", unvalidated=True)
        await add_job(database, project, "ftjob-1")
        await add_job(database, project, "ftjob-2")
        await tell(database)
        for job_id, expected in {"ftjob-paused": [], "ftjob-early": [], "ftjob-1": [], "ftjob-2": [1]}.items():
            assert await told(database, job_id) == expected

    async def test_two_at_once_do_not_tell_the_same(self, database: Database, other: Database, project: str) -> None:
        await add_job(database, project, "ftjob-runs", status="running")
        await add_job(database, project)
        async with database.session() as session:
            await tell_positions(session)
            await tell(other)
        await tell(other)
        assert await told(database, "ftjob-1") == [1]


class TestIsNews:
    def test_every_change_near_the_front_every_tenth_part_further_back(self) -> None:
        assert is_news(None, 500)
        assert not is_news(500, 460)
        assert is_news(500, 450)
        assert is_news(11, 10)
        assert is_news(2, 1)
        assert not is_news(1, 1)


class TestMessage:
    def test_counts(self) -> None:
        assert message(1) == "Waiting in the queue: 1 job is ahead"
        assert message(2) == "Waiting in the queue: 2 jobs are ahead"
