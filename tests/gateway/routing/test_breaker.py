"""Breakers: who gets no traffic, for how long, and how it comes back."""

from gateway.protocol.routes import Breaker
from gateway.routing.breaker import Breakers

KEY = ("up", "http://up/v1", "m")
SPEC = Breaker(failures=2, open_seconds=10.0)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def failing(times: int) -> tuple[Breakers, Clock]:
    clock = Clock()
    breakers = Breakers(clock)
    for _ in range(times):
        assert breakers.admit(KEY, SPEC)
        breakers.failed(KEY, "timeout", SPEC)
    return breakers, clock


class TestOpening:
    def test_only_after_failures_in_a_row(self) -> None:
        breakers, _ = failing(1)
        breakers.succeeded(KEY)
        breakers.failed(KEY, "timeout", SPEC)
        assert breakers.admit(KEY, SPEC)
        breakers.failed(KEY, "connection", SPEC)
        assert not breakers.admit(KEY, SPEC)
        assert breakers.condition(KEY) == "connection"

    def test_is_for_one_model_on_one_replica(self) -> None:
        breakers, _ = failing(2)
        assert breakers.admit(("up", "http://up/v1", "other"), SPEC)
        assert breakers.admit(("up", "http://other/v1", "m"), SPEC)

    def test_each_route_has_its_own_measure(self) -> None:
        breakers, _ = failing(2)
        assert breakers.admit(KEY, Breaker(failures=3))
        assert breakers.admit(KEY, Breaker(failures=0)), "0: never"

    def test_tells_how_long(self) -> None:
        breakers, clock = failing(2)
        clock.now += 4
        assert breakers.seconds_left(KEY, SPEC) == 6
        assert breakers.seconds_left(("up", "x", "m"), SPEC) == 0


class TestHalfOpen:
    def test_one_call_at_a_time(self) -> None:
        breakers, clock = failing(2)
        clock.now += 10
        assert [breakers.admit(KEY, SPEC) for _ in range(3)] == [True, False, False]

    def test_a_success_closes_it(self) -> None:
        breakers, clock = failing(2)
        clock.now += 10
        assert breakers.admit(KEY, SPEC)
        breakers.succeeded(KEY)
        assert [breakers.admit(KEY, SPEC) for _ in range(3)] == [True] * 3
        assert len(breakers) == 0

    def test_a_failure_opens_it_for_as_long_again(self) -> None:
        breakers, clock = failing(2)
        clock.now += 10
        assert breakers.admit(KEY, SPEC)
        breakers.failed(KEY, "timeout", SPEC)
        clock.now += 9
        assert not breakers.admit(KEY, SPEC)
        clock.now += 1
        assert breakers.admit(KEY, SPEC)

    def test_a_call_that_was_given_up_lets_the_next_one_try(self) -> None:
        breakers, clock = failing(2)
        clock.now += 10
        assert breakers.admit(KEY, SPEC)
        breakers.abandoned(KEY)
        assert breakers.admit(KEY, SPEC)


class TestOpen:
    def test_counts_replicas(self) -> None:
        breakers, _ = failing(2)
        for _ in range(2):
            breakers.failed(("up", "http://b/v1", "m"), "timeout", SPEC)
        breakers.failed(("up", "http://c/v1", "m"), "timeout", SPEC)
        assert breakers.open() == {("up", "m"): 2}
        assert len(breakers) == 3

    def test_forgets_what_nobody_calls_any_more(self) -> None:
        """A provider that failed and was deleted is no trouble for ever."""
        breakers, clock = failing(2)
        clock.now += 599
        assert breakers.open() == {("up", "m"): 1}
        clock.now += 2
        assert (breakers.open(), len(breakers)) == ({}, 0)

    def test_but_not_before_it_may_be_called_again(self) -> None:
        breakers, clock = failing(0)
        breakers.failed(KEY, "timeout", Breaker(failures=1, open_seconds=3600.0))
        clock.now += 3599
        assert breakers.open() == {("up", "m"): 1}
