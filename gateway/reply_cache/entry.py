"""One kept reply."""

import msgspec

OVERHEAD_BYTES = 600
"""That an entry takes in memory beside its body, about."""


class Entry(msgspec.Struct, frozen=True, array_like=True):
    body: bytes
    """A whole reply in OpenAI's form, its id that of the first."""
    model: str
    """What answered."""
    exchange_id: str
    """Of the call that it was given to first."""
    kept_at: float
    """Unix seconds."""
    ends_at: float

    @property
    def size(self) -> int:
        """Bytes in memory, about."""
        return len(self.body) + OVERHEAD_BYTES

    def age(self, now: float) -> int:
        """Seconds, as the header `age` tells them (RFC 9111, section 5.1)."""
        return max(0, int(now - self.kept_at))


encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(Entry).decode
