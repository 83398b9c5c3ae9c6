"""The registry in the browser, one model, versions side by side, and downloads."""

import io
import tarfile
from typing import Any

import httpx
import msgspec
import pytest

from admin.console.api import Api
from admin.console.pages.models import satisfaction
from gateway.app import App
from gateway.db.database import Database
from gateway.db.tables import FineTuningJobRow, ModelRow
from gateway.services import Services
from gateway.settings import EngineSettings, Settings
from tests.admin.console.browsers import Browser, text_of
from tests.conftest import chat
from tests.fakes.engine import BASE
from tests.fakes.evals import asking, create_eval, create_run, qa
from tests.fakes.tuned_models import add_job, add_tuned
from tests.gateway.people import add, join

pytestmark = pytest.mark.anyio


@pytest.fixture
def settings(settings: Settings) -> Settings:
    engine = EngineSettings(url="http://127.0.0.1:9/v1", model=BASE, model_path="/nowhere")
    return msgspec.structs.replace(settings, engine=engine)


@pytest.fixture
def home(project_id: str) -> str:
    return f"/console/projects/{project_id}"


@pytest.fixture
async def tuned(database: Database, sv: Services, project_key: dict[str, Any], settings: Settings) -> ModelRow:
    job = await add_job(database, project_key, request_metadata={"goal": "label tickets"})
    row = await add_tuned(database, job, settings.data_dir)
    async with database.session() as session:
        (await session.get_one(FineTuningJobRow, job.id)).fine_tuned_model = row.id
    await sv.mirrors.refresh()
    return row


class TestOneThatCanBeCalled:
    async def test_code_key_limits_and_usage_stand_together(
        self, owner: Browser, home: str, project_id: str, admin: httpx.AsyncClient
    ) -> None:
        limits = {"max_requests_per_1_minute": 100}
        await admin.post(f"/v1/organization/projects/{project_id}/rate_limits/rl-*", json=limits)
        page = await owner.open(f"{home}/models/view?model=echo")
        assert "model=&#34;echo&#34;," in page
        assert "All models together: 100 requests a minute" in text_of(page)
        for url in ("keys", "limits", "exchanges?model=echo", "budgets"):
            assert f'href="{home}/{url}"' in page

    async def test_its_limits_are_there_however_many_models_there_are(
        self, owner: Browser, home: str, project_id: str, admin: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        limits = {"max_requests_per_1_minute": 7}
        await admin.post(f"/v1/organization/projects/{project_id}/rate_limits/rl-echo", json=limits)
        get = Api.get

        async def one_a_page(api: Api, path: str, **query: Any) -> Any:
            return await get(api, path, **(query | {"limit": 1} if path.endswith("/rate_limits") else query))

        monkeypatch.setattr(Api, "get", one_a_page)
        assert "This model: 7 requests a minute" in text_of(await owner.open(f"{home}/models/view?model=echo"))

    async def test_a_reader_is_told_whom_to_ask(
        self, app: App, admin: httpx.AsyncClient, owner: Browser, home: str
    ) -> None:
        await add(admin, "reader@example.com", "reader")
        async with Browser.of(app) as browser:
            await browser.sign_in("reader@example.com")
            assert "ask a member for it" in text_of(await browser.open(f"{home}/models/view?model=echo"))


class TestList:
    async def test_filtered_by_kind(self, owner: Browser, home: str, tuned: ModelRow) -> None:
        page = await owner.open(f"{home}/models?kind=adapter")
        assert tuned.id in page
        assert 'value="echo"' not in page
        assert 'value="echo"' in await owner.open(f"{home}/models?kind=provider")

    async def test_what_each_was_used_for_and_how_it_did(
        self, owner: Browser, home: str, client: httpx.AsyncClient, sv: Services, tuned: ModelRow
    ) -> None:
        reply = await client.post("/v1/chat/completions", json=chat("echo"))
        await client.post("/v1/feedback", json={"completion_id": reply.json()["id"], "thumbs": "up"})
        await sv.drain.drain()
        page = text_of(await owner.open(f"{home}/models"))
        assert f"{tuned.id} label tickets" in page
        assert "100.0% n 1" in page
        assert "n 1 " in page

    async def test_filtered_by_status(
        self, owner: Browser, home: str, client: httpx.AsyncClient, tuned: ModelRow
    ) -> None:
        await client.delete(f"/v1/models/{tuned.id}")
        assert tuned.id in await owner.open(f"{home}/models?status=deleted")
        assert tuned.id not in await owner.open(f"{home}/models?status=active")


class TestModel:
    async def test_its_lineage_is_drawn_and_listed(self, owner: Browser, home: str, tuned: ModelRow) -> None:
        page = await owner.open(f"{home}/models/view?model={tuned.id}")
        assert '<g class="here"' in page
        assert "As a list" in page
        assert "base model" in text_of(page)
        assert "style=" not in page

    async def test_one_of_a_provider(self, owner: Browser, home: str) -> None:
        page = text_of(await owner.open(f"{home}/models/view?model=echo"))
        assert "provider, fake" in page
        assert "Download" not in page

    async def test_one_that_is_not_there(self, owner: Browser, home: str) -> None:
        await owner.open(f"{home}/models/view?model=nothing", 404)

    async def test_is_described_deprecated_and_deleted(self, owner: Browser, home: str, tuned: ModelRow) -> None:
        said = await owner.send(f"{home}/models/describe", model=tuned.id, description="the first one")
        assert "the first one" in text_of(said)
        put_away = text_of(await owner.send(f"{home}/models/deprecate", model=tuned.id, deprecated="true"))
        assert "Make active again" in put_away
        assert "The model is active" in text_of(
            await owner.send(f"{home}/models/deprecate", model=tuned.id, deprecated="false")
        )
        assert "is deleted" in text_of(await owner.send(f"{home}/models/delete", model=tuned.id))
        assert "Put it away" not in await owner.open(f"{home}/models/view?model={tuned.id}")

    async def test_a_member_sees_where_it_is_loaded_and_leaves_it_there(
        self, app: App, admin: httpx.AsyncClient, home: str, project_id: str, tuned: ModelRow
    ) -> None:
        person = await add(admin, "member@example.com")
        await join(admin, project_id, person["id"], "member")
        async with Browser.of(app) as browser:
            await browser.sign_in("member@example.com")
            page = await browser.open(f"{home}/models/view?model={tuned.id}")
            assert "not loaded" in text_of(page)
            assert "models/place" not in page
            assert "Put it away" in page
            await browser.send(f"{home}/models/place", 403, model=tuned.id, action="load")


class TestExport:
    async def test_weights_pass_through(self, owner: Browser, home: str, tuned: ModelRow) -> None:
        answer = await owner.client.get(f"{home}/models/export?model={tuned.id}")
        assert answer.status_code == 200
        assert "attachment" in answer.headers["content-disposition"]
        assert int(answer.headers["content-length"]) == len(answer.content)
        with tarfile.open(fileobj=io.BytesIO(answer.content)) as archive:
            names = {each.name.rpartition("/")[2] for each in archive.getmembers()}
        assert {"README.md", "adapter_model.safetensors"} <= names

    async def test_what_is_refused_is_a_page(self, owner: Browser, home: str, tuned: ModelRow) -> None:
        assert "one of adapter" in text_of(await owner.open(f"{home}/models/export?model={tuned.id}&format=zip", 400))
        await owner.open(f"{home}/models/export?model=ft:nothing", 404)


async def test_versions_side_by_side(owner: Browser, home: str, tuned: ModelRow) -> None:
    page = text_of(await owner.open(f"{home}/models/compare"))
    assert tuned.id in page
    assert "echo" not in page
    named = text_of(await owner.open(f"{home}/models/compare?model=echo&model={tuned.id}"))
    assert "echo" in named


def test_what_people_said_counts_before_what_judges_said() -> None:
    def row(source: str, scored: int) -> dict[str, Any]:
        return {"group": {"model": "a"}, "source": source, "scored": scored}

    rows = [row("llm", 1000), row("human", 3), row("human", 5), row("human", 0)]
    assert satisfaction(rows)["a"] == row("human", 5)


async def test_evals_that_it_was_run_on(owner: Browser, home: str, client: httpx.AsyncClient) -> None:
    of = await create_eval(client, name="Support labels")
    await create_run(client, of["id"], asking(qa("a", "a")))
    page = await owner.open(f"{home}/models/view?model=echo")
    assert "Support labels : waiting" in text_of(page)
    assert f"{home}/evals/{of['id']}?model=echo" in page
    other = await owner.open(f"{home}/models/view?model=unicode")
    assert "Support labels" not in other
    assert "Evals say how good it is" in text_of(other)
