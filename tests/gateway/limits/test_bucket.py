import pytest

from gateway.limits.bucket import Bucket
from gateway.limits.limit import CONCURRENT_REQUESTS, REQUESTS_PER_DAY, REQUESTS_PER_MINUTE, TOKENS_PER_MINUTE, Limit


def bucket(amount: int, kind: object = REQUESTS_PER_MINUTE) -> Bucket:
    return Bucket(Limit(kind, amount, "proj_x", None, None))  # type: ignore[arg-type]


class TestSlice:
    @pytest.mark.parametrize(("amount", "slice"), [(1, 0), (49, 0), (50, 1), (100, 2), (60_000, 1200)])
    def test_is_a_few_percent_of_a_minute(self, amount: int, slice: int) -> None:
        assert bucket(amount).slice == slice

    def test_is_less_of_a_day_because_a_lost_one_is_missed_for_longer(self) -> None:
        assert bucket(10_000, REQUESTS_PER_DAY).slice == 20


class TestRemaining:
    def test_is_what_nobody_used_and_what_is_held_here(self) -> None:
        one = bucket(60)
        one.used, one.held, one.heard_at = 31, 1, 100.0
        assert one.remaining(100.0) == 30
        one.take("key", 1)
        assert one.remaining(100.0) == 29

    def test_refills_meanwhile(self) -> None:
        one = bucket(60)
        one.used, one.heard_at = 30, 100.0
        assert [one.remaining(100.0 + seconds) for seconds in (0, 1, 10.9, 3600)] == [30, 31, 40, 60]

    def test_is_never_below_nothing(self) -> None:
        one = bucket(60, TOKENS_PER_MINUTE)
        one.used, one.heard_at = 90, 100.0
        assert one.remaining(100.0) == 0

    def test_what_nobody_has_used_is_full(self) -> None:
        assert bucket(60).remaining(5.0) == 60


class TestSecondsFor:
    @pytest.mark.parametrize(
        ("kind", "missing", "seconds"),
        [(REQUESTS_PER_MINUTE, 30, 30.0), (REQUESTS_PER_MINUTE, 0, 0.0), (REQUESTS_PER_DAY, 60, 86_400.0)],
    )
    def test_is_when_what_is_missing_has_refilled(self, kind: object, missing: int, seconds: float) -> None:
        assert bucket(60, kind).seconds_for(missing) == seconds

    def test_is_nothing_for_places_which_come_back_with_their_calls(self) -> None:
        assert bucket(60, CONCURRENT_REQUESTS).seconds_for(10) == 0.0


class TestAlone:
    def test_a_process_has_its_part_of_what_was_left(self) -> None:
        one = bucket(60)
        one.used, one.heard_at = 20, 100.0
        allowed = 0
        while one.wait_alone(1, 4, 100.0) is None:
            one.take_alone("key", 1)
            allowed += 1
        assert allowed == 10

    def test_and_its_part_of_the_refill(self) -> None:
        one = bucket(60)
        one.used, one.heard_at = 60, 100.0
        assert one.wait_alone(1, 4, 100.0) == 4.0
        assert one.wait_alone(1, 4, 103.9) is not None
        assert one.wait_alone(1, 4, 104.0) is None

    def test_it_never_saves_up_more_than_its_part(self) -> None:
        one = bucket(60)
        one.wait_alone(1, 4, 100.0)
        allowed = 0
        while one.wait_alone(1, 4, 100_000.0) is None:
            one.take_alone("key", 1)
            allowed += 1
        assert allowed == 15

    def test_one_at_least(self) -> None:
        assert bucket(2).wait_alone(1, 4, 100.0) is not None  # its part of a bucket begins with half a call
        one = bucket(2)
        one.wait_alone(1, 4, 100.0)
        assert one.wait_alone(1, 4, 200.0) is None

    def test_what_is_larger_than_its_part_takes_all_of_it(self) -> None:
        one = bucket(1000, TOKENS_PER_MINUTE)
        assert one.wait_alone(600, 4, 100.0) is None
        one.take_alone("key", 600)
        assert one.wait_alone(1, 4, 100.0) is not None

    def test_places_too(self) -> None:
        one = bucket(8, CONCURRENT_REQUESTS)
        taken = 0
        while one.wait_alone(1, 4, 100.0) is None:
            one.take_alone("key", 1)
            taken += 1
        assert taken == 2
        one.settle("key", 1, 0)
        assert one.wait_alone(1, 4, 100.0) is None

    def test_redis_hears_of_it_later(self) -> None:
        one = bucket(60)
        assert one.wait_alone(1, 1, 100.0) is None
        one.take_alone("key", 1)
        assert (one.consumed, one.by_key) == (1, {"key": 1})
