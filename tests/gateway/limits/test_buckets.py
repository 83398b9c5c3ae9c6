from gateway.limits.bucket import Bucket
from gateway.limits.buckets import Buckets
from gateway.limits.limit import KINDS, Limit


class TestBuckets:
    def test_are_sorted_by_what_a_call_has_to_do_with_them(self) -> None:
        every = [Bucket(Limit(kind, 60, "proj_x", key, None)) for kind in KINDS for key in ("key", None)]
        rpm, tpm, rpd, tpd, places = (every[at : at + 2] for at in range(0, 10, 2))
        found = Buckets(every)
        assert list(found.every) == every
        assert list(found.requests) == [*rpm, *rpd, *places]
        assert list(found.tokens) == [*tpm, *tpd]
        assert list(found.held) == [*tpm, *tpd, *places]
        assert list(found.refilled) == [*rpm, *rpd]
        assert list(found.places) == places
        assert (list(found.requests_a_minute), list(found.tokens_a_minute)) == (rpm, tpm)

    def test_a_call_takes_1_of_what_counts_requests_and_its_tokens_of_the_others(self) -> None:
        every = [Bucket(Limit(kind, 60, "proj_x", "key", None)) for kind in KINDS]
        assert Buckets(every).takes(25) == list(zip(every, (1, 25, 1, 25, 1), strict=True))
