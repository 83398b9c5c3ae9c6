"""What a call was let through with: everything that it took, until it ends."""

from collections.abc import Callable, Sequence

from gateway.limits.bucket import Bucket

Takes = Sequence[tuple[Bucket, int]]
"""Buckets, and what a call needs of each."""


class Admission:
    """Settled exactly once, however the call ends; more than once is once.

    Args:
        ended: called when it is settled.
    """

    __slots__ = ("_api_key_id", "_ended", "_open", "takes")

    def __init__(self, api_key_id: str, takes: Takes, ended: Callable[["Admission"], object]) -> None:
        self._api_key_id = api_key_id
        self.takes = takes
        self._ended = ended
        self._open = True

    def settle(self, tokens: int) -> None:
        """The call has ended and used that many tokens, input and output together."""
        if self._open:
            self._open = False
            for bucket, need in self.takes:
                bucket.settle(self._api_key_id, need, tokens)
            self._ended(self)

    def undo(self) -> None:
        """The call never began."""
        if self._open:
            self._open = False
            for bucket, need in self.takes:
                bucket.undo(self._api_key_id, need)
            self._ended(self)
