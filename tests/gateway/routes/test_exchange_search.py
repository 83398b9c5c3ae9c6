"""/v1/exchanges: filters of a call, words, and lists that end before they cost too much."""

from typing import Any

import httpx
import msgspec
import pytest
from sqlalchemy import func, null, select, text

from gateway.db.database import Database
from gateway.db.tables import ExchangeTextRow, UnreadExchangeRow
from gateway.exchanges import erasure, search
from gateway.exchanges.reading import read_next
from gateway.services import Services
from tests.conftest import chat
from tests.gateway.metering.ledger_rows import MIDNIGHT
from tests.gateway.routes.test_exchanges import CHAT, EXCHANGES, add, ids
from tests.gateway.test_errors import error_in

pytestmark = pytest.mark.anyio


def asked(question: str) -> bytes:
    return msgspec.json.encode({"model": "m", "messages": [{"role": "user", "content": question}]})


def answered(answer: str) -> bytes:
    return msgspec.json.encode({"choices": [{"index": 0, "message": {"role": "assistant", "content": answer}}]})


async def read(database: Database) -> int:
    """What is to be read; how many there were."""
    count = 0
    while True:
        async with database.session() as session:
            taken = await read_next(session)
        if not taken:
            return count
        count += taken


async def say(database: Database, project_id: str, *texts: tuple[str, str], **changes: Any) -> list[str]:
    """Exchanges with a question and an answer each, that were read."""
    own = {"project_id": project_id, "error": null()} | changes
    made = await add(database, *(own | {"request": asked(q), "reply": answered(a)} for q, a in texts))
    async with database.session() as session:
        session.add_all(UnreadExchangeRow(exchange_id=id) for id in made)
    await read(database)
    return made


async def page(client: httpx.AsyncClient, **query: Any) -> dict[str, Any]:
    answer = await client.get(EXCHANGES, params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.fixture
def own(project_key: dict[str, Any]) -> str:
    return project_key["project_id"]


class TestFilters:
    async def test_of_a_call(self, client: httpx.AsyncClient, own: str, database: Database) -> None:
        plain = {"project_id": own, "duration_ms": 10.0, "cost_nano": 1000}
        made = await add(
            database,
            plain | {"api_key_id": "key_2"},
            plain | {"upstream": "other"},
            plain | {"route": "support@3"},
            plain | {"route": "support_2@1"},
            plain | {"purpose": "judge"},
            plain | {"end_user": "hash"},
            plain | {"streamed": True},
            plain | {"error": {"code": "rate_limit_exceeded", "message": "slow down"}},
            plain | {"duration_ms": 5000.0},
            plain | {"cost_nano": 50_000_000},
            plain | {"cache_hit": True},
        )
        others = set(range(len(made)))
        for query, numbers in (
            ({"api_key_id": "key_2"}, {0}),
            ({"upstream": "other"}, {1}),
            ({"route": "support"}, {2}),
            ({"route": "support@3"}, {2}),
            ({"route": "support@4"}, set[int]()),
            ({"purpose": "judge"}, {4}),
            ({"purpose": "none"}, others - {4}),
            ({"end_user": "hash"}, {5}),
            ({"streamed": "true"}, {6}),
            ({"streamed": "false"}, others - {6}),
            ({"cache_hit": "true"}, {10}),
            ({"cache_hit": "false"}, others - {10}),
            ({"error_code": "rate_limit_exceeded"}, {7}),
            ({"min_duration_ms": 5000}, {8}),
            ({"min_cost_usd": "0.05"}, {9}),
            ({"min_cost_usd": "0.050000001"}, set[int]()),
        ):
            assert set(await ids(client, **query)) == {made[number] for number in numbers}, query

    async def test_of_the_user_whom_a_call_named(self, client: httpx.AsyncClient, sv: Services) -> None:
        reply = await client.post(CHAT, json=chat("echo", user="ann"))
        await client.post(CHAT, json=chat("echo", user="bob"))
        await sv.drain.drain()
        assert await ids(client, user="ann") == [reply.headers["x-request-id"]]
        assert await ids(client, user="nobody") == []

    async def test_of_its_judgments(self, client: httpx.AsyncClient, sv: Services) -> None:
        good, bad, none = [(await client.post(CHAT, json=chat("echo"))).headers["x-request-id"] for _ in range(3)]
        await sv.drain.drain()
        for id, thumbs in ((good, "up"), (bad, "down")):
            said = await client.post("/v1/feedback", json={"completion_id": id, "thumbs": thumbs})
            assert said.status_code == 200, said.text
        judged = await client.post("/v1/feedback", json={"completion_id": bad, "rating": 4})
        for query, wanted in (
            ({"judged_by": "human"}, [bad, good]),
            ({"judged_by": "llm"}, []),
            ({"passed": "false"}, [bad]),
            ({"passed": "true", "criterion": "thumbs"}, [good]),
            ({"criterion": "rating"}, [bad]),
            ({"criterion": "no such"}, []),
            ({}, [none, bad, good]),
        ):
            assert await ids(client, **query) == wanted, query
        await client.delete(f"/v1/judgments/{judged.json()['judgments'][0]['id']}")
        assert await ids(client, criterion="rating") == [], "it was taken back"

    async def test_refuses_what_means_nothing(self, client: httpx.AsyncClient) -> None:
        for query, param in (
            ({"min_cost_usd": "much"}, "min_cost_usd"), ({"min_cost_usd": "NaN"}, "min_cost_usd"),
            ({"min_cost_usd": "-1"}, "min_cost_usd"), ({"min_cost_usd": "1e99"}, "min_cost_usd"),
            ({"min_duration_ms": "-1"}, "min_duration_ms"), ({"streamed": "maybe"}, "streamed"), ({"cache_hit": "maybe"}, "cache_hit"),
            ({"purpose": "x"}, "purpose"), ({"judged_by": "x"}, "judged_by"), ({"passed": "x"}, "passed"),
            ({"scan_limit": 0}, "scan_limit"), ({"include": "bodies"}, "include"), ({"q": "?!"}, "q"),
        ):  # fmt: skip
            assert error_in(await client.get(EXCHANGES, params=query), 400)["param"] == param, query


class TestPreview:
    async def test_shows_first_words_of_what_was_read(
        self, client: httpx.AsyncClient, own: str, database: Database
    ) -> None:
        [first] = await say(database, own, ("where is\nmy parcel", "w " * 300))
        [later] = await add(database, {"project_id": own, "created_at": MIDNIGHT + 5})
        shown = {each["id"]: each["preview"] for each in (await page(client, include="preview"))["data"]}
        assert shown[first]["question"] == "where is my parcel"
        assert len(shown[first]["answer"]) == 200
        assert shown[later] is None
        assert "preview" not in (await page(client))["data"][0]


class TestReading:
    async def test_each_call_is_read_once_behind_the_calls(
        self, client: httpx.AsyncClient, sv: Services, database: Database
    ) -> None:
        await client.post(CHAT, json=chat("echo"))
        await sv.drain.drain()
        assert (await page(client, q="hello"))["data"] == []
        assert await read(database) == 1
        assert await read(database) == 0
        assert len((await page(client, q="hello"))["data"]) == 1

    async def test_no_texts_of_a_key_that_keeps_none(
        self, client: httpx.AsyncClient, own: str, sv: Services, database: Database
    ) -> None:
        await say(database, own, ("zebra", "zebra"), logging="metadata")
        async with database.session() as session:
            assert await session.scalar(select(func.count()).select_from(ExchangeTextRow)) == 0

    async def test_erased_with_the_exchange(self, client: httpx.AsyncClient, own: str, database: Database) -> None:
        kept, gone = await say(database, own, ("zebra one", "x"), ("zebra two", "x"))
        assert await ids(client, q="zebra") == [gone, kept]
        assert (await client.delete(f"{EXCHANGES}/{gone}")).status_code == 200
        assert await ids(client, q="zebra") == [kept]
        async with database.session() as session:
            assert list(await session.scalars(select(ExchangeTextRow.exchange_id))) == [kept]

    async def test_what_was_erased_before_it_was_read_is_not_read(
        self, client: httpx.AsyncClient, own: str, database: Database
    ) -> None:
        [gone] = await add(database, {"project_id": own, "request": asked("zebra"), "error": null()})
        async with database.session() as session:
            session.add(UnreadExchangeRow(exchange_id=gone))
        assert (await client.delete(f"{EXCHANGES}/{gone}")).status_code == 200
        assert await read(database) == 1
        async with database.session() as session:
            assert await session.scalar(select(func.count()).select_from(ExchangeTextRow)) == 0

    async def test_while_it_is_being_erased_it_is_not_read(self, own: str, database: Database) -> None:
        """It was said that it is deleted, and its texts are still there."""
        [gone] = await add(database, {"project_id": own, "request": asked("zebra"), "error": null()})
        async with database.session() as session:
            session.add(UnreadExchangeRow(exchange_id=gone))
            await erasure.announce(session, own, [gone], "key_1")
        assert await read(database) == 1
        async with database.session() as session:
            assert await session.scalar(select(func.count()).select_from(ExchangeTextRow)) == 0


class TestWords:
    async def test_are_found_in_question_and_answer(
        self, client: httpx.AsyncClient, own: str, database: Database
    ) -> None:
        made = await say(
            database, own,
            ("Where is my PARCEL?", "It left on Monday."), ("Wo ist die Lieferung?", "Am Montag verschickt."),
            ("parcel", "refund"), ("Где посылка", "в пути"),
        )  # fmt: skip
        for words, numbers in (
            ("parcel", [2, 0]), ("PARCEL monday", [0]), ("parcel -refund", [0]), ("lieferung or refund", [2, 1]),
            ('"left on monday"', [0]), ('"monday left"', []), ("посылка", [3]), ("parc", []),
        ):  # fmt: skip
            assert await ids(client, q=words) == [made[number] for number in numbers], words

    async def test_of_another_project_are_not_found(
        self, client: httpx.AsyncClient, stranger: httpx.AsyncClient, own: str, database: Database
    ) -> None:
        await say(database, own, ("zebra", "x"))
        assert len(await ids(client, q="zebra")) == 1
        assert await ids(stranger, q="zebra") == []
        assert await ids(stranger, q=f"zebra or project:{own}") == []

    async def test_together_with_filters_and_times(
        self, client: httpx.AsyncClient, own: str, database: Database
    ) -> None:
        [early] = await say(database, own, ("zebra", "x"), status=404)
        [late] = await say(database, own, ("zebra", "x"), created_at=MIDNIGHT + 86_400)
        assert await ids(client, q="zebra", status=404) == [early]
        assert await ids(client, q="zebra", created_after=MIDNIGHT + 100) == [late]
        assert await ids(client, q="zebra", created_before=MIDNIGHT + 100) == [early]

    @pytest.mark.parametrize("walked", [2, 1000])
    async def test_page_by_page_both_ways(
        self, client: httpx.AsyncClient, own: str, database: Database, monkeypatch: pytest.MonkeyPatch, walked: int
    ) -> None:
        """Looked at one by one, or by the index."""
        monkeypatch.setattr(search, "WALKED", walked)
        made = await say(database, own, *(("zebra" if n % 2 else "horse", str(n)) for n in range(12)))
        zebras = made[1::2][::-1]
        first = await page(client, q="zebra", limit=4)
        assert ([each["id"] for each in first["data"]], first["has_more"]) == (zebras[:4], True)
        second = await page(client, q="zebra", limit=4, after=first["last_id"])
        assert ([each["id"] for each in second["data"]], second["has_more"]) == (zebras[4:], False)
        back = await page(client, q="zebra", limit=4, before=second["first_id"])
        assert [each["id"] for each in back["data"]] == zebras[:4]
        assert await ids(client, q="zebra", order="asc", limit=2) == made[1::2][:2]

    async def test_by_the_index_no_more_than_is_bearable(
        self, client: httpx.AsyncClient, own: str, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(search, "WALKED", 1)
        monkeypatch.setattr(search, "FOUND", 3)
        made = await say(database, own, *((f"zebra {n}", "x") for n in range(5)))
        shown = await page(client, q="zebra", status=500)
        assert (shown["data"], shown["has_more"], shown["continue_from"]) == ([], True, made[2])
        rest = await page(client, q="zebra", limit=9, after=shown["continue_from"])
        assert [each["id"] for each in rest["data"]] == made[:2][::-1]

    async def test_what_takes_too_long_is_answered_in_part(
        self, client: httpx.AsyncClient, own: str, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(search, "WALKED", 2)
        slow = text("SELECT 'x' FROM pg_sleep(60)")
        monkeypatch.setattr(search, "PATIENCE_MS", 50)
        monkeypatch.setattr(search.Look, "_candidates", lambda self: slow)
        made = await say(database, own, *((f"zebra {n}", "x") for n in range(5)))
        shown = await page(client, q="zebra", limit=9)
        assert [each["id"] for each in shown["data"]] == made[:2:-1]
        assert (shown["has_more"], shown["continue_from"]) == (True, made[3])


class TestScanLimit:
    async def test_ends_there_and_says_where_to_go_on(
        self, client: httpx.AsyncClient, own: str, database: Database
    ) -> None:
        plain = {"project_id": own}
        made = await add(database, *(plain | ({"status": 404} if n in (0, 8) else {}) for n in range(10)))
        first = await page(client, status=404, scan_limit=5)
        assert ([each["id"] for each in first["data"]], first["continue_from"]) == ([made[8]], made[5])
        assert first["has_more"]
        rest = await page(client, status=404, scan_limit=5, after=first["continue_from"])
        assert ([each["id"] for each in rest["data"]], rest["continue_from"]) == ([made[0]], None)
        assert not rest["has_more"]

    async def test_a_full_page_needs_none(self, client: httpx.AsyncClient, own: str, database: Database) -> None:
        made = await add(database, *({"project_id": own} for _ in range(6)))
        shown = await page(client, scan_limit=5, limit=2)
        assert ([each["id"] for each in shown["data"]], shown["continue_from"]) == (made[:3:-1], None)
        assert shown["has_more"]

    async def test_begins_at_the_time_that_is_asked_for(
        self, client: httpx.AsyncClient, own: str, database: Database
    ) -> None:
        [old] = await add(database, {"project_id": own})
        await add(database, *({"project_id": own, "created_at": MIDNIGHT + 86_400} for _ in range(6)))
        assert await ids(client, scan_limit=2, created_before=MIDNIGHT + 10) == [old]
