"""The calls of one project in one process: what needs Redis and what does not, and what is given back."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from gateway.limits import lane
from gateway.limits.admission import Admission
from gateway.limits.counters import Shortage
from gateway.limits.limit import CONCURRENT_REQUESTS, REQUESTS_PER_MINUTE, TOKENS_PER_MINUTE
from tests.gateway.limits.conftest import Clock, Process, need_of
from tests.polling import until

pytestmark = pytest.mark.anyio

Start = Callable[[], Process]


class TestRoundTrips:
    async def test_one_for_a_slice_of_calls(self, process: Process) -> None:
        bucket = process.bucket(REQUESTS_PER_MINUTE, 1000)
        for _ in range(21):
            assert isinstance(await process.call((bucket, 1)), Admission)
        assert process.counters.steps == 1
        assert isinstance(await process.call((bucket, 1)), Admission)
        assert process.counters.steps == 2
        assert (bucket.consumed, bucket.held) == (0, 20)

    async def test_one_for_all_that_wait(self, process: Process) -> None:
        """Who comes while one is under way waits for the next; nobody starts one of their own."""
        bucket = process.bucket(REQUESTS_PER_MINUTE, 40)
        outcomes = await asyncio.gather(*(process.call((bucket, 1)) for _ in range(90)))
        assert sum(isinstance(each, Admission) for each in outcomes) == 40
        assert process.counters.steps == 1

    async def test_none_more_for_who_came_meanwhile_and_finds_enough(
        self, process: Process, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        bucket = process.bucket(TOKENS_PER_MINUTE, 1000)
        step, calls = process.counters.step, list[asyncio.Future[Any]]()

        async def slow(*arguments: Any, **options: Any) -> Any:
            if not calls:
                calls.extend(asyncio.ensure_future(process.call((bucket, n))) for n in (8, 9, 4, 3))
                await asyncio.sleep(0)
            return await step(*arguments, **options)

        monkeypatch.setattr(process.counters, "step", slow)
        first = await process.call((bucket, 10))
        assert isinstance(first, Admission)
        outcomes = await asyncio.gather(*calls)
        assert all(isinstance(each, Admission) for each in outcomes)
        assert process.counters.steps == 2  # of 20 that were leased, the third finds 3; nobody goes before it
        assert bucket.outstanding == 34

    async def test_none_for_calls_that_end_while_one_is_under_way(
        self, process: Process, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        bucket = process.bucket(TOKENS_PER_MINUTE, 100_000)
        admissions = [await process.call((bucket, 10)) for _ in range(3)]
        step, calls = process.counters.step, list[asyncio.Future[Any]]()

        async def meanwhile(*arguments: Any, **options: Any) -> Any:
            calls.append(asyncio.ensure_future(process.call((bucket, 10))))
            await asyncio.sleep(0)
            answers = await step(*arguments, **options)
            for each in admissions:
                assert isinstance(each, Admission)
                each.settle(5)
            return answers

        monkeypatch.setattr(process.counters, "step", meanwhile)
        assert isinstance(await process.call((bucket, 50_000)), Admission)
        await until(lambda: process.lane._pump is None)
        assert isinstance(await calls[0], Admission)
        assert process.counters.steps == 2
        assert process.lane._due == {bucket}

    async def test_none_for_what_was_refused_a_moment_ago(self, process: Process) -> None:
        bucket = process.bucket(REQUESTS_PER_MINUTE, 1)
        await process.call((bucket, 1))
        first = await process.call((bucket, 1))
        steps = process.counters.steps
        for _ in range(20):
            assert await process.call((bucket, 1)) is first
        assert process.counters.steps == steps
        assert isinstance(await process.call((bucket, 1), key="other"), Shortage)
        assert process.counters.steps == steps + 1

    async def test_a_smaller_call_is_not_refused_for_a_larger_one(self, process: Process) -> None:
        bucket = process.bucket(TOKENS_PER_MINUTE, 40)
        await process.call((bucket, 10))
        assert isinstance(await process.call((bucket, 35)), Shortage)
        assert isinstance(await process.call((bucket, 30)), Admission)

    async def test_nor_is_a_call_of_another_key_that_finds_enough_here(self, process: Process) -> None:
        one, shared = process.bucket(REQUESTS_PER_MINUTE, 1), process.bucket(TOKENS_PER_MINUTE, 100_000, key=None)
        await process.call((one, 1), (shared, 10))
        assert isinstance(await process.call((one, 1), (shared, 10)), Shortage)
        assert process.lane.take_at_once(need_of("key", (one, 1), (shared, 10))) is None
        assert process.lane.take_at_once(need_of("other", (shared, 10))) is not None

    async def test_what_was_leased_is_not_for_a_call_that_a_lower_limit_never_lets_through(
        self, process: Process
    ) -> None:
        bucket = process.bucket(TOKENS_PER_MINUTE, 100_000)
        await process.call((bucket, 10))
        assert bucket.held == 2000
        assert process.bucket(TOKENS_PER_MINUTE, 100) is bucket
        assert process.lane.take_at_once(need_of("key", (bucket, 101))) is None
        assert process.lane.take_at_once(need_of("key", (bucket, 100))) is not None

    async def test_few_tokens_that_were_not_used_wait_for_the_next(self, process: Process) -> None:
        bucket = process.bucket(TOKENS_PER_MINUTE, 100_000)
        for _ in range(20):
            admission = await process.call((bucket, 90))
            assert isinstance(admission, Admission)
            admission.settle(20)
        assert process.counters.steps == 1
        assert bucket.returned == 20 * 70
        assert process.lane._soon is None

    async def test_telling_of_tokens_keeps_the_slice_of_who_is_busy(self, process: Process) -> None:
        bucket = process.bucket(TOKENS_PER_MINUTE, 100_000)
        admission = await process.call((bucket, 5000))
        assert isinstance(admission, Admission)
        admission.settle(20)
        await until(lambda: process.counters.steps == 2 and process.lane._pump is None)
        assert (bucket.held, bucket.returned, bucket.used) == (2000, 0, 2020)


class TestGivingBack:
    async def test_a_slice_that_nobody_needs(self, start: Start, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
        one, other = start(), start()
        mine, theirs = one.bucket(REQUESTS_PER_MINUTE, 1000), other.bucket(REQUESTS_PER_MINUTE, 1000)
        await one.call((mine, 1))
        one.lane.tend()
        assert mine.held == 20  # it may be needed any moment
        monkeypatch.setattr(lane, "IDLE_SECONDS", 0.0)
        one.lane.tend()
        await until(lambda: mine.held == 0)
        await other.take((theirs, 1))
        assert theirs.used - theirs.held == 2

    async def test_a_place_at_once(self, start: Start) -> None:
        one, other = start(), start()
        mine, theirs = one.bucket(CONCURRENT_REQUESTS, 1), other.bucket(CONCURRENT_REQUESTS, 1)
        admission = await one.call((mine, 1))
        assert isinstance(admission, Admission)
        assert isinstance(await other.call((theirs, 1)), Shortage)
        admission.settle(0)

        async def free() -> bool:
            return isinstance(await other.call((theirs, 1)), Admission)

        await until(free)

    async def test_tokens_a_moment_later(self, start: Start) -> None:
        one, other = start(), start()
        mine, theirs = one.bucket(TOKENS_PER_MINUTE, 40), other.bucket(TOKENS_PER_MINUTE, 40)
        admission = await one.call((mine, 40))
        assert isinstance(admission, Admission)
        assert isinstance(await other.call((theirs, 30)), Shortage)
        admission.settle(10)
        await until(lambda: one.counters.steps == 2)

        async def free() -> bool:
            return isinstance(await other.call((theirs, 30)), Admission)

        await until(free)

    async def test_everything_when_the_process_ends(self, start: Start) -> None:
        one, other = start(), start()
        mine, theirs = one.bucket(REQUESTS_PER_MINUTE, 1000), other.bucket(REQUESTS_PER_MINUTE, 1000)
        await one.call((mine, 1))
        await one.call((mine, 1))
        await one.lane.close()
        await other.take((theirs, 1))
        assert theirs.used - theirs.held == 3


class TestGivingUp:
    async def test_a_call_that_stops_waiting_has_taken_nothing(self, process: Process) -> None:
        bucket, places = process.bucket(TOKENS_PER_MINUTE, 40), process.bucket(CONCURRENT_REQUESTS, 5)
        for turns in range(12):
            call = asyncio.ensure_future(process.call((bucket, 40), (places, 1)))
            for _ in range(turns):
                await asyncio.sleep(0)
            call.cancel()
            await asyncio.wait([call])
            if not call.cancelled():
                outcome = call.result()
                assert isinstance(outcome, Admission)
                outcome.undo()
            await until(lambda: process.lane._pump is None)
            assert (bucket.outstanding, places.outstanding, bucket.consumed) == (0, 0, 0)
        assert isinstance(await process.call((bucket, 40), (places, 1)), Admission)

    @pytest.mark.parametrize("turns", [None, 0, 1])
    async def test_a_call_whose_grant_came_too_late(
        self, turns: int | None, process: Process, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Given up while Redis answers, in the same turn of the loop, and just before it would have gone on."""
        bucket = process.bucket(CONCURRENT_REQUESTS, 5)
        step, calls = process.counters.step, list[asyncio.Future[Any]]()

        async def give_up() -> None:
            for _ in range(turns or 0):
                await asyncio.sleep(0)
            for call in calls:
                call.cancel()

        async def late(*arguments: Any, **options: Any) -> Any:
            answers = await step(*arguments, **options)
            await give_up() if turns is None else asyncio.ensure_future(give_up())
            return answers

        monkeypatch.setattr(process.counters, "step", late)
        calls += [asyncio.ensure_future(process.call((bucket, 1))) for _ in range(5)]
        await asyncio.wait(calls)
        monkeypatch.undo()
        for call in calls:
            if not call.cancelled():
                call.result().undo()
        await until(lambda: process.lane._pump is None)
        assert bucket.outstanding == 0

    async def test_settled_twice_is_settled_once(self, process: Process) -> None:
        bucket = process.bucket(TOKENS_PER_MINUTE, 40)
        admission = await process.call((bucket, 40))
        assert isinstance(admission, Admission)
        admission.settle(10)
        admission.settle(10)
        admission.undo()
        assert (bucket.outstanding, bucket.consumed) == (0, 10)


class TestUnpaid:
    """A call whose budget may still refuse it."""

    @pytest.mark.parametrize("amount", [10, 1000])
    async def test_counts_nowhere_until_it_is_paid_for(self, amount: int, process: Process, clock: Clock) -> None:
        """Out of Redis, and out of what was leased ahead; nothing of it refills meanwhile."""
        bucket = process.bucket(REQUESTS_PER_MINUTE, amount, key=None)
        for _ in range(2):
            admission = await process.lane.take(need_of("poor", (bucket, 1), unpaid=True))
            assert isinstance(admission, Admission)
            assert (bucket.outstanding, bucket.consumed) == (1, 0)
            for _ in range(3):
                clock.pass_seconds(2)
                await process.counters.step(process.project, [bucket], [])
            admission.settle(0)
            assert bucket.by_key == {"poor": -1}
            await process.counters.step(process.project, [bucket], [])
            assert (bucket.outstanding, bucket.consumed, bucket.used) == (0, 0, 0)
        answers = [await process.take((bucket, 1), key="other") for _ in range(amount + 1)]
        assert [short is None for short in answers] == [True] * amount + [False]

    async def test_counts_from_then_on(self, process: Process) -> None:
        bucket = process.bucket(REQUESTS_PER_MINUTE, 10)
        admission = await process.lane.take(need_of("key", (bucket, 1), unpaid=True))
        assert isinstance(admission, Admission)
        admission.paid()
        admission.paid()
        admission.settle(5)
        admission.undo()
        assert (bucket.outstanding, bucket.consumed) == (0, 1)
        await process.counters.step(process.project, [bucket], [])
        assert bucket.used == 1

    async def test_tokens_and_places_come_back_as_ever(self, process: Process) -> None:
        tokens, places = process.bucket(TOKENS_PER_MINUTE, 40), process.bucket(CONCURRENT_REQUESTS, 2)
        for paid in (False, True):
            admission = await process.lane.take(need_of("key", (tokens, 40), (places, 1), unpaid=True))
            assert isinstance(admission, Admission)
            if paid:
                admission.paid()
            admission.settle(10)
            assert (tokens.outstanding, tokens.consumed, places.outstanding) == (0, 10 if paid else 0, 0)

    async def test_while_redis_is_away_too(self, process: Process) -> None:
        bucket = process.bucket(REQUESTS_PER_MINUTE, 2)
        process.counters.away = True
        for _ in range(5):
            admission = await process.lane.take(need_of("key", (bucket, 1), unpaid=True))
            assert isinstance(admission, Admission)
            admission.settle(0)
        assert (bucket.outstanding, bucket.consumed) == (0, 0)
