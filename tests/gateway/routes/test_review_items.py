"""The work of a review queue: next, decision, skip, undo, release; what is blind; two people."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import select, update

from gateway.app import App
from gateway.db.database import Database
from gateway.db.tables import JudgmentRow, ReviewItemRow
from gateway.judgments import repository as judgments
from gateway.kit.clock import now
from tests.gateway.people import add as add_person
from tests.gateway.people import browser, join, sign_in
from tests.gateway.reviewing.answers import QUEUES, add_answers, decided, make, post, row, said_by, taken
from tests.gateway.routes.test_exchanges import add

pytestmark = pytest.mark.anyio

Client = httpx.AsyncClient


@pytest.fixture
def project(project_key: dict[str, Any]) -> str:
    return project_key["project_id"]


@pytest.fixture
async def other(app: App, admin: Client, project: str) -> AsyncIterator[Client]:
    """A second person of the project, in a browser."""
    person = await add_person(admin, "grace@example.com")
    await join(admin, project, person["id"], "member")
    async with browser(app) as client:
        await sign_in(client, "grace@example.com")
        client.headers["openai-project"] = project
        client.headers["x-person"] = person["id"]
        yield client


@pytest.fixture
async def queue(client: Client, database: Database, project: str) -> dict[str, Any]:
    """Of four answers, the newest first: 3, 2, 1, 0."""
    await add_answers(database, project, 4)
    return await make(client)


async def in_force(client: Client, **query: Any) -> list[dict[str, Any]]:
    return (await client.get("/v1/judgments", params=query)).json()["data"]


async def progress(client: Client, queue: dict[str, Any]) -> dict[str, int]:
    return (await client.get(f"{QUEUES}/{queue['id']}")).json()["progress"]


async def current(client: Client, queue: dict[str, Any]) -> Any:
    return (await client.get(f"{QUEUES}/{queue['id']}/current")).json()["item"]


class TestNext:
    async def test_shows_what_was_asked_and_answered(self, client: Client, queue: dict[str, Any]) -> None:
        item = await taken(client, queue)
        assert item["messages"][-1] == {"role": "user", "content": "question 3"}
        assert said_by(item) == ["answer 3"]
        assert item["locked_until"] is not None
        assert (item["decision"], item["judgments"]) == (None, [])

    async def test_is_the_same_until_it_is_decided(self, client: Client, queue: dict[str, Any]) -> None:
        """Whoever loads the page again has lost nothing."""
        assert await current(client, queue) is None
        first = await taken(client, queue)
        assert (await taken(client, queue))["id"] == first["id"]
        assert (await current(client, queue))["id"] == first["id"]

    async def test_another_one_is_fetched_beforehand(self, client: Client, queue: dict[str, Any]) -> None:
        first = await taken(client, queue)
        second = await taken(client, queue, besides=[first["id"]])
        assert said_by(second) == ["answer 2"]
        assert (await current(client, queue))["id"] == first["id"]
        await decided(client, queue, first)
        assert (await taken(client, queue))["id"] == second["id"]

    async def test_no_two_people_have_the_same(self, client: Client, other: Client, queue: dict[str, Any]) -> None:
        mine, theirs = await taken(client, queue), await taken(other, queue)
        assert (said_by(mine), said_by(theirs)) == (["answer 3"], ["answer 2"])
        seen = [mine["id"], theirs["id"]]
        await taken(client, queue, besides=seen)
        await taken(client, queue, besides=[*seen, (await taken(client, queue, besides=seen))["id"]])
        nothing = await post(other, queue, "next", besides=seen)
        assert (nothing["item"], nothing["waiting"]) == (None, 3)

    async def test_many_at_once_have_different_ones(
        self, client: Client, database: Database, project: str, admin: Client, app: App
    ) -> None:
        await add_answers(database, project, 8)
        queue = await make(client)
        url = f"/v1/organization/projects/{project}/service_accounts"
        keys = [(await admin.post(url, json={"name": f"r{n}"})).json()["api_key"]["value"] for n in range(6)]
        calls = [
            client.post(f"{QUEUES}/{queue['id']}/next", headers={"authorization": f"Bearer {key}"}) for key in keys
        ]
        found = [answer.json()["item"]["id"] for answer in await asyncio.gather(*calls)]
        assert len(set(found)) == 6

    async def test_a_lock_ends(self, client: Client, other: Client, queue: dict[str, Any], database: Database) -> None:
        mine = await taken(client, queue)
        async with database.session() as session:
            await session.execute(update(ReviewItemRow).values(locked_until=now() - timedelta(seconds=1)))
        assert await current(client, queue) is None
        assert (await taken(other, queue))["id"] == mine["id"]
        kept = await decided(client, queue, mine)
        assert kept["decision"] == "done"  # their work is not thrown away

    async def test_and_when_its_person_leaves(self, client: Client, other: Client, queue: dict[str, Any]) -> None:
        mine = await taken(client, queue)
        await taken(client, queue, besides=[mine["id"]])
        await post(client, queue, "release")
        assert (await taken(other, queue))["id"] == mine["id"]

    async def test_each_item_is_judged_by_as_many_as_wanted_and_by_nobody_twice(
        self, client: Client, other: Client, database: Database, project: str
    ) -> None:
        await add_answers(database, project, 1)
        queue = await make(client, overlap=2)
        await decided(client, queue, await taken(client, queue))
        assert (await post(client, queue, "next"))["item"] is None
        assert (await progress(client, queue))["done"] == 0
        await decided(other, queue, await taken(other, queue), values={"thumbs": False})
        shown = (await client.get(f"{QUEUES}/{queue['id']}")).json()
        assert shown["progress"] == {"total": 1, "done": 1, "mine": 1, "skipped": 0, "open": 0}
        [agreed] = shown["agreement"]
        assert (agreed["criterion"], agreed["items"], agreed["rate"]) == ("thumbs", 1, 0.0)
        assert agreed["interval"]["high"] > 0.5

    async def test_what_enough_people_have_judged_is_given_to_nobody(
        self, client: Client, other: Client, database: Database, project: str
    ) -> None:
        await add_answers(database, project, 1)
        queue = await make(client)
        await decided(client, queue, await taken(client, queue))
        assert (await post(other, queue, "next"))["item"] is None

    async def test_what_was_erased_is_passed_over(self, client: Client, queue: dict[str, Any]) -> None:
        newest = (await client.get("/v1/exchanges")).json()["data"][:2]
        for each in newest:
            assert (await client.delete(f"/v1/exchanges/{each['id']}")).status_code == 200
        assert said_by(await taken(client, queue)) == ["answer 1"]
        assert (await progress(client, queue))["total"] == 2


class TestDecision:
    async def test_writes_a_judgment_for_each_thing_said(
        self, other: Client, client: Client, database: Database, project: str
    ) -> None:
        [id] = await add_answers(database, project, 1)
        queue = await make(client, criteria=["helpful", "thumbs"])
        item = await taken(other, queue)
        told = await decided(
            other,
            queue,
            item,
            values={"thumbs": False, "helpful": 2},
            tags=["too long"],
            comment="Rambles.",
            correction="Short.",
        )
        said = {each["criterion"]: each for each in await in_force(client, exchange=id)}
        assert set(said) == {"helpful", "thumbs", "comment", "correction"}
        assert (said["helpful"]["value"], said["thumbs"]["value"]) == (2, False)
        assert (said["helpful"]["tags"], said["thumbs"]["tags"]) == (["too long"], [])
        assert said["comment"]["rationale"] == "Rambles."
        assert said["correction"]["edited_message"] == {"role": "assistant", "content": "Short."}
        for each in said.values():
            assert (each["source"], each["blind"], each["identifier"]) == ("human", True, queue["id"])
            assert each["annotator_id"] == other.headers["x-person"]
        assert [each["criterion"] for each in told["judgments"]] == ["helpful", "thumbs", "comment", "correction"]

    async def test_sent_again_changes_nothing(self, client: Client, queue: dict[str, Any]) -> None:
        item = await taken(client, queue)
        first = await decided(client, queue, item, comment="So.")
        assert await decided(client, queue, item, comment="So.") == first
        assert len(await in_force(client, history="true")) == 2
        assert (await progress(client, queue))["done"] == 1

    async def test_another_word_takes_the_place_of_the_first(self, client: Client, queue: dict[str, Any]) -> None:
        item = await taken(client, queue)
        await decided(client, queue, item, comment="So.")
        await decided(client, queue, item, values={"thumbs": False})
        [left] = await in_force(client)
        assert (left["criterion"], left["value"]) == ("thumbs", False)
        assert (await progress(client, queue))["done"] == 1

    async def test_said_twice_by_one_person_is_one_persons_word(
        self, client: Client, other: Client, database: Database, project: str
    ) -> None:
        await add_answers(database, project, 1)
        queue = await make(client, overlap=2)
        item = await taken(client, queue)
        for up in (True, True, False):
            await decided(client, queue, item, values={"thumbs": up})
        assert (await progress(client, queue))["done"] == 0
        assert (await taken(other, queue))["id"] == item["id"]

    async def test_needs_a_value_for_each_criterion_and_no_other(self, client: Client, queue: dict[str, Any]) -> None:
        path = f"items/{(await taken(client, queue))['id']}/decision"
        for body, param in (
            ({}, "values.thumbs"),
            ({"values": {"thumbs": "yes"}}, "values.thumbs"),
            ({"values": {"thumbs": True, "clear": 3}}, "values.clear"),
            ({"values": {"thumbs": True}, "comment": " "}, "comment"),
            ({"values": {"thumbs": True}, "tags": ["x" * 65]}, "tags"),
            ({"values": {"thumbs": True}, "correction": ""}, "correction.content"),
        ):
            error = (await post(client, queue, path, 400, **body))["error"]
            assert error["param"] == param, error
        assert await in_force(client) == []
        assert (await progress(client, queue))["done"] == 0

    async def test_that_dies_in_the_middle_is_not_there(
        self, client: Client, queue: dict[str, Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Judgments are written, and then the database goes away."""
        item = await taken(client, queue)
        written = judgments.add

        async def dies(*arguments: Any) -> Any:
            await written(*arguments)
            raise OSError("gone")

        with monkeypatch.context() as broken:
            broken.setattr(judgments, "add", dies)
            await post(client, queue, f"items/{item['id']}/decision", 503, values={"thumbs": True})
        assert await in_force(client) == []
        assert (await current(client, queue))["id"] == item["id"]

    async def test_of_a_random_sample_says_how_likely_it_was(
        self, client: Client, database: Database, project: str
    ) -> None:
        await add_answers(database, project, 8)
        queue = await make(client, source={"order": "random", "limit": 2})
        item = await decided(client, queue, await taken(client, queue))
        assert item["judgments"][0]["sampling"] == {"probability": 0.25, "policy": "review_queue"}

    async def test_of_what_was_erased_meanwhile_is_refused(self, client: Client, queue: dict[str, Any]) -> None:
        item = await taken(client, queue)
        [newest, *_] = (await client.get("/v1/exchanges")).json()["data"]
        await client.delete(f"/v1/exchanges/{newest['id']}")
        error = await post(client, queue, f"items/{item['id']}/decision", 409, values={"thumbs": True})
        assert "erased" in error["error"]["message"]


class TestSkipping:
    async def test_others_get_it_and_oneself_only_on_demand(
        self, client: Client, other: Client, queue: dict[str, Any]
    ) -> None:
        item = await taken(client, queue)
        assert (await post(client, queue, f"items/{item['id']}/skip"))["skipped"] == 1
        assert (await taken(client, queue))["id"] != item["id"]
        await post(client, queue, "release")
        assert (await taken(client, queue, skipped=True))["id"] == item["id"]
        await post(client, queue, "release")
        assert (await taken(other, queue))["id"] == item["id"]

    async def test_what_is_decided_is_not_skipped(self, client: Client, queue: dict[str, Any]) -> None:
        item = await taken(client, queue)
        await decided(client, queue, item)
        await post(client, queue, f"items/{item['id']}/skip", 409)


class TestUndo:
    async def test_takes_the_judgments_back_and_the_item_is_next(
        self, client: Client, queue: dict[str, Any], database: Database
    ) -> None:
        first = await taken(client, queue)
        await taken(client, queue, besides=[first["id"]])
        await decided(client, queue, first, comment="So.")
        back = await post(client, queue, "undo")
        assert (back["item"]["id"], back["item"]["decision"], back["progress"]["done"]) == (first["id"], None, 0)
        assert await in_force(client) == []
        assert (await taken(client, queue))["id"] == first["id"]
        async with database.session() as session:
            statuses = list(await session.scalars(select(JudgmentRow.status).order_by(JudgmentRow.id)))
        assert statuses == ["ok", "ok", "retracted", "retracted"]

    async def test_goes_before_what_was_fetched_beforehand(
        self, client: Client, other: Client, queue: dict[str, Any]
    ) -> None:
        first = await taken(client, queue)
        second = await taken(client, queue, besides=[first["id"]])
        await decided(client, queue, second)
        await post(client, queue, "undo")
        assert (await taken(client, queue))["id"] == second["id"]
        assert (await taken(other, queue))["id"] == first["id"]

    async def test_and_decided_again_it_counts_again(self, client: Client, queue: dict[str, Any]) -> None:
        item = await taken(client, queue)
        await decided(client, queue, item)
        await post(client, queue, "undo")
        await decided(client, queue, item, values={"thumbs": False})
        [one] = await in_force(client)
        assert one["value"] is False
        assert (await progress(client, queue))["done"] == 1

    async def test_goes_back_one_by_one_and_over_what_was_skipped(self, client: Client, queue: dict[str, Any]) -> None:
        first = await taken(client, queue)
        await decided(client, queue, first)
        second = await taken(client, queue)
        await post(client, queue, f"items/{second['id']}/skip")
        assert (await post(client, queue, "undo"))["item"]["id"] == second["id"]
        assert (await post(client, queue, "undo"))["item"]["id"] == first["id"]
        assert "nothing to undo" in (await post(client, queue, "undo", 409))["error"]["message"]

    async def test_of_a_named_item_may_be_sent_again(self, client: Client, queue: dict[str, Any]) -> None:
        first = await taken(client, queue)
        await decided(client, queue, first)
        second = await taken(client, queue)
        await decided(client, queue, second)
        for _ in range(2):
            assert (await post(client, queue, "undo", item_id=second["id"]))["item"]["id"] == second["id"]
        assert (await progress(client, queue))["mine"] == 1

    async def test_is_ones_own_alone(self, client: Client, other: Client, queue: dict[str, Any]) -> None:
        await decided(client, queue, await taken(client, queue))
        await post(other, queue, "undo", 409)


class TestPairs:
    @pytest.fixture
    def count(self) -> int:
        """Of pairs."""
        return 8

    @pytest.fixture
    async def pairs(self, client: Client, database: Database, project: str, count: int) -> dict[str, Any]:
        await add(
            database,
            *(
                row(project, f"q{n // 2}", f"{'BA'[n % 2]}{n // 2}", served_model=f"model-{n % 2}")
                for n in range(2 * count)
            ),
        )
        return await make(client, kind="pairwise")

    @pytest.mark.parametrize("count", [16])  # few may come out alike for both
    async def test_are_shuffled_by_person_and_item_always_alike(
        self, client: Client, other: Client, pairs: dict[str, Any]
    ) -> None:
        orders: dict[str, list[list[str]]] = {"mine": [], "theirs": []}
        for name, who in (("mine", client), ("theirs", other)):
            seen: list[str] = []
            while item := (await post(who, pairs, "next", besides=seen))["item"]:
                seen.append(item["id"])
                orders[name].append(said_by(item))
                assert said_by((await who.get(f"{QUEUES}/{pairs['id']}/items/{item['id']}")).json()) == said_by(item)
            await post(who, pairs, "release")
        assert [sorted(each) for each in orders["mine"]] == [sorted(each) for each in orders["theirs"]]
        assert orders["mine"] != orders["theirs"]
        assert len({said[0][0] for said in orders["mine"] + orders["theirs"]}) == 2

    async def test_a_vote_is_for_the_answer_wherever_it_stood(self, client: Client, pairs: dict[str, Any]) -> None:
        """The person always prefers what begins with A, on whichever side it is."""
        orders: set[str] = set()
        while item := (await post(client, pairs, "next"))["item"]:
            side = "first" if said_by(item)[0].startswith("A") else "second"
            told = await decided(client, pairs, item, values={"preference": side}, strength=2, comment="Clearer.")
            [word] = told["judgments"]
            assert (word["strength"], word["rationale"], word["blind"]) == (2, "Clearer.", True)
            assert word["order_shown"] == told["order_shown"]
            orders.add(word["order_shown"])
            preferred = word["exchange_id"] if word["preference"] == "a" else word["other_exchange_id"]
            shown = (await client.get(f"/v1/exchanges/{preferred}")).json()
            assert shown["reply"]["choices"][0]["message"]["content"].startswith("A")
        assert orders == {"ab", "ba"}

    async def test_votes_count_in_figures_whatever_the_order(self, client: Client, pairs: dict[str, Any]) -> None:
        while item := (await post(client, pairs, "next"))["item"]:
            side = "first" if said_by(item)[0].startswith("A") else "second"
            await decided(client, pairs, item, values={"preference": side})
        [figures] = (await client.get("/v1/judgments/summary", params={"source": "human"})).json()["data"]
        assert (figures["criterion"], figures["judgments"]) == ("preference", 8)
        assert len(figures["preferences"]) == 1  # A is always the later answer, or always the earlier one

    async def test_ties_are_ties(self, client: Client, pairs: dict[str, Any]) -> None:
        told = await decided(client, pairs, await taken(client, pairs), values={"preference": "both_bad"})
        assert told["judgments"][0]["preference"] == "both_bad"

    async def test_takes_no_edit_and_no_other_word(self, client: Client, pairs: dict[str, Any]) -> None:
        path = f"items/{(await taken(client, pairs))['id']}/decision"
        for body, param in (
            ({"values": {"preference": "a"}}, "values.preference"),
            ({"values": {"preference": "first"}, "correction": "x"}, "correction"),
        ):
            assert (await post(client, pairs, path, 400, **body))["error"]["param"] == param


class TestBlind:
    async def judged(self, client: Client, database: Database, project: str, **more: Any) -> dict[str, Any]:
        [id] = await add_answers(database, project, 1, served_model="zebra-large")
        word = {"exchange_id": id, "criterion": "helpful", "value": 5, "identifier": "judge-zebra"}
        assert (await client.post("/v1/judgments", json={"judgments": [word]})).status_code == 200
        return await make(client, **more)

    async def test_hides_models_and_verdicts_until_the_persons_own_word(
        self, client: Client, database: Database, project: str
    ) -> None:
        queue = await self.judged(client, database, project)
        item = await taken(client, queue)
        assert "zebra" not in str(item)
        [answer] = item["answers"]
        assert (answer["exchange_id"], answer["model"], item["verdicts"]) == (None, None, None)
        told = await decided(client, queue, item)
        assert told["answers"][0]["model"] == "zebra-large"
        assert [(each["identifier"], each["value"]) for each in told["verdicts"]] == [("judge-zebra", 5)]
        assert "zebra" not in str((await post(client, queue, "undo"))["item"])

    async def test_otherwise_they_are_seen_at_once(self, client: Client, database: Database, project: str) -> None:
        queue = await self.judged(client, database, project, blind=False)
        item = await taken(client, queue)
        assert (item["answers"][0]["model"], len(item["verdicts"])) == ("zebra-large", 1)
        assert (await decided(client, queue, item))["judgments"][0]["blind"] is False


async def test_a_reader_of_the_organization_reads(
    app: App, admin: Client, client: Client, queue: dict[str, Any], project: str
) -> None:
    await add_person(admin, "reader@example.com")
    async with browser(app) as reader:
        await sign_in(reader, "reader@example.com")
        reader.headers["openai-project"] = project
        assert (await reader.get(f"{QUEUES}/{queue['id']}")).status_code == 200
        assert (await reader.post(f"{QUEUES}/{queue['id']}/next")).status_code == 403
