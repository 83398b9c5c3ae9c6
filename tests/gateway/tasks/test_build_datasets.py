"""From a recipe sent to the API to files that a fine-tuning job takes, through a worker."""

import asyncio
import hashlib
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import httpx
import msgspec
import pytest
from sqlalchemy import null, select, update

from gateway.datasets import versions
from gateway.datasets.building.grounds import PLACE
from gateway.db.database import Database
from gateway.db.tables import (
    DatasetItemRow,
    DatasetVersionRow,
    ExchangeDeletionRow,
    ExchangeRow,
    FileRow,
    JudgmentRow,
)
from gateway.exchanges.deletions import USER
from gateway.files import service as files
from gateway.kit.clock import now
from gateway.services import Services, WorkerServices, worker_services
from gateway.settings import Settings, WorkerSettings
from gateway.tasks import build_datasets as task
from gateway.tasks.build_datasets import build_datasets
from tests.conftest import chat
from tests.fakes.engine import BASE
from tests.fakes.evals import SAME, create_eval
from tests.polling import until

pytestmark = pytest.mark.anyio

Client = httpx.AsyncClient


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return msgspec.structs.replace(settings, worker=WorkerSettings(dataset_wait_seconds=0.0))


@pytest.fixture
async def wv(settings: Settings) -> AsyncIterator[WorkerServices]:
    async with worker_services(settings) as wv:
        yield wv


async def asked(client: Client, count: int = 12) -> list[str]:
    """Calls that somebody liked; their ids: the fake upstream gives all of its answers the same."""
    found: list[str] = []
    for number in range(count):
        body = chat("echo") | {"messages": [{"role": "user", "content": f"{number} times {'abcdefghijkl'[number]}?"}]}
        answer = await client.post("/v1/chat/completions", json=body)
        found.append(answer.headers["x-request-id"])
    for exchange in found:
        answer = await client.post("/v1/feedback", json={"completion_id": exchange, "thumbs": "up"})
        assert answer.status_code == 200, answer.text
    return found


async def created(client: Client, **fields: Any) -> dict[str, Any]:
    recipe = {"kind": "sft", "duplicates": {"near": False}, "split": {"validation": 0}}
    body = {"name": "support answers", "recipe": recipe, **fields}
    answer = await client.post("/v1/datasets", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def version_of(client: Client, dataset: dict[str, Any], number: int = 1) -> dict[str, Any]:
    return (await client.get(f"/v1/datasets/{dataset['id']}/versions/{number}")).json()


async def built(wv: WorkerServices, client: Client, dataset: dict[str, Any], number: int = 1) -> dict[str, Any]:
    """The version, once it has ended. Its moment may be the next second."""

    async def has_ended() -> bool:
        await build_datasets(wv)
        return (await version_of(client, dataset, number))["status"] not in ("queued", "building")

    await until(has_ended)
    return await version_of(client, dataset, number)


class TestFromFeedbackToATrainingFile:
    async def test_the_file_is_one_that_a_job_takes(self, client: Client, wv: WorkerServices) -> None:
        await asked(client)
        dataset = await created(client)
        assert dataset["latest_version"]["status"] == "queued"
        version = await built(wv, client, dataset)
        assert (version["status"], version["training_rows"], version["validation_rows"]) == ("completed", 12, 0)
        content = (await client.get(f"/v1/files/{version['training_file']}/content")).content
        assert hashlib.sha256(content).hexdigest() == version["content_sha256"]
        assert len(content.splitlines()) == 12
        job = {"model": BASE, "training_file": version["training_file"]}
        assert (await client.post("/v1/fine_tuning/jobs", json=job)).status_code == 200
        report = (await client.get(f"/v1/files/{version['training_file']}/report")).json()["report"]
        assert (report["good_examples"] if "good_examples" in report else report["examples"]) == 12
        assert report["bad_examples"] == 0

    async def test_every_line_tells_where_it_comes_from(self, client: Client, wv: WorkerServices) -> None:
        await asked(client)
        dataset = await created(client)
        version = await built(wv, client, dataset)
        lines = (await client.get(f"/v1/files/{version['training_file']}/content")).content.splitlines(keepends=True)
        url = f"/v1/datasets/{dataset['id']}/versions/1/items"
        first = (await client.get(f"{url}?limit=5")).json()
        rest = (await client.get(f"{url}?limit=100&after={first['last_id']}")).json()
        items = first["data"] + rest["data"]
        assert (first["has_more"], rest["has_more"]) == (True, False)
        assert [each["line"] for each in items] == list(range(1, 13))
        assert [each["sha256"] for each in items] == [hashlib.sha256(line).hexdigest() for line in lines]
        exchange = (await client.get(f"/v1/exchanges/{items[3]['exchange_id']}")).json()
        assert exchange["request"]["messages"] == json.loads(lines[3])["messages"][:-1]
        [judgment_id] = items[3]["judgment_ids"]
        judgment = (await client.get(f"/v1/judgments/{judgment_id}")).json()
        assert judgment["exchange_id"] == items[3]["exchange_id"]
        before = (await client.get(f"{url}?limit=2&before={items[5]['id']}")).json()
        assert [each["line"] for each in before["data"]] == [4, 5]

    async def test_the_same_moment_makes_the_same_bytes(self, client: Client, wv: WorkerServices) -> None:
        """Built again later, when there is more."""
        await asked(client, 6)
        dataset = await created(client)
        first = await built(wv, client, dataset)
        await until(lambda: time.time() > first["snapshot_at"])
        await asked(client, 9)
        url = f"/v1/datasets/{dataset['id']}/versions"
        again = await client.post(url, json={"snapshot_at": first["snapshot_at"]})
        assert again.json()["version"] == 2
        second = await built(wv, client, dataset, 2)
        assert (second["content_sha256"], second["recipe"]) == (first["content_sha256"], first["recipe"])
        assert second["training_file"] != first["training_file"]
        await client.post(url)
        assert (await built(wv, client, dataset, 3))["training_rows"] == 9

    async def test_a_report_tells_what_was_left_out(self, client: Client, wv: WorkerServices, sv: Services) -> None:
        await asked(client, 3)
        await client.post("/v1/chat/completions", json=chat("echo"))
        await sv.drain.drain()
        dataset = await created(client)
        await built(wv, client, dataset)
        report = (await client.get(f"/v1/datasets/{dataset['id']}/versions/1/report")).json()
        assert [(each["reason"], each["count"]) for each in report["dropped"]] == [("unjudged", 1)]
        assert report["by_signal"] == {"human": 3}

    async def test_with_nothing_left_it_fails_and_says_why(
        self, client: Client, wv: WorkerServices, sv: Services
    ) -> None:
        await client.post("/v1/chat/completions", json=chat("echo"))
        await sv.drain.drain()
        dataset = await created(client)
        version = await built(wv, client, dataset)
        assert (version["status"], version["error"]["code"]) == ("failed", "no_rows")
        report = (await client.get(f"/v1/datasets/{dataset['id']}/versions/1/report")).json()
        assert report["dropped"][0]["reason"] == "unjudged"
        assert (await client.get("/v1/files")).json()["data"] == []


class TestTestSuites:
    async def test_an_eval_without_items_does_not_pass_for_clean(self, client: Client, wv: WorkerServices) -> None:
        await asked(client, 3)
        suite = await create_eval(client, SAME)
        recipe = {"kind": "sft", "contamination": {"evals": [suite["id"]]}}
        version = await built(wv, client, await created(client, recipe=recipe))
        assert (version["status"], version["error"]["code"]) == ("failed", "invalid_value")
        assert "has no items yet" in version["error"]["message"]


class TestWorkers:
    async def test_a_version_whose_worker_died_is_built_anew(
        self, client: Client, wv: WorkerServices, database: Database
    ) -> None:
        await asked(client, 3)
        dataset = await created(client)
        await until(lambda: self.claimed(database))
        assert await self.claimed(database) is False  # the lease of the dead worker holds
        async with database.session() as session:
            await session.execute(update(DatasetVersionRow).values(leased_until=now() - timedelta(seconds=1)))
        assert (await built(wv, client, dataset))["status"] == "completed"

    @staticmethod
    async def claimed(database: Database) -> bool:
        async with database.session() as session:
            return await versions.claim(session, "the dead", 30.0, 0.0) is not None

    async def test_one_that_ends_every_worker_is_given_up(
        self, client: Client, wv: WorkerServices, database: Database
    ) -> None:
        dataset = await created(client)
        async with database.session() as session:
            died = {"stage": "selecting", "done": 0, "total": None, "tries": versions.TRIES}
            await session.execute(update(DatasetVersionRow).values(progress=died))
        version = await built(wv, client, dataset)
        assert (version["status"], version["error"]["code"]) == ("failed", "worker_died")

    async def test_two_workers_build_it_once(
        self, client: Client, wv: WorkerServices, settings: Settings, database: Database
    ) -> None:
        await asked(client, 3)
        dataset = await created(client)
        async with worker_services(settings) as other:
            await asyncio.gather(built(wv, client, dataset), built(other, client, dataset))
        async with database.session() as session:
            assert len(list(await session.scalars(select(DatasetItemRow)))) == 3
            assert len(list(await session.scalars(select(FileRow)))) == 1

    async def test_a_worker_that_stops_gives_it_back(
        self, client: Client, wv: WorkerServices, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await asked(client, 3)
        dataset = await created(client)
        reached = asyncio.Event()

        async def stuck(*_: Any) -> None:
            reached.set()
            await asyncio.Event().wait()

        with monkeypatch.context() as patched:
            patched.setattr(task, "store_dataset", stuck)

            async def until_reached() -> None:
                while not reached.is_set():
                    await build_datasets(wv)

            working = asyncio.ensure_future(until_reached())
            await until(reached.is_set)
            working.cancel()
            await asyncio.wait({working})
        version = await version_of(client, dataset)
        assert (version["status"], version["progress"]) == ("queued", None)
        assert not any((wv.settings.data_dir / PLACE).iterdir())
        assert (await built(wv, client, dataset))["status"] == "completed"

    async def test_one_that_is_cancelled_meanwhile_shows_nothing(
        self, client: Client, wv: WorkerServices, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await asked(client, 3)
        dataset = await created(client)
        store = task.store_dataset

        async def cancelled_before(*arguments: Any) -> None:
            answer = await client.post(f"/v1/datasets/{dataset['id']}/versions/1/cancel")
            assert answer.json()["status"] == "cancelled"
            await store(*arguments)

        monkeypatch.setattr(task, "store_dataset", cancelled_before)
        version = await built(wv, client, dataset)
        assert (version["status"], version["training_file"]) == ("cancelled", None)
        assert (await client.get("/v1/files")).json()["data"] == []

    @pytest.mark.parametrize("stopped", [False, True])
    async def test_what_is_committed_keeps_its_files(
        self, client: Client, wv: WorkerServices, monkeypatch: pytest.MonkeyPatch, stopped: bool
    ) -> None:
        """The answer to the COMMIT is on its way when the lease is not extended any more, or when the worker is told to stop."""
        await asked(client, 3)
        dataset = await created(client)
        committed = asyncio.Event()
        written = files.written

        @asynccontextmanager
        async def slow(*arguments: Any, **named: Any) -> AsyncIterator[FileRow]:
            async with written(*arguments, **named) as row:
                try:
                    yield row
                finally:
                    committed.set()
                await asyncio.sleep(0.3)

        monkeypatch.setattr(files, "written", slow)
        monkeypatch.setattr(task, "POLL_SECONDS", 0.01)
        working = asyncio.ensure_future(built(wv, client, dataset))
        await committed.wait()
        if stopped:
            working.cancel()
        await asyncio.wait({working})
        version = await version_of(client, dataset)
        assert version["status"] == "completed"
        content = await client.get(f"/v1/files/{version['training_file']}/content")
        assert hashlib.sha256(content.content).hexdigest() == version["content_sha256"]

    async def test_an_exchange_that_is_deleted_meanwhile_is_not_in_it(
        self, client: Client, wv: WorkerServices, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await asked(client, 3)
        dataset = await created(client)
        store = task.store_dataset
        deleted: list[str] = []

        async def delete_first(*arguments: Any) -> None:
            if not deleted:
                exchange = (await client.get("/v1/exchanges")).json()["data"][0]
                deleted.append(exchange["id"])
                async with database.session() as session:
                    session.add(
                        ExchangeDeletionRow(
                            exchange_id=exchange["id"], project_id=arguments[1].row.project_id, deleted_at=now(),
                            deleted_by="",
                        )
                    )  # fmt: skip
            await store(*arguments)

        monkeypatch.setattr(task, "store_dataset", delete_first)
        version = await built(wv, client, dataset)
        assert (version["status"], version["training_rows"]) == ("completed", 2)
        items = (await client.get(f"/v1/datasets/{dataset['id']}/versions/1/items")).json()["data"]
        assert deleted[0] not in [each["exchange_id"] for each in items]

    async def test_deletions_that_never_end_keep_no_version_from_ending(
        self, client: Client, wv: WorkerServices, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It is built anew twice; what is deleted once more is marked, so that its line is blanked."""
        ids = await asked(client, 6)
        dataset = await created(client)
        store = task.store_dataset
        deleted: list[str] = []

        async def delete_first(*arguments: Any) -> None:
            deleted.append(ids[len(deleted)])
            async with database.session() as session:
                project = arguments[1].row.project_id
                session.add(
                    ExchangeDeletionRow(exchange_id=deleted[-1], project_id=project, deleted_at=now(), deleted_by="")
                )
            await store(*arguments)

        monkeypatch.setattr(task, "store_dataset", delete_first)
        version = await built(wv, client, dataset)
        assert (version["status"], version["training_rows"], len(deleted)) == ("completed", 4, 3)
        items = (await client.get(f"/v1/datasets/{dataset['id']}/versions/1/items")).json()["data"]
        assert [each["exchange_id"] for each in items if each["erased_at"]] == [deleted[2]]

    @pytest.mark.parametrize("what", ["all of its end user's", "the correction"])
    async def test_what_is_being_erased_while_it_is_built_is_marked(
        self, client: Client, wv: WorkerServices, database: Database, monkeypatch: pytest.MonkeyPatch, what: str
    ) -> None:
        """Announced, and not come to it yet; or words, which nobody announces."""
        _, id, _ = await asked(client, 3)
        await client.post("/v1/feedback", json={"completion_id": id, "correction": "Seven."})
        dataset = await created(client)
        store = task.store_dataset

        async def erased_before(*arguments: Any) -> None:
            async with database.session() as session:
                await session.execute(update(ExchangeRow).where(ExchangeRow.id == id).values(end_user="ann"))
                if what == "the correction":
                    await session.execute(update(JudgmentRow).values(edited_message=null()))
                else:
                    project = arguments[1].row.project_id
                    session.add(
                        ExchangeDeletionRow(
                            exchange_id=f"{USER}ann", project_id=project, deleted_at=now(), deleted_by=""
                        )
                    )
            await store(*arguments)

        monkeypatch.setattr(task, "store_dataset", erased_before)
        version = await built(wv, client, dataset)
        assert (version["status"], version["training_rows"]) == ("completed", 3)
        async with database.session() as session:
            erased = select(DatasetItemRow.exchange_id).where(DatasetItemRow.erased_at.is_not(None))
            assert list(await session.scalars(erased)) == [id]

    async def test_an_example_that_is_erased_while_it_is_built_is_marked(
        self, client: Client, wv: WorkerServices, sv: Services, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Made of a correction by somebody whose call it was not."""
        await sv.drain.drain()
        id, _ = await asked(client, 2)
        await client.post("/v1/feedback", json={"completion_id": id, "correction": "Seven.", "user": "ann"})
        body = {"exchanges": {}, "validated": True, "score": 1.0}
        assert (await client.post("/v1/training_examples/import", json=body)).json()["created"] == 2
        recipe = {"kind": "sft", "split": {"validation": 0}, "sources": {"exchanges": None, "examples": {}}}
        dataset = await created(client, recipe=recipe)
        store = task.store_dataset

        async def erased_before(*arguments: Any) -> None:
            assert (await client.delete("/v1/exchanges", params={"user": "ann"})).status_code == 200
            await store(*arguments)

        monkeypatch.setattr(task, "store_dataset", erased_before)
        version = await built(wv, client, dataset)
        assert (version["status"], version["training_rows"]) == ("completed", 2)
        items = (await client.get(f"/v1/datasets/{dataset['id']}/versions/1/items")).json()["data"]
        assert [each["exchange_id"] for each in items if each["erased_at"]] == [id]

    async def test_a_bug_is_told_and_the_next_version_is_built(
        self, client: Client, wv: WorkerServices, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await asked(client, 3)
        broken, good = await created(client), await created(client)

        async def breaks(*_: Any) -> None:
            raise RuntimeError("a bug")

        with monkeypatch.context() as patched:
            patched.setattr(task, "store_dataset", breaks)
            version = await built(wv, client, broken)
        assert (version["status"], version["error"]["code"]) == ("failed", "server_error")
        assert "a bug" not in version["error"]["message"]
        assert good


class TestBeforeItsTime:
    async def test_nothing_is_built_before_what_happened_can_have_arrived(
        self, client: Client, database: Database, sv: Services
    ) -> None:
        dataset = await created(client)
        async with database.session() as session:
            assert await versions.claim(session, "worker", 30.0, 3600.0) is None
            await session.execute(update(DatasetVersionRow).values(snapshot_at=now() - timedelta(seconds=10)))
            assert await versions.claim(session, "worker", 30.0, 3600.0) is None
            assert (await versions.claim(session, "worker", 30.0, 5.0)) is not None
        assert (await version_of(client, dataset))["status"] == "building"
