"""What Redis decides, by a clock that the test turns."""

import asyncio
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.limits.counters import LEASE_SECONDS, Away, Counters
from gateway.limits.limit import (
    CONCURRENT_REQUESTS,
    REQUESTS_PER_DAY,
    REQUESTS_PER_MINUTE,
    TOKENS_PER_MINUTE,
)
from tests.gateway.limits.conftest import Clock, Process, need_of

pytestmark = pytest.mark.anyio

Start = Callable[[], Process]


async def admitted(process: Process, amount: int, calls: int, *, key: str | None = "key") -> int:
    """Of so many calls, one after the other."""
    bucket = process.bucket(REQUESTS_PER_MINUTE, amount, key=key)
    return sum([await process.take((bucket, 1)) is None for _ in range(calls)])


class TestRefill:
    async def test_a_bucket_begins_full_and_refills_evenly(self, process: Process, clock: Clock) -> None:
        assert await admitted(process, 30, 50) == 30
        clock.pass_seconds(1.999)
        assert await admitted(process, 30, 5) == 0
        clock.pass_seconds(0.001)
        assert await admitted(process, 30, 5) == 1
        clock.pass_seconds(20)
        assert await admitted(process, 30, 50) == 10

    async def test_it_is_never_more_than_full(self, process: Process, clock: Clock) -> None:
        assert await admitted(process, 30, 50) == 30
        clock.pass_seconds(86_400)
        assert await admitted(process, 30, 50) == 30

    async def test_looking_often_loses_nothing(self, process: Process, clock: Clock) -> None:
        """7 a minute are one in 8.571428... seconds: no rounding adds up, neither way."""
        assert await admitted(process, 7, 8) == 7
        found = 0
        for _ in range(600):
            clock.pass_seconds(0.1)
            found += await admitted(process, 7, 1)
        assert found == 6  # the 7th would come after 60 s, the microseconds of rounding up included
        clock.pass_seconds(0.001)
        assert await admitted(process, 7, 1) == 1

    async def test_says_how_long_to_wait(self, process: Process, clock: Clock) -> None:
        bucket = process.bucket(REQUESTS_PER_MINUTE, 30)
        assert await admitted(process, 30, 30) == 30
        short = await process.take((bucket, 1))
        assert short is not None
        assert (short.wait, short.used, short.need) == (2.0, 30, 1)
        clock.pass_seconds(short.wait)
        assert await process.take((bucket, 1)) is None

    async def test_a_day_is_a_day(self, process: Process, clock: Clock) -> None:
        bucket = process.bucket(REQUESTS_PER_DAY, 24)
        assert [await process.take((bucket, 1)) for _ in range(24)] == [None] * 24
        short = await process.take((bucket, 1))
        assert short is not None
        assert short.wait == 3600.0

    async def test_a_clock_that_goes_back_refills_nothing(self, process: Process, clock: Clock) -> None:
        assert await admitted(process, 30, 30) == 30
        clock.pass_seconds(-3600)
        assert await admitted(process, 30, 1) == 0
        clock.pass_seconds(2)
        assert await admitted(process, 30, 2) == 1

    async def test_a_new_amount_holds_at_once(self, process: Process, clock: Clock) -> None:
        assert await admitted(process, 30, 30) == 30
        assert await admitted(process, 40, 20) == 10
        assert await admitted(process, 20, 1) == 0

    async def test_keys_and_models_have_buckets_of_their_own(self, process: Process) -> None:
        for key, model in (("key", None), ("other", None), ("key", "m"), (None, None), (None, "m")):
            bucket = process.bucket(REQUESTS_PER_MINUTE, 1, key=key, model=model)
            assert [await process.take((bucket, 1)) is None for _ in range(2)] == [True, False]


class TestSeveral:
    async def test_all_or_nothing(self, process: Process) -> None:
        wide, narrow = process.bucket(REQUESTS_PER_MINUTE, 10), process.bucket(REQUESTS_PER_MINUTE, 2, model="m")
        answers = [await process.take((wide, 1), (narrow, 1)) for _ in range(9)]
        assert [short is None for short in answers] == [True, True] + [False] * 7
        assert all(short.bucket is narrow for short in answers[2:] if short)
        assert wide.used - wide.held == 2

    async def test_the_longest_wait_is_told(self, process: Process) -> None:
        minute, day = process.bucket(REQUESTS_PER_MINUTE, 1), process.bucket(REQUESTS_PER_DAY, 1)
        await process.take((minute, 1), (day, 1))
        short = await process.take((minute, 1), (day, 1))
        assert short is not None
        assert (short.bucket, short.wait) == (day, 86_400.0)

    async def test_calls_of_one_step_share_what_there_is(self, process: Process) -> None:
        bucket = process.bucket(REQUESTS_PER_MINUTE, 5)
        answers = await process.counters.step(process.project, [bucket], [need_of("key", (bucket, 1))] * 8)
        assert [short is None for short in answers] == [True] * 5 + [False] * 3


class TestTokens:
    async def test_what_was_not_used_is_there_again(self, process: Process) -> None:
        bucket = process.bucket(TOKENS_PER_MINUTE, 1000)
        assert await process.take((bucket, 900)) is None
        assert await process.take((bucket, 200)) is not None
        bucket.settle("key", 900, 100)
        assert await process.take((bucket, 900)) is None
        assert await process.take((bucket, 1)) is not None

    async def test_more_than_was_thought_counts_and_refuses_nobody_afterwards(
        self, process: Process, clock: Clock
    ) -> None:
        bucket = process.bucket(TOKENS_PER_MINUTE, 600)
        assert await process.take((bucket, 100)) is None
        bucket.settle("key", 100, 1200)
        short = await process.take((bucket, 1))
        assert short is not None
        assert (short.used, short.wait) == (1200, 60.1)
        clock.pass_seconds(60.1)
        assert await process.take((bucket, 1)) is None

    async def test_what_a_running_call_holds_does_not_drain(self, process: Process, clock: Clock) -> None:
        """Else what it did not use would be given back a second time: more than the bucket holds at once."""
        bucket = process.bucket(TOKENS_PER_MINUTE, 600)
        assert await process.take((bucket, 600)) is None
        for _ in range(12):
            clock.pass_seconds(5)
            await process.counters.step(process.project, [bucket], [])
        bucket.settle("key", 600, 300)
        assert await process.take((bucket, 301)) is not None
        assert await process.take((bucket, 300)) is None


class TestSlices:
    async def test_plenty_is_leased_ahead_and_counts_as_used(self, start: Start) -> None:
        one, other = start(), start()
        mine, theirs = one.bucket(REQUESTS_PER_MINUTE, 1000), other.bucket(REQUESTS_PER_MINUTE, 1000)
        assert await one.take((mine, 1)) is None
        assert (mine.held, mine.used) == (20, 21)
        assert await other.take((theirs, 1)) is None
        assert theirs.used == 21 + 21

    async def test_small_limits_are_taken_one_by_one(self, process: Process) -> None:
        bucket = process.bucket(REQUESTS_PER_MINUTE, 49)
        assert await process.take((bucket, 1)) is None
        assert (bucket.held, bucket.used) == (0, 1)

    async def test_less_and_less_towards_the_end(self, process: Process) -> None:
        bucket = process.bucket(TOKENS_PER_MINUTE, 1000)
        assert await process.take((bucket, 900)) is None
        assert bucket.held == 12
        assert await process.take((bucket, 93)) is None
        assert bucket.held == 0

    async def test_a_slice_is_never_a_second_helping(self, start: Start, clock: Clock) -> None:
        """A slice that is held over a refill leaves no more than a full bucket, slice included."""
        idle, busy = start(), start()
        kept, bucket = idle.bucket(REQUESTS_PER_MINUTE, 1000), busy.bucket(REQUESTS_PER_MINUTE, 1000)
        assert await idle.take((kept, 1)) is None
        for _ in range(30):  # renewed all the time, as a process that lives does
            clock.pass_seconds(2)
            await idle.counters.step(idle.project, [kept], [need_of("key", (kept, 1))])
        assert kept.held == 20
        answers = await busy.counters.step(busy.project, [bucket], [need_of("key", (bucket, 1))] * 980)
        assert answers.count(None) == 979

    async def test_the_slice_of_a_dead_process_drains(self, start: Start, clock: Clock) -> None:
        dead, alive = start(), start()
        lost, bucket = dead.bucket(TOKENS_PER_MINUTE, 600), alive.bucket(TOKENS_PER_MINUTE, 600)
        assert await dead.take((lost, 600)) is None
        clock.pass_seconds(LEASE_SECONDS)
        assert await alive.take((bucket, 1)) is not None  # it may have been used a moment ago
        clock.pass_seconds(6)
        assert await alive.take((bucket, 61)) is not None
        assert await alive.take((bucket, 60)) is None
        bucket.settle("key", 60, 60)
        await alive.counters.step(alive.project, [bucket], [])
        clock.pass_seconds(60)
        assert await alive.take((bucket, 600)) is None


class TestPlaces:
    async def test_are_taken_and_given_back_across_processes(self, start: Start) -> None:
        one, other = start(), start()
        mine, theirs = one.bucket(CONCURRENT_REQUESTS, 2), other.bucket(CONCURRENT_REQUESTS, 2)
        assert await one.take((mine, 1)) is None
        assert await other.take((theirs, 1)) is None
        short = await other.take((theirs, 1))
        assert short is not None
        assert (short.used, short.wait) == (2, 0.0)
        mine.settle("key", 1, 0)
        await one.counters.step(one.project, [mine], [])
        assert await other.take((theirs, 1)) is None

    async def test_those_of_a_dead_process_are_free_again(self, start: Start, clock: Clock) -> None:
        dead, alive = start(), start()
        lost, bucket = dead.bucket(CONCURRENT_REQUESTS, 1), alive.bucket(CONCURRENT_REQUESTS, 1)
        assert await dead.take((lost, 1)) is None
        clock.pass_seconds(LEASE_SECONDS - 0.001)
        assert await alive.take((bucket, 1)) is not None
        clock.pass_seconds(0.001)
        assert await alive.take((bucket, 1)) is None

    async def test_a_process_that_renews_keeps_them(self, start: Start, clock: Clock) -> None:
        one, other = start(), start()
        mine, theirs = one.bucket(CONCURRENT_REQUESTS, 1), other.bucket(CONCURRENT_REQUESTS, 1)
        assert await one.take((mine, 1)) is None
        for _ in range(10):
            clock.pass_seconds(LEASE_SECONDS / 2)
            await one.counters.step(one.project, [mine], [])
            assert await other.take((theirs, 1)) is not None


class TestFairness:
    async def test_one_key_alone_has_all_of_it(self, process: Process) -> None:
        assert await admitted(process, 30, 50, key=None) == 30

    async def test_under_half_who_had_its_share_waits_for_who_had_not(self, process: Process) -> None:
        bucket = process.bucket(REQUESTS_PER_MINUTE, 40, key=None)
        assert await process.take((bucket, 1), key="modest") is None
        answers = [await process.take((bucket, 1), key="greedy") for _ in range(40)]
        assert sum(short is None for short in answers) == 20
        last = answers[-1]
        assert last is not None
        assert (last.held_back, last.used, last.wait) == (True, 21, 3.0)
        assert [await process.take((bucket, 1), key="modest") is None for _ in range(19)] == [True] * 19
        assert bucket.used == 40

    async def test_who_has_not_called_for_long_keeps_nobody_waiting(self, process: Process, clock: Clock) -> None:
        bucket = process.bucket(REQUESTS_PER_MINUTE, 40, key=None)
        assert await process.take((bucket, 1), key="modest") is None
        clock.pass_seconds(120)
        assert sum([await process.take((bucket, 1), key="greedy") is None for _ in range(50)]) == 40

    @pytest.mark.parametrize("greedy_per_second", [10, 100])
    async def test_a_key_that_hammers_does_not_starve_a_modest_one(
        self, greedy_per_second: int, start: Start, clock: Clock
    ) -> None:
        """60 a minute; one key calls ten times as often and more, the other 24 times a minute, under its half of 30."""
        processes = [start(), start()]
        buckets = [process.bucket(REQUESTS_PER_MINUTE, 60, key=None) for process in processes]
        through, tried = {"greedy": 0, "modest": 0}, {"greedy": 0, "modest": 0}

        async def call(key: str, number: int) -> None:
            place = number % 2
            short = await processes[place].take((buckets[place], 1), key=key)
            tried[key] += 1
            through[key] += short is None

        for step in range(5 * 60 * 2):  # half seconds of 5 minutes
            clock.pass_seconds(0.5)
            for number in range(greedy_per_second // 2):
                await call("greedy", number)
            if step % 5 == 0:
                await call("modest", step)
        assert through["modest"] == tried["modest"] == 120
        assert 60 + 300 - 120 - 32 <= through["greedy"] <= 60 + 300 - 120  # nothing is wasted but the half kept free

    async def test_two_that_want_more_than_there_is_get_the_same(self, process: Process, clock: Clock) -> None:
        bucket = process.bucket(REQUESTS_PER_MINUTE, 60, key=None)
        through = {"ten": 0, "two": 0}
        for _ in range(10 * 60):
            clock.pass_seconds(1)
            for key, calls in (("ten", 10), ("two", 2)):
                for _ in range(calls):
                    through[key] += await process.take((bucket, 1), key=key) is None
        assert sum(through.values()) >= 60 * 10
        assert through["two"] >= 0.9 * 60 * 10 / 2


class TestExactness:
    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(
        amount=st.integers(1, 2000),
        steps=st.lists(
            st.tuples(st.integers(0, 2), st.sampled_from(["take", "finish", "give back", "wait"]), st.integers(1, 500)),
            max_size=60,
        ),
    )
    async def test_no_window_sees_more_than_a_full_bucket_and_its_refill(
        self, redis_url: str, amount: int, steps: list[tuple[int, str, int]]
    ) -> None:
        """Three processes, slices, tokens that are reserved and not used, in any order."""
        clock = Clock()
        project = f"proj_{id(steps)}_{amount}_{len(steps)}_{hash(tuple(steps))}"
        processes = [Process(Counters(redis_url, answer_seconds=20, clock=clock), project) for _ in range(3)]
        buckets = [process.bucket(TOKENS_PER_MINUTE, amount) for process in processes]
        running: list[list[int]] = [[], [], []]
        used: list[tuple[int, int]] = []
        try:
            for place, step, number in steps:
                process, bucket = processes[place], buckets[place]
                if step == "wait":
                    for _ in range(number // 20 + 1):
                        clock.pass_seconds(1)
                        for each, renewed in zip(processes, buckets, strict=True):
                            await each.counters.step(project, [renewed], [])
                elif step == "give back":
                    await process.counters.step(project, [bucket], [])
                elif step == "finish" and running[place]:
                    reserved = running[place].pop()
                    spent = min(number, reserved)
                    bucket.settle("key", reserved, spent)
                    used.append((clock.now, spent))
                elif step == "take":
                    if bucket.held >= number:
                        bucket.take("key", number)
                        running[place].append(number)
                    elif number <= amount and await process.take((bucket, number)) is None:
                        running[place].append(number)
            for began in {at for at, _ in used}:
                for ended in {at for at, _ in used if at >= began}:
                    spent = sum(n for at, n in used if began <= at <= ended)
                    assert spent <= amount + (ended - began) * amount / 60e6 + 1
        finally:
            for each in processes:
                await each.counters.close()


class TestAway:
    async def test_is_told_and_ends_with_the_next_answer(self, redis_url: str) -> None:
        process = Process(Counters("unix:///nowhere/redis.sock"), "proj_away")
        bucket = process.bucket(REQUESTS_PER_MINUTE, 10)
        bucket.consumed = 3
        with pytest.raises(Away):
            await process.take((bucket, 1))
        assert process.counters.away
        assert (bucket.consumed, bucket.held) == (3, 0)
        await process.counters.close()

    async def test_processes_are_counted(self, start: Start) -> None:
        first, second = start(), start()
        await first.counters.beat()
        before = first.counters.processes
        await second.counters.beat()
        await first.counters.beat()
        assert first.counters.processes == before + 1
        await second.counters.close()
        await first.counters.beat()
        assert first.counters.processes == before


class TestCancelled:
    async def test_at_whatever_moment_it_ends(self, redis_url: str) -> None:
        """Or else a shutdown waits for it for ever."""
        for steps in range(60):
            counters = Counters(redis_url)
            asked = asyncio.ensure_future(counters.beat())
            for _ in range(steps):
                await asyncio.sleep(0)
            told = asked.cancel()
            await asyncio.wait([asked])
            assert asked.cancelled() == told, steps
            await counters.close()
