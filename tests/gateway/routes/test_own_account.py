"""/v1/sessions/current/...: one's own name, password and authenticator"""

from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import msgspec
import pytest
from pyotp.totp import TOTP
from sqlalchemy import select, update

from gateway.app import App
from gateway.db.tables import UserRow
from gateway.routes import own_account
from gateway.services import Services
from gateway.settings import Secret, Settings
from tests.gateway.people import PASSWORD, SESSIONS, USERS, add, audit, browser, sign_in, try_sign_in
from tests.gateway.test_errors import error_in

pytestmark = pytest.mark.anyio

EMAIL = "a@example.com"
TOTP_URL = f"{SESSIONS}/current/totp"
OTHER = "a password of another kind"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return msgspec.structs.replace(settings, encryption_key=Secret("ab" * 32))


@pytest.fixture
async def person(admin: httpx.AsyncClient) -> dict[str, Any]:
    return await add(admin, EMAIL, "owner")


async def switch_on(client: httpx.AsyncClient, sv: Services) -> tuple[TOTP, list[str]]:
    """The authenticator and the recovery codes of whoever is signed in. The code that confirmed it is forgotten, so that a
    test need not wait for the next."""
    made = (await client.post(TOTP_URL, json={"password": PASSWORD})).json()
    app = TOTP(made["secret"])
    answer = await client.post(f"{TOTP_URL}/confirm", json={"code": app.now()})
    assert answer.status_code == 200, answer.text
    await forget_step(sv)
    return app, answer.json()["recovery_codes"]


async def forget_step(sv: Services) -> None:
    async with sv.database.session() as session:
        await session.execute(update(UserRow).values(totp_last_step=None))


class TestReset:
    """An owner's new password for somebody keeps out whoever knows the old one, whatever they have on the way."""

    @pytest.mark.parametrize(
        ("url", "body"),
        [
            (f"{SESSIONS}/current/password", {"current_password": PASSWORD, "password": OTHER}),
            (TOTP_URL, {"password": PASSWORD}),
        ],
    )
    async def test_in_the_middle_of_a_change(
        self, app: App, person: Any, admin: httpx.AsyncClient, sv: Services, monkeypatch: pytest.MonkeyPatch,
        url: str, body: dict[str, Any],
    ) -> None:  # fmt: skip
        prove = own_account._prove

        async def then_reset(*given: Any, **named: Any) -> Any:
            proved = await prove(*given, **named)
            answer = await admin.post(
                f"{USERS}/{person['id']}/password", json={"password": "one of the owner's choice"}
            )
            assert answer.status_code == 200, answer.text
            return proved

        monkeypatch.setattr(own_account, "_prove", then_reset)
        async with browser(app) as client:
            await sign_in(client, EMAIL)
            assert "just been changed" in error_in(await client.post(url, json=body), 401)["message"]
        async with sv.database.session() as session:
            row = (await session.scalars(select(UserRow).where(UserRow.id == person["id"]))).one()
        assert await sv.passwords.verify(row.password_hash, "one of the owner's choice")
        assert row.totp_secret is None


class TestName:
    URL = f"{SESSIONS}/current/name"

    async def test_is_what_others_see_and_the_audit_log_tells(
        self, app: App, person: Any, admin: httpx.AsyncClient
    ) -> None:
        async with browser(app) as client:
            await sign_in(client, EMAIL)
            changed = (await client.post(self.URL, json={"name": "  Ada Lovelace "})).json()
        assert (changed["name"], changed["id"]) == ("Ada Lovelace", person["id"])
        assert (await admin.get(f"{USERS}/{person['id']}")).json()["name"] == "Ada Lovelace"
        told = (await audit(admin, "user.updated"))[0]
        assert told["user.updated"] == {"id": person["id"], "changes_requested": {"name": "Ada Lovelace"}}

    async def test_empty_is_the_beginning_of_the_email(self, app: App, person: Any) -> None:
        async with browser(app) as client:
            await sign_in(client, EMAIL)
            assert (await client.post(self.URL, json={"name": " "})).json()["name"] == "a"

    @pytest.mark.parametrize("body", [{"name": "n" * 201}, {"name": None}, {}, {"name": "x", "role": "owner"}])
    async def test_what_is_wrong_changes_nothing(
        self, app: App, person: Any, admin: httpx.AsyncClient, body: dict[str, Any]
    ) -> None:
        async with browser(app) as client:
            await sign_in(client, EMAIL)
            error_in(await client.post(self.URL, json=body), 400)
        assert (await admin.get(f"{USERS}/{person['id']}")).json()["name"] == person["name"]

    async def test_is_a_readers_own_too_and_no_keys(self, app: App, admin: httpx.AsyncClient) -> None:
        await add(admin, "r@example.com")
        async with browser(app) as client:
            await sign_in(client, "r@example.com")
            assert (await client.post(self.URL, json={"name": "R"})).status_code == 200
        error_in(await admin.post(self.URL, json={"name": "R"}), 403)


class TestPassword:
    async def test_changes_and_ends_other_sessions(self, app: App, person: Any) -> None:
        async with browser(app) as here, browser(app) as there:
            await sign_in(here, EMAIL)
            await sign_in(there, EMAIL)
            body = {"current_password": PASSWORD, "password": OTHER}
            assert (await here.post(f"{SESSIONS}/current/password", json=body)).status_code == 200
            assert (await here.get(USERS)).status_code == 200
            error_in(await there.get(USERS), 401)
            error_in(await try_sign_in(there, EMAIL), 401)
            await sign_in(there, EMAIL, OTHER)

    async def test_takes_the_old_one_and_the_rules(self, app: App, person: Any) -> None:
        async with browser(app) as client:
            await sign_in(client, EMAIL)
            for current, new, param in (("wrong", OTHER, "current_password"), (PASSWORD, "short", "password")):
                body = {"current_password": current, "password": new}
                error = error_in(await client.post(f"{SESSIONS}/current/password", json=body), 400)
                assert error["param"] == param

    async def test_cannot_be_guessed_from_an_open_session(self, app: App, person: Any) -> None:
        async with browser(app) as client:
            await sign_in(client, EMAIL)
            statuses = [
                (await client.post(TOTP_URL, json={"password": f"guess {number}"})).status_code for number in range(6)
            ]
            assert statuses == [400] * 5 + [429]
            assert (await client.post(TOTP_URL, json={"password": PASSWORD})).status_code == 429

    async def test_without_one_an_owner_must_set_it(self, app: App, sv: Services, person: Any) -> None:
        async with browser(app) as client:
            await sign_in(client, EMAIL)
            async with sv.database.session() as session:
                await session.execute(update(UserRow).values(password_hash=None))
            error_in(await client.post(TOTP_URL, json={"password": PASSWORD}), 403)


class TestTotp:
    async def test_is_asked_for_once_a_code_was_shown(self, app: App, sv: Services, person: Any) -> None:
        async with browser(app) as client, browser(app) as other:
            await sign_in(client, EMAIL)
            made = (await client.post(TOTP_URL, json={"password": PASSWORD})).json()
            uri = urlsplit(made["uri"])
            assert (uri.scheme, uri.netloc, parse_qs(uri.query)["secret"]) == ("otpauth", "totp", [made["secret"]])
            await sign_in(other, EMAIL)  # not confirmed yet
            error_in(await client.post(f"{TOTP_URL}/confirm", json={"code": "abc"}), 400)
            answer = await client.post(f"{TOTP_URL}/confirm", json={"code": TOTP(made["secret"]).now()})
            assert len(set(answer.json()["recovery_codes"])) == 10
            error_in(await other.get(USERS), 401)  # it began without a code
            assert error_in(await try_sign_in(other, EMAIL), 401)["code"] == "totp_required"
            current = (await client.get(f"{SESSIONS}/current")).json()
            assert (current["user"]["totp"], current["recovery_codes_left"]) == (True, 10)

    async def test_a_code_is_good_once(self, app: App, sv: Services, person: Any) -> None:
        async with browser(app) as client:
            await sign_in(client, EMAIL)
            authenticator, _ = await switch_on(client, sv)
            code = authenticator.now()
            await sign_in(client, EMAIL, code=code)
            assert error_in(await try_sign_in(client, EMAIL, code=code), 401)["code"] == "invalid_credentials"

    async def test_the_code_that_confirmed_it_is_used_up(self, app: App, person: Any) -> None:
        async with browser(app) as client:
            await sign_in(client, EMAIL)
            secret = (await client.post(TOTP_URL, json={"password": PASSWORD})).json()["secret"]
            code = TOTP(secret).now()
            await client.post(f"{TOTP_URL}/confirm", json={"code": code})
            error_in(await try_sign_in(client, EMAIL, code=code), 401)

    async def test_a_wrong_code_says_no_more_than_a_wrong_password(self, app: App, sv: Services, person: Any) -> None:
        async with browser(app) as client:
            await sign_in(client, EMAIL)
            await switch_on(client, sv)
            for password, code in ((PASSWORD, "000000x"), ("not the password", "000000")):
                answer = await try_sign_in(client, EMAIL, password, code=code)
                assert error_in(answer, 401)["code"] == "invalid_credentials"

    async def test_a_recovery_code_is_good_once_however_it_is_typed(self, app: App, sv: Services, person: Any) -> None:
        async with browser(app) as client:
            await sign_in(client, EMAIL)
            _, codes = await switch_on(client, sv)
            made = await sign_in(client, EMAIL, code=codes[0].upper().replace("-", " "))
            assert made["recovery_codes_left"] == 9
            error_in(await try_sign_in(client, EMAIL, code=codes[0]), 401)
            await sign_in(client, EMAIL, code=codes[1])

    async def test_codes_and_secrets_are_not_stored_as_they_are(self, app: App, sv: Services, person: Any) -> None:
        async with browser(app) as client:
            await sign_in(client, EMAIL)
            authenticator, codes = await switch_on(client, sv)
        async with sv.database.session() as session:
            user = await session.scalar(select(UserRow))
        assert user is not None
        assert authenticator.secret.encode() not in (user.totp_secret or b"")
        assert not {code.replace("-", "") for code in codes} & set(user.recovery_codes)

    async def test_is_switched_off_with_password_and_code(self, app: App, sv: Services, person: Any) -> None:
        async with browser(app) as client:
            await sign_in(client, EMAIL)
            authenticator, _ = await switch_on(client, sv)
            url = f"{TOTP_URL}/disable"
            for password, code in ((PASSWORD, "000000x"), (PASSWORD, None), ("wrong", authenticator.now())):
                error_in(await client.post(url, json={"password": password, "code": code}), 400)
            answer = await client.post(url, json={"password": PASSWORD, "code": authenticator.now()})
            assert answer.json()["totp"] is False
            await sign_in(client, EMAIL)

    async def test_codes_cannot_be_guessed_by_who_has_the_password_and_the_session(
        self, app: App, sv: Services, person: Any
    ) -> None:
        async with browser(app) as client:
            await sign_in(client, EMAIL)
            await switch_on(client, sv)
            body = {"password": PASSWORD, "code": "000000x"}
            statuses = [(await client.post(f"{TOTP_URL}/disable", json=body)).status_code for _ in range(7)]
            assert statuses[0] == 400
            assert statuses[-1] == 429

    async def test_an_owner_resets_it(self, app: App, sv: Services, person: Any, admin: httpx.AsyncClient) -> None:
        async with browser(app) as client:
            await sign_in(client, EMAIL)
            await switch_on(client, sv)
            answer = await admin.delete(f"{USERS}/{person['id']}/totp")
            assert answer.json()["totp"] is False
            error_in(await client.get(USERS), 401)
            await sign_in(client, EMAIL)

    async def test_is_not_begun_anew_while_it_is_on(self, app: App, sv: Services, person: Any) -> None:
        async with browser(app) as client:
            await sign_in(client, EMAIL)
            authenticator, _ = await switch_on(client, sv)
            error_in(await client.post(TOTP_URL, json={"password": PASSWORD}), 409)
            error_in(await client.post(f"{TOTP_URL}/confirm", json={"code": authenticator.now()}), 400)


class TestWithoutAnEncryptionKey:
    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        return msgspec.structs.replace(settings, encryption_key=Secret(""))

    async def test_totp_says_what_is_missing(self, app: App, person: Any) -> None:
        async with browser(app) as client:
            await sign_in(client, EMAIL)
            error = error_in(await client.post(TOTP_URL, json={"password": PASSWORD}), 409)
            assert "encryption_key" in error["message"]
