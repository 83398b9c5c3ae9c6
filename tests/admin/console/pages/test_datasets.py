"""Datasets of a project: the list and the form."""

from typing import Any

import httpx
import pytest

from gateway.app import App
from gateway.db.database import Database
from gateway.services import Services
from tests.admin.console.browsers import Browser, text_of
from tests.conftest import chat, client_of
from tests.fakes.datasets import add_dataset
from tests.gateway.people import add

pytestmark = pytest.mark.anyio

USUAL = {
    "kind": "sft", "from_log": "true", "edits": "true", "human": "true", "rule_and_judge": "true", "exact": "true",
    "near": "true", "region": "US", "learn": "last", "system": "keep",
}  # fmt: skip


@pytest.fixture
def url(project_id: str) -> str:
    return f"/console/projects/{project_id}/datasets"


async def liked(app: App, sv: Services, secret: str, thumbs: str = "up") -> str:
    """A logged answer that somebody judged."""
    async with client_of(app, secret) as client:
        answer = await client.post("/v1/chat/completions", json=chat("echo"))
        await sv.drain.drain()
        body = {"completion_id": answer.json()["id"], "thumbs": thumbs}
        assert (await client.post("/v1/feedback", json=body)).status_code == 200
        return answer.headers["x-request-id"]


class TestList:
    async def test_empty_says_what_to_do(self, owner: Browser, url: str) -> None:
        assert "No dataset yet" in text_of(await owner.open(url))

    async def test_shows_the_newest_version(
        self, owner: Browser, url: str, database: Database, project_id: str
    ) -> None:
        await add_dataset(database, project_id, "answers <b>")
        page = await owner.open(url)
        assert "answers &lt;b&gt;" in page
        assert "Answers (SFT) 1 completed 1 0" in text_of(page)

    async def test_a_reader_builds_nothing(
        self, app: App, admin: httpx.AsyncClient, url: str, database: Database, project_id: str
    ) -> None:
        await add_dataset(database, project_id, "answers")
        await add(admin, "reader@example.com", "reader")
        async with Browser.of(app) as browser:
            await browser.sign_in("reader@example.com")
            assert "Build from traffic" not in await browser.open(url)
            await browser.send(f"{url}/new", 403, name="mine", **USUAL)


class TestBuilding:
    async def test_by_the_form(self, owner: Browser, url: str) -> None:
        made = await owner.send(
            f"{url}/new", name="support", **USUAL, models="starter, echo", total="100", validation="20",
            criterion_0="thumbs", passed_0="true", redaction=["email", "card"],
        )  # fmt: skip
        text = text_of(made)
        assert "The dataset is made" in text
        assert "queued" in text
        recipe = made.partition("Recipe of version 1")[2]
        assert all(each in recipe for each in ("starter", "echo", "thumbs", "&#34;total&#34;: 100", "0.2"))
        assert "iban" not in recipe

    async def test_what_is_wrong_is_said_beside_its_field_and_nothing_is_lost(self, owner: Browser, url: str) -> None:
        page = await owner.send(f"{url}/new", 400, name="support", **USUAL, total="0", models="starter")
        assert 'value="starter"' in page
        field = page.partition('id="f-total"')[2].partition(">")[0]
        assert 'aria-invalid="true"' in field

    async def test_json_in_its_place(self, owner: Browser, url: str) -> None:
        recipe = '{"kind": "preference", "pairs": {"sources": ["votes"]}}'
        made = await owner.send(f"{url}/new", name="pairs", **USUAL, json=recipe)
        assert "Pairs (DPO)" in text_of(made)
        page = await owner.send(f"{url}/new", 400, name="pairs", **USUAL, json="{")
        assert "The recipe is no JSON" in text_of(page)


class TestPreview:
    async def test_counts_what_would_be_taken(
        self, app: App, owner: Browser, url: str, sv: Services, project_key: dict[str, Any]
    ) -> None:
        await liked(app, sv, project_key["value"])
        await liked(app, sv, project_key["value"], "down")
        page = text_of(await owner.send(f"{url}/new", name="support", **USUAL, do="preview"))
        assert "1 of 2 answers" in page
        assert "A person said that it is not good." in page
        assert "No dataset yet" in text_of(await owner.open(url)), "nothing is made"

    async def test_for_htmx_it_is_a_part(self, owner: Browser, url: str) -> None:
        owner.client.headers["hx-request"] = "true"
        part = await owner.send(f"{url}/new", **USUAL)
        assert part.strip().startswith('<div id="preview">')
        assert "No exchange matches" in text_of(part)
        wrong = await owner.send(f"{url}/new", **USUAL, total="0")
        assert "recipe.caps.total" in wrong
