"""Training examples in the console."""

import re
from typing import Any

import httpx
import pytest

from gateway.app import App
from gateway.services import Services
from tests.admin.console.browsers import Browser, text_of
from tests.admin.console.pages.test_datasets import liked
from tests.fakes.fine_tuning import jsonl
from tests.gateway.datasets.files import chat
from tests.gateway.people import add

pytestmark = pytest.mark.anyio

WRITTEN = {"question": "Do you ship to Norway?", "answer": "Yes, in three days.", "tags": "shipping, north"}


@pytest.fixture
def url(project_id: str) -> str:
    return f"/console/projects/{project_id}/examples"


def id_in(page: str) -> str:
    return re.findall(r"(\w+)/delete\"", page)[0]


class TestWriting:
    async def test_is_a_draft_until_it_is_validated(self, owner: Browser, url: str) -> None:
        made = await owner.send(url, **WRITTEN)
        assert "Yes, in three days." in made
        assert "draft shipping north" in text_of(made)
        one = f"{url}/{id_in(made)}"
        done = text_of(await owner.send(f"{one}/validate", status="validated", score="0.9"))
        assert "validated 0.90" in done
        assert "rejected" in text_of(await owner.send(f"{one}/validate", status="rejected", score="0.9"))
        assert "draft again" in text_of(await owner.send(f"{one}/validate", status="draft"))

    async def test_a_pair(self, owner: Browser, url: str) -> None:
        made = text_of(await owner.send(url, **WRITTEN, rejected="No."))
        assert "Not preferred assistant No." in made

    async def test_what_is_wrong_is_said_and_nothing_is_lost(self, owner: Browser, url: str) -> None:
        page = await owner.send(url, 400, question="Do you?", answer="", line='{"messages": []}')
        assert 'role="alert"' in page
        assert "Do you?" in page

    async def test_edited_it_is_another_draft_and_tags_alone_change_nothing_else(
        self, owner: Browser, url: str
    ) -> None:
        made = await owner.send(url, **WRITTEN)
        one = id_in(made)
        tagged = await owner.send(f"{url}/{one}", **WRITTEN | {"tags": "north"})
        assert id_in(tagged) == one
        assert "shipping" not in text_of(tagged)
        edited = await owner.send(f"{url}/{one}", **WRITTEN | {"answer": "Yes, in two days."})
        assert id_in(edited) != one
        await owner.open(f"{url}/{one}", 404)

    async def test_deleted_it_is_gone(self, owner: Browser, url: str) -> None:
        one = id_in(await owner.send(url, **WRITTEN))
        assert "No example yet" in text_of(await owner.send(f"{url}/{one}/delete"))


class TestFinding:
    async def test_by_words_tags_and_status(self, owner: Browser, url: str) -> None:
        await owner.send(url, **WRITTEN)
        await owner.send(url, question="And to Peru?", answer="Yes.", tags="shipping, south")
        for query, found in (
            ("text=norway", ["Norway"]),
            ("tag=shipping", ["Norway", "Peru"]),
            ("tag=shipping,south", ["Peru"]),
            ("status=validated", []),
            ("kind=sft", ["Norway", "Peru"]),
        ):
            page = await owner.open(f"{url}?{query}")
            assert [each for each in ("Norway", "Peru") if each in page] == found, query

    async def test_a_wrong_filter_is_said(self, owner: Browser, url: str) -> None:
        assert 'role="alert"' in await owner.open(f"{url}?min_score=7", 400)

    async def test_a_reader_changes_nothing(self, app: App, admin: httpx.AsyncClient, owner: Browser, url: str) -> None:
        one = id_in(await owner.send(url, **WRITTEN))
        await add(admin, "reader@example.com", "reader")
        async with Browser.of(app) as browser:
            await browser.sign_in("reader@example.com")
            assert "New example" not in await browser.open(url)
            assert "Validate" not in await browser.open(f"{url}/{one}")
            await browser.send(f"{url}/{one}/delete", 403)


class TestImporting:
    async def test_of_a_file(self, owner: Browser, url: str) -> None:
        token = (await owner.client.get("/v1/sessions/current")).json()["csrf_token"]
        content = jsonl(chat("One?"), chat("Two?"), {"x": 1})
        sent = {"_csrf": token, "tags": "bulk", "validated": "true"}
        answer = await owner.client.post(f"{url}/import", data=sent, files={"file": ("a.jsonl", content)})
        text = text_of(answer.text)
        assert "2 examples are new; 1 left out (invalid line: line 3" in text
        assert text.count("validated bulk a file") == 2

    async def test_of_the_answers_that_people_liked(
        self, app: App, owner: Browser, url: str, sv: Services, project_key: dict[str, Any]
    ) -> None:
        exchange_id = await liked(app, sv, project_key["value"])
        page = await owner.send(f"{url}/import", **{"from": "log", "days": "30"})
        assert "1 examples are new" in text_of(page)
        assert f"/exchanges/{exchange_id}" in page

    async def test_days_are_a_number(self, owner: Browser, url: str) -> None:
        assert "Days are a number" in await owner.send(f"{url}/import", 400, **{"from": "log", "days": "x"})
