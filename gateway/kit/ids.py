"""Identifiers with OpenAI's prefixes (contract section 0)."""

import random
import secrets
import string
import time

ALPHABET = string.ascii_letters + string.digits
LENGTH = 24
"""62^24 is 143 bits: collisions need no thought."""
NANOSECONDS = 10**9
LAST_NANOSECOND = 2**64 - 1
"""In the year 2554; what is later has no more than sixteen digits either, so that it still sorts behind."""


def new_id(prefix: str, length: int = LENGTH) -> str:
    """A random identifier such as `file-` + 24 letters and digits."""
    return prefix + "".join(secrets.choice(ALPHABET) for _ in range(length))


def new_request_id() -> str:
    """`req_` + 32 hex digits that sort by time: 64 bits of nanoseconds, 64 random bits.

    It names the exchange too, so the log is inserted and listed in the order of the calls.
    """
    return new_sorted_id("req_")


def new_sorted_id(prefix: str) -> str:
    """`prefix` + 32 hex digits that sort by time: 64 bits of nanoseconds, 64 random bits."""
    return f"{prefix}{time.time_ns():016x}{random.getrandbits(64):016x}"


def first_request_id(second: int) -> str:
    """What sorts before every request id that is made in that Unix second or later, and behind all earlier ones."""
    return f"req_{min(max(second * NANOSECONDS, 0), LAST_NANOSECOND):016x}"


def new_secret(prefix: str) -> str:
    """A credential of 256 random bits, shown once and stored only as a hash."""
    return prefix + secrets.token_urlsafe(32)
