"""The buckets of every limit that holds for a call."""

from collections.abc import Iterable

from gateway.limits.bucket import Bucket
from gateway.limits.limit import MINUTE


class Buckets:
    """Those of one key for one model, sorted once by what a call has to do with them: what a limit counts never changes,
    only how much it allows."""

    __slots__ = ("every", "held", "places", "refilled", "requests", "requests_a_minute", "tokens", "tokens_a_minute")

    def __init__(self, every: Iterable[Bucket]) -> None:
        self.every = tuple(every)
        kinds = [(bucket, bucket.limit.kind) for bucket in self.every]
        self.tokens = tuple(bucket for bucket, kind in kinds if kind.is_tokens)
        self.requests = tuple(bucket for bucket, kind in kinds if not kind.is_tokens)
        """A call needs 1 of each."""
        self.held = tuple(bucket for bucket, kind in kinds if kind.is_held)
        """A call holds what it took of them until it ends."""
        self.refilled = tuple(bucket for bucket, kind in kinds if not kind.is_held)
        """What a call took of them is used from its beginning."""
        self.places = tuple(bucket for bucket, kind in kinds if not kind.period)
        """They count calls at a time."""
        self.requests_a_minute = tuple(bucket for bucket in self.requests if bucket.limit.kind.period == MINUTE)
        self.tokens_a_minute = tuple(bucket for bucket in self.tokens if bucket.limit.kind.period == MINUTE)

    def takes(self, tokens: int) -> list[tuple[Bucket, int]]:
        """What a call that is counted with so many tokens needs of each."""
        return [(bucket, tokens if bucket.limit.kind.is_tokens else 1) for bucket in self.every]
