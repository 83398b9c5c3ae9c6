"""The log of a project's calls, and one of them."""

import csv
import io
import re
from typing import Any

import httpx
import pytest
from sqlalchemy import event

from gateway.app import App
from gateway.db.database import Database
from gateway.services import Services
from tests.admin.console.browsers import Browser, text_of
from tests.conftest import chat
from tests.gateway.metering.ledger_rows import MIDNIGHT
from tests.gateway.people import add as add_person
from tests.gateway.routes.test_exchange_search import read, say
from tests.gateway.routes.test_exchanges import add

pytestmark = pytest.mark.anyio


BADGE = '<span class="badge plain">from the cache</span>'


@pytest.fixture
def url(project_id: str) -> str:
    return f"/console/projects/{project_id}/exchanges"


@pytest.fixture
def services(app: App) -> Services:
    return app.services


async def call(client: httpx.AsyncClient, services: Services, **changes: Any) -> str:
    """An exchange in the log; its id."""
    reply = await client.post("/v1/chat/completions", json=chat("echo", **changes))
    assert reply.status_code == 200, reply.text
    await services.drain.drain()
    return reply.headers["x-request-id"]


def ids_in(html: str) -> list[str]:
    return re.findall(r'/exchanges/(req_\w+)"><time', html)


def link(html: str, text: str) -> str:
    [url] = re.findall(rf'<a[^>]*href="([^"]*)"[^>]*>{re.escape(text)}</a>', html)
    return url.replace("&amp;", "&")


class TestTable:
    async def test_says_what_to_do_when_it_is_empty(self, owner: Browser, url: str) -> None:
        assert "No call yet" in text_of(await owner.open(url))

    async def test_shows_calls_with_their_first_words(
        self, owner: Browser, client: httpx.AsyncClient, services: Services, database: Database, url: str
    ) -> None:
        id = await call(client, services)
        await read(database)
        page = await owner.open(url)
        assert ids_in(page) == [id]
        shown = text_of(page)
        assert "hello" in shown
        assert "completed" in shown
        assert "12 + 4" in shown

    async def test_filters_are_in_the_url_and_can_be_taken_away(
        self, owner: Browser, project_id: str, database: Database, url: str
    ) -> None:
        slow, refused = await add(
            database,
            {"project_id": project_id, "duration_ms": 9000.0},
            {"project_id": project_id, "outcome": "refused", "status": 429},
        )
        assert ids_in(await owner.open(url)) == [refused, slow]
        page = await owner.open(f"{url}?min_duration_ms=5000&outcome=completed")
        assert ids_in(page) == [slow]
        assert "At least ms: 5000" in text_of(page)
        assert 'href="' + url + '?outcome=completed"' in page
        assert ids_in(await owner.open(f"{url}?status=429")) == [refused]
        assert ids_in(await owner.open(f"{url}?metadata=team%3Da&outcome=refused")) == [refused]
        nothing = await owner.open(f"{url}?metadata=team%3Db")
        assert "No exchange is like this" in text_of(nothing)

    async def test_answers_of_the_cache_wear_a_badge_and_are_filtered(
        self, owner: Browser, project_id: str, database: Database, url: str
    ) -> None:
        asked, hit = await add(
            database,
            {"project_id": project_id},
            {"project_id": project_id, "cache_hit": True, "upstream": None, "cost_nano": 0},
        )
        page = await owner.open(url)
        assert ids_in(page) == [hit, asked]
        assert page.count(BADGE) == 1
        assert page.index(asked) > page.index(BADGE) > page.index(hit)
        kept, others = [await owner.open(f"{url}?cache_hit={which}") for which in ("true", "false")]
        assert (ids_in(kept), ids_in(others)) == ([hit], [asked])
        assert "From the cache: yes" in text_of(kept)
        assert BADGE not in others

    async def test_of_a_time(self, owner: Browser, project_id: str, database: Database, url: str) -> None:
        [early, late] = await add(
            database, {"project_id": project_id}, {"project_id": project_id, "created_at": MIDNIGHT + 3600}
        )
        assert ids_in(await owner.open(f"{url}?from=2026-11-21T00:30")) == [late]
        assert ids_in(await owner.open(f"{url}?until=2026-11-21T00:30")) == [early]
        assert ids_in(await owner.open(f"{url}?created_after={MIDNIGHT + 3600}")) == [late]

    @pytest.mark.parametrize(
        ("query", "said"),
        [("from=yesterday", "Write the time as"), ("metadata=team", "Write metadata as key=value"),
         ("status=9", "Invalid &#39;status&#39;"), ("q=%3F", "no word"), ("min_cost_usd=x", "expected dollars")],
    )  # fmt: skip
    async def test_a_wrong_filter_is_said(self, owner: Browser, url: str, query: str, said: str) -> None:
        page = await owner.open(f"{url}?{query}", 400)
        assert said in page

    async def test_is_paged_both_ways(
        self, owner: Browser, project_id: str, database: Database, url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("admin.console.pages.exchanges.ROWS", 2)
        made = (await add(database, *({"project_id": project_id} for _ in range(5))))[::-1]
        first = await owner.open(url)
        assert ids_in(first) == made[:2]
        second = await owner.open(link(first, "Older"))
        assert ids_in(second) == made[2:4]
        third = await owner.open(link(second, "Older"))
        assert ids_in(third) == made[4:]
        back = await owner.open(link(third, "Newer"))
        assert ids_in(back) == made[2:4]
        assert ids_in(await owner.open(link(back, "Newer"))) == made[:2]
        assert ids_in(await owner.open(link(back, "Newest"))) == made[:2]

    async def test_what_was_not_looked_at_is_said(
        self, owner: Browser, project_id: str, database: Database, url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("admin.console.pages.exchanges.LOOKED_AT", 3)
        made = await add(database, *({"project_id": project_id, "status": 404 if n == 0 else 200} for n in range(5)))
        page = await owner.open(f"{url}?status=404")
        assert "None of the 3 exchanges that were looked at is like this" in text_of(page)
        assert ids_in(await owner.open(link(page, "Look further"))) == [made[0]]

    async def test_tells_how_many_came_since(
        self, owner: Browser, project_id: str, database: Database, url: str
    ) -> None:
        [first] = await add(database, {"project_id": project_id})
        new = f"{url}/new?status=200&since={first}"
        assert (await owner.open(new)).strip() == ""
        await add(database, *({"project_id": project_id, "created_at": MIDNIGHT + n} for n in (5, 6)))
        assert "2 new" in text_of(await owner.open(new))
        assert (await owner.open(f"{url}/new?status=404&since={first}")).strip() == ""

    async def test_takes_the_same_calls_however_many_rows(
        self, owner: Browser, project_id: str, database: Database, url: str, app: App
    ) -> None:
        counts: list[int] = []
        await owner.open(url)
        for more in (1, 20):
            await add(database, *({"project_id": project_id, "created_at": MIDNIGHT + more} for _ in range(more)))
            counts.append(min([await _calls(app, owner, url) for _ in range(3)]))  # now and then one notes its time
        assert counts[0] == counts[1]


async def _calls(app: App, browser: Browser, url: str) -> int:
    """How many statements a page takes."""
    count = 0

    def counted(*_: Any) -> None:
        nonlocal count
        count += 1

    engine = app.services.database.engine.sync_engine
    event.listen(engine, "before_cursor_execute", counted)
    try:
        await browser.open(url)
    finally:
        event.remove(engine, "before_cursor_execute", counted)
    return count


class TestViews:
    async def test_are_saved_opened_renamed_and_deleted(
        self, owner: Browser, project_id: str, database: Database, url: str
    ) -> None:
        await add(database, {"project_id": project_id}, {"project_id": project_id, "status": 404})
        page = await owner.send(f"{url}/views", view_name="not found", status="404")
        assert len(ids_in(page)) == 1
        page = await owner.open(url)
        assert len(ids_in(await owner.open(link(page, "not found")))) == 1
        [id] = re.findall(r"/views/(view_\w+)/delete", page)
        page = await owner.send(f"{url}/views/{id}", name="404s")
        assert "The view is called 404s now" in text_of(page)
        page = await owner.send(f"{url}/views/{id}/delete")
        assert "404s" not in text_of(page)

    async def test_a_name_that_is_taken_is_said(self, owner: Browser, url: str) -> None:
        await owner.send(f"{url}/views", view_name="slow", status="404")
        page = await owner.send(f"{url}/views", 409, view_name="slow", status="500")
        assert "There is a view" in text_of(page)
        assert 'name="status" value="500"' in page


class TestExport:
    async def test_is_a_table_for_spreadsheets(
        self, owner: Browser, project_id: str, database: Database, url: str
    ) -> None:
        made = await say(database, project_id, ("=1+1", 'two, "three"\nfour'), ("hello", "there"))
        answer = await owner.client.get(f"{url}/export?format=csv&q=1")
        assert answer.headers["content-disposition"] == 'attachment; filename="exchanges.csv"'
        [row] = csv.DictReader(io.StringIO(answer.text))
        assert (row["id"], row["question"], row["answer"]) == (made[0], "'=1+1", 'two, "three" four')
        assert (row["input_tokens"], row["cost_usd"], row["metadata"]) == ("12", "0.000082", '{"team":"a"}')

    async def test_is_json_and_page_after_page(
        self, owner: Browser, project_id: str, database: Database, url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("admin.console.pages.exchange_export.AT_A_TIME", 2)
        monkeypatch.setattr("admin.console.pages.exchange_export.MOST", 5)
        made = await add(database, *({"project_id": project_id} for _ in range(7)))
        rows = (await owner.client.get(f"{url}/export?format=json")).json()
        assert [row["id"] for row in rows] == made[:1:-1]
        assert (await owner.client.get(f"{url}/export?format=json&status=404")).json() == []

    async def test_tells_which_answers_were_kept(
        self, owner: Browser, project_id: str, database: Database, url: str
    ) -> None:
        own = {"project_id": project_id}
        asked, hit = await add(database, own, own | {"cache_hit": True, "upstream": None, "cost_nano": 0})
        table = csv.DictReader(io.StringIO((await owner.client.get(f"{url}/export?format=csv")).text))
        assert [(row["id"], row["cache_hit"], row["upstream"]) for row in table] == [
            (hit, "true", ""),
            (asked, "false", "fake"),
        ]
        rows = (await owner.client.get(f"{url}/export?format=json&cache_hit=true")).json()
        assert [(row["id"], row["cache_hit"]) for row in rows] == [(hit, True)]

    async def test_a_wrong_filter_is_no_file(self, owner: Browser, url: str) -> None:
        await owner.open(f"{url}/export?status=9", 400)


class TestOne:
    async def test_shows_everything(
        self, owner: Browser, client: httpx.AsyncClient, services: Services, url: str
    ) -> None:
        id = await call(client, services, stream=True, metadata={"team": "support"}, temperature=0.5)
        shown = text_of(await owner.open(f"{url}/{id}"))
        for words in (
            "hello",
            "one two three four",
            "12 + 4",
            "support",
            "temperature 0.5",
            "until the first token",
            "$0.00008",
        ):
            assert words in shown, words

    async def test_shows_tools_pictures_and_long_texts(
        self, owner: Browser, project_id: str, database: Database, url: str
    ) -> None:
        request = (
            b'{"model":"m","tools":[{"type":"function","function":{"name":"look_up"}}],"messages":['
            b'{"role":"user","content":[{"type":"text","text":"see"},{"type":"image_url","image_url":{"url":'
            b'"data:image/png;base64,AAAA"}}]},{"role":"system","content":"' + b"long " * 1000 + b'"}]}'
        )
        reply = b'{"choices":[{"message":{"role":"assistant","tool_calls":[{"function":{"name":"look_up","arguments":"{\\"order\\":7}"}}]}}]}'
        [id] = await add(database, {"project_id": project_id, "request": request, "reply": reply})
        page = await owner.open(f"{url}/{id}")
        shown = text_of(page)
        for words in ("Image image/png", "Calls look_up", '"order": 7', "1 tool offered", "5,000 characters"):
            assert words in shown, words

    async def test_says_that_an_answer_was_kept(
        self, owner: Browser, project_id: str, database: Database, url: str
    ) -> None:
        own = {"project_id": project_id}
        asked, hit = await add(database, own, own | {"cache_hit": True, "upstream": None, "cost_nano": 0})
        page = await owner.open(f"{url}/{hit}")
        assert BADGE in page
        assert "none: the answer was kept of a call before" in text_of(page)
        assert BADGE not in await owner.open(f"{url}/{asked}")

    async def test_of_another_project_is_not_there(self, owner: Browser, database: Database, url: str) -> None:
        [id] = await add(database, {"project_id": "proj_other"})
        await owner.open(f"{url}/{id}", 404)

    async def test_what_cannot_be_read_is_shown_all_the_same(
        self, owner: Browser, project_id: str, database: Database, url: str
    ) -> None:
        own = {"project_id": project_id}
        odd = await add(
            database, own | {"request": b"<html>", "reply": b"\xff"}, own | {"request": b"[]", "reply": b'{"choices": 5}'},
            own | {"request": b'{"messages": [5, {"content": {"a": 1}}]}', "reply": b'{"choices": [{"message": 5}]}'},
            own | {"logging": "metadata", "request": b"", "reply": None, "input_tokens": None, "cost_nano": None},
        )  # fmt: skip
        for id in odd:
            assert "Exchange" in await owner.open(f"{url}/{id}")

    async def test_a_script_in_an_answer_is_text(
        self, owner: Browser, project_id: str, database: Database, url: str
    ) -> None:
        [id] = await say(database, project_id, ("<script>alert(1)</script>", "</textarea><script>alert(2)</script>"))
        for page in (await owner.open(url), await owner.open(f"{url}/{id}")):
            assert "<script>alert" not in page


class TestActing:
    async def test_thumbs_and_a_correction_become_judgments(
        self, owner: Browser, client: httpx.AsyncClient, services: Services, url: str
    ) -> None:
        id = await call(client, services)
        page = await owner.send(f"{url}/{id}/feedback", thumbs="down")
        assert "Noted: thumbs" in text_of(page)
        answer = "one two three four "
        page = await owner.send(
            f"{url}/{id}/feedback", answer=answer, correction="five", tags="wrong, rude", comment="no"
        )
        said = (await client.get("/v1/judgments", params={"exchange": id})).json()["data"]
        assert len({each["criterion"] for each in said}) >= 3
        assert {each["source"] for each in said} == {"human"}
        assert [each["edited_message"]["content"] for each in said if each["edited_message"]] == ["five"]
        [judgment, *_] = re.findall(r"/judgments/(judgment_\w+)/retract", page)
        await owner.send(f"{url}/{id}/judgments/{judgment}/retract")
        left = (await client.get("/v1/judgments", params={"exchange": id})).json()["data"]
        assert len(left) == len(said) - 1

    async def test_an_unchanged_answer_is_no_correction(
        self, owner: Browser, client: httpx.AsyncClient, services: Services, url: str
    ) -> None:
        id = await call(client, services)
        page = await owner.send(f"{url}/{id}/feedback", 400, answer="a\r\nb", correction="a\nb")
        assert 'role="alert"' in page

    async def test_becomes_a_training_example_once(
        self, owner: Browser, client: httpx.AsyncClient, services: Services, url: str
    ) -> None:
        id = await call(client, services)
        page = await owner.send(f"{url}/{id}/learn", example_tags="tone, short", validated="true")
        assert "It is a training example now" in text_of(page)
        [made] = (await client.get("/v1/training_examples")).json()["data"]
        assert (made["exchange_id"], made["tags"], made["status"]) == (id, ["tone", "short"], "validated")
        assert "already" in text_of(await owner.send(f"{url}/{id}/learn"))

    async def test_has_others_judge_it(
        self, owner: Browser, client: httpx.AsyncClient, services: Services, url: str
    ) -> None:
        id = await call(client, services)
        await owner.send(f"{url}/{id}/review", queue_name="odd ones")
        [queue] = (await client.get("/v1/review_queues")).json()["data"]
        assert queue["name"] == "odd ones"
        item = (await client.post(f"/v1/review_queues/{queue['id']}/next")).json()["item"]
        assert item["id"]
        assert "odd ones" in text_of(await owner.open(url.replace("/exchanges", f"/review/{queue['id']}")))

    async def test_shows_what_was_made_of_it_with_its_page(
        self, owner: Browser, client: httpx.AsyncClient, services: Services, url: str
    ) -> None:
        id = await call(client, services)
        await owner.send(f"{url}/{id}/learn")
        page = await owner.open(f"{url}/{id}")
        assert "training example" in text_of(page)
        linked = re.findall(r'<li>[a-z ]+: <a href="([^"]+)"', page)
        assert any("/examples/" in each for each in linked), page
        for each in linked:
            await owner.open(each)

    async def test_is_erased(self, owner: Browser, client: httpx.AsyncClient, services: Services, url: str) -> None:
        id = await call(client, services)
        assert "erased" in text_of(await owner.send(f"{url}/{id}/delete"))
        assert (await client.get(f"/v1/exchanges/{id}")).json()["request"] is None
        assert "No texts are kept" in text_of(await owner.open(f"{url}/{id}"))

    async def test_a_reader_sees_no_buttons(
        self, app: App, admin: httpx.AsyncClient, client: httpx.AsyncClient, services: Services, url: str
    ) -> None:
        id = await call(client, services)
        await add_person(admin, "reader@example.com", "reader")
        async with Browser.of(app) as browser:
            await browser.sign_in("reader@example.com")
            page = await browser.open(f"{url}/{id}")
            assert "hello" in text_of(page)
            for words in ("Erase", "Replay", "Good answer", "training examples", "Make queue"):
                assert words not in text_of(page), words
            await browser.send(f"{url}/{id}/delete", 403)


class TestReplay:
    async def test_asks_another_model_and_shows_both(
        self, owner: Browser, client: httpx.AsyncClient, services: Services, url: str
    ) -> None:
        id = await call(client, services, stream=True, store=True)
        page = await owner.send(f"{url}/{id}/replay", model="unpriced")
        shown = text_of(page)
        assert "one two three four hello" in shown
        assert "unpriced" in shown
        assert "no price" in shown
        newest = (await client.get("/v1/exchanges")).json()["data"][0]
        assert (newest["requested_model"], newest["streamed"]) == ("unpriced", False)
        asked_again = (await client.get(f"/v1/exchanges/{newest['id']}")).json()["request"]
        assert "store" not in asked_again
        assert asked_again["messages"] == chat("echo")["messages"]

    async def test_a_refusal_is_said(
        self, owner: Browser, client: httpx.AsyncClient, services: Services, url: str
    ) -> None:
        id = await call(client, services)
        page = await owner.send(f"{url}/{id}/replay", 404, model="no-such-model")
        assert "no-such-model" in text_of(page)

    async def test_without_texts_there_is_nothing_to_ask(
        self, owner: Browser, project_id: str, database: Database, url: str
    ) -> None:
        [id] = await add(database, {"project_id": project_id, "logging": "metadata", "request": b"", "reply": None})
        await owner.send(f"{url}/{id}/replay", 400, model="echo")

    async def test_shows_what_changed_word_by_word(
        self, owner: Browser, project_id: str, database: Database, url: str
    ) -> None:
        first, other = await say(database, project_id, ("q", "it is red today"), ("q", "it is blue today"))
        page = await owner.open(f"{url}/{first}/replays/{other}")
        assert "<del>red </del><ins>blue </ins>" in page
