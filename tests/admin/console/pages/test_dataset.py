"""One dataset: report, rows, versions, downloads."""

import re
from typing import Any

import httpx
import pytest

from gateway.app import App
from gateway.db.database import Database
from gateway.services import Services
from tests.admin.console.browsers import Browser, text_of
from tests.admin.console.pages.test_datasets import liked
from tests.conftest import client_of
from tests.fakes.datasets import add_dataset
from tests.fakes.fine_tuning import jsonl, upload
from tests.gateway.datasets.files import chat

pytestmark = pytest.mark.anyio

LINE = chat("Where is my parcel, which I ordered on Monday last week?", "On its w\ufffdy.")


@pytest.fixture
async def file_id(app: App, project_key: dict[str, Any]) -> str:
    async with client_of(app, project_key["value"]) as client:
        return await upload(client, jsonl(LINE), name='a "b" ü.jsonl')


@pytest.fixture
async def url(
    app: App, sv: Services, database: Database, project_id: str, project_key: dict[str, Any], file_id: str
) -> str:
    exchange_id = await liked(app, sv, project_key["value"])
    made = await add_dataset(database, project_id, "answers", file_id=file_id, exchange_id=exchange_id)
    return f"/console/projects/{project_id}/datasets/{made['dataset_id']}"


class TestDataset:
    async def test_shows_its_report(self, owner: Browser, url: str, file_id: str) -> None:
        page = await owner.open(url)
        text = text_of(page)
        assert "1 rows to train with, 0 to validate" in text
        assert "human 1 100.0%" in text
        assert f"fine-tuning/new?data={file_id}" in page

    async def test_the_next_version_shows_what_changed(self, owner: Browser, url: str) -> None:
        datasets, _, id = url.rpartition("/")
        form = await owner.open(f"{datasets}/new?dataset={id}")
        assert "New version of answers" in text_of(form)
        fields = dict.fromkeys(re.findall(r'name="(\w+)" type="checkbox" value="true" checked', form), "true")
        kinds = re.findall(r'name="redaction" value="(\w+)" checked', form)
        sent = {
            "kind": "sft",
            "validation": "10",
            "region": "US",
            "near_threshold": "0.8",
            "learn": "last",
            "system": "keep",
        }
        page = await owner.send(f"{datasets}/new", dataset=id, **fields, redaction=kinds, total="7", **sent)
        assert re.search(r"2 queued .*? caps.total none 7 1 completed", text_of(page)), text_of(page)

    async def test_is_cancelled_and_deleted(self, owner: Browser, url: str) -> None:
        datasets, _, id = url.rpartition("/")
        await owner.send(f"{datasets}/new", dataset=id, json='{"kind": "sft"}')
        page = await owner.send(f"{url}/versions/2/cancel")
        assert "The version is cancelled." in text_of(page)
        assert "deleted" in text_of(await owner.send(f"{url}/delete"))
        await owner.open(url, 404)

    async def test_while_it_is_built_a_part_of_it_moves(self, owner: Browser, url: str) -> None:
        datasets, _, id = url.rpartition("/")
        page = await owner.send(f"{datasets}/new", dataset=id, json='{"kind": "sft"}')
        assert 'hx-trigger="every 2s"' in page
        headers = {"hx-request": "true"}
        same = await owner.client.get(f"{url}?version=2&status=queued", headers=headers)
        assert same.text.strip().startswith('<div id="progress"')
        assert "hx-refresh" not in same.headers
        done = await owner.client.get(f"{url}?version=1&status=building", headers=headers)
        assert done.headers["hx-refresh"] == "true"


class TestRows:
    async def test_have_a_score_and_an_origin(self, owner: Browser, url: str) -> None:
        page = await owner.open(f"{url}/versions/1/rows")
        assert "Row 1 80 of 100 damaged characters" in text_of(page)
        assert "ordered on Monday" in page
        assert re.search(r"/exchanges/req_\w+\"", page)

    async def test_ticked_ones_are_left_out_of_the_next_version(self, owner: Browser, url: str) -> None:
        page = await owner.open(f"{url}/versions/1/rows")
        [exchange_id] = re.findall(r'name="exchange" value="(\w+)"', page)
        after = await owner.send(f"{url}/versions/1/rows", exchange=exchange_id)
        assert "without 1 row." in text_of(after)
        assert f"excluded</code> <del>none</del> <ins>[&#34;{exchange_id}&#34;]" in after

    async def test_there_is_no_validation_file(self, owner: Browser, url: str) -> None:
        await owner.open(f"{url}/versions/1/rows?split=validation", 404)


class TestDownload:
    async def test_the_file_as_it_is(self, owner: Browser, url: str) -> None:
        answer = await self.sent(owner, url, format="openai", split="training")
        assert answer.content == jsonl(LINE)
        assert answer.headers["content-disposition"] == 'attachment; filename="a _b_ _.jsonl"'

    async def test_in_another_format(self, owner: Browser, url: str) -> None:
        answer = await self.sent(owner, url, format="csv", split="training")
        assert b"Monday last week" in answer.content
        assert ".csv" in answer.headers["content-disposition"]

    async def sent(self, owner: Browser, url: str, **fields: str) -> httpx.Response:
        token = (await owner.client.get("/v1/sessions/current")).json()["csrf_token"]
        answer = await owner.client.post(f"{url}/versions/1/export", data={"_csrf": token, **fields})
        assert answer.status_code == 200, answer.text
        return answer
