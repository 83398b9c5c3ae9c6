"""A key that one process has made works at once at every other."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import httpx
import msgspec
import pytest

from gateway.app import App
from gateway.db.mirror import POLL_SECONDS
from gateway.services import Services
from gateway.settings import Settings
from tests.conftest import app_of, chat, client_of, create_key
from tests.polling import until

pytestmark = pytest.mark.anyio

WRONG = "sk-svcacct-" + "x" * 40


@pytest.fixture
async def elsewhere(app: App, settings: Settings) -> AsyncIterator[App]:
    """Another gateway process on the same database."""
    with app_of(msgspec.structs.replace(settings, data_dir=settings.data_dir / "other")) as other:
        async with other.lifespan():
            await other.everything()
            yield other


@asynccontextmanager
async def not_looking(process: App) -> AsyncGenerator[None]:
    """It hears of nothing before a call waits for it."""
    mirrors = process.services.mirrors
    async with mirrors._one_at_a_time:
        yield
        await until(lambda: mirrors._waiting)


class TestElsewhere:
    async def test_a_model_call(self, admin: httpx.AsyncClient, elsewhere: App) -> None:
        async with not_looking(elsewhere):
            key = await create_key(admin, "first")
            call = asyncio.create_task(asked(elsewhere, key["value"], "POST", "/v1/chat/completions"))
        assert await call == 200

    async def test_any_other_endpoint(self, admin: httpx.AsyncClient, elsewhere: App) -> None:
        async with not_looking(elsewhere):
            key = await create_key(admin, "first")
            call = asyncio.create_task(asked(elsewhere, key["value"], "GET", "/v1/models"))
        assert await call == 200

    async def test_an_admin_key(self, admin: httpx.AsyncClient, elsewhere: App) -> None:
        async with not_looking(elsewhere):
            made = (await admin.post("/v1/organization/admin_api_keys", json={"name": "new"})).json()
            call = asyncio.create_task(asked(elsewhere, made["value"], "GET", "/v1/organization/projects"))
        assert await call == 200


async def asked(app: App, key: str, method: str, path: str) -> int:
    async with client_of(app, key) as client:
        return (await client.request(method, path, json=chat("echo") if method == "POST" else None)).status_code


class TestUnknown:
    @pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/files"])
    async def test_is_refused_after_the_next_look(self, path: str, app: App) -> None:
        async with client_of(app, WRONG) as client:
            reply = await client.post(path, json=chat("echo"))
        assert (reply.status_code, reply.json()["error"]["code"]) == (401, "invalid_api_key")

    async def test_at_once_where_it_is_none_of_ours(
        self, app: App, sv: Services, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[float] = []

        async def next_look() -> None:
            asked.append(time.monotonic())

        monkeypatch.setattr(sv.mirrors, "next_look", next_look)
        async with client_of(app, "sk-of-somebody-else") as client:
            assert (await client.post("/v1/chat/completions", json=chat("echo"))).status_code == 401
        assert not asked
        async with client_of(app, WRONG) as client:
            assert (await client.post("/v1/chat/completions", json=chat("echo"))).status_code == 401
        assert len(asked) == 1

    async def test_while_the_database_is_not_heard_of(
        self, app: App, sv: Services, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The look under way never ends: half a second is enough."""
        await sv.mirrors._one_at_a_time.acquire()
        async with client_of(app, WRONG) as client:
            reply = await asyncio.wait_for(client.post("/v1/chat/completions", json=chat("echo")), 10)
        sv.mirrors._one_at_a_time.release()
        assert reply.status_code == 401

    async def test_many_are_refused_together(self, app: App, sv: Services, monkeypatch: pytest.MonkeyPatch) -> None:
        """Whoever tries out keys makes nobody ask the database more often."""
        looks: list[float] = []
        look = sv.mirrors._look

        async def counted() -> None:
            looks.append(time.monotonic())
            await look()

        monkeypatch.setattr(sv.mirrors, "_look", counted)
        began = time.monotonic()
        async with client_of(app, WRONG) as client:
            replies = await asyncio.gather(*(client.get("/v1/models") for _ in range(50)))
        assert {reply.status_code for reply in replies} == {401}
        assert len(looks) <= (time.monotonic() - began) / POLL_SECONDS + 2
