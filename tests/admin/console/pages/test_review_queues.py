"""Review queues of a project."""

import re
from typing import Any

import httpx
import pytest

from gateway.app import App
from gateway.db.database import Database
from tests.admin.console.browsers import Browser, text_of
from tests.gateway.people import add as add_person
from tests.gateway.reviewing.answers import add_answers, row
from tests.gateway.routes.test_exchanges import add

pytestmark = pytest.mark.anyio


@pytest.fixture
def url(project_id: str) -> str:
    return f"/console/projects/{project_id}/review"


async def queue(client: httpx.AsyncClient) -> dict[str, Any]:
    """The only one."""
    [found] = (await client.get("/v1/review_queues")).json()["data"]
    return found


class TestMaking:
    async def test_takes_what_was_filled_in(
        self, owner: Browser, client: httpx.AsyncClient, database: Database, project_id: str, url: str
    ) -> None:
        await add_answers(database, project_id, 5, request_metadata={"team": "b"}, served_model="small")
        made = await owner.send(
            url,
            name="Tone",
            kind="single",
            criteria=["helpful", "thumbs"],
            overlap="2",
            limit="3",
            order="random",
            seed="7",
            model="small",
            metadata="team=b",
            days="3650",
        )
        assert "3 answers to review" in text_of(made)
        found = await queue(client)
        assert [each["name"] for each in found["criteria"]] == ["helpful", "thumbs"]
        assert (found["overlap"], found["blind"], found["source"]["considered"]) == (2, False, 5)
        listed = text_of(await owner.open(url))
        assert "Tone" in listed
        assert "0 of 3" in listed

    async def test_of_pairs(
        self, owner: Browser, client: httpx.AsyncClient, database: Database, project_id: str, url: str
    ) -> None:
        await add(database, row(project_id, "q", "one"), row(project_id, "q", "two"))
        assert "1 pair to review" in text_of(await owner.send(url, name="Which", kind="pairwise", blind="true"))
        assert (await queue(client))["blind"] is True

    async def test_of_answers_that_a_link_names(
        self, owner: Browser, client: httpx.AsyncClient, database: Database, project_id: str, url: str
    ) -> None:
        ids = await add_answers(database, project_id, 3)
        assert f">{ids[1]}</textarea>" in await owner.open(f"{url}?answers={ids[1]}")
        await owner.send(url, name="These", answers=f"{ids[1]}\n{ids[0]}")
        assert (await queue(client))["progress"]["total"] == 2

    async def test_what_is_wrong_is_said_and_nothing_is_lost(self, owner: Browser, url: str) -> None:
        shown = await owner.send(url, 400, name="Mine", kind="single", criteria="clear", model="unheard of", limit="x")
        assert 'value="unheard of"' in shown
        assert re.search(r'value="clear" checked', shown)
        assert 'aria-invalid="true"' in shown
        assert "No answer" in text_of(await owner.send(url, 400, name="Mine", model="unheard of"))

    async def test_a_reader_sees_no_form(
        self, app: App, owner: Browser, admin: httpx.AsyncClient, database: Database, project_id: str, url: str
    ) -> None:
        await add_answers(database, project_id, 1)
        await owner.send(url, name="Theirs")
        await add_person(admin, "reader@example.com")
        async with Browser.of(app) as reader:
            await reader.sign_in("reader@example.com")
            shown = text_of(await reader.open(url))
            assert "Theirs" in shown
            assert "New queue" not in shown
            assert "Archive" not in shown


class TestArchiving:
    async def test_takes_it_off_the_list(
        self, owner: Browser, client: httpx.AsyncClient, database: Database, project_id: str, url: str
    ) -> None:
        await add_answers(database, project_id, 1)
        await owner.send(url, name="Old one")
        made = await queue(client)
        assert "Nothing to review yet" in text_of(await owner.send(f"{url}/{made['id']}/archive"))
        assert "archived" in text_of(await owner.open(f"{url}/{made['id']}"))
