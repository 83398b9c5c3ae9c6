"""/v1/sign_in/oidc against a real OpenID Connect provider (the package oidc-provider-mock) on a loopback port."""

import warnings
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit, urlunsplit

import httpx
import msgspec
import pytest
from sqlalchemy import select

from gateway.app import App
from gateway.db.tables import UserRow
from gateway.services import Services
from gateway.settings import ConsoleSettings, OidcSettings, Secret, Settings
from tests.gateway.people import SESSIONS, USERS, add, audit, browser, sign_in
from tests.gateway.routes.test_invites import invite
from tests.gateway.test_errors import error_in

with warnings.catch_warnings(record=True):  # it still uses a module that authlib wants to give up
    import oidc_provider_mock

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::authlib.deprecate.AuthlibDeprecationWarning"),
    pytest.mark.filterwarnings("ignore:get_jwt_config:DeprecationWarning"),
]

START = "/v1/sign_in/oidc"
EMAIL = "ada@example.com"
CLAIMS = {"email": EMAIL, "email_verified": True, "name": "Ada"}


class Provider:
    """The provider, and people who sign in there."""

    def __init__(self, url: str) -> None:
        self.url = url

    async def knows(self, subject: str, **claims: object) -> None:
        async with httpx.AsyncClient(trust_env=False) as client:
            answer = await client.put(f"{self.url}/users/{subject}", json=CLAIMS | claims)
            assert answer.status_code == 204

    async def visit(self, location: str, subject: str | None = "ada") -> str:
        """Somebody signs in there, or (None) refuses to; where the provider then sends the browser."""
        form = {"sub": subject} if subject else {"action": "deny"}
        async with httpx.AsyncClient(trust_env=False) as client:
            answer = await client.post(location, data=form)
            assert answer.status_code == 302, answer.text
        return answer.headers["location"]


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with oidc_provider_mock.run_server_in_thread() as server:
        yield Provider(f"http://localhost:{server.server_port}")


@pytest.fixture
def oidc(provider: Provider) -> OidcSettings:
    return OidcSettings(issuer=provider.url, client_id="tuneway", client_secret=Secret("s3cret"))


@pytest.fixture
def settings(settings: Settings, oidc: OidcSettings) -> Settings:
    return msgspec.structs.replace(settings, oidc=oidc, console=ConsoleSettings(url="http://gateway"))


@pytest.fixture(autouse=True)
async def known(provider: Provider) -> None:
    await provider.knows("ada")


def changed(url: str, **query: str) -> str:
    """The URL with other parameters."""
    parts = urlsplit(url)
    asked = {name: values[0] for name, values in parse_qs(parts.query).items()} | query
    return urlunsplit(parts._replace(query=urlencode(asked)))


def local(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}"


async def begin(client: httpx.AsyncClient, **query: str) -> str:
    """Where the gateway sends the browser."""
    answer = await client.get(START, params=query)
    assert answer.status_code == 302, answer.text
    return answer.headers["location"]


async def single_sign_on(client: httpx.AsyncClient, provider: Provider, subject: str = "ada") -> httpx.Response:
    """The gateway's answer when the browser comes back."""
    return await client.get(local(await provider.visit(await begin(client), subject)))


class TestTheWayThere:
    async def test_is_offered(self, app: App, provider: Provider) -> None:
        async with browser(app) as client:
            ways = (await client.get("/v1/sign_in")).json()["data"]
        assert [(way["type"], way["url"]) for way in ways] == [("password", SESSIONS), ("oidc", START)]

    async def test_asks_for_a_code_with_pkce_and_a_nonce(self, app: App, provider: Provider) -> None:
        async with browser(app) as client:
            location = await begin(client)
            again = await begin(client)
            cookie = client.cookies["tuneway_oidc"]
        assert location.startswith(f"{provider.url}/oauth2/authorize?")
        query = {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}
        assert query["redirect_uri"] == "http://gateway/v1/sign_in/oidc/callback"
        assert (query["response_type"], query["code_challenge_method"]) == ("code", "S256")
        assert query["scope"].split() == ["openid", "email", "profile"]
        second = {name: values[0] for name, values in parse_qs(urlsplit(again).query).items()}
        for secret in ("state", "nonce", "code_challenge"):
            assert len(query[secret]) >= 43
            assert query[secret] != second[secret]
            assert second[secret] not in cookie

    @pytest.mark.parametrize(
        "return_to",
        [
            "//evil.example",
            "https://evil.example",
            "/\\evil.example",
            "\\/evil.example",
            "/a\nb",
            "javascript:x",
            "/ x",
        ],
    )
    async def test_leads_back_to_us_alone(self, app: App, return_to: str) -> None:
        async with browser(app) as client:
            answer = await client.get(START, params={"return_to": return_to})
        assert error_in(answer, 400)["param"] == "return_to"


class TestTheWayBack:
    async def test_begins_a_session(self, app: App, provider: Provider, admin: httpx.AsyncClient) -> None:
        person = await add(admin, EMAIL, "owner")
        async with browser(app) as client:
            callback = await provider.visit(await begin(client, return_to="/usage?month=11"))
            answer = await client.get(local(callback))
            assert (answer.status_code, answer.headers["location"]) == (302, "/usage?month=11")
            assert "tuneway_oidc" not in client.cookies
            current = (await client.get(f"{SESSIONS}/current")).json()
            assert (current["user"]["id"], current["user"]["single_sign_on"]) == (person["id"], True)
        [entry] = await audit(admin, "login.succeeded")
        assert entry["actor"]["session"]["user"]["email"] == EMAIL

    async def test_knows_who_came_before_though_the_email_changes(
        self, app: App, provider: Provider, admin: httpx.AsyncClient
    ) -> None:
        person = await add(admin, EMAIL)
        async with browser(app) as client:
            assert (await single_sign_on(client, provider)).status_code == 302
            await provider.knows("ada", email="married@example.com")
            assert (await single_sign_on(client, provider)).status_code == 302
            assert (await client.get(f"{SESSIONS}/current")).json()["user"]["id"] == person["id"]

    async def test_an_email_is_not_enough_for_another_account_of_the_provider(
        self, app: App, provider: Provider, admin: httpx.AsyncClient
    ) -> None:
        await add(admin, EMAIL)
        await provider.knows("eve")
        async with browser(app) as client:
            assert (await single_sign_on(client, provider)).status_code == 302
        async with browser(app) as client:
            error_in(await single_sign_on(client, provider, "eve"), 403)

    @pytest.mark.parametrize("verified", [False, None, "false", 1])
    async def test_takes_a_verified_email(
        self, app: App, provider: Provider, admin: httpx.AsyncClient, verified: object
    ) -> None:
        await add(admin, EMAIL)
        await provider.knows("ada", email_verified=verified)
        async with browser(app) as client:
            assert error_in(await single_sign_on(client, provider), 403)["code"] == "email_not_verified"
            assert "tuneway_session" not in client.cookies
        [entry] = await audit(admin, "login.failed")
        assert entry["login.failed"]["error_code"] == "email_not_verified"

    async def test_takes_the_state_of_this_browser(
        self, app: App, provider: Provider, admin: httpx.AsyncClient
    ) -> None:
        await add(admin, EMAIL)
        async with browser(app) as mine, browser(app) as victim:
            callback = local(await provider.visit(await begin(mine)))
            assert error_in(await victim.get(callback), 400)["param"] == "state"
            await begin(victim)  # a flow of its own, with another state
            assert error_in(await victim.get(callback), 400)["param"] == "state"
            assert error_in(await mine.get(changed(callback, state="other")), 400)["param"] == "state"
            assert (await mine.get(callback)).status_code == 302

    async def test_works_once(self, app: App, provider: Provider, admin: httpx.AsyncClient) -> None:
        await add(admin, EMAIL)
        async with browser(app) as client:
            callback = local(await provider.visit(await begin(client)))
            cookie = client.cookies["tuneway_oidc"]
            assert (await client.get(callback)).status_code == 302
            assert error_in(await client.get(callback), 400)["param"] == "state"
            client.cookies.set("tuneway_oidc", cookie)  # somebody kept a copy
            assert error_in(await client.get(callback), 403)["code"] == "sign_in_failed"

    async def test_a_changed_cookie_is_none(self, app: App, provider: Provider) -> None:
        async with browser(app) as client:
            callback = local(await provider.visit(await begin(client)))
            cookie = client.cookies["tuneway_oidc"]
            for value in (cookie[:-8] + "AAAAAAA=", "x", "!" * 40):
                client.cookies.clear()
                client.cookies.set("tuneway_oidc", value)
                assert error_in(await client.get(callback), 400)["param"] == "state"

    async def test_refuses_a_token_with_another_nonce(
        self, app: App, provider: Provider, admin: httpx.AsyncClient
    ) -> None:
        await add(admin, EMAIL)
        async with browser(app) as client:
            callback = await provider.visit(changed(await begin(client), nonce="of-another-sign-in"))
            error = error_in(await client.get(local(callback)), 403)
        assert (error["code"], "nonce" in error["message"]) == ("sign_in_failed", True)

    async def test_refuses_a_code_of_another_client(
        self, app: App, provider: Provider, admin: httpx.AsyncClient
    ) -> None:
        await add(admin, EMAIL)
        async with browser(app) as client:
            callback = await provider.visit(changed(await begin(client), client_id="somebody-else"))
            assert "invalid_grant" in error_in(await client.get(local(callback)), 403)["message"]

    async def test_tells_that_somebody_refused(self, app: App, provider: Provider) -> None:
        async with browser(app) as client:
            location = await begin(client)
            [state] = parse_qs(urlsplit(location).query)["state"]
            callback = changed(await provider.visit(location, None), state=state)  # which it forgets, RFC 6749, 4.1.2.1
            assert "access_denied" in error_in(await client.get(local(callback)), 403)["message"]

    async def test_who_comes_back_again_and_again_is_locked_out(
        self, app: App, provider: Provider, admin: httpx.AsyncClient, sv: Services
    ) -> None:
        """Each is written down, and anybody can begin."""
        allowed = sv.settings.sign_in.address_failures
        async with browser(app) as client:
            [state] = parse_qs(urlsplit(await begin(client)).query)["state"]
            back = {"state": state, "error": "<b>Call 555</b>"}
            found = [(await client.get(f"{START}/callback", params=back)).status_code for _ in range(allowed + 3)]
        assert found == [403] * allowed + [429] * 3
        told = await audit(admin, "login.failed")
        assert len(told) == allowed
        assert "555" not in str(told)

    async def test_ends_the_session_before(self, app: App, provider: Provider, admin: httpx.AsyncClient) -> None:
        await add(admin, EMAIL)
        async with browser(app) as client:
            await sign_in(client, EMAIL)
            await single_sign_on(client, provider)
            assert len((await client.get(SESSIONS)).json()["data"]) == 1


class TestNewPeople:
    async def test_come_in_when_they_are_invited(
        self, app: App, provider: Provider, admin: httpx.AsyncClient, project_key: dict[str, Any]
    ) -> None:
        projects = [{"id": project_key["project_id"], "role": "owner"}]
        await invite(admin, email=EMAIL, role="owner", projects=projects)
        async with browser(app) as client:
            assert (await single_sign_on(client, provider)).status_code == 302
            user = (await client.get(f"{SESSIONS}/current")).json()["user"]
        assert (user["name"], user["role"], user["has_password"]) == ("Ada", "owner", False)
        assert [each["role"] for each in user["projects"]["data"]] == ["owner"]
        assert len(await audit(admin, "invite.accepted")) == 1

    async def test_stay_out_when_they_are_not(self, app: App, provider: Provider, admin: httpx.AsyncClient) -> None:
        async with browser(app) as client:
            assert error_in(await single_sign_on(client, provider), 403)["code"] == "not_invited"
        assert (await admin.get(USERS)).json()["data"] == []

    async def test_who_was_deleted_stays_out(self, app: App, provider: Provider, admin: httpx.AsyncClient) -> None:
        person = await add(admin, EMAIL)
        async with browser(app) as client:
            await single_sign_on(client, provider)
            await admin.delete(f"{USERS}/{person['id']}")
            assert error_in(await single_sign_on(client, provider), 403)["code"] == "not_invited"


class TestNewPeopleOfADomain:
    @pytest.fixture
    def oidc(self, oidc: OidcSettings) -> OidcSettings:
        return msgspec.structs.replace(oidc, new_people="reader", allowed_domains=("Example.com",))

    async def test_come_in(self, app: App, provider: Provider, sv: Services) -> None:
        async with browser(app) as client:
            assert (await single_sign_on(client, provider)).status_code == 302
        async with sv.database.session() as session:
            row = await session.scalar(select(UserRow))
        assert row is not None
        assert (row.email, row.role, row.oidc_issuer, row.oidc_subject) == (EMAIL, "reader", provider.url, "ada")

    @pytest.mark.parametrize("email", ["a@example.com.evil.example", "a@evil.example", "a@sub.example.com", ""])
    async def test_of_others_do_not(self, app: App, provider: Provider, email: str) -> None:
        await provider.knows("ada", email=email)
        async with browser(app) as client:
            error_in(await single_sign_on(client, provider), 403)


class TestAnExpiredToken:
    @pytest.fixture
    def provider(self) -> Iterator[Provider]:
        with oidc_provider_mock.run_server_in_thread(access_token_max_age=timedelta(hours=-2)) as server:
            yield Provider(f"http://localhost:{server.server_port}")

    async def test_is_refused(self, app: App, provider: Provider, admin: httpx.AsyncClient) -> None:
        await add(admin, EMAIL)
        async with browser(app) as client:
            error = error_in(await single_sign_on(client, provider), 403)
        assert "expired" in error["message"]


class TestAProviderThatIsDown:
    @pytest.fixture
    def oidc(self, oidc: OidcSettings) -> OidcSettings:
        return msgspec.structs.replace(oidc, issuer="http://localhost:9")

    async def test_is_503_and_passwords_still_work(self, app: App, admin: httpx.AsyncClient) -> None:
        await add(admin, EMAIL)
        async with browser(app) as client:
            assert error_in(await client.get(START), 503)["code"] == "service_unavailable"
            await sign_in(client, EMAIL)


class TestAProviderThatIsAnother:
    @pytest.fixture
    def oidc(self, oidc: OidcSettings) -> OidcSettings:
        return msgspec.structs.replace(oidc, issuer=oidc.issuer.replace("localhost", "127.0.0.1") + "/")

    async def test_is_not_believed(self, app: App) -> None:
        async with browser(app) as client:
            error_in(await client.get(START), 503)


class TestWithoutAProvider:
    @pytest.fixture
    def oidc(self) -> OidcSettings:
        return OidcSettings()

    async def test_there_is_no_such_way(self, app: App) -> None:
        async with browser(app) as client:
            assert [way["type"] for way in (await client.get("/v1/sign_in")).json()["data"]] == ["password"]
            for path in (START, f"{START}/callback"):
                error_in(await client.get(path), 404)
