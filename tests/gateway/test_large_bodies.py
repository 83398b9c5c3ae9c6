"""A call whose bodies are in the file storage: whoever reads the log finds it as any other."""

import base64
import random
from collections.abc import AsyncIterator
from typing import Any

import httpx
import msgspec
import pytest
from sqlalchemy import select

from gateway.db.tables import ExchangeRow
from gateway.exchanges.left_bodies import remove_left
from gateway.exchanges.reading import read_next
from gateway.judging import work
from gateway.kit.packing import MovedBody
from gateway.kit.section import restored, revealed
from gateway.protocol.judges import LlmSpec
from gateway.services import Services, WorkerServices, worker_services
from gateway.settings import ExchangeSettings, FileSettings, Secret, Settings
from gateway.tasks.judging_cases import load
from tests.conftest import chat
from tests.fakes.judging import World
from tests.gateway.reviewing.answers import make, post, said_by
from tests.gateway.test_errors import error_in
from tests.s3 import S3Server

pytestmark = pytest.mark.anyio

Client = httpx.AsyncClient
CHAT = "/v1/chat/completions"
WORDS = "a zebra " + base64.b64encode(random.Random(8).randbytes(2400)).decode()
"""What is asked, and answered: 2.4 kB when they are compressed."""


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return msgspec.structs.replace(settings, exchanges=ExchangeSettings(drain_seconds=60, blob_bytes=1024))


@pytest.fixture
async def wv(settings: Settings) -> AsyncIterator[WorkerServices]:
    async with worker_services(settings) as wv:
        yield wv


@pytest.fixture
async def id(client: Client, sv: Services) -> str:
    """Of a call, in the log; its bodies are not."""
    asked = chat("echo", store=True) | {"messages": [{"role": "user", "content": WORDS}]}
    answer = await client.post(CHAT, json=asked)
    await (sv.draining or sv.drain).drain()
    async with sv.database.session() as session:
        row = (await session.scalars(select(ExchangeRow))).one()
    assert isinstance(row.request, MovedBody)
    assert isinstance(row.reply, MovedBody)
    return answer.headers["x-request-id"]


class TestRead:
    async def test_in_the_log_to_the_byte(self, client: Client, id: str) -> None:
        shown = (await client.get(f"/v1/exchanges/{id}")).json()
        assert shown["request"]["messages"] == [{"role": "user", "content": WORDS}]
        assert shown["reply"]["choices"][0]["message"]["content"] == WORDS
        assert (await client.get(f"/v1/exchanges/{shown['reply_id']}")).json() == shown

    async def test_as_a_stored_completion(self, client: Client, id: str) -> None:
        (listed,) = (await client.get(CHAT)).json()["data"]
        assert listed["choices"][0]["message"]["content"] == WORDS
        assert (await client.get(f"{CHAT}/{listed['id']}")).json() == listed
        (message,) = (await client.get(f"{CHAT}/{listed['id']}/messages")).json()["data"]
        assert message["content"] == WORDS

    async def test_to_be_searched(self, client: Client, sv: Services, id: str) -> None:
        async with sv.database.session() as session:
            assert await read_next(session) == 1
        query = {"q": "zebra", "include[]": "preview"}
        (found,) = (await client.get("/v1/exchanges", params=query)).json()["data"]
        assert found["id"] == id
        assert found["preview"]["question"].startswith("a zebra ")
        assert found["preview"]["answer"].startswith("a zebra ")

    async def test_by_whoever_tries_rules_on_it(self, client: Client, id: str) -> None:
        rule = {"type": "length", "unit": "characters", "least": len(WORDS), "most": len(WORDS)}
        tried = (await client.post("/v1/rules/try", json={"rules": [rule], "exchange_id": id})).json()
        assert tried["passed"] is True, tried

    async def test_by_whoever_reviews_it(self, client: Client, id: str) -> None:
        queue = await make(client)
        assert said_by((await post(client, queue, "next"))["item"]) == [WORDS]

    async def test_by_judges(self, wv: WorkerServices, project_key: dict[str, Any], id: str) -> None:
        world = World(wv.database, project_id=project_key["project_id"])
        _, version = await world.judge(LlmSpec(model="echo"))
        await world.ask(version, id)
        async with wv.database.session() as session:
            (task,) = await work.claim(session, "one", 1)
            case = await load(session, task)
        assert case is not None
        assert case.problem is None
        assert [case.answers[0].subject.messages[0]["content"], case.answers[0].subject.answer["content"]] == [
            WORDS
        ] * 2

    async def test_by_whoever_builds_datasets(self, client: Client, id: str) -> None:
        await client.post("/v1/feedback", json={"completion_id": id, "thumbs": "up"})
        recipe = {"kind": "sft", "sources": {"exchanges": {}}}
        shown = (await client.post("/v1/datasets/preview", json={"recipe": recipe})).json()
        assert (shown["matching"], shown["taken"]) == (1, 1), shown
        made = (await client.post("/v1/training_examples/import", json={"exchanges": {"ids": [id]}})).json()
        assert made["created"] == 1, made
        (example,) = (await client.get("/v1/training_examples")).json()["data"]
        assert [each["content"] for each in example["line"]["messages"]] == [WORDS, WORDS]


class TestProcessOfTheLog:
    async def test_where_a_process_beside_writes_the_log_it_writes_the_blobs(
        self, client: Client, sv: Services, id: str
    ) -> None:
        """It is: the setting is the default."""
        assert sv.draining is not None
        assert sv.draining.starts == 1
        names = sorted(path.name.split(".")[1] for path in (sv.settings.data_dir / "blobs" / "bodies").iterdir())
        assert names == ["reply", "request"]

    def test_is_told_all_settings_of_the_storage(self) -> None:
        files = FileSettings(url="s3://bucket", s3_access_key_id="id", s3_secret_access_key=Secret("secret"))
        told = restored(FileSettings, msgspec.json.decode(msgspec.json.encode(revealed(files))))
        assert told.s3_secret_access_key.reveal() == "secret"
        assert msgspec.structs.replace(told, s3_secret_access_key=files.s3_secret_access_key,
                                       s3_session_token=files.s3_session_token) == files  # fmt: skip


class TestOnS3:
    @pytest.fixture
    def settings(self, settings: Settings, s3: S3Server) -> Settings:
        return msgspec.structs.replace(settings, files=s3.new_bucket())

    async def test_written_by_the_process_of_the_log_and_read_by_this_one(
        self, client: Client, sv: Services, s3: S3Server, id: str
    ) -> None:
        assert sv.draining is not None
        assert sv.draining.starts == 1
        assert sorted(each.split(".")[1] for each in names_on(s3, sv)) == ["reply", "request"]
        shown = (await client.get(f"/v1/exchanges/{id}")).json()
        assert shown["request"]["messages"] == [{"role": "user", "content": WORDS}]
        assert shown["reply"]["choices"][0]["message"]["content"] == WORDS

    async def test_erased(self, client: Client, sv: Services, s3: S3Server, id: str) -> None:
        (await client.delete(f"/v1/exchanges/{id}")).raise_for_status()
        assert await remove_left(sv.database) == 2
        assert names_on(s3, sv) == []


def names_on(s3: S3Server, sv: Services) -> list[str]:
    return [each["Key"] for each in s3.objects(sv.settings.files)]


class TestGone:
    async def test_without_its_blob_it_is_there_and_has_no_texts(
        self, client: Client, sv: Services, id: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Erased in between; or somebody has emptied the storage."""
        for path in (sv.settings.data_dir / "blobs" / "bodies").iterdir():
            path.unlink()
        shown = (await client.get(f"/v1/exchanges/{id}")).json()
        assert (shown["request"], shown["reply"]) == (None, None)
        assert "is gone" in caplog.text

    async def test_where_the_storage_is_not_open_it_is_said_so(self, client: Client, sv: Services, id: str) -> None:
        sv.database.large_bodies = None
        assert "file storage" in error_in(await client.get(f"/v1/exchanges/{id}"), 503)["message"]
