"""One item of a review queue at a time, without scripts; and the parts that the script asks for."""

from typing import Any

import httpx
import pytest
from sqlalchemy import select

from gateway.app import App
from gateway.db.database import Database
from gateway.db.tables import ReviewItemRow
from tests.admin.console.browsers import Browser, text_of
from tests.gateway.people import add as add_person
from tests.gateway.reviewing.answers import add_answers, make, row
from tests.gateway.routes.test_exchanges import add

pytestmark = pytest.mark.anyio


class Work:
    """A queue in somebody's browser."""

    def __init__(
        self, browser: Browser, client: httpx.AsyncClient, database: Database, project_id: str, queue: dict[str, Any]
    ) -> None:
        self.browser, self.client, self.database, self.queue = browser, client, database, queue
        self.url = f"/console/projects/{project_id}/review/{queue['id']}"
        self.project_id = project_id

    async def current(self) -> dict[str, Any]:
        """What the person has before them."""
        headers = {"openai-project": self.project_id}
        answer = await self.browser.client.get(f"/v1/review_queues/{self.queue['id']}/current", headers=headers)
        return answer.json()["item"]

    async def begin(self) -> str:
        return await self.browser.send(f"{self.url}/next")

    async def say(self, status: int = 200, /, **fields: Any) -> str:
        item = await self.current()
        return await self.browser.send(f"{self.url}/items/{item['id']}", status, **fields)

    async def part(self, path: str, status: int = 200, /, **fields: Any) -> str:
        """As the script asks."""
        self.browser.client.headers["hx-request"] = "true"
        try:
            return await self.browser.send(f"{self.url}/{path}", status, **fields)
        finally:
            del self.browser.client.headers["hx-request"]

    async def locked(self) -> list[str]:
        """Ids of items that somebody has before them."""
        async with self.database.session() as session:
            rows = await session.scalars(select(ReviewItemRow.id).where(ReviewItemRow.locked_by.is_not(None)))
            return list(rows)

    async def judgments(self) -> list[dict[str, Any]]:
        return (await self.client.get("/v1/judgments")).json()["data"]


@pytest.fixture
async def work(owner: Browser, client: httpx.AsyncClient, database: Database, project_id: str) -> Work:
    """Three answers: 2, 1, 0."""
    await add_answers(database, project_id, 3, served_model="zebra-large")
    return Work(owner, client, database, project_id, await make(client))


UP, DOWN = {"value.thumbs": "true"}, {"value.thumbs": "false"}


class TestWithoutScripts:
    async def test_looking_takes_nothing_from_anybody(self, work: Work) -> None:
        shown = text_of(await work.browser.open(work.url))
        assert "3 to review" in shown
        assert "answer 2" not in shown
        assert await work.current() is None

    async def test_one_after_the_other_until_all_is_done(self, work: Work) -> None:
        assert "question 2" in text_of(await work.begin())
        second = text_of(await work.say(**UP))
        assert "answer 1" in second
        assert "Kept." in second
        await work.say(**UP)
        last = text_of(await work.say(**DOWN))
        assert "All done" in last
        assert [each["value"] for each in await work.judgments()] == [False, True, True]

    async def test_loaded_again_it_is_the_same(self, work: Work) -> None:
        await work.begin()
        assert "answer 2" in text_of(await work.browser.open(work.url))

    async def test_everything_that_can_be_said(self, work: Work) -> None:
        await work.begin()
        await work.say(**DOWN, tags="tone, too long", comment="No.\r\nNever.", correction="better\r\nanswer")
        said = {each["criterion"]: each for each in await work.judgments()}
        assert set(said) == {"thumbs", "comment", "correction"}
        assert said["thumbs"]["tags"] == ["tone", "too long"]
        assert said["comment"]["rationale"] == "No.\nNever."
        assert said["correction"]["edited_message"]["content"] == "better\nanswer"

    async def test_an_answer_that_was_left_as_it_was_is_no_edit(self, work: Work) -> None:
        await work.begin()
        await work.say(**UP, correction="answer 2")
        assert [each["criterion"] for each in await work.judgments()] == ["thumbs"]

    async def test_what_is_missing_is_said_and_nothing_is_lost(self, work: Work) -> None:
        await work.begin()
        shown = await work.say(400, comment="So.", correction="better")
        assert "values.thumbs" in text_of(shown)
        assert ">So.</textarea>" in shown
        assert ">better</textarea>" in shown
        assert "question wrong" in shown

    async def test_skipped_and_taken_back(self, work: Work) -> None:
        await work.begin()
        item = await work.current()
        assert "answer 1" in text_of(await work.browser.send(f"{work.url}/items/{item['id']}/skip"))
        assert "answer 2" in text_of(await work.browser.send(f"{work.url}/undo"))
        assert "nothing to undo" in text_of(await work.browser.send(f"{work.url}/undo"))

    async def test_who_stops_keeps_nothing_back(self, work: Work) -> None:
        await work.begin()
        await work.browser.send(f"{work.url}/release")
        assert await work.current() is None

    async def test_models_and_judges_come_after_ones_own_word(self, work: Work) -> None:
        assert "zebra" not in await work.begin()

    async def test_a_reader_sees_progress_and_no_form(self, work: Work, app: App, admin: httpx.AsyncClient) -> None:
        await add_person(admin, "reader@example.com")
        async with Browser.of(app) as reader:
            await reader.sign_in("reader@example.com")
            shown = await reader.open(work.url)
            assert "0 of 3 done" in text_of(shown)
            assert "data-review-next" not in shown
            await reader.send(f"{work.url}/next", 403)

    async def test_a_forged_form_says_nothing(self, work: Work) -> None:
        await work.begin()
        item = await work.current()
        answer = await work.browser.client.post(f"{work.url}/items/{item['id']}", data={**UP, "_csrf": "made up"})
        assert answer.status_code == 403
        assert await work.judgments() == []


class TestParts:
    async def test_the_next_item_beside_the_one_on_the_screen(self, work: Work) -> None:
        await work.begin()
        item = await work.current()
        part = await work.part("next", besides=item["id"])
        assert "answer 1" in text_of(part)
        assert "<html" not in part
        assert (await work.current())["id"] == item["id"]

    async def test_what_others_say_once_one_has_decided(self, work: Work) -> None:
        [id] = [each["id"] for each in (await work.client.get("/v1/exchanges", params={"limit": 1})).json()["data"]]
        word = {"exchange_id": id, "criterion": "helpful", "value": 2, "rationale": "It says nothing."}
        await work.client.post("/v1/judgments", json={"judgments": [word]})
        await work.begin()
        item = await work.current()
        told = text_of(await work.part(f"items/{item['id']}", **UP))
        assert "You thumbs: up" in told
        assert "helpful: 2 failed It says nothing." in told
        assert "zebra-large" in told
        assert "1 of 3 done, 1 by you" in told

    async def test_a_refused_decision_comes_with_its_item(self, work: Work) -> None:
        await work.begin()
        item = await work.current()
        part = await work.part(f"items/{item['id']}", 400, comment="So.")
        assert f'data-item="{item["id"]}"' in part
        assert ">So.</textarea>" in part

    async def test_nothing_left_says_so(self, work: Work) -> None:
        besides: list[str] = []
        for _ in range(3):
            await work.part("next", besides=",".join(besides))
            besides = await work.locked()
        assert len(besides) == 3
        nothing = text_of(await work.part("next", besides=",".join(besides)))
        assert "Nothing left for you right now" in nothing


class TestPairs:
    async def test_two_answers_are_shown_and_one_is_preferred(
        self, owner: Browser, client: httpx.AsyncClient, database: Database, project_id: str
    ) -> None:
        models = ("zebra-small", "zebra-large")
        await add(database, *(row(project_id, "q", f"from {model}", served_model=model) for model in models))
        work = Work(owner, client, database, project_id, await make(client, kind="pairwise"))
        shown = await work.begin()
        assert all(f"from {model}" in shown for model in models)
        item = await work.current()
        first = item["answers"][0]["message"]["content"].removeprefix("from ")
        told = text_of(
            await work.part(f"items/{item['id']}", **{"value.preference": "first"}, strength="2", comment="Shorter.")
        )
        assert "You preference: answer 1" in told
        assert f"Answer 1 {first}" in told
        [word] = await work.judgments()
        assert (word["strength"], word["rationale"], word["preference"] in ("a", "b")) == (2, "Shorter.", True)
