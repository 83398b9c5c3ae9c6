"""Passwords: argon2id, in threads, a few at a time."""

import asyncio
import unicodedata
from base64 import b64encode
from collections.abc import Callable
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.profiles import RFC_9106_LOW_MEMORY

from gateway.errors import InvalidRequest, Unavailable

T = TypeVar("T")

PARAMETERS = RFC_9106_LOW_MEMORY
"""The second recommended option of RFC 9106, section 4: 64 MiB of memory, 3 passes, 4 lanes. A hash that was made with
others is made anew when its password is seen the next time."""
MIN_LENGTH = 12
"""In characters."""
MAX_BYTES = 1024
CONCURRENCY = 2
"""64 MiB and four threads each."""
WAITING = 64
"""Those that wait for their turn; more are refused at once."""


class Passwords:
    """Hashes and checks them without holding up the event loop."""

    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        self._hasher = hasher or PasswordHasher.from_parameters(PARAMETERS)
        self._turns = asyncio.Semaphore(CONCURRENCY)
        self._waiting = 0
        self._nobodys = _nobodys(self._hasher)

    async def hash(self, password: str) -> str:
        """Raises Unavailable when too many wait."""
        return await self._in_turn(self._hasher.hash, _normal(password))

    async def verify(self, hashed: str | None, password: str) -> bool:
        """Whether it is the password. With None the same work is done, for nothing: the time that an answer takes tells
        nobody which accounts exist.

        Raises:
            Unavailable: too many wait.
        """
        if len(password.encode()) > MAX_BYTES:
            password = ""
        right = await self._in_turn(self._verify, hashed or self._nobodys, _normal(password))
        return right and hashed is not None

    def is_outdated(self, hashed: str) -> bool:
        """Whether it was made with other parameters than today's."""
        return self._hasher.check_needs_rehash(hashed)

    def _verify(self, hashed: str, password: str) -> bool:
        try:
            return self._hasher.verify(hashed, password)
        except (VerificationError, InvalidHashError):
            return False

    async def _in_turn(self, work: Callable[..., T], *arguments: str) -> T:
        if self._waiting >= WAITING:
            raise Unavailable("Many people are signing in at this moment; please try again.", retry_after=5)
        self._waiting += 1
        try:
            async with self._turns:
                return await asyncio.to_thread(work, *arguments)
        finally:
            self._waiting -= 1


def check_rules(password: str, email: str, *, param: str = "password") -> None:
    """Length counts, composition does not (NIST SP 800-63B, section 5.1.1.2).

    Raises:
        InvalidRequest: it is too short, too long, or the email.
    """
    if len(password.encode()) > MAX_BYTES:
        raise InvalidRequest(f"Invalid '{param}': at most {MAX_BYTES} bytes are possible.", param=param)
    if len(_normal(password)) < MIN_LENGTH:
        raise InvalidRequest(f"Invalid '{param}': at least {MIN_LENGTH} characters are needed.", param=param)
    if _normal(password).casefold() in (email.casefold(), email.partition("@")[0].casefold()):
        raise InvalidRequest(f"Invalid '{param}': it is the email.", param=param)


def _normal(password: str) -> str:
    """However the keyboard composed its characters."""
    return unicodedata.normalize("NFKC", password)


def _nobodys(hasher: PasswordHasher) -> str:
    """A hash with today's parameters that no password has."""
    salt = b64encode(bytes(hasher.salt_len)).rstrip(b"=").decode()
    tag = b64encode(bytes(hasher.hash_len)).rstrip(b"=").decode()
    cost = f"m={hasher.memory_cost},t={hasher.time_cost},p={hasher.parallelism}"
    return f"$argon2id$v=19${cost}${salt}${tag}"
