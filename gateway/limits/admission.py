"""What a call was let through with: everything that it took, until it ends."""

from collections.abc import Callable, Sequence

from gateway.limits.bucket import Bucket

Takes = Sequence[tuple[Bucket, int]]
"""Buckets, and what a call needs of each."""


class Admission:
    """Settled exactly once, however the call ends; more than once is once.

    Args:
        ended: called when it is settled.
        unpaid: its budget has not been asked yet; until `paid` says so, the call has not begun.
    """

    __slots__ = ("_api_key_id", "_ended", "_open", "_unpaid", "takes")

    def __init__(
        self, api_key_id: str, takes: Takes, ended: Callable[["Admission"], object], *, unpaid: bool = False
    ) -> None:
        self._api_key_id = api_key_id
        self.takes = takes
        self._ended = ended
        self._open = True
        self._unpaid = unpaid

    def paid(self) -> None:
        """The call goes on: its requests count from now."""
        if self._open and self._unpaid:
            self._unpaid = False
            for bucket, need in self.takes:
                bucket.paid(need)

    def settle(self, tokens: int) -> None:
        """The call has ended and used that many tokens, input and output together; one that was not paid for is undone."""
        if self._unpaid:
            self.undo()
        elif self._open:
            self._open = False
            for bucket, need in self.takes:
                bucket.settle(self._api_key_id, need, tokens)
            self._ended(self)

    def undo(self) -> None:
        """The call never began."""
        if self._open:
            self._open = False
            for bucket, need in self.takes:
                bucket.undo(self._api_key_id, need, unpaid=self._unpaid)
            self._ended(self)
