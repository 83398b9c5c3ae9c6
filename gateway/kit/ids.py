"""Identifiers with OpenAI's prefixes (contract section 0)."""

import os
import secrets
import string
import time

ALPHABET = string.ascii_letters + string.digits
LENGTH = 24
"""62^24 is 143 bits: collisions need no thought."""


def new_id(prefix: str, length: int = LENGTH) -> str:
    """A random identifier such as `file-` + 24 letters and digits."""
    return prefix + "".join(secrets.choice(ALPHABET) for _ in range(length))


def new_request_id() -> str:
    """`req_` + 32 hex digits that sort by time: 48 bits of milliseconds, 80 random bits (the shape of a UUIDv7).

    It names the exchange too, so the log is inserted in index order.
    """
    milliseconds = time.time_ns() // 1_000_000
    return f"req_{milliseconds:012x}{os.urandom(10).hex()}"


def new_secret(prefix: str) -> str:
    """A credential of 256 random bits, shown once and stored only as a hash."""
    return prefix + secrets.token_urlsafe(32)
