"""/v1/review_queues: made, filled, listed, archived."""

from typing import Any

import httpx
import pytest

from gateway.db.database import Database
from tests.gateway.reviewing.answers import QUEUES, add_answers, decided, make, post, row, said_by, taken
from tests.gateway.routes.test_exchanges import add
from tests.gateway.test_errors import error_in

pytestmark = pytest.mark.anyio


@pytest.fixture
def project(project_key: dict[str, Any]) -> str:
    return project_key["project_id"]


async def everything(client: httpx.AsyncClient, queue: dict[str, Any]) -> list[list[str]]:
    """The texts of every item, in its order."""
    found: list[list[str]] = []
    seen: list[str] = []
    while item := (await post(client, queue, "next", besides=seen))["item"]:
        seen.append(item["id"])
        found.append(said_by(item))
    return found


async def texts(client: httpx.AsyncClient, **source: Any) -> list[str]:
    """Of the single answers that a source chooses."""
    queue = await make(client, source=source)
    return [text for [text] in await everything(client, queue)]


async def refused(client: httpx.AsyncClient, param: str, **body: Any) -> str:
    answer = await client.post(QUEUES, json={"name": "x"} | body)
    assert answer.status_code in (400, 404), answer.text
    error = answer.json()["error"]
    assert error["param"] == param, error
    return error["message"]


class TestMade:
    async def test_says_everything(self, client: httpx.AsyncClient, database: Database, project: str) -> None:
        await add_answers(database, project, 3)
        made = await make(client, name="Tone", overlap=2, source={"limit": 2})
        assert made["id"].startswith("queue_")
        assert [each["name"] for each in made["criteria"]] == ["thumbs"]
        assert (made["kind"], made["blind"], made["overlap"], made["archived_at"]) == ("single", True, 2, None)
        assert made["progress"] == {"total": 2, "done": 0, "mine": 0, "skipped": 0, "open": 2}
        assert (made["source"]["limit"], made["source"]["taken"]) == (2, 2)
        assert made["agreement"] == []
        assert (await client.get(f"{QUEUES}/{made['id']}")).json() == made
        listed = (await client.get(QUEUES)).json()["data"]
        assert listed == [{name: value for name, value in made.items() if name != "agreement"}]

    async def test_is_renamed_and_archived(self, client: httpx.AsyncClient, database: Database, project: str) -> None:
        await add_answers(database, project, 1)
        made = await make(client)
        assert (await client.post(f"{QUEUES}/{made['id']}", json={"name": "other"})).json()["name"] == "other"
        assert (await client.delete(f"{QUEUES}/{made['id']}")).json()["deleted"] is True
        assert (await client.get(QUEUES)).json()["data"] == []
        assert len((await client.get(QUEUES, params={"archived": "true"})).json()["data"]) == 1
        error_in(await client.post(f"{QUEUES}/{made['id']}/next"), 409)

    async def test_an_empty_one_is_refused(self, client: httpx.AsyncClient, database: Database, project: str) -> None:
        await add_answers(database, project, 1)
        assert "No answer" in await refused(client, "source", source={"model": "unheard of"})

    async def test_a_criterion_must_suit_it(self, client: httpx.AsyncClient, database: Database, project: str) -> None:
        await add_answers(database, project, 1)
        assert "two answers" in await refused(client, "criteria", criteria=["preference"])
        assert "one answer" in await refused(client, "criteria", criteria=["thumbs"], kind="pairwise")
        assert "with every answer" in await refused(client, "criteria", criteria=["comment"])
        assert "no criterion" in await refused(client, "criteria", criteria=["unheard"])

    async def test_what_makes_no_sense_is_refused_with_its_field(self, client: httpx.AsyncClient) -> None:
        both = {"exchange_id": "a"}
        await refused(client, "source.pairs", source={"pairs": [[both, both]]})
        await refused(client, "source.answers", kind="pairwise", source={"answers": [both], "pairs": [[both, both]]})
        await refused(client, "source.judge_id", source={"judge_id": "judge_1"})
        await refused(client, "source.created_after", source={"created_after": 10**12})
        await refused(client, "source.limit", source={"limit": 5001})
        await refused(client, "overlap", overlap=0)
        await refused(client, "source", source={"answers": []})


class TestChosen:
    async def test_newest_first_of_what_can_be_read(
        self, client: httpx.AsyncClient, database: Database, project: str
    ) -> None:
        await add(
            database,
            row(project, "q", "old"),
            row(project, "q", "new"),
            row(project, "q", "judge's", purpose="judge"),
            row(project, "q", "broken", outcome="failed"),
            row(project, "q", "", id="empty"),
            row(project, "q", "not kept", logging="metadata", request=b"", reply=None),
            row("proj_other", "q", "of others"),
        )
        assert await texts(client) == ["new", "old"]
        assert await texts(client, limit=1) == ["new"]

    async def test_by_model_metadata_and_time(
        self, client: httpx.AsyncClient, database: Database, project: str
    ) -> None:
        await add(
            database,
            row(project, "q", "one", served_model="small", created_at=1_795_219_200),
            row(project, "q", "two", request_metadata={"team": "b"}, created_at=1_795_229_200),
        )
        assert await texts(client, model="small") == ["one"]
        assert await texts(client, metadata={"team": "b"}) == ["two"]
        assert await texts(client, created_after=1_795_229_200) == ["two"]
        assert await texts(client, created_before=1_795_229_200) == ["one"]

    async def test_at_random_with_a_seed(self, client: httpx.AsyncClient, database: Database, project: str) -> None:
        await add_answers(database, project, 40)
        first = await make(client, source={"order": "random", "seed": 7, "limit": 10})
        assert (first["source"]["considered"], first["source"]["taken"]) == (40, 10)
        drawn = await everything(client, first)
        again = await texts(client, order="random", seed=7, limit=10)
        assert [text for [text] in drawn] == again
        assert again != await texts(client, order="random", seed=8, limit=10)
        newest = await texts(client, limit=10)
        assert set(again) != set(newest)

    async def test_by_what_was_judged(self, client: httpx.AsyncClient, database: Database, project: str) -> None:
        ids = await add_answers(database, project, 5)

        async def judged(place: int, identifier: str, criterion: str, value: Any) -> None:
            word = {"exchange_id": ids[place], "criterion": criterion, "value": value, "identifier": identifier}
            answer = await client.post("/v1/judgments", json={"judgments": [word]})
            assert answer.status_code == 200, answer.text

        await judged(0, "x", "thumbs", False)
        await judged(1, "x", "thumbs", True)
        await judged(1, "y", "thumbs", False)
        await judged(2, "x", "rating", 2)
        await judged(3, "x", "thumbs", True)
        assert await texts(client, found="failed") == ["answer 2", "answer 1", "answer 0"]
        assert await texts(client, found="failed", criterion="thumbs") == ["answer 1", "answer 0"]
        assert await texts(client, found="disagreeing") == ["answer 1"]
        assert await texts(client, found="low_score", criterion="rating", max_score=0.3) == ["answer 2"]
        assert await texts(client, found="unjudged") == ["answer 4"]
        assert "No answer" in await refused(client, "source", source={"found": "failed", "judge_id": "judge_1"})

    async def test_by_name(self, client: httpx.AsyncClient, database: Database, project: str) -> None:
        """A choice of a reply, and a reply by its own id."""
        [id] = await add(database, row(project, "q", "first", "second", reply_id="chatcmpl-x"))
        named = [{"exchange_id": id, "choice_index": 1}, {"exchange_id": "chatcmpl-x"}]
        assert await texts(client, answers=named) == ["second", "first"]
        await refused(client, "source", source={"answers": [{"exchange_id": "chatcmpl-unknown"}]})
        assert "no answer 2" in await refused(
            client, "source", source={"answers": [{"exchange_id": id, "choice_index": 2}]}
        )


class TestPairs:
    async def test_are_two_answers_to_the_same_question(
        self, client: httpx.AsyncClient, database: Database, project: str
    ) -> None:
        """Regenerated (also with another system prompt), and candidates of one reply; what says the same is no pair."""
        await add(
            database,
            row(project, "again", "first try"),
            row(project, "alone", "lonely"),
            row(project, "again", "second try", system="Be brief."),
            row(project, "same", "equal"),
            row(project, "same", "equal"),
            row(project, "several", "candidate 0", "candidate 1"),
        )
        queue = await make(client, kind="pairwise")
        assert [each["name"] for each in queue["criteria"]] == ["preference"]
        found = {frozenset(each) for each in await everything(client, queue)}
        assert found == {frozenset(("first try", "second try")), frozenset(("candidate 0", "candidate 1"))}

    async def test_by_name_must_answer_the_same(
        self, client: httpx.AsyncClient, database: Database, project: str
    ) -> None:
        ids = await add(database, row(project, "q", "one"), row(project, "q", "two"), row(project, "other", "three"))
        one, two, three = ({"exchange_id": id} for id in ids)
        queue = await make(client, kind="pairwise", source={"pairs": [[one, two], [two, one]]})
        assert (queue["progress"]["total"], queue["source"]["named"]) == (1, 2)
        message = await refused(
            client, "source.pairs[1]", kind="pairwise", source={"pairs": [[one, two], [one, three]]}
        )
        assert "different questions" in message

    async def test_a_prompt_is_a_question_too(
        self, client: httpx.AsyncClient, database: Database, project: str
    ) -> None:
        prompt = {"endpoint": "/completions", "request": b'{"model": "m", "prompt": "Once"}'}
        replies = [b'{"choices": [{"index": 0, "text": "%s"}]}' % text for text in (b"upon", b"more")]
        await add(database, *(row(project, "q", "x") | prompt | {"reply": reply} for reply in replies))
        queue = await make(client, kind="pairwise")
        item = await taken(client, queue)
        assert item["messages"] == [{"role": "user", "content": "Once"}]
        assert sorted(said_by(item)) == ["more", "upon"]


class TestProgress:
    async def test_is_everybodys_and_ones_own(
        self, client: httpx.AsyncClient, database: Database, project: str
    ) -> None:
        await add_answers(database, project, 3)
        queue = await make(client)
        await decided(client, queue, await taken(client, queue))
        await post(client, queue, f"items/{(await taken(client, queue))['id']}/skip")
        shown = (await client.get(f"{QUEUES}/{queue['id']}")).json()["progress"]
        assert shown == {"total": 3, "done": 1, "mine": 1, "skipped": 1, "open": 2}
