"""What is in a review queue, and who did what."""

import re
from typing import Any

import httpx
import pytest

from gateway.app import App
from gateway.db.database import Database
from tests.admin.console.browsers import Browser, text_of
from tests.gateway.people import add as add_person
from tests.gateway.people import join
from tests.gateway.reviewing.answers import add_answers, decided, make, taken

pytestmark = pytest.mark.anyio


@pytest.fixture
async def answers(database: Database, project_id: str) -> list[str]:
    return await add_answers(database, project_id, 3)


@pytest.fixture
async def queue(client: httpx.AsyncClient, answers: list[str]) -> dict[str, Any]:
    """Of the first two."""
    source = {"answers": [{"exchange_id": id} for id in answers[:2]]}
    return await make(client, name="Tone <of> refunds", source=source)


@pytest.fixture
def url(project_id: str, queue: dict[str, Any]) -> str:
    return f"/console/projects/{project_id}/review/{queue['id']}/items"


class TestTheList:
    async def test_tells_states_and_people(
        self, owner: Browser, client: httpx.AsyncClient, queue: dict[str, Any], url: str
    ) -> None:
        before = text_of(await owner.open(url))
        assert "Nobody has judged anything yet" in before
        assert "0 of 2 done" in before
        await decided(client, queue, await taken(client, queue))
        await taken(client, queue)
        page = await owner.open(url)
        told = text_of(page)
        assert "<h1>Tone &lt;of&gt; refunds: items</h1>" in page
        assert "1 of 2 done" in told
        assert "Somebody looks at it" in re.sub(r"<select.*?</select>", "", page, flags=re.DOTALL)
        [person] = re.findall(r'judged_by=([^"&]+)', page)
        assert "judged" in told
        only = await owner.open(f"{url}?judged_by={person}")
        assert only.count('<td class="number">1</td>') >= 1
        assert "No such item" in text_of(await owner.open(f"{url}?state=gone"))

    async def test_of_a_blind_queue_leads_to_no_exchange(self, owner: Browser, answers: list[str], url: str) -> None:
        page = await owner.open(url)
        assert not [id for id in answers if id in page]
        assert "The queue is blind" in text_of(page)

    async def test_is_found_from_the_list_of_queues(self, owner: Browser, url: str, project_id: str) -> None:
        assert f'href="{url}"' in await owner.open(f"/console/projects/{project_id}/review")


class TestAdding:
    async def test_by_ids(self, owner: Browser, answers: list[str], url: str) -> None:
        page = text_of(await owner.send(url, answers=f"{answers[2]}, {answers[0]}"))
        assert "1 item added to Tone <of> refunds. 1 had been in the queue before." in page
        assert "0 of 3 done" in page

    async def test_what_is_not_there_is_said_beside_the_field(self, owner: Browser, url: str) -> None:
        page = await owner.send(url, 404, answers="req_unheard")
        assert 'aria-invalid="true"' in page
        assert ">req_unheard</textarea>" in page

    async def test_from_an_exchange(
        self, owner: Browser, answers: list[str], queue: dict[str, Any], project_id: str
    ) -> None:
        exchange = f"/console/projects/{project_id}/exchanges/{answers[2]}"
        assert f'<option value="{queue["id"]}">Tone &lt;of&gt; refunds</option>' in await owner.open(exchange)
        told = text_of(await owner.send(f"{exchange}/queue", queue_id=queue["id"]))
        assert "1 item added to Tone <of> refunds." in told
        again = text_of(await owner.send(f"{exchange}/queue", queue_id=queue["id"]))
        assert "0 items added to Tone <of> refunds. 1 had been in the queue before." in again
        refused = await owner.send(f"{exchange}/queue", 404, queue_id="queue_none")
        assert "No review queue with id" in text_of(refused)

    async def test_a_reader_has_no_form(
        self, app: App, owner: Browser, admin: httpx.AsyncClient, answers: list[str], url: str, project_id: str
    ) -> None:
        assert "Add answers" in await owner.open(url)
        await add_person(admin, "reader@example.com")
        async with Browser.of(app) as browser:
            await browser.sign_in("reader@example.com")
            assert "Add answers" not in await browser.open(url)
            await browser.send(url, 403, answers=answers[2])

    async def test_a_member_has(
        self, app: App, admin: httpx.AsyncClient, answers: list[str], url: str, project_id: str
    ) -> None:
        person = await add_person(admin, "member@example.com")
        await join(admin, project_id, person["id"], "member")
        async with Browser.of(app) as browser:
            await browser.sign_in("member@example.com")
            assert "1 item added" in text_of(await browser.send(url, answers=answers[2]))
