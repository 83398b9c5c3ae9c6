"""/v1/sessions: signing in and out"""

from datetime import timedelta
from typing import Any

import httpx
import msgspec
import pytest
from argon2 import PasswordHasher
from sqlalchemy import select, update

from gateway.app import App
from gateway.db.tables import SessionRow, UserRow
from gateway.kit.clock import now
from gateway.services import Services
from gateway.settings import ConsoleSettings, Settings
from tests.gateway.people import PASSWORD, SESSIONS, USERS, add, audit, browser, join, sign_in, try_sign_in
from tests.gateway.test_errors import error_in

pytestmark = pytest.mark.anyio

EMAIL = "a@example.com"
ELSEWHERE = "https://evil.example"


@pytest.fixture
async def person(admin: httpx.AsyncClient) -> dict[str, Any]:
    return await add(admin, EMAIL, "owner", name="Ada")


def cookies(answer: httpx.Response) -> dict[str, str]:
    """Name -> its whole Set-Cookie line."""
    return {line.partition("=")[0]: line for line in answer.headers.get_list("set-cookie")}


async def change(sv: Services, **values: Any) -> None:
    """Every session's row."""
    async with sv.database.session() as session:
        await session.execute(update(SessionRow).values(**values))


class TestSigningIn:
    async def test_tells_who_one_is(
        self, app: App, person: dict[str, Any], admin: httpx.AsyncClient, project_key: dict[str, str]
    ) -> None:
        await join(admin, project_key["project_id"], person["id"], "member")
        async with browser(app, **{"user-agent": "Firefox"}) as client:
            made = await sign_in(client, " A@Example.com ")
            assert (made["object"], made["current"], made["user_agent"]) == ("session", True, "Firefox")
            assert (made["user"]["email"], made["user"]["role"]) == (EMAIL, "owner")
            [project] = made["user"]["projects"]["data"]
            assert project == {"id": project_key["project_id"], "name": "first", "role": "member"}
            assert (await client.get(f"{SESSIONS}/current")).json() == made
        [entry] = await audit(admin, "login.succeeded")
        assert entry["actor"]["type"] == "session"
        assert entry["actor"]["session"]["user"] == {"id": person["id"], "email": EMAIL}
        assert entry["actor"]["session"]["ip_address"] == "127.0.0.1"

    async def test_puts_the_token_where_no_script_reads_it(self, app: App, sv: Services, person: Any) -> None:
        async with browser(app) as client:
            answer = await try_sign_in(client, EMAIL)
        line = cookies(answer)["tuneway_session"]
        assert {"HttpOnly", "Path=/", "SameSite=lax"} <= set(line.split("; "))
        assert "Secure" not in line
        token = line.partition("=")[2].partition(";")[0]
        assert len(token) >= 43  # 256 bits in base64
        assert token not in answer.text
        async with sv.database.session() as session:
            [row] = await session.scalars(select(SessionRow))
        assert token.encode() not in row.token_hash
        assert len(row.token_hash) == 32

    async def test_a_session_ends_the_one_before_in_that_browser(self, app: App, sv: Services, person: Any) -> None:
        async with browser(app) as client:
            await sign_in(client, EMAIL)
            await sign_in(client, EMAIL)
            assert len((await client.get(SESSIONS)).json()["data"]) == 1
        async with sv.database.session() as session:
            ended = [row.ended_at is not None for row in await session.scalars(select(SessionRow))]
        assert sorted(ended) == [False, True]

    async def test_says_the_same_whatever_is_wrong(self, app: App, person: Any, admin: httpx.AsyncClient) -> None:
        await admin.post(USERS, json={"email": "sso@example.com"})  # has no password
        async with browser(app) as client:
            answers = [
                await try_sign_in(client, email, password)
                for email, password in (
                    (EMAIL, "not the password"),
                    (EMAIL, "x" * 5000),
                    ("nobody@example.com", PASSWORD),
                    ("sso@example.com", PASSWORD),
                )
            ]
            errors = [error_in(answer, 401) for answer in answers]
            assert all(error == errors[0] for error in errors)
            assert errors[0]["code"] == "invalid_credentials"
            assert not any(cookies(answer) for answer in answers)

    async def test_does_the_same_work_for_whom_nobody_knows(
        self, app: App, sv: Services, person: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        hashes: list[str] = []
        verify = sv.passwords._verify  # pyright: ignore[reportPrivateUsage]
        monkeypatch.setattr(sv.passwords, "_verify", lambda hashed, word: hashes.append(hashed) or verify(hashed, word))
        async with browser(app) as client:
            await try_sign_in(client, EMAIL, "not the password")
            await try_sign_in(client, "nobody@example.com", "not the password")
        costs = [hashed.split("$")[1:4] for hashed in hashes]
        assert len(costs) == 2
        assert costs[0] == costs[1]

    async def test_a_failure_is_in_the_audit_log(self, app: App, person: Any, admin: httpx.AsyncClient) -> None:
        async with browser(app) as client:
            await try_sign_in(client, EMAIL, "not the password")
            await try_sign_in(client, "my password, not my email", PASSWORD)
        stranger, known = await audit(admin, "login.failed")
        assert known["login.failed"]["error_code"] == "invalid_credentials"
        assert known["actor"]["session"]["user"]["email"] == EMAIL
        assert "my password" not in str(stranger)

    async def test_a_hash_of_weaker_parameters_is_made_anew(self, app: App, sv: Services, person: Any) -> None:
        weak = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)
        async with sv.database.session() as session:
            await session.execute(update(UserRow).values(password_hash=weak))
        async with browser(app) as client:
            await sign_in(client, EMAIL)
            async with sv.database.session() as session:
                renewed = await session.scalar(select(UserRow.password_hash))
            assert renewed != weak
            assert "m=64,t=1,p=1" in (renewed or "")
            await sign_in(client, EMAIL)

    @pytest.mark.parametrize(
        ("headers", "status"),
        [
            ({"origin": ELSEWHERE}, 403),
            ({"sec-fetch-site": "cross-site"}, 403),
            ({"sec-fetch-site": "same-site"}, 403),
            ({"origin": "null"}, 403),
            ({"content-type": "text/plain"}, 400),
            ({"content-type": "application/x-www-form-urlencoded"}, 400),
            ({"content-type": "application/json; charset=utf-8"}, 200),
        ],
    )
    async def test_is_not_done_by_another_sites_page(
        self, app: App, person: Any, headers: dict[str, str], status: int
    ) -> None:
        body = f'{{"email": "{EMAIL}", "password": "{PASSWORD}"}}'
        async with browser(app) as client:
            answer = await client.post(SESSIONS, content=body, headers={"content-type": "application/json"} | headers)
        assert answer.status_code == status
        assert bool(cookies(answer)) is (status == 200)


class TestASession:
    @pytest.mark.parametrize(
        "over",
        [
            {"expires_at": now() - timedelta(seconds=1)},
            {"seen_at": now() - timedelta(hours=12, seconds=1)},
            {"ended_at": now()},
        ],
        ids=lambda over: next(iter(over)),
    )
    async def test_is_over_when_it_is_old_or_idle_or_ended(
        self, app: App, sv: Services, person: Any, over: dict[str, Any]
    ) -> None:
        async with browser(app) as client:
            await sign_in(client, EMAIL)
            assert (await client.get(USERS)).status_code == 200
            await change(sv, **over)
            assert error_in(await client.get(USERS), 401)["code"] == "session_ended"

    async def test_of_somebody_who_was_deleted_is_none(self, app: App, sv: Services, person: Any) -> None:
        async with browser(app) as client:
            await sign_in(client, EMAIL)
            async with sv.database.session() as session:
                await session.execute(update(UserRow).values(deleted_at=now()))
            error_in(await client.get(USERS), 401)

    async def test_is_kept_alive_by_calls(self, app: App, sv: Services, person: Any) -> None:
        async with browser(app) as client:
            await sign_in(client, EMAIL)
            await change(sv, seen_at=now() - timedelta(hours=11))
            await client.get(USERS)
            async with sv.database.session() as session:
                seen = await session.scalar(select(SessionRow.seen_at))
            assert seen is not None
            assert now() - seen < timedelta(minutes=5)

    async def test_lasts_as_long_as_its_cookie(self, app: App, sv: Services, person: Any) -> None:
        async with browser(app) as client:
            answer = await try_sign_in(client, EMAIL)
        assert f"Max-Age={sv.settings.sign_in.session_seconds}" in cookies(answer)["tuneway_session"]
        shown = answer.json()
        assert shown["expires_at"] - shown["created_at"] == sv.settings.sign_in.session_seconds

    async def test_a_key_wins_over_a_cookie(self, app: App, person: Any, project_key: dict[str, str]) -> None:
        async with browser(app, authorization=f"Bearer {project_key['value']}") as client:
            await sign_in(client, EMAIL)
            error_in(await client.get(USERS), 403)

    async def test_made_up_tokens_are_none(self, app: App) -> None:
        async with browser(app) as client:
            client.cookies.set("tuneway_session", "x" * 43)
            assert error_in(await client.get(f"{SESSIONS}/current"), 401)["code"] == "session_ended"

    async def test_has_no_project_of_its_own(self, app: App, person: Any) -> None:
        async with browser(app) as client:
            await sign_in(client, EMAIL)
            assert error_in(await client.get("/v1/models"), 400)["param"] == "OpenAI-Project"


class TestChangesWithACookie:
    @pytest.mark.parametrize(
        "headers",
        [
            {"x-csrf-token": ""},
            {"x-csrf-token": "0" * 64},
            {"origin": ELSEWHERE},
            {"origin": "http://gateway.evil.example"},
            {"sec-fetch-site": "cross-site"},
        ],
        ids=str,
    )
    async def test_need_the_token_and_our_origin(self, app: App, person: Any, headers: dict[str, str]) -> None:
        async with browser(app) as client:
            await sign_in(client, EMAIL)
            body = {"email": "b@example.com"}
            assert error_in(await client.post(USERS, json=body, headers=headers), 403)["code"] == "csrf"
            assert (await client.get(USERS, headers=headers)).status_code == 200
            assert (await client.post(USERS, json=body)).status_code == 200

    async def test_need_to_say_where_they_come_from(self, app: App, person: Any) -> None:
        async with browser(app) as client:
            await sign_in(client, EMAIL)
            del client.headers["origin"], client.headers["sec-fetch-site"]
            assert error_in(await client.delete(f"{SESSIONS}/current"), 403)["code"] == "csrf"

    async def test_do_not_take_another_sessions_token(self, app: App, person: Any) -> None:
        async with browser(app) as one, browser(app) as other:
            token = (await sign_in(one, EMAIL))["csrf_token"]
            await sign_in(other, EMAIL)
            answer = await other.delete(f"{SESSIONS}/current", headers={"x-csrf-token": token})
            assert error_in(answer, 403)["code"] == "csrf"

    async def test_are_free_of_all_that_with_a_key(self, app: App, admin: httpx.AsyncClient) -> None:
        headers = {"origin": ELSEWHERE, "sec-fetch-site": "cross-site"}
        assert (await admin.post(USERS, json={"email": "b@example.com"}, headers=headers)).status_code == 200


class TestSigningOut:
    async def test_ends_the_session_and_its_cookie(self, app: App, person: Any, admin: httpx.AsyncClient) -> None:
        async with browser(app) as client:
            made = await sign_in(client, EMAIL)
            stolen = client.cookies["tuneway_session"]
            answer = await client.delete(f"{SESSIONS}/current")
            assert answer.json() == {"id": made["id"], "object": "session.deleted", "deleted": True}
            assert "tuneway_session" not in client.cookies
            client.cookies.set("tuneway_session", stolen)
            error_in(await client.get(USERS), 401)
        [entry] = await audit(admin, "logout.succeeded")
        assert entry["actor"]["session"]["user"]["id"] == person["id"]

    async def test_ends_ones_session_elsewhere(self, app: App, person: Any) -> None:
        async with browser(app) as here, browser(app) as there:
            first, second = await sign_in(here, EMAIL), await sign_in(there, EMAIL)
            listed = (await here.get(SESSIONS)).json()["data"]
            assert [(each["id"], each["current"]) for each in listed] == [(second["id"], False), (first["id"], True)]
            assert (await here.delete(f"{SESSIONS}/{second['id']}")).status_code == 200
            error_in(await there.get(USERS), 401)
            assert (await here.get(USERS)).status_code == 200

    async def test_leaves_others_sessions_alone(self, app: App, person: Any, admin: httpx.AsyncClient) -> None:
        await add(admin, "b@example.com")
        async with browser(app) as one, browser(app) as other:
            await sign_in(one, EMAIL)
            theirs = await sign_in(other, "b@example.com")
            assert error_in(await one.delete(f"{SESSIONS}/{theirs['id']}"), 404)["param"] == "session_id"
            assert theirs["id"] not in (await one.get(SESSIONS)).text
            assert (await other.get(USERS)).status_code == 200

    async def test_a_key_has_no_sessions(self, admin: httpx.AsyncClient) -> None:
        for path in ("", "/current"):
            assert "signed in" in error_in(await admin.get(SESSIONS + path), 403)["message"]


class TestBehindAProxy:
    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        return msgspec.structs.replace(settings, console=ConsoleSettings(trusted_proxies=("127.0.0.1",)))

    async def test_the_client_is_who_the_proxy_says(self, app: App, person: Any, admin: httpx.AsyncClient) -> None:
        forwarded = {"x-forwarded-for": "203.0.113.9, 198.51.100.7", "x-forwarded-proto": "https"}
        async with browser(app, origin="https://gateway", **forwarded) as client:
            answer = await try_sign_in(client, EMAIL)
        assert answer.json()["ip_address"] == "198.51.100.7"
        assert all("Secure" in line for line in cookies(answer).values())
        [entry] = await audit(admin, "login.succeeded")
        assert entry["actor"]["session"]["ip_address"] == "198.51.100.7"


class TestWithoutAProxy:
    async def test_nobody_says_who_they_are(self, app: App, person: Any, admin: httpx.AsyncClient) -> None:
        forwarded = {"x-forwarded-for": "198.51.100.7", "x-forwarded-proto": "https"}
        async with browser(app, **forwarded) as client:
            answer = await try_sign_in(client, EMAIL)
        assert answer.json()["ip_address"] == "127.0.0.1"
        assert "Secure" not in cookies(answer)["tuneway_session"]
        await admin.post(USERS, json={"email": "b@example.com"}, headers=forwarded)
        assert {entry["actor"]["api_key"]["ip_address"] for entry in await audit(admin, "user.added")} == {"127.0.0.1"}
