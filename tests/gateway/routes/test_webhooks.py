"""/v1/webhook_endpoints, at /v1/webhooks, too."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import httpx
import msgspec
import pytest
from openai import OpenAI
from openai.types.webhooks import WebhookEndpoint, WebhookEndpointTestResult, WebhookEndpointWithSecret
from sqlalchemy import select, text

from gateway.app import App, build_app
from gateway.db.tables import WebhookRow
from gateway.kit.clock import now
from gateway.kit.sealing import Sealer, read_keys
from gateway.services import Services
from gateway.settings import Secret, Settings
from gateway.webhooks.outbox import Event, announce
from gateway.webhooks.repository import MOST, place
from tests.conftest import ADMIN_KEY, client_of
from tests.fakes.receiver import Receiver, running_receiver
from tests.gateway.test_errors import error_in

pytestmark = pytest.mark.anyio

KEY = "5e" * 32
URL = "https://hooks.example.com/services/T0/geheim"
TYPE = "budget.exhausted"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return msgspec.structs.replace(settings, encryption_key=Secret(KEY))


@pytest.fixture(params=["/v1/webhook_endpoints", "/v1/webhooks"])
def path(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with running_receiver() as receiver:
        yield receiver


async def create(admin: httpx.AsyncClient, path: str = "/v1/webhooks", **fields: Any) -> dict[str, Any]:
    reply = await admin.post(path, json={"url": URL, "event_types": [TYPE]} | fields)
    assert reply.status_code == 200, reply.text
    return reply.json()


class TestWebhooks:
    async def test_who_may_only_read_is_not_shown_where_they_go(
        self, app: App, admin: httpx.AsyncClient, path: str
    ) -> None:
        """The path of such a URL lets anybody write to the chat."""
        made = await create(admin, path)
        key = (await admin.post("/v1/organization/admin_api_keys", json={"name": "eyes", "role": "reader"})).json()
        async with client_of(app, key["value"]) as reader:
            for seen in ((await reader.get(f"{path}/{made['id']}")).json(), (await reader.get(path)).json()["data"][0]):
                assert (seen["id"], seen["url"]) == (made["id"], "https://hooks.example.com/")
        assert (await admin.get(f"{path}/{made['id']}")).json()["url"] == URL

    async def test_live_as_the_sdk_knows_them(self, admin: httpx.AsyncClient, path: str) -> None:
        made = await create(admin, path, name="ours")
        assert WebhookEndpointWithSecret.model_validate(made, strict=True).signing_secret.startswith("whsec_")
        secret = made.pop("signing_secret")
        assert made["signing_secret_hint"][-4:] in secret
        one = f"{path}/{made['id']}"
        assert (await admin.get(one)).json() == made
        assert WebhookEndpoint.model_validate(made, strict=True)
        changed = (await admin.post(one, json={"url": "http://127.0.0.1:1/x", "name": "theirs"})).json()
        assert (changed["url"], changed["name"], changed["event_types"]) == ("http://127.0.0.1:1/x", "theirs", [TYPE])
        second = await create(admin, path)
        assert second["name"] == "hooks.example.com"
        listed = (await admin.get(path)).json()
        assert [each["id"] for each in listed["data"]] == [second["id"], made["id"]]
        assert "signing_secret" not in listed["data"][0]
        gone = (await admin.delete(one)).json()
        assert gone == {"id": made["id"], "object": "webhook_endpoint.deleted", "deleted": True}
        for suffix, method in (("", "GET"), ("", "POST"), ("", "DELETE"), ("/rotate_secret", "POST"), ("/test", "POST"),
                               ("/deliveries", "GET")):  # fmt: skip
            assert error_in(await admin.request(method, one + suffix, json={}), 404)["param"] == "webhook_id"

    async def test_event_types_are_told(self, admin: httpx.AsyncClient) -> None:
        listed = (await admin.get("/v1/webhook_event_types")).json()
        assert (await create(admin, event_types=listed["data"]))["event_types"] == listed["data"]
        assert {"fine_tuning.job.succeeded", "budget.threshold_reached"} <= set(listed["data"])

    @pytest.mark.parametrize(
        ("fields", "param"),
        [
            ({"url": "ftp://x"}, "url"),
            ({"url": "https://u:p@x"}, "url"),
            ({"event_types": []}, "event_types"),
            ({"event_types": ["batch.completed"]}, "event_types[0]"),
            ({"event_types": [5]}, "event_types[0]"),
            ({"name": ""}, "name"),
            ({"events": []}, "events"),
        ],
    )
    async def test_names_the_field_that_is_wrong(
        self, admin: httpx.AsyncClient, fields: dict[str, Any], param: str
    ) -> None:
        body = {"url": URL, "event_types": [TYPE]} | fields
        assert error_in(await admin.post("/v1/webhooks", json=body), 400)["param"] == param
        made = await create(admin)
        assert error_in(await admin.post(f"/v1/webhooks/{made['id']}", json=fields), 400)["param"] == param

    async def test_there_are_never_too_many(self, admin: httpx.AsyncClient, sv: Services) -> None:
        first = await create(admin)
        copy = text(
            "INSERT INTO webhooks (id, created_at, updated_at, url, events, secret, secret_hint)"
            " SELECT n::text, created_at, updated_at, url, events, secret, secret_hint"
            " FROM webhooks, generate_series(2, :most) n"
        )
        async with sv.database.session() as session:
            await session.execute(copy, {"most": MOST})
        refused = await admin.post("/v1/webhooks", json={"url": URL, "event_types": [TYPE]})
        assert str(MOST) in error_in(refused, 400)["message"]
        await admin.delete(f"/v1/webhooks/{first['id']}")
        await create(admin)

    async def test_the_secret_is_sealed_and_bound_to_its_row(self, admin: httpx.AsyncClient, sv: Services) -> None:
        made = await create(admin)
        async with sv.database.session() as session:
            row = await session.get_one(WebhookRow, made["id"])
        assert made["signing_secret"].encode() not in row.secret
        assert Sealer(read_keys(KEY)).open(row.secret, place(made["id"], "secret")) == made["signing_secret"]

    async def test_needs_an_encryption_key(self, admin: httpx.AsyncClient, settings: Settings) -> None:
        made = await create(admin)
        bare = build_app(
            msgspec.structs.replace(settings, encryption_key=Secret(""), data_dir=settings.data_dir / "bare")
        )
        async with bare.lifespan(), client_of(bare, ADMIN_KEY) as client:
            refused = await client.post("/v1/webhooks", json={"url": URL, "event_types": [TYPE]})
            assert error_in(refused, 400)["code"] == "no_encryption_key"
            assert "cannot be opened" in error_in(await client.post(f"/v1/webhooks/{made['id']}/test"), 409)["message"]

    async def test_enabling_forgets_why_it_was_disabled(self, admin: httpx.AsyncClient, sv: Services) -> None:
        made = await create(admin)
        one = f"/v1/webhooks/{made['id']}"
        assert (await admin.post(one, json={"enabled": False})).json()["enabled"] is False
        async with sv.database.session() as session:
            row = await session.get_one(WebhookRow, made["id"])
            row.problem, row.failing_since = "broken", now() - timedelta(days=9)
        shown = (await admin.get(one)).json()
        assert (shown["enabled"], shown["problem"], shown["failing_since"] is None) == (False, "broken", False)
        again = (await admin.post(one, json={"enabled": True})).json()
        assert (again["enabled"], again["problem"], again["failing_since"]) == (True, None, None)


class TestRotateSecret:
    async def test_the_old_one_is_gone_or_signs_for_a_day(
        self, admin: httpx.AsyncClient, sv: Services, path: str
    ) -> None:
        made = await create(admin, path)
        one = f"{path}/{made['id']}/rotate_secret"
        second = (await admin.post(one)).json()
        assert second["signing_secret"] != made["signing_secret"]
        async with sv.database.session() as session:
            assert (await session.get_one(WebhookRow, made["id"])).previous_secret is None
        third = (await admin.post(one, json={"keep_old_secret_active_for_24_hours": True})).json()
        async with sv.database.session() as session:
            row = await session.get_one(WebhookRow, made["id"])
        assert row.previous_secret is not None
        assert row.previous_until is not None
        assert timedelta(hours=23, minutes=59) < row.previous_until - now() <= timedelta(hours=24)
        assert (
            Sealer(read_keys(KEY)).open(row.previous_secret, place(row.id, "previous_secret"))
            == second["signing_secret"]
        )
        assert third["signing_secret"] not in (second["signing_secret"], made["signing_secret"])


class TestTest:
    async def test_tells_what_came_back(self, admin: httpx.AsyncClient, receiver: Receiver, path: str) -> None:
        made = await create(admin, path, url=f"{receiver.url}/x", event_types=["fine_tuning.job.failed", TYPE])
        url = f"{path}/{made['id']}/test"
        result = (await admin.post(url)).json()
        assert WebhookEndpointTestResult.model_validate(result, strict=True)
        assert (result["event_type"], result["status_code"], result["detail"]) == ("fine_tuning.job.failed", 204, None)
        receiver.status, receiver.text = 500, "no"
        result = (await admin.post(url, json={"event_type": TYPE})).json()
        assert (result["event_type"], result["status_code"]) == (TYPE, 500)
        assert result["detail"] == "It answered 500: no"
        with OpenAI(api_key="x", webhook_secret=made["signing_secret"]) as client:
            first, _ = receiver.got
            assert client.webhooks.unwrap(first.body, first.headers).type == "fine_tuning.job.failed"
        assert (await admin.get(f"{path}/{made['id']}/deliveries")).json()["data"] == []

    async def test_no_answer_is_an_error_that_sdks_do_not_repeat(self, admin: httpx.AsyncClient) -> None:
        made = await create(admin, url="http://127.0.0.1:9/")
        reply = await admin.post(f"/v1/webhooks/{made['id']}/test")
        error = error_in(reply, 502)
        assert (error["code"], reply.headers["x-should-retry"]) == ("webhook_unreachable", "false")
        unknown = await admin.post(f"/v1/webhooks/{made['id']}/test", json={"event_type": "x"})
        assert error_in(unknown, 400)["param"] == "event_type"


class TestDeliveries:
    async def test_are_shown_newest_first(self, admin: httpx.AsyncClient, sv: Services) -> None:
        made, other = await create(admin), await create(admin, event_types=["fine_tuning.job.failed"])
        for number in range(3):
            async with sv.database.session() as session:
                await announce(session, [Event(TYPE, now(), {"id": f"budget_{number}"})])
        url = f"/v1/webhooks/{made['id']}/deliveries"
        page = (await admin.get(url, params={"limit": 2})).json()
        assert [each["event"]["data"]["id"] for each in page["data"]] == ["budget_2", "budget_1"]
        assert page["has_more"] is True
        shown = page["data"][0]
        assert (shown["status"], shown["attempts"], shown["event_type"]) == ("pending", 0, TYPE)
        assert (shown["event"]["id"], shown["delivered_at"]) == (shown["event_id"], None)
        assert (await admin.get(f"/v1/webhooks/{other['id']}/deliveries")).json()["data"] == []
        async with sv.database.session() as session:
            await session.execute(text("UPDATE webhook_deliveries SET next_at = NULL, last_error = 'no'"))
            await session.execute(
                text("UPDATE webhook_deliveries SET delivered_at = now() WHERE id = :id"), {"id": shown["id"]}
            )
        states = [each["status"] for each in (await admin.get(url)).json()["data"]]
        assert states == ["delivered", "failed", "failed"]

    async def test_deleting_a_webhook_gives_up_what_is_pending(self, admin: httpx.AsyncClient, sv: Services) -> None:
        made = await create(admin)
        async with sv.database.session() as session:
            await announce(session, [Event(TYPE, now(), {"id": "budget_1"})])
        await admin.delete(f"/v1/webhooks/{made['id']}")
        async with sv.database.session() as session:
            assert await session.scalar(text("SELECT count(*) FROM webhook_deliveries WHERE next_at IS NOT NULL")) == 0
            row = (await session.scalars(select(WebhookRow))).one()
        assert (row.secret, row.previous_secret) == (b"", None)
