"""/v1/review_queues/{id}/items and /people: what is in a queue, more of it, and who did what."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import delete, update

from gateway.app import App
from gateway.db.database import Database
from gateway.db.tables import ExchangeTextRow, ReviewItemRow
from gateway.kit.clock import now
from tests.gateway.people import add as add_person
from tests.gateway.people import browser, join, sign_in
from tests.gateway.reviewing.answers import QUEUES, add_answers, decided, make, post, row, taken
from tests.gateway.routes.test_exchanges import add
from tests.gateway.test_errors import error_in

pytestmark = pytest.mark.anyio

Client = httpx.AsyncClient


@pytest.fixture
def project(project_key: dict[str, Any]) -> str:
    return project_key["project_id"]


@pytest.fixture
async def grace(app: App, admin: Client, project: str) -> AsyncIterator[Client]:
    """A second person of the project, in a browser."""
    person = await add_person(admin, "grace@example.com", name="Grace")
    await join(admin, project, person["id"], "member")
    async with browser(app) as client:
        await sign_in(client, "grace@example.com")
        client.headers["openai-project"] = project
        client.headers["x-person"] = person["id"]
        yield client


@pytest.fixture
async def answers(database: Database, project: str) -> list[str]:
    return await add_answers(database, project, 4)


async def items(client: Client, queue: dict[str, Any], **query: Any) -> list[dict[str, Any]]:
    answer = await client.get(f"{QUEUES}/{queue['id']}/items", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


def named(*ids: str) -> dict[str, Any]:
    return {"source": {"answers": [{"exchange_id": id} for id in ids]}}


class TestTheList:
    async def test_has_every_item_with_its_state(self, client: Client, database: Database, answers: list[str]) -> None:
        queue = await make(client)
        first = await taken(client, queue)
        await decided(client, queue, first)
        second = await taken(client, queue)
        async with database.session() as session:
            erased = update(ReviewItemRow).where(ReviewItemRow.position == 3)
            await session.execute(erased.values(gone_at=now()))
        listed = await items(client, queue)
        assert [each["position"] for each in listed] == [0, 1, 2, 3]
        assert [each["state"] for each in listed] == ["done", "locked", "open", "gone"]
        assert (listed[1]["id"], listed[1]["locked_by"] is not None) == (second["id"], True)
        for state in ("done", "locked", "open", "gone"):
            [one] = await items(client, queue, state=state)
            assert one["state"] == state

    async def test_a_lock_that_ran_out_is_none(self, client: Client, database: Database, answers: list[str]) -> None:
        queue = await make(client)
        await taken(client, queue)
        async with database.session() as session:
            await session.execute(update(ReviewItemRow).values(locked_until=now() - timedelta(seconds=1)))
        assert {each["state"] for each in await items(client, queue)} == {"open"}
        assert await items(client, queue, state="locked") == []

    async def test_pages_go_on_behind_an_item(self, client: Client, answers: list[str]) -> None:
        queue = await make(client)
        first = await items(client, queue, limit=3)
        rest = await items(client, queue, limit=3, after=first[-1]["id"])
        assert [each["position"] for each in (*first, *rest)] == [0, 1, 2, 3]

    async def test_says_how_questions_and_answers_begin(
        self, client: Client, database: Database, answers: list[str]
    ) -> None:
        async with database.session() as session:
            await session.execute(delete(ExchangeTextRow))
            session.add(ExchangeTextRow(exchange_id=answers[3], question="why?", answer="so", words=""))
        first, second, *_ = await items(client, await make(client))
        assert (first["question"], first["answers"]) == ("why?", ["so"])
        assert (second["question"], second["answers"]) == (None, [None])

    async def test_who_judged_what(self, client: Client, grace: Client, answers: list[str]) -> None:
        queue = await make(client, overlap=2)
        mine, hers = await taken(client, queue), await taken(grace, queue)
        await decided(client, queue, mine)
        await decided(grace, queue, hers)
        await post(grace, queue, f"items/{mine['id']}/skip")
        by_id = {each["id"]: each for each in await items(client, queue)}
        her_id = grace.headers["x-person"]
        assert [each["decision"] for each in by_id[mine["id"]]["decisions"]] == ["done", "skipped"]
        assert by_id[mine["id"]]["decisions"][1]["user_id"] == her_id
        assert (by_id[mine["id"]]["state"], by_id[mine["id"]]["done"]) == ("open", 1)
        assert {each["id"] for each in await items(client, queue, judged_by=her_id)} == {mine["id"], hers["id"]}
        assert await items(client, queue, judged_by="nobody") == []

    async def test_a_blind_one_leads_to_no_exchange_before_ones_own_word(
        self, client: Client, grace: Client, answers: list[str]
    ) -> None:
        queue = await make(client)
        item = await taken(client, queue)
        assert {each["exchange_ids"] is None for each in await items(client, queue)} == {True}
        await decided(client, queue, item)
        assert [each["exchange_ids"] for each in await items(client, queue, state="done")] == [[answers[3]]]
        assert [each["exchange_ids"] for each in await items(grace, queue, state="done")] == [None]
        seen = await make(client, blind=False)
        assert (await items(client, seen))[0]["exchange_ids"] == [answers[3]]

    async def test_an_unknown_state_is_refused(self, client: Client, answers: list[str]) -> None:
        queue = await make(client)
        answer = await client.get(f"{QUEUES}/{queue['id']}/items", params={"state": "lost"})
        assert error_in(answer, 400)["param"] == "state"


class TestMore:
    async def test_stand_behind_what_is_there_and_once(self, client: Client, answers: list[str]) -> None:
        queue = await make(client, **named(answers[0]))
        first = await post(client, queue, "items", **named(answers[1], answers[0], answers[2]))
        assert (first["added"], first["present"]) == (2, 1)
        assert first["queue"]["progress"]["total"] == 3
        again = await post(client, queue, "items", **named(answers[1]))
        assert (again["added"], again["present"], again["queue"]["source"]["added"]) == (0, 1, 2)
        assert [each["position"] for each in await items(client, queue)] == [0, 1, 2]

    async def test_by_filters_too(self, client: Client, answers: list[str]) -> None:
        queue = await make(client, source={"limit": 1})
        more = await post(client, queue, "items", source={"limit": 3})
        assert (more["added"], more["present"]) == (2, 1)

    async def test_a_queue_that_was_finished_goes_on(self, client: Client, answers: list[str]) -> None:
        queue = await make(client, **named(answers[0]))
        await decided(client, queue, await taken(client, queue))
        more = await post(client, queue, "items", **named(answers[1]))
        assert more["queue"]["progress"] == {"total": 2, "done": 1, "mine": 1, "skipped": 0, "open": 1}
        assert (await taken(client, queue))["position"] == 1

    async def test_are_no_part_of_the_random_sample(self, client: Client, answers: list[str]) -> None:
        source = {"order": "random", "limit": 1}
        queue = await make(client, source=source)
        await post(client, queue, "items", source={"limit": 4})
        for _ in range(2):
            await decided(client, queue, await taken(client, queue))
        made = (await client.get("/v1/judgments")).json()["data"]
        assert sorted(each["sampling"] is None for each in made) == [False, True]

    async def test_pairs_of_a_queue_of_pairs_are_the_same_either_way_around(
        self, client: Client, database: Database, project: str
    ) -> None:
        one, other, third = await add(database, *(row(project, "q", text) for text in ("a", "b", "c")))
        pair = [{"exchange_id": one}, {"exchange_id": other}]
        queue = await make(client, kind="pairwise", source={"pairs": [pair]})
        again = await post(client, queue, "items", source={"pairs": [pair[::-1]]})
        assert (again["added"], again["present"]) == (0, 1)
        new = await post(client, queue, "items", source={"pairs": [[{"exchange_id": third}, {"exchange_id": one}]]})
        assert new["added"] == 1

    async def test_what_makes_no_sense_is_refused(
        self, client: Client, answers: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        queue = await make(client, **named(answers[0]))
        pairs = {"source": {"pairs": [[{"exchange_id": answers[0]}, {"exchange_id": answers[1]}]]}}
        assert (await post(client, queue, "items", 400, **pairs))["error"]["param"] == "source.pairs"
        assert (await post(client, queue, "items", 400))["error"]["param"] == "source"
        assert (await post(client, queue, "items", 404, **named("req_unheard")))["error"]["param"] == "source"
        monkeypatch.setattr("gateway.reviewing.adding.MOST_ITEMS", 2)
        assert "at most 2" in (await post(client, queue, "items", 400, **named(*answers[1:])))["error"]["message"]
        await client.delete(f"{QUEUES}/{queue['id']}")
        await post(client, queue, "items", 409, **named(answers[1]))


class TestPeople:
    async def test_each_has_a_name_and_a_count(self, client: Client, grace: Client, answers: list[str]) -> None:
        queue = await make(client)
        for _ in range(2):
            await decided(grace, queue, await taken(grace, queue))
        mine = await taken(client, queue)
        await post(client, queue, f"items/{mine['id']}/skip")
        her, me = (await client.get(f"{QUEUES}/{queue['id']}/people")).json()["data"]
        assert (her["name"], her["user_id"]) == ("Grace", grace.headers["x-person"])
        assert (her["done"], her["skipped"], me["done"], me["skipped"]) == (2, 0, 0, 1)
        assert me["name"] != ""

    async def test_nobody_yet(self, client: Client, answers: list[str]) -> None:
        queue = await make(client)
        assert (await client.get(f"{QUEUES}/{queue['id']}/people")).json() == {"object": "list", "data": []}
