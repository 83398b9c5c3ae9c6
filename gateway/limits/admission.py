"""What a call was let through with: everything that it took, until it ends."""

from collections.abc import Callable

from gateway.limits.counters import Need


class Admission:
    """Settled exactly once, however the call ends; more than once is once. Where `need` is unpaid, its budget has not been
    asked yet: until `paid` says so, the call has not begun.

    Args:
        ended: called when it is settled.
    """

    __slots__ = ("_ended", "_open", "_unpaid", "need")

    def __init__(self, need: Need, ended: Callable[[Need], object]) -> None:
        self.need = need
        self._ended = ended
        self._open = True
        self._unpaid = need.unpaid

    def paid(self) -> None:
        """The call goes on: its requests count from now."""
        if self._open and self._unpaid:
            self._unpaid = False
            for bucket in self.need.buckets.refilled:
                bucket.paid()

    def settle(self, tokens: int) -> None:
        """The call has ended and used that many tokens, input and output together; one that was not paid for is undone."""
        if self._unpaid:
            self.undo()
        elif self._open:
            self._open = False
            need = self.need
            for bucket in need.buckets.tokens:
                bucket.settle(need.api_key_id, need.tokens, tokens)
            for bucket in need.buckets.places:
                bucket.settle(need.api_key_id, 1, tokens)
            self._ended(need)

    def undo(self) -> None:
        """The call never began."""
        if self._open:
            self._open = False
            for bucket, amount in self.need.takes:
                bucket.undo(self.need.api_key_id, amount, unpaid=self._unpaid)
            self._ended(self.need)
