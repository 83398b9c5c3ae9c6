"""/v1/upstreams: providers that come, change and go without a restart; their secrets are never seen again."""

import asyncio
import base64
import logging
from collections.abc import AsyncIterator
from typing import Any

import httpx
import msgspec
import pytest
from sqlalchemy import text

from gateway.app import App, build_app
from gateway.db.database import Database
from gateway.settings import EngineSettings, RoutingSettings, Secret, Settings
from tests.conftest import ADMIN_KEY, chat, client_of
from tests.fakes.upstream import Upstream
from tests.gateway.test_errors import error_in
from tests.polling import until

pytestmark = pytest.mark.anyio

URL = "/v1/upstreams"
CHAT = "/v1/chat/completions"
KEY = "sk-provider-0123456789-wxyz"
TOKEN = "token-of-a-header-7f3a"
PASSWORD = "password-of-a-proxy-55"
SECRETS = (KEY, TOKEN, PASSWORD)
FIRST, SECOND = Secret("ab" * 32), Secret("cd" * 32)


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """With an encryption key, an engine that nobody asks, and an alias."""
    return msgspec.structs.replace(
        settings,
        encryption_key=FIRST,
        engine=EngineSettings(url="http://127.0.0.1:9/v1", model="base"),
        routing=RoutingSettings(aliases={"nickname": "echo"}),
    )


def fields(**more: Any) -> dict[str, Any]:
    return {"name": "acme", "base_url": "http://127.0.0.1:9/v1", "models": ["acme-1"], **more}


async def made(admin: httpx.AsyncClient, **more: Any) -> dict[str, Any]:
    answer = await admin.post(URL, json=fields(**more))
    assert answer.status_code == 200, answer.text
    return answer.json()


async def models(client: httpx.AsyncClient) -> list[str]:
    return [each["id"] for each in (await client.get("/v1/models")).json()["data"]]


@pytest.fixture
async def elsewhere(app: App, settings: Settings) -> AsyncIterator[App]:
    """Another gateway process on the same database, whose encryption key is another."""
    other = build_app(msgspec.structs.replace(settings, encryption_key=SECOND, data_dir=settings.data_dir / "other"))
    async with other.lifespan():
        yield other


class TestCreate:
    async def test_the_smallest_one(self, admin: httpx.AsyncClient) -> None:
        upstream = await made(admin)
        assert upstream == {
            "id": upstream["id"],
            "object": "upstream",
            "name": "acme",
            "kind": "openai",
            "base_url": "http://127.0.0.1:9/v1",
            "base_urls": ["http://127.0.0.1:9/v1"],
            "models": ["acme-1"],
            "headers": {},
            "secret_headers": [],
            "has_key": False,
            "key_hint": None,
            "organization": None,
            "project": None,
            "proxy": None,
            "has_proxy_credentials": False,
            "source": "api",
            "problem": None,
            "failing_models": [],
            "created_at": upstream["created_at"],
            "updated_at": upstream["updated_at"],
        }
        assert upstream["id"].startswith("upstream_")
        assert (await admin.get(f"{URL}/{upstream['id']}")).json() == upstream

    async def test_one_with_everything_shows_no_secret(self, admin: httpx.AsyncClient) -> None:
        upstream = await made(
            admin,
            kind="anthropic",
            base_url="http://10.0.0.1:8000/v1/",
            api_key=KEY,
            models=["a", {"model": "b", "served_name": "provider-b"}],
            headers={"X-Team": "shop"},
            secret_headers={"X-Token": TOKEN},
            organization="org-1",
            project="proj-1",
            proxy=f"http://user:{PASSWORD}@proxy.internal:3128",
        )
        assert (upstream["kind"], upstream["base_url"]) == ("anthropic", "http://10.0.0.1:8000/v1")
        assert upstream["models"] == ["a", {"model": "b", "served_name": "provider-b"}]
        assert (upstream["headers"], upstream["secret_headers"]) == ({"X-Team": "shop"}, ["X-Token"])
        assert (upstream["has_key"], upstream["key_hint"]) == (True, "wxyz")
        assert (upstream["organization"], upstream["project"]) == ("org-1", "proj-1")
        assert (upstream["proxy"], upstream["has_proxy_credentials"]) == ("http://proxy.internal:3128", True)

    async def test_several_replicas(self, admin: httpx.AsyncClient) -> None:
        urls = ["http://10.0.0.1/v1", "https://10.0.0.2:8443/v1/"]
        body = {"name": "acme", "base_urls": urls, "models": []}
        upstream = (await admin.post(URL, json=body)).json()
        assert upstream["base_urls"] == ["http://10.0.0.1/v1", "https://10.0.0.2:8443/v1"]
        assert upstream["base_url"] == "http://10.0.0.1/v1"

    async def test_of_a_short_key_nothing_is_shown(self, admin: httpx.AsyncClient) -> None:
        upstream = await made(admin, api_key="short-key")
        assert (upstream["has_key"], upstream["key_hint"]) == (True, None)


class TestCalls:
    async def test_a_model_is_called_at_once_with_the_key(
        self, admin: httpx.AsyncClient, client: httpx.AsyncClient, upstream: Upstream
    ) -> None:
        await made(admin, base_url=upstream.url, api_key=KEY, models=["acme-1"])
        assert "acme-1" in await models(client)
        answer = await client.post(CHAT, json=chat("acme-1"))
        assert answer.json()["choices"][0]["message"]["content"] == "hello"
        assert upstream.headers[0]["Authorization"] == f"Bearer {KEY}"

    async def test_under_the_providers_own_name_and_with_every_header(
        self, admin: httpx.AsyncClient, client: httpx.AsyncClient, upstream: Upstream
    ) -> None:
        await made(
            admin,
            base_url=upstream.url,
            models=[{"model": "ours", "served_name": "theirs"}],
            headers={"X-Team": "shop"},
            secret_headers={"Authorization": f"Basic {TOKEN}", "X-Token": TOKEN},
            organization="org-1",
            project="proj-1",
        )
        assert (await client.post(CHAT, json=chat("ours"))).status_code == 200
        assert upstream.requests[0]["model"] == "theirs"
        sent = {name.lower(): value for name, value in upstream.headers[0].items()}
        wanted = {
            "x-team": "shop",
            "x-token": TOKEN,
            "authorization": f"Basic {TOKEN}",
            "openai-organization": "org-1",
            "openai-project": "proj-1",
        }
        assert {name: sent.get(name) for name in wanted} == wanted

    async def test_through_a_proxy_with_a_password(
        self, admin: httpx.AsyncClient, client: httpx.AsyncClient, upstream: Upstream
    ) -> None:
        """The fake plays the proxy: nothing else knows the name of the host."""
        proxy = upstream.url.removeprefix("http://").removesuffix("/v1")
        await made(admin, base_url="http://provider.invalid/v1", proxy=f"http://user:{PASSWORD}@{proxy}")
        assert (await client.post(CHAT, json=chat("acme-1"))).status_code == 200
        credentials = base64.b64encode(f"user:{PASSWORD}".encode()).decode()
        assert upstream.headers[0]["Host"] == "provider.invalid"
        assert upstream.headers[0]["Proxy-Authorization"] == f"Basic {credentials}"

    async def test_a_new_key_is_used_at_once(
        self, admin: httpx.AsyncClient, client: httpx.AsyncClient, upstream: Upstream
    ) -> None:
        made_one = await made(admin, base_url=upstream.url, api_key="sk-old-key-of-before")
        await client.post(CHAT, json=chat("acme-1"))
        changed = (await admin.post(f"{URL}/{made_one['id']}", json={"api_key": KEY})).json()
        assert changed == made_one | {"key_hint": "wxyz", "updated_at": changed["updated_at"]}
        await client.post(CHAT, json=chat("acme-1"))
        await admin.post(f"{URL}/{made_one['id']}", json={"api_key": None})
        await client.post(CHAT, json=chat("acme-1"))
        sent = [headers.get("Authorization") for headers in upstream.headers]
        assert sent == ["Bearer sk-old-key-of-before", f"Bearer {KEY}", None]

    async def test_a_removed_one_is_gone_and_a_call_on_its_way_ends(
        self, admin: httpx.AsyncClient, client: httpx.AsyncClient, upstream: Upstream
    ) -> None:
        made_one = await made(
            admin, base_url=upstream.url, api_key=KEY, models=[{"model": "acme-1", "served_name": "slow"}]
        )
        call = asyncio.ensure_future(client.post(CHAT, json=chat("acme-1")))
        await until(lambda: upstream.requests)
        deleted = await admin.delete(f"{URL}/{made_one['id']}")
        assert deleted.json() == {"id": made_one["id"], "object": "upstream", "deleted": True}
        assert "acme-1" not in await models(client)
        assert error_in(await client.post(CHAT, json=chat("acme-1")), 404)["code"] == "model_not_found"
        upstream.release.set()
        assert (await call).status_code == 200

    async def test_another_process_follows_within_its_poll(
        self, app: App, elsewhere: App, admin: httpx.AsyncClient, project_key: dict[str, Any]
    ) -> None:
        made_one = await made(admin)
        async with client_of(elsewhere, project_key["value"]) as client:
            await elsewhere.services.mirrors.refresh()
            assert "acme-1" in await models(client)
            await admin.delete(f"{URL}/{made_one['id']}")
            await elsewhere.services.mirrors.refresh()
            assert "acme-1" not in await models(client)


class TestList:
    async def test_those_of_the_settings_come_first_and_stay_as_they_are(
        self, admin: httpx.AsyncClient, upstream: Upstream
    ) -> None:
        added = await made(admin)
        listed = (await admin.get(URL)).json()
        configured = listed["data"][0]
        assert [each["name"] for each in listed["data"]] == ["fake", "acme"]
        assert listed["data"][1] == added
        assert (configured["source"], configured["base_url"], configured["has_key"]) == ("settings", upstream.url, True)
        assert (configured["key_hint"], configured["created_at"]) == (None, None)
        assert (await admin.get(f"{URL}/{configured['id']}")).json() == configured
        for refused in (
            await admin.post(f"{URL}/{configured['id']}", json={"name": "x"}),
            await admin.delete(f"{URL}/{configured['id']}"),
        ):
            assert "stands in the settings" in error_in(refused, 409)["message"]
            assert refused.headers["x-should-retry"] == "false"

    async def test_is_paged(self, admin: httpx.AsyncClient) -> None:
        for number in range(4):
            await made(admin, name=f"n{number}", models=[f"m{number}"])
        for order, names in (
            ("asc", ["fake", "n0", "n1", "n2", "n3"]),
            ("desc", ["n3", "n2", "n1", "n0", "fake"]),
        ):
            shown: list[str] = []
            page: dict[str, Any] = {"has_more": True, "last_id": None}
            while page["has_more"]:
                query = {"limit": 2, "order": order} | ({"after": page["last_id"]} if page["last_id"] else {})
                page = (await admin.get(URL, params=query)).json()
                shown += [each["name"] for each in page["data"]]
            assert shown == names
        assert error_in(await admin.get(URL, params={"after": "upstream_x"}), 400)["param"] == "after"

    async def test_says_which_models_fail_again_and_again(
        self, admin: httpx.AsyncClient, client: httpx.AsyncClient
    ) -> None:
        await made(admin, models=["acme-1", "acme-2"])
        for _ in range(5):
            await client.post(CHAT, json=chat("acme-2"))
        listed = {each["name"]: each["failing_models"] for each in (await admin.get(URL)).json()["data"]}
        assert listed.pop("acme") == ["acme-2"]
        assert set(map(tuple, listed.values())) == {()}


class TestUpdate:
    async def test_given_fields_replace_and_null_removes(self, admin: httpx.AsyncClient) -> None:
        before = await made(
            admin,
            api_key=KEY,
            headers={"X-A": "1", "X-B": "2"},
            secret_headers={"X-C": TOKEN},
            organization="org-1",
            proxy=f"http://u:{PASSWORD}@proxy:3128",
        )
        url = f"{URL}/{before['id']}"
        after = (await admin.post(url, json={"headers": {"X-D": "4"}, "name": "acme-2"})).json()
        assert after == before | {"headers": {"X-D": "4"}, "name": "acme-2", "updated_at": after["updated_at"]}
        removed = {"headers": None, "secret_headers": None, "organization": None, "proxy": None, "api_key": None}
        last = (await admin.post(url, json=removed)).json()
        assert (last["headers"], last["secret_headers"], last["organization"]) == ({}, [], None)
        assert (last["proxy"], last["has_proxy_credentials"]) == (None, False)
        assert (last["has_key"], last["key_hint"]) == (False, None)

    async def test_replicas_replace_the_base_url(self, admin: httpx.AsyncClient) -> None:
        url = f"{URL}/{(await made(admin))['id']}"
        assert (await admin.post(url, json={"base_urls": ["http://a/v1", "http://b/v1"]})).json()[
            "base_url"
        ] == "http://a/v1"
        assert (await admin.post(url, json={"base_url": "http://c/v1"})).json()["base_urls"] == ["http://c/v1"]

    async def test_a_refused_one_changes_nothing(self, admin: httpx.AsyncClient) -> None:
        before = await made(admin, api_key=KEY)
        url = f"{URL}/{before['id']}"
        error_in(await admin.post(url, json={"name": "new", "base_url": "ftp://x"}), 400)
        error_in(await admin.post(url, json={"name": "new", "models": ["base"]}), 409)
        assert (await admin.get(url)).json() == before

    async def test_its_own_names_are_not_taken(self, admin: httpx.AsyncClient) -> None:
        before = await made(admin)
        again = await admin.post(f"{URL}/{before['id']}", json=fields())
        assert again.json() == before | {"updated_at": again.json()["updated_at"]}

    async def test_what_is_not_there_is_404(self, admin: httpx.AsyncClient) -> None:
        gone = (await made(admin))["id"]
        await admin.delete(f"{URL}/{gone}")
        for id in (gone, "upstream_x"):
            for method in ("GET", "POST", "DELETE"):
                answer = await admin.request(method, f"{URL}/{id}", json={})
                assert error_in(answer, 404)["param"] == "upstream_id"


class TestTakenNames:
    @pytest.mark.parametrize(
        ("model", "whose"),
        [
            ("echo", "the upstream `fake` of the settings"),
            ("base", "the engine"),
            ("nickname", "an alias"),
            ("first-1", "the upstream `first` (upstream_"),
        ],
    )
    async def test_of_models(self, model: str, whose: str, admin: httpx.AsyncClient) -> None:
        await made(admin, name="first", models=[{"model": "first-1", "served_name": "x"}])
        refused = await admin.post(URL, json=fields(models=["fine", {"model": model, "served_name": "y"}]))
        error = error_in(refused, 409)
        assert (error["param"], whose in error["message"]) == ("models", True)
        assert refused.headers["x-should-retry"] == "false"

    @pytest.mark.parametrize("name", ["fake", "engine", "first"])
    async def test_of_providers(self, name: str, admin: httpx.AsyncClient) -> None:
        await made(admin, name="first", models=[])
        assert error_in(await admin.post(URL, json=fields(name=name)), 409)["param"] == "name"
        other = (await made(admin))["id"]
        assert error_in(await admin.post(f"{URL}/{other}", json={"name": name}), 409)["param"] == "name"

    async def test_are_free_again_after_a_deletion(self, admin: httpx.AsyncClient) -> None:
        await admin.delete(f"{URL}/{(await made(admin))['id']}")
        await made(admin)

    async def test_of_two_at_once_one_wins(self, admin: httpx.AsyncClient) -> None:
        wanted = [admin.post(URL, json=fields(name=f"n{number}")) for number in range(4)]
        answers = await asyncio.gather(*wanted)
        assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409]

    async def test_a_name_that_the_settings_took_later_is_told(
        self, app: App, admin: httpx.AsyncClient, settings: Settings
    ) -> None:
        added = await made(admin, models=["late"])
        engine = EngineSettings(url="http://127.0.0.1:9/v1", model="late")
        later = build_app(msgspec.structs.replace(settings, engine=engine, data_dir=settings.data_dir / "later"))
        async with later.lifespan(), client_of(later, ADMIN_KEY) as admin_later:
            shown = (await admin_later.get(f"{URL}/{added['id']}")).json()
            assert shown["problem"] == "calls of `late` do not come here: the engine serves it."
            rotated = await admin_later.post(f"{URL}/{added['id']}", json={"api_key": KEY})
            assert rotated.status_code == 200


class TestFields:
    @pytest.mark.parametrize("missing", ["name", "models", "base_url"])
    async def test_what_is_needed(self, missing: str, admin: httpx.AsyncClient) -> None:
        body = {name: value for name, value in fields().items() if name != missing}
        error = error_in(await admin.post(URL, json=body), 400)
        assert (error["param"], error["code"]) == (missing, "missing_required_parameter")

    @pytest.mark.parametrize(
        ("change", "param"),
        [
            ({"colour": "red"}, "colour"),
            ({"name": ""}, "name"),
            ({"name": " acme"}, "name"),
            ({"name": "a\nb"}, "name"),
            ({"name": None}, "name"),
            ({"kind": "gopher"}, "kind"),
            ({"base_url": 5}, "base_url"),
            ({"base_urls": ["http://a/v1"]}, "base_urls"),
            ({"models": "m"}, "models"),
            ({"models": [""]}, "models[0]"),
            ({"models": ["a", 5]}, "models[1]"),
            ({"models": ["a", {"model": "b"}]}, "models[1].served_name"),
            ({"models": ["a", {"model": "b", "served_name": ""}]}, "models[1].served_name"),
            ({"models": ["a", "a"]}, "models"),
            ({"models": ["ft:base:org::1"]}, "models[0]"),
            ({"models": ["active"]}, "models[0]"),
            ({"api_key": ""}, "api_key"),
            ({"api_key": f"{KEY}\n"}, "api_key"),
            ({"api_key": f"{KEY}é"}, "api_key"),
            ({"api_key": [KEY]}, "api_key"),
            ({"organization": "a\r\nX-Evil: 1"}, "organization"),
            ({"project": ""}, "project"),
            ({"headers": {"X A": "1"}}, "headers"),
            ({"headers": {"": "1"}}, "headers"),
            ({"headers": {"X-A": "1\r\nX-Evil: 1"}}, "headers.X-A"),
            ({"headers": {"X-A": 5}}, "headers[...]"),
            ({"headers": {"Connection": "close"}}, "headers"),
            ({"headers": {"transfer-encoding": "chunked"}}, "headers"),
            ({"headers": {"Host": "elsewhere"}}, "headers"),
            ({"headers": {"Content-Length": "0"}}, "headers"),
            ({"headers": {"Authorization": f"Bearer {KEY}"}}, "headers"),
            ({"headers": {"x-api-key": KEY}}, "headers"),
            ({"headers": {"X-A": "1", "x-a": "2"}}, "headers"),
            ({"secret_headers": {"Proxy-Authorization": TOKEN}}, "secret_headers"),
            ({"secret_headers": {"X-A": f" {TOKEN}"}}, "secret_headers.X-A"),
            ({"headers": {"X-A": "1"}, "secret_headers": {"x-a": TOKEN}}, "secret_headers"),
            ({"api_key": KEY, "secret_headers": {"authorization": TOKEN}}, "secret_headers"),
            ({"proxy": "socks5://proxy:1080"}, "proxy"),
            ({"proxy": "proxy:3128"}, "proxy"),
            ({"proxy": f"http://user:{PASSWORD}@proxy:3128/path"}, "proxy"),
            ({"proxy": f"http://user:{PASSWORD}@proxy:port"}, "proxy"),
            ({"proxy": f"http://user:{PASSWORD}@169.254.169.254"}, "proxy"),
        ],
    )
    async def test_a_wrong_one_is_named_and_no_secret_repeated(
        self, change: dict[str, Any], param: str, admin: httpx.AsyncClient
    ) -> None:
        answer = await admin.post(URL, json=fields(**change))
        assert error_in(answer, 400)["param"] == param
        assert not any(secret in answer.text for secret in SECRETS)

    @pytest.mark.parametrize(
        "url",
        [
            "",
            "127.0.0.1:9/v1",
            "ftp://host/v1",
            "file:///etc/passwd",
            "gopher://host",
            "http://",
            "http:///v1",
            "http://host:0/v1",
            "http://host:65536/v1",
            "http://host:port/v1",
            "http://[::1/v1",
            "http://host/v1?key=1",
            "http://host/v1?",
            "http://host/v1#top",
            "http://host /v1",
            "http://host/v1\n",
            "http:\\\\host\\v1",
            f"http://user:{PASSWORD}@host/v1",
            f"https://{KEY}@host/v1",
            "https://host/v1/chat/completions",
            "https://host/v1/chat/completions/",
            "https://host/" + "a" * 2000,
            "http://169.254.169.254/latest/meta-data",
            "http://169.254.169.254.:80",
            "http://2852039166/",
            "http://0xA9FEA9FE/",
            "http://0251.0376.0251.0376/",
            "http://169.254.43518/",
            "http://[::ffff:169.254.169.254]/",
            "http://[fd00:ec2::254]/",
            "http://169.254.170.2/v2/credentials",
            "http://Metadata.Google.Internal/computeMetadata/v1",
        ],
    )
    async def test_a_url_that_is_none(self, url: str, admin: httpx.AsyncClient) -> None:
        answer = await admin.post(URL, json=fields(base_url=url))
        assert error_in(answer, 400)["param"] == "base_url"
        assert not any(secret in answer.text for secret in SECRETS)
        body = {name: value for name, value in fields().items() if name != "base_url"}
        answer = await admin.post(URL, json=body | {"base_urls": ["http://a/v1", url]})
        assert error_in(answer, 400)["param"] == "base_urls[1]"

    @pytest.mark.parametrize(
        "url",
        [
            "http://localhost:8000/v1",
            "http://10.1.2.3/v1",
            "http://192.168.0.5:11434/v1",
            "http://[::1]:8000/v1",
            "https://api.example.com/openai/deployments/a%20b",
            "https://xn--bcher-kva.example/v1",
        ],
    )
    async def test_private_addresses_are_an_operators_own(self, url: str, admin: httpx.AsyncClient) -> None:
        assert (await made(admin, base_url=url))["base_url"] == url

    async def test_too_many_are_refused(self, admin: httpx.AsyncClient) -> None:
        for change, param in (
            ({"models": [str(number) for number in range(2001)]}, "models"),
            ({"headers": {f"X-{number}": "1" for number in range(65)}}, "headers"),
        ):
            assert error_in(await admin.post(URL, json=fields(**change)), 400)["param"] == param

    async def test_a_body_that_is_no_json(self, admin: httpx.AsyncClient) -> None:
        answer = await admin.post(URL, content=f'{{"api_key": "{KEY}", ')
        assert KEY not in answer.text
        error_in(answer, 400)


class TestPermission:
    async def test_a_projects_key_is_refused_everywhere(
        self, admin: httpx.AsyncClient, client: httpx.AsyncClient
    ) -> None:
        id = (await made(admin))["id"]
        for method, path in (("GET", ""), ("POST", ""), ("GET", f"/{id}"), ("POST", f"/{id}"), ("DELETE", f"/{id}")):
            answer = await client.request(method, f"{URL}{path}", json=fields())
            assert "needs an admin key" in error_in(answer, 403)["message"]


class TestSecrets:
    async def test_are_nowhere_in_plain(
        self,
        admin: httpx.AsyncClient,
        client: httpx.AsyncClient,
        upstream: Upstream,
        database: Database,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """Not in an answer, the log, or the database, whatever happens."""
        caplog.set_level(logging.DEBUG)
        secret = {
            "api_key": KEY,
            "secret_headers": {"X-Token": TOKEN},
            "proxy": f"http://user:{PASSWORD}@127.0.0.1:9",
        }
        answers = [
            await admin.post(URL, json=fields(**secret, colour="red")),
            await admin.post(URL, json=fields(**secret, models=["echo"])),
            await admin.post(URL, json=fields(**secret)),
        ]
        id = answers[-1].json()["id"]
        answers += [
            await admin.get(URL),
            await client.post(CHAT, json=chat("acme-1")),  # nobody is at the proxy
            await client.get("/v1/models"),
            await admin.post(f"{URL}/{id}", json={"name": "other", "api_key": f"{KEY} "}),
            await admin.post(f"{URL}/{id}", json={"base_url": upstream.url, "proxy": None}),
            await client.post(CHAT, json=chat("acme-1", stream=True)),
        ]
        statuses = [answer.status_code for answer in answers]
        assert statuses == [400, 409, 200, 200, 502, 200, 400, 200, 200]
        shown = "".join(answer.text for answer in answers) + caplog.text
        assert not [each for each in SECRETS if each in shown]
        assert f"{KEY}" not in repr(list(await everything(database)))
        answers = [await admin.delete(f"{URL}/{id}")]
        rows = await everything(database)
        assert all(row["encrypted_key"] is None for row in rows)

    async def test_a_moved_one_does_not_open(
        self, app: App, admin: httpx.AsyncClient, client: httpx.AsyncClient, database: Database, upstream: Upstream
    ) -> None:
        """Whoever can write to the database cannot send one provider's key to another."""
        victim = await made(admin, api_key=KEY)
        evil = await made(admin, name="evil", base_url=upstream.url, api_key="sk-evil-evil-evil", models=["evil"])
        async with database.session() as session:
            taken = (
                "UPDATE upstreams SET encrypted_key = (SELECT encrypted_key FROM upstreams WHERE id = :a) WHERE id = :b"
            )
            await session.execute(text(taken), {"a": victim["id"], "b": evil["id"]})
            await session.execute(text("UPDATE changes SET version = version + 1 WHERE name = 'upstreams'"))
        await app.services.mirrors.refresh()
        assert "moved here from another place" in error_in(await client.post(CHAT, json=chat("evil")), 503)["message"]
        assert upstream.requests == []


async def everything(database: Database) -> list[dict[str, Any]]:
    async with database.session() as session:
        return [dict(row) for row in (await session.execute(text("SELECT * FROM upstreams"))).mappings()]


class TestWithoutTheKey:
    async def test_a_secret_is_refused_with_what_to_do(self, app: App, settings: Settings) -> None:
        bare = build_app(msgspec.structs.replace(settings, encryption_key=Secret(""), data_dir=settings.data_dir / "b"))
        async with bare.lifespan(), client_of(bare, ADMIN_KEY) as admin:
            for change, param in (
                ({"api_key": KEY}, "api_key"),
                ({"secret_headers": {"X-Token": TOKEN}}, "secret_headers"),
                ({"proxy": f"http://user:{PASSWORD}@proxy:3128"}, "proxy"),
            ):
                error = error_in(await admin.post(URL, json=fields(**change)), 400)
                assert (error["param"], error["code"]) == (param, "no_encryption_key")
                assert "TUNEWAY_ENCRYPTION_KEY" in error["message"]
            await made(admin, proxy="http://proxy:3128", headers={"X-A": "1"})

    async def test_with_another_one_calls_are_refused_with_what_to_do(
        self, elsewhere: App, admin: httpx.AsyncClient, project_key: dict[str, Any], upstream: Upstream
    ) -> None:
        sealed = await made(admin, base_url=upstream.url, api_key=KEY)
        await made(admin, name="open", base_url=upstream.url, models=["open-1"])
        await elsewhere.services.mirrors.refresh()
        async with client_of(elsewhere, project_key["value"]) as client, client_of(elsewhere, ADMIN_KEY) as there:
            refused = await client.post(CHAT, json=chat("acme-1"))
            message = error_in(refused, 503)["message"]
            assert "was sealed with the key" in message
            assert f"POST /v1/upstreams/{sealed['id']}" in message
            assert refused.headers["x-should-retry"] == "false"
            assert upstream.requests == []
            assert (await client.post(CHAT, json=chat("open-1"))).status_code == 200
            shown = (await there.get(f"{URL}/{sealed['id']}")).json()
            assert (shown["has_key"], shown["key_hint"]) == (True, "wxyz")
            assert "cannot be opened" in shown["problem"]
            healed = (await there.post(f"{URL}/{sealed['id']}", json={"api_key": KEY})).json()
            assert healed["problem"] is None
            assert (await client.post(CHAT, json=chat("acme-1"))).status_code == 200

    async def test_a_route_falls_back_meanwhile(
        self, elsewhere: App, admin: httpx.AsyncClient, project_key: dict[str, Any], upstream: Upstream
    ) -> None:
        await made(admin, base_url=upstream.url, api_key=KEY)
        route = {"name": "bot", "targets": [{"model": "acme-1"}], "fallbacks": [{"model": "echo"}]}
        assert (await admin.post("/v1/routes", json=route)).status_code == 200
        await elsewhere.services.mirrors.refresh()
        async with client_of(elsewhere, project_key["value"]) as client:
            answer = await client.post(CHAT, json=chat("bot"))
        assert (answer.status_code, answer.headers["x-tuneway-model"]) == (200, "echo")
        assert [headers["Authorization"] for headers in upstream.headers] == ["Bearer sk-fake"]
