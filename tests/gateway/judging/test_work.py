"""Who judges what, and that nothing is lost or done twice."""

import pytest

from gateway.db.database import Database
from gateway.judging import work
from gateway.judgments import repository as judgments
from gateway.judgments.verdict import Verdict
from gateway.kit.clock import now
from tests.fakes.judging import World

pytestmark = pytest.mark.anyio


async def claim(database: Database, holder: str = "one", most: int = 10) -> list[work.Claim]:
    async with database.session() as session:
        return await work.claim(session, holder, most)


async def finish(database: Database, task: work.Claim) -> bool:
    async with database.session() as session:
        return await work.finish(session, task)


class TestRequest:
    async def test_asks_for_each_answer_as_often_as_it_is_repeated(self, world: World) -> None:
        _, version = await world.judge()
        assert await world.ask(version, "req_1", "req_2", "req_1", repeats=3) == 6
        assert {(row.exchange_id, row.attempt) for row in await world.tasks()} == {
            (id, attempt) for id in ("req_1", "req_2") for attempt in range(3)
        }

    async def test_asked_again_is_one(self, world: World) -> None:
        _, version = await world.judge()
        await world.ask(version, "req_1")
        assert await world.ask(version, "req_1") == 0
        assert len(await world.tasks()) == 1

    async def test_a_pair_is_one_in_either_order(self, world: World) -> None:
        _, version = await world.judge(criterion="preference")
        assert await world.ask(version, ("req_2", "req_1"), ("req_1", "req_2")) == 1
        (row,) = await world.tasks()
        assert (row.exchange_id, row.other_exchange_id) == ("req_1", "req_2")

    @pytest.mark.parametrize(("status", "again"), [("ok", 0), ("error", 1), ("abstained", 1)])
    async def test_what_has_a_verdict_is_not_judged_again_and_an_error_is(
        self, world: World, database: Database, status: str, again: int
    ) -> None:
        _, version = await world.judge()
        await world.ask(version, "req_1")
        (task,) = await claim(database)
        criterion = await world.criterion()
        async with database.session() as session:
            verdict = Verdict(
                project_id=world.project_id, exchange_id="req_1", criterion_id=criterion.id, kind="numeric",
                source="llm", status=status, judge_version_id=version.id,  # type: ignore[arg-type]
            )  # fmt: skip
            await judgments.add(session, [verdict])
        assert await finish(database, task)
        assert await world.ask(version, "req_1") == again
        (row,) = await world.tasks()
        assert (row.done_at is None, row.tries) == ((True, 0) if again else (False, 1))


class TestClaim:
    async def test_two_workers_never_have_the_same(self, world: World, database: Database) -> None:
        _, version = await world.judge()
        await world.ask(version, *(f"req_{number}" for number in range(10)))
        first, second = await claim(database, "one", 6), await claim(database, "two", 6)
        assert (len(first), len(second)) == (6, 4)
        assert {each.id for each in first} & {each.id for each in second} == set()

    async def test_an_expired_lease_goes_to_another(self, world: World, database: Database) -> None:
        _, version = await world.judge()
        await world.ask(version, "req_1")
        (first,) = await claim(database, "one")
        assert await claim(database, "two") == []
        await world.expire_leases()
        (second,) = await claim(database, "two")
        assert (second.id, second.tries) == (first.id, 2)
        assert not await finish(database, first), "it is another's now"
        assert await finish(database, second)
        assert await claim(database, "three") == []

    async def test_a_renewed_lease_is_kept(self, world: World, database: Database) -> None:
        _, version = await world.judge()
        await world.ask(version, "req_1")
        (first,) = await claim(database, "one")
        await world.expire_leases()
        async with database.session() as session:
            await work.renew(session, "another", [first.id])
        async with database.session() as session:
            await work.renew(session, "one", [first.id])
        assert await claim(database, "two") == []

    async def test_no_project_waits_for_anothers_backlog(self, world: World, database: Database) -> None:
        _, version = await world.judge()
        await world.ask(version, *(f"req_{number}" for number in range(30)))
        small = await World(database, "proj_small").open()
        _, other = await small.judge()
        await small.ask(other, "req_small")
        claimed = [(await claim(database, "one", 1))[0].project_id for _ in range(20)]
        assert "proj_small" in claimed

    async def test_a_postponed_one_is_due_later(self, world: World, database: Database) -> None:
        _, version = await world.judge()
        await world.ask(version, "req_1")
        (task,) = await claim(database)
        async with database.session() as session:
            await work.postpone(session, task, 300)
        (row,) = await world.tasks()
        assert 290 < (row.due_at - now()).total_seconds() < 310
        assert row.leased_until is None
        assert await claim(database) == []

    async def test_given_back_counts_as_not_begun(self, world: World, database: Database) -> None:
        _, version = await world.judge()
        await world.ask(version, "req_1")
        (task,) = await claim(database)
        async with database.session() as session:
            await work.give_back(session, task)
        (again,) = await claim(database, "two")
        assert again.tries == 1


async def test_an_archived_judge_has_nothing_to_do(world: World, database: Database) -> None:
    row, version = await world.judge()
    await world.ask(version, "req_1", "req_2")
    (done,) = await claim(database, most=1)
    await finish(database, done)
    async with database.session() as session:
        await work.remove_waiting(session, row.id)
    assert [task.id for task in await world.tasks()] == [done.id]
