"""Locks: what they count, how long they hold, and whom they do not hold."""

import asyncio
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import httpx
import msgspec
import pytest
from sqlalchemy import select, update

from gateway.access import lock_out
from gateway.access.lock_out import DEVICE_COOKIE
from gateway.access.source import Source
from gateway.app import App
from gateway.db.database import Database
from gateway.db.tables import SignInFailureRow
from gateway.errors import TooManyAttempts
from gateway.kit.clock import now
from gateway.services import Services
from gateway.settings import Settings, SignInSettings
from tests.gateway.people import PASSWORD, SESSIONS, USERS, add, browser, sign_in, try_sign_in
from tests.gateway.test_errors import error_in

pytestmark = pytest.mark.anyio

LIMITS = SignInSettings(failures=3, address_failures=6, lock_seconds=30, max_lock_seconds=100)
EMAIL = "a@example.com"
HERE = Source("192.0.2.1", "", secure=False, host="gateway")
ONE = {"account:one": 3}


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return msgspec.structs.replace(settings, sign_in=LIMITS)


@pytest.fixture
async def person(admin: httpx.AsyncClient) -> dict[str, Any]:
    return await add(admin, EMAIL, "owner")


async def attempt(database: Database, counted: lock_out.Subjects = ONE) -> int | None:
    """Seconds that it is locked; None when it is not."""
    try:
        async with database.session() as session:
            await lock_out.attempt(session, counted, LIMITS)
    except TooManyAttempts as locked:
        return int(locked.headers["retry-after"])
    return None


async def rows(database: Database) -> dict[str, SignInFailureRow]:
    async with database.session() as session:
        return {row.subject: row for row in await session.scalars(select(SignInFailureRow))}


async def let_pass(database: Database, seconds: float) -> None:
    """As if it were so much later."""
    row, by = SignInFailureRow, timedelta(seconds=seconds)
    async with database.session() as session:
        await session.execute(update(row).values(failed_at=row.failed_at - by, locked_until=row.locked_until - by))


async def fail(client: httpx.AsyncClient, times: int, email: str = EMAIL) -> list[int]:
    return [(await try_sign_in(client, email, f"wrong guess {number}")).status_code for number in range(times)]


class TestALock:
    async def test_begins_after_so_many_failures(self, database: Database) -> None:
        assert [await attempt(database) for _ in range(4)] == [None, None, None, 30]

    async def test_doubles_up_to_a_limit(self, database: Database) -> None:
        locks: list[int | None] = []
        for _ in range(3):
            await attempt(database)
        for _ in range(4):
            locks.append(await attempt(database))
            await let_pass(database, 101)
            await attempt(database)
        assert locks == [30, 60, 100, 100]

    async def test_gets_no_longer_by_who_keeps_trying(self, database: Database) -> None:
        for _ in range(20):
            await attempt(database)
        assert (await rows(database))["account:one"].failures == 3
        await let_pass(database, 31)
        assert await attempt(database) is None

    async def test_counts_no_other_subject_while_it_holds(self, database: Database) -> None:
        for _ in range(3):
            await attempt(database)
        assert await attempt(database, {"account:one": 3, "address:x": 6}) is not None
        assert "address:x" not in await rows(database)

    async def test_is_forgotten_after_an_hour(self, database: Database) -> None:
        for _ in range(2):
            await attempt(database)
        await let_pass(database, 3601)
        await attempt(database)
        assert (await rows(database))["account:one"].failures == 1

    async def test_many_at_once_get_no_more_tries(self, database: Database) -> None:
        answers = await asyncio.gather(*(attempt(database) for _ in range(12)))
        assert sum(answer is None for answer in answers) == 3

    async def test_two_that_count_the_same_do_not_wait_for_each_other(self, database: Database) -> None:
        there = {"address:a": 100, "account:b": 100}
        back = {"account:b": 100, "address:a": 100}
        await asyncio.gather(*(attempt(database, counted) for counted in [there, back] * 10))
        assert {row.failures for row in (await rows(database)).values()} == {20}

    async def test_old_rows_are_removed(self, database: Database) -> None:
        await attempt(database, {"address:long-ago": 6})
        await let_pass(database, 3601)
        await attempt(database)
        assert set(await rows(database)) == {"account:one"}


class TestWhatIsCounted:
    def named(self, device: str | None = None, email: str = EMAIL, source: Source = HERE) -> Iterable[str]:
        return sorted(name.partition(":")[0] for name in lock_out.subjects(email, source, device, LIMITS, "k" * 40))

    def test_is_the_account_and_the_address(self) -> None:
        assert self.named() == ["account", "address"]

    def test_is_the_browser_alone_that_signed_in_before(self) -> None:
        assert self.named(lock_out.new_device(EMAIL, "k" * 40)) == ["device"]

    def test_a_made_up_or_anothers_cookie_does_not_help(self) -> None:
        another = lock_out.new_device("b@example.com", "k" * 40)
        foreign = lock_out.new_device(EMAIL, "x" * 40)
        for cookie in ("", "x", "x.y", another, foreign):
            assert self.named(cookie) == ["account", "address"]

    def test_an_account_is_not_named(self) -> None:
        assert not any(EMAIL in name for name in lock_out.subjects(EMAIL, HERE, None, LIMITS, "k" * 40))


class TestSigningIn:
    async def test_is_locked_after_failures_with_the_right_password_too(self, app: App, person: Any) -> None:
        async with browser(app) as client:
            assert await fail(client, 4) == [401, 401, 401, 429]
            answer = await try_sign_in(client, EMAIL)
            error = error_in(answer, 429)
            assert error["code"] == "too_many_attempts"
            assert 0 < int(answer.headers["retry-after"]) <= LIMITS.lock_seconds

    async def test_of_nobody_is_locked_alike(self, app: App, person: Any) -> None:
        async with browser(app) as client:
            assert await fail(client, 4, "nobody@example.com") == [401, 401, 401, 429]

    async def test_works_again_after_the_lock(self, app: App, database: Database, person: Any) -> None:
        async with browser(app) as client:
            await fail(client, 3)
            await let_pass(database, 31)
            await sign_in(client, EMAIL)
        assert not any(name.startswith("account:") for name in await rows(database))

    async def test_a_success_begins_the_count_anew(self, app: App, person: Any) -> None:
        async with browser(app) as client:
            await fail(client, 2)
            await sign_in(client, EMAIL)
            client.cookies.clear()
            assert await fail(client, 3) == [401, 401, 401]

    async def test_one_address_cannot_try_many_accounts(self, app: App, person: Any) -> None:
        async with browser(app) as client:
            statuses = [(await fail(client, 1, f"{number}@example.com"))[0] for number in range(8)]
            assert statuses == [401] * 6 + [429, 429]
            assert (await try_sign_in(client, EMAIL)).status_code == 429

    async def test_a_right_password_does_not_wipe_what_its_address_tried(
        self, app: App, database: Database, person: Any
    ) -> None:
        async with browser(app) as client:
            for number in range(4):
                await fail(client, 1, f"{number}@example.com")
            await sign_in(client, EMAIL)
        [address] = [row for name, row in (await rows(database)).items() if name.startswith("address:")]
        assert address.failures == 4

    async def test_a_stranger_cannot_keep_the_owner_out(self, app: App, person: Any) -> None:
        async with browser(app) as owner, browser(app) as stranger:
            await sign_in(owner, EMAIL)
            await owner.delete(f"{SESSIONS}/current")
            await fail(stranger, 5)
            assert (await try_sign_in(stranger, EMAIL)).status_code == 429
            await sign_in(owner, EMAIL)

    async def test_a_browser_that_is_known_is_counted_by_itself(self, app: App, person: Any) -> None:
        async with browser(app) as known, browser(app) as other:
            await sign_in(known, EMAIL)
            assert DEVICE_COOKIE in known.cookies
            assert await fail(known, 4) == [401, 401, 401, 429]
            await sign_in(other, EMAIL)

    async def test_an_owner_unlocks_with_a_new_password(
        self, app: App, database: Database, person: Any, admin: httpx.AsyncClient
    ) -> None:
        async with browser(app) as client:
            await fail(client, 3)
            await admin.post(f"{USERS}/{person['id']}/password", json={"password": PASSWORD + "!"})
            await sign_in(client, EMAIL, PASSWORD + "!")

    async def test_a_missing_code_is_no_failure(self, app: App, sv: Services, database: Database, person: Any) -> None:
        async with browser(app) as client:
            await sign_in(client, EMAIL)
            client.cookies.clear()
            async with sv.database.session() as session:
                from gateway.db.tables import UserRow

                await session.execute(update(UserRow).values(totp_confirmed_at=now()))
            for _ in range(5):
                assert error_in(await try_sign_in(client, EMAIL), 401)["code"] == "totp_required"
