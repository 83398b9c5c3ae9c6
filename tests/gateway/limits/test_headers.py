import pytest

from gateway.limits.bucket import Bucket
from gateway.limits.buckets import Buckets
from gateway.limits.headers import duration, headers
from gateway.limits.limit import (
    CONCURRENT_REQUESTS,
    REQUESTS_PER_DAY,
    REQUESTS_PER_MINUTE,
    TOKENS_PER_DAY,
    TOKENS_PER_MINUTE,
    Kind,
    Limit,
)


def bucket(kind: Kind, amount: int, taken: int = 0) -> Bucket:
    """Of which calls that run, or that began just now, have `taken`."""
    one = Bucket(Limit(kind, amount, "proj_x", None, None))
    one.outstanding = taken
    return one


class TestHeaders:
    @pytest.mark.parametrize("turned", [False, True])
    def test_are_of_the_limit_with_the_least_left(self, *, turned: bool) -> None:
        buckets = [bucket(REQUESTS_PER_MINUTE, 1000, 990), bucket(REQUESTS_PER_MINUTE, 60, 30)]
        assert headers(Buckets(buckets[::-1] if turned else buckets)) == {
            "x-ratelimit-limit-requests": "1000",
            "x-ratelimit-remaining-requests": "10",
            "x-ratelimit-reset-requests": "59.4s",
        }

    @pytest.mark.parametrize("turned", [False, True])
    def test_of_two_with_as_much_left_it_is_the_smaller_one(self, *, turned: bool) -> None:
        buckets = [bucket(TOKENS_PER_MINUTE, 1000, 940), bucket(TOKENS_PER_MINUTE, 60)]
        shown = headers(Buckets(buckets[::-1] if turned else buckets))
        assert shown["x-ratelimit-limit-tokens"] == "60"
        assert shown["x-ratelimit-reset-tokens"] == "0s"

    def test_requests_and_tokens_are_told_side_by_side(self) -> None:
        shown = headers(Buckets([bucket(TOKENS_PER_MINUTE, 600, 6), bucket(REQUESTS_PER_MINUTE, 60, 1)]))
        assert (shown["x-ratelimit-remaining-tokens"], shown["x-ratelimit-remaining-requests"]) == ("594", "59")
        assert (shown["x-ratelimit-reset-tokens"], shown["x-ratelimit-reset-requests"]) == ("600ms", "1s")

    def test_nothing_is_told_of_days_and_places(self) -> None:
        kinds = (REQUESTS_PER_DAY, TOKENS_PER_DAY, CONCURRENT_REQUESTS)
        assert headers(Buckets(bucket(kind, 60) for kind in kinds)) == {}

    def test_it_is_full_again_in_whole_milliseconds_rounded_up(self) -> None:
        for amount, taken, text in ((7, 1, "8.572s"), (60_000, 2, "2ms"), (60_001, 60_000, "1m0s"), (10**9, 1, "1ms")):
            shown = headers(Buckets([bucket(TOKENS_PER_MINUTE, amount, taken)]))
            assert shown["x-ratelimit-reset-tokens"] == text


class TestDuration:
    @pytest.mark.parametrize(
        ("seconds", "text"),
        [
            (0, "0s"),
            (0.0004, "1ms"),
            (0.012, "12ms"),
            (0.9999, "1s"),
            (1, "1s"),
            (51.189, "51.189s"),
            (6.5, "6.5s"),
            (60, "1m0s"),
            (360, "6m0s"),
            (75.25, "1m15.25s"),
            (3600, "1h0m0s"),
            (86_399.5, "23h59m59.5s"),
        ],
    )
    def test_is_as_go_writes_it(self, seconds: float, text: str) -> None:
        assert duration(seconds) == text
