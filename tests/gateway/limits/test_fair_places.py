"""How keys of a project share its places: calls at a time (gives_way in take.lua, Rivalry in bucket.py)."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.limits.admission import Admission
from gateway.limits.bucket import Bucket, Rivalry
from gateway.limits.counters import LEASE_SECONDS, Counters, Shortage
from gateway.limits.limit import CONCURRENT_REQUESTS, REQUESTS_PER_MINUTE
from tests.gateway.limits.conftest import Clock, Process, need_of
from tests.polling import until

pytestmark = pytest.mark.anyio

Start = Callable[[], Process]


@dataclass
class Places:
    """Of a project, as one process sees them; every call is a step of Redis."""

    process: Process
    amount: int
    bucket: Bucket = field(init=False)

    def __post_init__(self) -> None:
        self.bucket = self.process.bucket(CONCURRENT_REQUESTS, self.amount, key=None)

    async def ask(self, key: str, *, again: bool = False) -> Shortage | None:
        need = need_of(key, (self.bucket, 1), again=again)
        (answer,) = await self.process.counters.step(self.process.project, [self.bucket], [need])
        return answer

    async def begin(self, key: str, calls: int = 1) -> int:
        """How many of them found a place."""
        return sum([await self.ask(key) is None for _ in range(calls)])

    async def end(self, key: str, calls: int = 1) -> None:
        for _ in range(calls):
            self.bucket.settle(key, 1, 0)
        await self.renew()

    async def renew(self) -> None:
        await self.process.counters.step(self.process.project, [self.bucket], [])


@pytest.fixture
def places(process: Process) -> Callable[[int], Places]:
    return lambda amount: Places(process, amount)


@pytest.fixture
def two(start: Start) -> Callable[[int], tuple[Places, Places]]:
    return lambda amount: (Places(start(), amount), Places(start(), amount))


class TestWhoGetsAPlace:
    async def test_one_key_alone_has_all_of_them_at_any_time(self, places: Callable[[int], Places]) -> None:
        some = places(6)
        assert await some.begin("greedy", 9) == 6
        await some.end("greedy", 4)
        assert await some.begin("greedy", 9) == 4

    async def test_one_that_comes_free_is_for_who_was_refused(
        self, two: Callable[[int], tuple[Places, Places]]
    ) -> None:
        one, other = two(4)
        assert await one.begin("greedy", 4) == 4
        short = await other.ask("modest")
        assert short is not None
        assert not short.held_back  # there is none at all
        await one.end("greedy")
        short = await one.ask("greedy")
        assert short is not None
        assert (short.held_back, short.used, short.wait) == (True, 3, 0.0)
        assert await other.begin("modest") == 1
        assert one.bucket.limit.amount == other.bucket.used == 4

    async def test_no_more_are_kept_than_were_asked_for(self, places: Callable[[int], Places]) -> None:
        some = places(10)
        await some.begin("greedy", 10)
        assert await some.begin("modest", 2) == 0
        await some.end("greedy", 5)
        assert await some.begin("greedy", 9) == 3
        assert await some.begin("modest", 2) == 2

    async def test_a_second_look_a_moment_later_asks_for_no_second_place(self, places: Callable[[int], Places]) -> None:
        some = places(10)
        await some.begin("greedy", 10)
        await some.ask("modest")
        await some.ask("modest", again=True)
        await some.end("greedy", 5)
        assert await some.begin("greedy", 9) == 4

    async def test_no_more_are_kept_than_the_other_has_itself(self, places: Callable[[int], Places]) -> None:
        some = places(10)
        await some.begin("first", 10)
        assert await some.begin("second", 10) == 0
        await some.end("first", 6)
        assert await some.begin("first", 9) == 1
        assert await some.begin("second", 9) == 5

    async def test_two_that_want_all_end_with_half_each(self, two: Callable[[int], tuple[Places, Places]]) -> None:
        one, other = two(10)
        held = {"first": await one.begin("first", 10), "second": 0}
        for _ in range(20):  # one of each ends, and both ask for all that there is; the first is always first
            for key, at in (("first", one), ("second", other)):
                if held[key]:
                    await at.end(key)
                    held[key] -= 1
            for key, at in (("first", one), ("second", other)):
                held[key] += await at.begin(key, 10)
            assert sum(held.values()) == 10
        assert held == {"first": 5, "second": 5}

    @pytest.mark.parametrize("amount", [1, 2])
    async def test_more_keys_than_places_take_turns(
        self, amount: int, places: Callable[[int], Places], clock: Clock
    ) -> None:
        """Every key always wants one, and the first asks first."""
        some, keys = places(amount), ["first", "second", "third"]
        holding, turns = list[str](), dict.fromkeys(keys, 0)
        for _ in range(30):
            if len(holding) == amount:
                await some.end(holding.pop(0))
            for key in [*keys, *keys]:
                clock.pass_seconds(0.001)
                if key not in holding and await some.begin(key):
                    holding.append(key)
                    turns[key] += 1
        assert sum(turns.values()) >= 30
        assert max(turns.values()) - min(turns.values()) <= 2

    async def test_a_key_finds_the_place_again_that_it_had_a_moment_ago(
        self, places: Callable[[int], Places], clock: Clock
    ) -> None:
        some = places(4)
        assert await some.begin("modest") == 1
        assert await some.begin("greedy", 9) == 3
        for _ in range(10):
            await some.end("modest")
            assert await some.begin("greedy", 9) == 0
            clock.pass_seconds(2)
            await some.renew()
            assert await some.begin("modest") == 1

    async def test_who_has_gone_keeps_nobody_waiting(self, places: Callable[[int], Places], clock: Clock) -> None:
        some = places(4)
        await some.begin("greedy", 4)
        await some.begin("modest")
        await some.end("greedy")
        clock.pass_seconds(5)
        await some.renew()
        assert await some.begin("greedy") == 0
        clock.pass_seconds(5)
        assert await some.begin("greedy") == 1

    async def test_half_of_them_are_kept_for_nobody(self, places: Callable[[int], Places]) -> None:
        some = places(8)
        for number in range(8):
            assert await some.begin(f"key {number}") == 1
        assert await some.begin("one more") == 0
        for number in range(8):
            await some.end(f"key {number}")
        assert await some.begin("key 0", 8) == 4

    async def test_what_a_key_lacks_elsewhere_is_no_wish_for_a_place(self, process: Process) -> None:
        some, minute = Places(process, 2), process.bucket(REQUESTS_PER_MINUTE, 1, key="modest")
        assert await process.take((minute, 1), key="modest") is None
        assert await some.begin("greedy", 2) == 2
        short = await process.take((some.bucket, 1), (minute, 1), key="modest")
        assert short is not None
        assert short.bucket is minute
        await some.end("greedy")
        assert await some.begin("greedy") == 1

    async def test_places_of_all_models_and_of_one_are_both_shared(self, process: Process) -> None:
        every = process.bucket(CONCURRENT_REQUESTS, 4, key=None)
        model = process.bucket(CONCURRENT_REQUESTS, 4, key=None, model="m")
        takes = [(every, 1), (model, 1)]
        for _ in range(4):
            assert await process.take(*takes, key="greedy") is None
        assert await process.take(*takes, key="modest") is not None
        for bucket, _ in takes:
            bucket.settle("greedy", 1, 0)
        assert await process.take(*takes, key="greedy") is not None
        assert await process.take((model, 1), key="greedy") is not None
        assert await process.take(*takes, key="modest") is None

    async def test_a_keys_own_places_are_no_matter_of_sharing(self, process: Process) -> None:
        own = process.bucket(CONCURRENT_REQUESTS, 2, key="key")
        assert await process.take((own, 1)) is None
        assert own.places == {}


class TestProcessesThatDie:
    async def test_a_key_holds_nothing_there_any_more(
        self, two: Callable[[int], tuple[Places, Places]], clock: Clock
    ) -> None:
        dead, alive = two(4)
        assert await dead.begin("first", 2) == 2
        assert await alive.begin("second", 3) == 2
        for _ in range(3):
            clock.pass_seconds(LEASE_SECONDS / 3)
            await alive.renew()
        assert await alive.begin("first", 2) == 2

    async def test_one_that_lives_tells_again_what_its_keys_hold(
        self, two: Callable[[int], tuple[Places, Places]], clock: Clock
    ) -> None:
        """Its lease had run out: it was stopped for long."""
        stopped, other = two(4)
        assert await stopped.begin("first", 3) == 3
        clock.pass_seconds(LEASE_SECONDS)
        assert await other.begin("second") == 1
        await stopped.renew()
        assert await other.begin("second") == 0
        await stopped.end("first")
        assert await stopped.begin("first") == 0
        assert await other.begin("second") == 1


class TestInMemory:
    """100 places: a process leases two of them ahead."""

    async def fill(self, process: Process, bucket: Bucket, key: str, calls: int) -> list[Admission]:
        found = [await process.call((bucket, 1), key=key) for _ in range(calls)]
        assert all(isinstance(each, Admission) for each in found)
        return [each for each in found if isinstance(each, Admission)]

    async def quiet(self, process: Process) -> int:
        """Once all that is due is told: the round trips so far."""
        await until(lambda: process.lane._pump is None)
        return process.counters.steps

    async def test_keys_that_find_enough_ask_nobody(self, process: Process) -> None:
        bucket = process.bucket(CONCURRENT_REQUESTS, 100, key=None)
        held = {key: await self.fill(process, bucket, key, 40) for key in ("first", "second")}
        held["first"].pop().settle(0)
        steps = await self.quiet(process)
        for _ in range(20):
            held["second"].pop().settle(0)
            held["first"] += await self.fill(process, bucket, "first", 1)
            held["first"].pop().settle(0)
            held["second"] += await self.fill(process, bucket, "second", 1)
        assert await self.quiet(process) == steps
        assert bucket.rivalry is Rivalry.NONE

    async def test_one_that_comes_free_goes_to_who_waits_and_then_each_keeps_its_own(self, process: Process) -> None:
        bucket = process.bucket(CONCURRENT_REQUESTS, 100, key=None)
        greedy = await self.fill(process, bucket, "greedy", 100)
        assert isinstance(await process.call((bucket, 1), key="modest"), Shortage)
        assert bucket.rivalry is Rivalry.YIELDED
        greedy.pop().settle(0)
        await self.quiet(process)
        assert bucket.held == 0
        assert isinstance(await process.call((bucket, 1), key="greedy"), Shortage)
        (modest,) = await self.fill(process, bucket, "modest", 1)
        assert bucket.rivalry is Rivalry.KEPT
        steps = await self.quiet(process)
        for _ in range(20):  # each in the place that it had, without a word to Redis
            modest.settle(0)
            greedy.pop().settle(0)
            greedy += await self.fill(process, bucket, "greedy", 1)
            assert not bucket.has("greedy", 1)
            (modest,) = await self.fill(process, bucket, "modest", 1)
        assert await self.quiet(process) == steps

    async def test_none_is_leased_ahead_while_keys_compete(self, process: Process) -> None:
        bucket = process.bucket(CONCURRENT_REQUESTS, 100, key=None)
        greedy = await self.fill(process, bucket, "greedy", 100)
        await process.call((bucket, 1), key="modest")
        for _ in range(40):
            greedy.pop().settle(0)
        greedy += await self.fill(process, bucket, "greedy", 1)
        assert (bucket.used, bucket.held) == (61, 0)

    async def test_a_call_that_looks_twice_asks_for_one_place(self, process: Process) -> None:
        bucket = process.bucket(CONCURRENT_REQUESTS, 10, key=None)
        greedy = await self.fill(process, bucket, "greedy", 10)
        assert isinstance(await process.call((bucket, 1), key="modest"), Shortage)
        assert isinstance(await process.lane.take_soon(need_of("modest", (bucket, 1)), 0), Shortage)
        for _ in range(5):
            greedy.pop().settle(0)
        await self.fill(process, bucket, "greedy", 4)
        assert isinstance(await process.call((bucket, 1), key="greedy"), Shortage)

    async def test_a_process_that_only_leases_ahead_holds_nothing_for_a_key(self, start: Start) -> None:
        one, other = Places(start(), 100), Places(start(), 100)
        assert await one.begin("first", 10) == 10
        for _ in range(10):
            one.bucket.settle("first", 1, 0)
        await one.process.counters.step(one.process.project, [one.bucket], [], keep=True)
        assert one.bucket.held == 2
        assert await other.begin("second", 97) == 97
        assert await other.begin("third") == 1
        await other.end("third")
        assert await other.begin("first") == 1

    async def test_another_process_learns_of_it_with_its_next_step(self, start: Start) -> None:
        busy, other = start(), start()
        mine, theirs = (each.bucket(CONCURRENT_REQUESTS, 100, key=None) for each in (busy, other))
        greedy = await self.fill(busy, mine, "greedy", 100)
        assert isinstance(await other.call((theirs, 1), key="modest"), Shortage)
        greedy.pop().settle(0)
        assert mine.held == 1  # nobody has told it yet
        await busy.counters.step(busy.project, [mine], [])
        assert mine.rivalry is Rivalry.YIELDED
        assert isinstance(await busy.call((mine, 1), key="greedy"), Shortage)
        assert isinstance(await other.call((theirs, 1), key="modest"), Admission)


class TestExactness:
    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
    @given(
        amount=st.sampled_from([1, 2, 3, 7, 50, 120]),
        steps=st.lists(
            st.tuples(
                st.integers(0, 1),
                st.sampled_from(["first", "second", "third"]),
                st.sampled_from(["begin", "end", "tell", "wait"]),
                st.integers(1, 60),
            ),
            max_size=40,
        ),
    )
    async def test_never_more_at_a_time_and_none_is_lost(
        self, redis_url: str, amount: int, steps: list[tuple[int, str, str, int]]
    ) -> None:
        """Two processes, three keys, places that are kept in memory and that go back, in any order."""
        clock = Clock()
        project = f"proj_places_{amount}_{len(steps)}_{hash(tuple(steps))}_{id(steps)}"
        processes = [Process(Counters(redis_url, answer_seconds=20, clock=clock), project) for _ in range(2)]
        both = [Places(process, amount) for process in processes]
        running: list[list[str]] = [[], []]
        try:
            for place, key, step, number in steps:
                some, bucket = both[place], both[place].bucket
                if step == "wait":
                    clock.pass_seconds(number / 20)
                    for each in both:
                        await each.renew()
                elif step == "tell":
                    await some.renew()
                elif step == "end":
                    for ended in running[place][:number]:
                        bucket.settle(ended, 1, 0)
                    running[place] = running[place][number:]
                else:
                    for _ in range(number):
                        if bucket.has(key, 1):
                            bucket.take(key, 1)
                            running[place].append(key)
                        elif await some.begin(key):
                            running[place].append(key)
                assert sum(map(len, running)) <= amount
                assert bucket.places == Counter(running[place])
                assert 0 <= sum(bucket.kept.values()) <= bucket.slice
            for some, calls in zip(both, running, strict=True):
                for key in calls:
                    some.bucket.settle(key, 1, 0)
                await some.renew()
            clock.pass_seconds(10)
            assert await both[0].begin("first", amount + 1) == amount
        finally:
            for each in processes:
                await each.counters.close()
