"""/v1/datasets through the application."""

import json
from typing import Any

import httpx
import pytest

from gateway.db.database import Database
from gateway.db.tables import DatasetVersionRow
from gateway.kit.clock import now
from gateway.kit.keyed_hash import end_user_hash
from gateway.routes import built_datasets
from gateway.services import Services
from gateway.settings import Settings
from tests.conftest import chat
from tests.fakes.datasets import add_dataset
from tests.fakes.fine_tuning import TEN, upload

pytestmark = pytest.mark.anyio

Client = httpx.AsyncClient
URL = "/v1/datasets"
SFT = {"kind": "sft"}


async def create(client: Client, recipe: dict[str, Any] = SFT, **fields: Any) -> httpx.Response:
    return await client.post(URL, json={"name": "answers", "recipe": recipe, **fields})


async def created(client: Client, recipe: dict[str, Any] = SFT, **fields: Any) -> dict[str, Any]:
    answer = await create(client, recipe, **fields)
    assert answer.status_code == 200, answer.text
    return answer.json()


def error_of(answer: httpx.Response, status: int = 400) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    return answer.json()["error"]


class TestCreate:
    async def test_shows_the_first_version_with_every_default(self, client: Client) -> None:
        made = await created(client, description="What people liked", metadata={"team": "blue"})
        assert (made["object"], made["name"], made["description"]) == ("dataset", "answers", "What people liked")
        assert made["metadata"] == {"team": "blue"}
        version = made["latest_version"]
        assert (version["object"], version["version"], version["status"]) == ("dataset.version", 1, "queued")
        assert version["recipe"]["positive"]["unjudged"] is False
        assert version["recipe"]["redaction"]["kinds"] != []
        assert (version["training_file"], version["error"], version["progress"]) == (None, None, None)

    async def test_users_are_stored_as_hashes(
        self, client: Client, settings: Settings, project_key: dict[str, Any]
    ) -> None:
        made = await created(client, {"kind": "sft", "sources": {"exchanges": {"excluded_users": ["ann@example.com"]}}})
        hashed = end_user_hash("ann@example.com", project_key["project_id"], settings.secret_key.reveal())
        recipe = made["latest_version"]["recipe"]
        assert recipe["sources"]["exchanges"]["excluded_users"] == [f"hash:{hashed}"]
        again = await client.post(f"{URL}/{made['id']}/versions", json={"recipe": recipe})
        assert again.json()["recipe"] == recipe

    @pytest.mark.parametrize(
        ("recipe", "param"),
        [
            ({}, "recipe.kind"),
            ({"kind": "dpo"}, "recipe.kind"),
            ({"kind": "sft", "sauces": {}}, "recipe.sauces"),
            ({"kind": "sft", "caps": {"total": 0}}, "recipe.caps.total"),
            ({"kind": "sft", "split": {"validation": 0.6}}, "recipe.split.validation"),
            ({"kind": "sft", "sources": {"exchanges": None}}, "recipe.sources"),
            ({"kind": "sft", "system": {"prompt": "replace"}}, "recipe.system.text"),
            ({"kind": "sft", "system": {"text": "x"}}, "recipe.system.text"),
            ({"kind": "sft", "criteria": [{"criterion": "clear"}]}, "recipe.criteria[0]"),
            ({"kind": "sft", "pairs": {"min_margin": 0.5}}, "recipe.pairs"),
            ({"kind": "preference", "pairs": {"sources": []}}, "recipe.pairs.sources"),
            ({"kind": "preference", "turns": {"learn": "every"}}, "recipe.turns.learn"),
            ({"kind": "sft", "contamination": {"evals": ["eval_1"]}}, "recipe.contamination.evals"),
            ({"kind": "sft", "contamination": {"files": ["file-1"]}}, "recipe.contamination.files"),
            (
                {"kind": "sft", "sources": {"exchanges": {"created_after": 2, "created_before": 2}}},
                "recipe.sources.exchanges.created_before",
            ),
        ],
    )
    async def test_a_recipe_that_makes_no_sense_names_the_field(
        self, client: Client, recipe: dict[str, Any], param: str
    ) -> None:
        assert error_of(await create(client, recipe))["param"] == param
        assert (await client.get(URL)).json()["data"] == []

    async def test_a_moment_in_the_future(self, client: Client) -> None:
        error = error_of(await create(client, snapshot_at=int(now().timestamp()) + 60))
        assert error["param"] == "snapshot_at"

    async def test_too_many_that_wait(self, client: Client) -> None:
        made = await created(client)
        url = f"{URL}/{made['id']}/versions"
        for _ in range(19):
            assert (await client.post(url)).status_code == 200
        assert error_of(await client.post(url), 409)["code"] == "too_many_versions"
        await client.post(f"{url}/1/cancel")
        assert (await client.post(url)).json()["version"] == 21


class TestLists:
    async def test_newest_first_in_pages(self, client: Client) -> None:
        ids = [(await created(client, name=f"number {number}"))["id"] for number in range(3)]
        page = (await client.get(f"{URL}?limit=2")).json()
        assert [each["id"] for each in page["data"]] == [ids[2], ids[1]]
        rest = (await client.get(f"{URL}?after={page['last_id']}")).json()
        assert ([each["id"] for each in rest["data"]], rest["has_more"]) == ([ids[0]], False)
        assert rest["data"][0]["latest_version"]["version"] == 1

    async def test_versions(self, client: Client) -> None:
        made = await created(client)
        await client.post(f"{URL}/{made['id']}/versions", json={"recipe": {"kind": "preference"}})
        page = (await client.get(f"{URL}/{made['id']}/versions")).json()["data"]
        assert [(each["version"], each["recipe"]["kind"]) for each in page] == [(2, "preference"), (1, "sft")]
        assert (await client.get(f"{URL}/{made['id']}")).json()["latest_version"]["version"] == 2

    async def test_an_item_that_is_none(self, client: Client, database: Database, project_key: dict[str, Any]) -> None:
        made = await add_dataset(database, project_key["project_id"], "x")
        url = f"{URL}/{made['dataset_id']}/versions/1/items"
        assert [each["id"] for each in (await client.get(url)).json()["data"]] == ["training-1"]
        assert error_of(await client.get(f"{url}?after=7"))["param"] == "after"
        assert error_of(await client.get(f"{url}?before=training-{'9' * 5000}"))["param"] == "before"


class TestChanges:
    async def test_name_description_and_metadata(self, client: Client) -> None:
        made = await created(client, metadata={"a": "b"})
        url = f"{URL}/{made['id']}"
        changed = (await client.post(url, json={"name": "other"})).json()
        assert (changed["name"], changed["metadata"]) == ("other", {"a": "b"})
        assert (await client.post(url, json={"metadata": None})).json()["metadata"] is None
        assert error_of(await client.post(url, json={"recipe": SFT}))["param"] == "recipe"

    async def test_deleting_cancels_what_is_not_built(self, client: Client, database: Database) -> None:
        made = await created(client)
        url = f"{URL}/{made['id']}"
        assert (await client.delete(url)).json() == {"id": made["id"], "object": "dataset.deleted", "deleted": True}
        for path in (url, f"{url}/versions", f"{url}/versions/1", f"{url}/versions/1/items"):
            error_of(await client.get(path), 404)
        async with database.session() as session:
            assert (await session.get_one(DatasetVersionRow, made["latest_version"]["id"])).status == "cancelled"

    async def test_cancelling_twice(self, client: Client) -> None:
        made = await created(client)
        url = f"{URL}/{made['id']}/versions/1/cancel"
        assert (await client.post(url)).json()["status"] == "cancelled"
        assert error_of(await client.post(url), 409)["code"] == "version_ended"

    async def test_versions_that_there_are_not(self, client: Client) -> None:
        made = await created(client)
        for number in ("2", "0", "x", "99999999999999999999"):
            error_of(await client.get(f"{URL}/{made['id']}/versions/{number}"), 404)

    async def test_no_report_yet(self, client: Client) -> None:
        made = await created(client)
        error = error_of(await client.get(f"{URL}/{made['id']}/versions/1/report"), 409)
        assert error["code"] == "version_not_completed"


class TestPreview:
    async def test_counts_what_selection_would_do(
        self, client: Client, sv: Services, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for number in range(3):
            answer = await client.post("/v1/chat/completions", json=chat("echo"))
            if number:
                said = {"completion_id": answer.headers["x-request-id"], "thumbs": "up"}
                assert (await client.post("/v1/feedback", json=said)).status_code == 200
        await sv.drain.drain()
        shown = (await client.post(f"{URL}/preview", json={"recipe": SFT})).json()
        assert (shown["matching"], shown["sample"], shown["taken"]) == (3, 3, 2)
        assert (shown["by_signal"], shown["considered"]) == ({"human": 2}, 3)
        assert [(each["reason"], each["count"]) for each in shown["dropped"]] == [("unjudged", 1)]
        newest = (await client.post(f"{URL}/preview", json={"recipe": SFT, "sample": 1})).json()
        assert (newest["matching"], newest["sample"], newest["taken"]) == (3, 1, 1)
        assert (await client.get("/v1/files")).json()["data"] == []
        assert (await client.get(URL)).json()["data"] == []
        monkeypatch.setattr(built_datasets, "MOST_COUNTED", 2)
        assert (await client.post(f"{URL}/preview", json={"recipe": SFT})).json()["matching"] == 2


class TestExport:
    async def dataset(self, client: Client, database: Database, project_id: str) -> str:
        made = await add_dataset(database, project_id, "x", file_id=await upload(client, TEN))
        return f"{URL}/{made['dataset_id']}/versions/1/export"

    @pytest.mark.parametrize("format", ["openai", "trl", "sharegpt", "alpaca", "parquet", "csv"])
    async def test_is_a_file(
        self, client: Client, database: Database, project_key: dict[str, Any], format: str
    ) -> None:
        url = await self.dataset(client, database, project_key["project_id"])
        made = await client.post(f"{url}?format={format}")
        assert made.status_code == 200, made.text
        shown = made.json()
        assert (shown["rows"], shown["skipped"], shown["file"]["purpose"]) == (10, 0, "user_data")
        content = (await client.get(f"/v1/files/{shown['file']['id']}/content")).content
        assert len(content) == shown["file"]["bytes"] > 100
        if format == "trl":
            first = json.loads(content.splitlines()[0])
            assert first["prompt"] == [{"role": "user", "content": "Question 0?"}]
            assert first["completion"] == [{"role": "assistant", "content": "Answer."}]

    async def test_of_nothing(self, client: Client, database: Database, project_key: dict[str, Any]) -> None:
        url = await self.dataset(client, database, project_key["project_id"])
        assert error_of(await client.post(url))["param"] == "format"
        assert error_of(await client.post(f"{url}?format=xml"))["param"] == "format"
        assert error_of(await client.post(f"{url}?format=csv&split=validation"), 404)["param"] == "split"
        waiting = await created(client)
        answer = await client.post(f"{URL}/{waiting['id']}/versions/1/export?format=csv")
        assert error_of(answer, 409)["code"] == "version_not_completed"
