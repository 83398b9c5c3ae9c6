"""Guessing passwords and codes is slow: after some failures, a lock that doubles with each further one.

Counted are these things, in PostgreSQL, so that every process counts the same:

* `account:`, by the email that was sent, whether somebody has it or not: else a lock would tell who exists;
* `address:`, because one stranger may try one password on many accounts;
* `device:`, a browser that has signed in to that account before and proves it with a cookie. It is counted by itself, and
  neither the account's lock nor the address's holds it: a stranger cannot keep the owner out (OWASP, "Device cookies");
* `session:`, what somebody sends who is signed in, and `return:`, those who come back from an identity provider.

An attempt counts as a failure before its password is looked at, and is taken back when it was right: so that many at once
get no more tries than one after the other. While a lock holds, no password is looked at, and the lock gets no longer.
"""

import hmac
import math
import secrets
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from sqlalchemy import delete, func, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.access.source import Source
from gateway.db.tables import SignInFailureRow
from gateway.errors import TooManyAttempts
from gateway.kit.clock import now
from gateway.kit.keyed_hash import keyed_hash
from gateway.settings import SignInSettings

DEVICE_COOKIE = "tuneway_device"
FORGOTTEN = timedelta(hours=1)
"""Failures count together when they are no further apart than this; after a lock, from its end."""

FORGOTTEN_AT_ONCE = 100
DOUBLINGS = 30
COUNT = text("""
INSERT INTO sign_in_failures AS f (subject, failures, failed_at) VALUES (:subject, 1, :moment)
ON CONFLICT (subject) DO UPDATE SET
    failures = CASE WHEN greatest(f.failed_at, f.locked_until) < :forgotten THEN 1 ELSE f.failures + 1 END,
    failed_at = :moment, locked_until = NULL
WHERE f.locked_until IS NULL OR f.locked_until <= :moment
RETURNING failures
""")
"""One statement, so that attempts at the same time are counted one after the other. No row: it is locked."""

Subjects = Mapping[str, int]
"""What is counted, and how many failures it may have."""


def subjects(email: str, source: Source, device: str | None, limits: SignInSettings, secret_key: str) -> Subjects:
    """What an attempt to sign in counts against.

    Args:
        device: value of the device cookie, if the browser sent one.
    """
    if device is not None and (name := _device_of(device, email, secret_key)):
        return {f"device:{name}": limits.failures}
    account = keyed_hash(email, secret_key, "account").hex()
    return {f"account:{account}": limits.failures, f"address:{source.network}": limits.address_failures}


def of_session(session_id: str, limits: SignInSettings) -> Subjects:
    """What a wrong password counts against that somebody sends who is signed in."""
    return {f"session:{session_id}": limits.failures}


def of_return(source: Source, limits: SignInSettings) -> Subjects:
    """What a return from the identity provider counts against that signs nobody in: anybody can send any number of them, and each
    is asked about and written down."""
    return {f"return:{source.network}": limits.address_failures}


async def attempt(session: AsyncSession, counted: Subjects, limits: SignInSettings) -> None:
    """Count an attempt as a failure. Its transaction must end before the password is looked at.

    Raises:
        TooManyAttempts: one of the subjects is locked; then the transaction is rolled back, and nothing is counted.
    """
    moment = now()
    await _forget(session, moment)
    for subject, allowed in sorted(counted.items()):  # in one order: two attempts cannot wait for each other
        failures = await session.scalar(COUNT, {"subject": subject, "moment": moment, "forgotten": moment - FORGOTTEN})
        if failures is None:
            raise TooManyAttempts(await _seconds_left(session, subject, moment))
        if failures >= allowed:
            seconds = min(limits.lock_seconds * 2 ** min(failures - allowed, DOUBLINGS), limits.max_lock_seconds)
            await _set_lock(session, subject, moment + timedelta(seconds=seconds))


async def take_back(session: AsyncSession, counted: Iterable[str]) -> None:
    """An attempt was no failure, but no success either: the code is still missing."""
    row = SignInFailureRow
    for subject in sorted(counted):
        await session.execute(
            update(row)
            .where(row.subject == subject)
            .values(failures=func.greatest(row.failures - 1, 0), locked_until=None)
        )


async def succeeded(session: AsyncSession, counted: Subjects) -> None:
    """Failures of the account or of the browser are forgotten. Those of the address are not, but for this attempt: who
    has one password may still be guessing others."""
    for subject in sorted(counted):
        if subject.startswith("address:"):
            await take_back(session, [subject])
        else:
            await session.execute(delete(SignInFailureRow).where(SignInFailureRow.subject == subject))


async def unlock(session: AsyncSession, email: str, secret_key: str) -> None:
    """An owner has set a new password."""
    account = keyed_hash(email, secret_key, "account").hex()
    await session.execute(delete(SignInFailureRow).where(SignInFailureRow.subject == f"account:{account}"))


def new_device(email: str, secret_key: str) -> str:
    """The value of a device cookie for whoever has just signed in."""
    name = secrets.token_urlsafe(18)
    return f"{name}.{_signature(name, email, secret_key)}"


async def _forget(session: AsyncSession, moment: datetime) -> None:
    """Remove some rows that mean nothing any more; those that another attempt holds are left to it."""
    row = SignInFailureRow
    old = select(row.subject).where(func.greatest(row.failed_at, row.locked_until) < moment - FORGOTTEN)
    some = old.limit(FORGOTTEN_AT_ONCE).with_for_update(skip_locked=True)
    await session.execute(delete(row).where(row.subject.in_(some)))


async def _seconds_left(session: AsyncSession, subject: str, moment: datetime) -> int:
    end = await session.scalar(select(SignInFailureRow.locked_until).where(SignInFailureRow.subject == subject))
    return max(1, math.ceil((end - moment).total_seconds())) if end else 1


async def _set_lock(session: AsyncSession, subject: str, until: datetime) -> None:
    row = SignInFailureRow
    await session.execute(update(row).where(row.subject == subject).values(locked_until=until))


def _device_of(cookie: str, email: str, secret_key: str) -> str | None:
    name, _, signature = cookie.partition(".")
    right = hmac.compare_digest(signature.encode(), _signature(name, email, secret_key).encode())
    return name if right else None


def _signature(name: str, email: str, secret_key: str) -> str:
    return keyed_hash(f"{name} {email}", secret_key, "device").hex()
