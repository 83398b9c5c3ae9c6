"""A name moves from a model to another, and back, while its clients go on as if nothing had happened."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from gateway.app import App
from gateway.db.database import Database
from gateway.services import Services
from gateway.settings import EngineSettings, Settings
from tests.conftest import ADMIN_KEY, chat, client_of
from tests.fakes.tuned_models import add_job, add_tuned
from tests.fakes.upstream import Upstream
from tests.gateway import logged
from tests.gateway.conftest import RunningGateway, StartGateway
from tests.polling import until

pytestmark = pytest.mark.anyio

ROUTES = "/v1/routes"
CHAT = "/v1/chat/completions"


@pytest.fixture
def settings(settings: Settings, upstream: Upstream) -> Settings:
    """An engine that serves a base and, once they exist, fine-tuned models."""
    return msgspec.structs.replace(settings, engine=EngineSettings(url=upstream.url, model="base"))


@pytest.fixture
async def tuned(app: App, database: Database, project_key: dict[str, Any]) -> str:
    model = (await add_tuned(database, await add_job(database, project_key))).id
    await app.services.mirrors.catch_up()
    return model


@pytest.fixture
async def route(admin: httpx.AsyncClient, project_key: dict[str, Any]) -> str:
    """The URL of `support-bot`, which is the base."""
    body = {"name": "support-bot", "project_id": project_key["project_id"], "targets": [{"model": "base"}]}
    return f"{ROUTES}/{(await admin.post(ROUTES, json=body)).json()['id']}"


async def served(client: httpx.AsyncClient, name: str = "support-bot", **more: Any) -> str:
    """Which model answers a name."""
    answer = await client.post(CHAT, json=chat(name, **more))
    assert answer.status_code == 200, answer.text
    return answer.headers["x-tuneway-model"]


async def move(admin: httpx.AsyncClient, route: str, *models: str) -> dict[str, Any]:
    answer = await admin.post(route, json={"targets": [{"model": model} for model in models]})
    assert answer.status_code == 200, answer.text
    return answer.json()


class TestInOneProcess:
    async def test_from_a_base_to_a_fine_tuned_model_and_back(
        self, client: httpx.AsyncClient, admin: httpx.AsyncClient, route: str, tuned: str, sv: Services
    ) -> None:
        assert await served(client) == "base"
        await move(admin, route, tuned)
        assert await served(client) == tuned
        assert (await admin.post(f"{route}/rollback")).json()["revision"] == 3
        assert await served(client) == "base"
        rows = await logged.rows(sv)
        assert {row.requested_model for row in rows} == {"support-bot"}
        assert [(row.served_model, row.route) for row in rows] == [
            ("base", "support-bot@1"),
            (tuned, "support-bot@2"),
            ("base", "support-bot@3"),
        ]

    async def test_no_call_fails_while_it_moves(
        self, client: httpx.AsyncClient, admin: httpx.AsyncClient, route: str, tuned: str
    ) -> None:
        moving = True

        async def keep_calling(stream: bool) -> set[str]:
            seen: set[str] = set()
            while moving:
                seen.add(await served(client, stream=stream))
            return seen

        callers = [asyncio.create_task(keep_calling(stream)) for stream in (False, True, False)]
        for _ in range(4):
            await move(admin, route, tuned)
            assert await served(client) == tuned
            await move(admin, route, "base")
            assert await served(client) == "base"
        moving = False
        assert set().union(*await asyncio.gather(*callers)) == {"base", tuned}

    async def test_a_stream_on_its_way_ends_where_it_began(
        self, app: App, admin: httpx.AsyncClient, route: str, upstream: Upstream, project_key: dict[str, Any]
    ) -> None:
        await move(admin, route, "gated")
        async with client_of(app, project_key["value"]) as one:
            stream = asyncio.create_task(one.post(CHAT, json=chat("support-bot", stream=True)))
            await until(lambda: upstream.requests)
            await move(admin, route, "base")
            assert await served(one) == "base"
            upstream.release.set()
            answer = await stream
        assert answer.headers["x-tuneway-model"] == "gated"
        assert answer.text.rstrip().endswith("data: [DONE]")

    async def test_a_model_behind_a_route_of_its_own_name(
        self, client: httpx.AsyncClient, admin: httpx.AsyncClient
    ) -> None:
        assert await served(client, "echo") == "echo"
        body = {"name": "echo", "targets": [{"model": "base"}], "fallbacks": [{"model": "echo"}]}
        made = (await admin.post(ROUTES, json=body)).json()
        assert await served(client, "echo") == "base"
        await admin.delete(f"{ROUTES}/{made['id']}")
        assert await served(client, "echo") == "echo"

    async def test_a_deleted_model_leaves_the_others_of_its_route(
        self, client: httpx.AsyncClient, admin: httpx.AsyncClient, route: str, tuned: str
    ) -> None:
        await move(admin, route, tuned, "base")
        assert (await client.delete(f"/v1/models/{tuned}")).status_code == 200
        assert {await served(client) for _ in range(8)} == {"base"}

    async def test_is_for_its_project_alone_and_listed_there(
        self, client: httpx.AsyncClient, stranger: httpx.AsyncClient, route: str
    ) -> None:
        assert (await stranger.post(CHAT, json=chat("support-bot"))).json()["error"]["code"] == "model_not_found"
        for caller, shown in ((client, True), (stranger, False)):
            names = [each["id"] for each in (await caller.get("/v1/models")).json()["data"]]
            assert ("support-bot" in names) is shown
        assert (await client.get("/v1/models/support-bot")).json()["id"] == "support-bot"

    async def test_a_name_of_any_script_is_fine(self, client: httpx.AsyncClient, admin: httpx.AsyncClient) -> None:
        made = await admin.post(ROUTES, json={"name": "客服é", "targets": [{"model": "base"}]})
        assert made.status_code == 200, made.text
        assert await served(client, "客服é") == "base"


@pytest.fixture(scope="module")
def two(start_gateway: StartGateway, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunningGateway, ...]]:
    """Two gateway processes on one database, and a route in their settings."""
    first = start_gateway()
    config = Path(first.environment["TUNEWAY_CONFIG"])
    written = '\n[[routes]]\nname = "written"\ntargets = [{ model = "echo" }]\n'
    directory = tmp_path_factory.mktemp("second")
    (directory / "tuneway.toml").write_text(config.read_text() + written)
    own = {"TUNEWAY_DATA_DIR": str(directory), "TUNEWAY_CONFIG": str(directory / "tuneway.toml")}
    second = RunningGateway(directory, first.database_url, first.environment | own, key=first.key)
    second.start()
    yield first, second
    second.stop()


class TestInTwoProcesses:
    async def test_a_change_on_one_is_served_by_the_other(self, two: tuple[RunningGateway, ...]) -> None:
        first, second = two
        async with clients(first, ADMIN_KEY) as admin, clients(second, second.key["value"]) as client:
            made = (await admin.post(ROUTES, json={"name": "moving", "targets": [{"model": "echo"}]})).json()
            await until(lambda: is_served(client, "moving", "echo"))
            await move(admin, f"{ROUTES}/{made['id']}", "unicode")
            await until(lambda: is_served(client, "moving", "unicode"))
            await admin.post(f"{ROUTES}/{made['id']}/rollback")
            await until(lambda: is_served(client, "moving", "echo"))
            await admin.delete(f"{ROUTES}/{made['id']}")
            await until(lambda: is_served(client, "moving", None))

    async def test_changes_on_both_at_once_all_land(self, two: tuple[RunningGateway, ...]) -> None:
        first, second = two
        async with clients(first, ADMIN_KEY) as one, clients(second, ADMIN_KEY) as other:
            made = (await one.post(ROUTES, json={"name": "busy", "targets": [{"model": "echo"}]})).json()
            url = f"{ROUTES}/{made['id']}"
            weights = [{"targets": [{"model": "echo", "weight": number}]} for number in range(2, 18)]
            posts = [(one, other)[place % 2].post(url, json=body) for place, body in enumerate(weights)]
            answers = [answer.json() for answer in await asyncio.gather(*posts)]
            assert sorted(answer["revision"] for answer in answers) == list(range(2, 18))
            last = max(answers, key=lambda answer: answer["revision"])
            for admin in (one, other):
                shown = (await admin.get(url)).json()
                assert (shown["revision"], shown["targets"]) == (17, last["targets"])

    async def test_one_of_the_api_stands_before_one_of_the_settings(self, two: tuple[RunningGateway, ...]) -> None:
        first, second = two
        async with clients(first, ADMIN_KEY) as admin, clients(second, second.key["value"]) as client:
            assert await is_served(client, "written", "echo")
            made = (await admin.post(ROUTES, json={"name": "written", "targets": [{"model": "crlf"}]})).json()
            await until(lambda: is_served(client, "written", "crlf"))
            await admin.delete(f"{ROUTES}/{made['id']}")
            await until(lambda: is_served(client, "written", "echo"))


def clients(gateway: RunningGateway, key: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=gateway.url, headers={"authorization": f"Bearer {key}"}, timeout=30)


async def is_served(client: httpx.AsyncClient, name: str, model: str | None) -> bool:
    """By that model; None: the name is unknown."""
    answer = await client.post(CHAT, json=chat(name))
    if answer.status_code == 404:
        return model is None and json.loads(answer.text)["error"]["code"] == "model_not_found"
    return answer.status_code == 200 and answer.headers["x-tuneway-model"] == model
