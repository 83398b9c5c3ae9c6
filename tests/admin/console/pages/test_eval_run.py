"""One run of an eval in the browser: how good it is, its answers, one of them, and all of them as a file."""

import csv
import io
import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from sqlalchemy import null, update

from admin.console.api import Api
from gateway.app import App
from gateway.asking import NotAsked
from gateway.db.database import Database
from gateway.db.tables import EvalOutputItemRow, EvalRunRow
from gateway.settings import Settings
from tests.admin.console.browsers import Browser, text_of
from tests.admin.console.pages.eval_runs import answered, worker_of
from tests.fakes.evals import (
    ALIKE,
    LABEL,
    SAME,
    SCORE,
    Straight,
    asking,
    create_eval,
    create_run,
    ended,
    items_of,
    qa,
)
from tests.gateway.people import add
from tests.polling import until

pytestmark = pytest.mark.anyio

Client = httpx.AsyncClient


@pytest.fixture(autouse=True)
async def worker(settings: Settings, app: App, project_key: dict[str, Any]) -> AsyncIterator[Straight]:
    async with worker_of(settings, app, project_key) as straight:
        yield straight


def url_of(run: dict[str, Any], *parts: str) -> str:
    """The page that the API names, and pages below it."""
    return "/".join([run["report_url"].removeprefix("http://gateway"), *parts])


async def done(client: Client, of: dict[str, Any], *items: dict[str, Any], **more: Any) -> dict[str, Any]:
    run = await ended(client, await create_run(client, of["id"], asking(*items), **more))
    assert run["status"] == "completed", run
    return run


class TestRun:
    async def test_is_where_the_api_says_that_its_report_is(self, owner: Browser, client: Client) -> None:
        run = await done(client, await create_eval(client), qa("2", "2"), qa("3", "4"))
        page = text_of(await owner.open(url_of(run)))
        assert "A run of suite" in page
        assert "50.0%" in page
        assert "n = 2" in page

    async def test_shows_the_quality_score_with_its_reasons_and_what_to_do(
        self, owner: Browser, client: Client
    ) -> None:
        of = await create_eval(client, SAME, ALIKE)
        good = text_of(await owner.open(url_of(await done(client, of, qa("a b c", "a b c")))))
        assert "100 of 100 ready to deploy" in good
        assert "Give it a share of the traffic" in good
        bad = text_of(await owner.open(url_of(await done(client, of, qa("a b c", "x"), qa("a b c", "y")))))
        assert re.search(r"\d+ of 100 retrain", bad)
        assert "Accuracy is low: 0.00." in bad
        assert "Mend the data, then train again." in bad
        assert "Length. Half of the answers are 3.00 times as long as their references" in bad

    async def test_shows_each_figure_with_its_interval_and_n(self, owner: Browser, client: Client) -> None:
        items = [qa("the cat sat", "the cat sat"), qa("a dog ran", "the dog ran"), qa("b c", "b c")]
        run = await done(client, await create_eval(client, ALIKE, SCORE), *(each | {"score": "5"} for each in items))
        page = text_of(await owner.open(url_of(run)))
        for name in (
            "Answers that pass",
            "Score by models",
            "Exact match",
            "Token F1",
            "ROUGE-L",
            "BLEU",
            "Latency, median",
        ):
            assert name in page
        low, high = (f"{run['metrics']['pass_rate'][end] * 100:.1f}%" for end in ("low", "high"))
        assert f"Answers that pass 100.0% {low} to {high} 3" in page
        assert "Latency, median 1 ms" in page

    async def test_shows_what_each_criterion_came_to(self, owner: Browser, client: Client) -> None:
        run = await done(
            client, await create_eval(client, SAME, LABEL), qa("a", "a", tone="rude"), qa("a", "b", tone="polite")
        )
        page = text_of(await owner.open(url_of(run)))
        assert re.search(r"same Text check the answer is exactly answer 50\.0% .*?n = 2 0\.500 1 1 0", page)
        assert re.search(r"tone Label by a model echo calls it polite, out of polite, rude 50\.0%", page)

    async def test_says_what_could_not_be_graded(self, owner: Browser, client: Client) -> None:
        run = await done(client, await create_eval(client), {"question": "a"}, qa("b", "b"), qa("c", "c"), qa("d", "e"))
        page = await owner.open(url_of(run))
        assert "1 of 4 answers could not be graded (75.0% could)" in text_of(page)
        assert "status=error" in page

    async def test_tokens_and_cost_are_by_model(self, owner: Browser, client: Client) -> None:
        run = await done(client, await create_eval(client), qa("a", "a"))
        cost = run["per_model_usage"][0]["cost_usd"]
        page = text_of(await owner.open(url_of(run)))
        assert re.search(r"echo 1 12 4 4 \$0\.0", page)
        assert cost > 0

    async def test_leads_to_a_comparison_with_the_other_runs(self, owner: Browser, client: Client) -> None:
        of = await create_eval(client)
        first, second = await answered(client, of, "yes", "no"), await answered(client, of, "yes", "yes")
        page = await owner.open(url_of(second))
        assert re.findall(r'<option value="(evalrun_\w+)"', page) == [first["id"]]
        assert "Untitled run, 50.0% pass" in text_of(page)

    async def test_the_number_of_calls_does_not_follow_the_number_of_items(
        self, owner: Browser, client: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        of = await create_eval(client)
        runs = [await answered(client, of, *["yes"] * count) for count in (1, 20)]
        send, asked = Api.send, list[str]()

        async def counted(self: Api, method: str, path: str, **more: Any) -> Any:
            asked.append(path)
            return await send(self, method, path, **more)

        monkeypatch.setattr(Api, "send", counted)
        counts: list[int] = []
        for run in runs:
            asked.clear()
            await owner.open(url_of(run))
            counts.append(len(asked))
        assert counts[0] == counts[1]


class TestProgress:
    async def test_moves_until_it_has_ended(self, owner: Browser, client: Client, worker: Straight) -> None:
        worker.holds(lambda body: body["messages"][0]["content"] == "slow")
        run = await create_run(client, (await create_eval(client))["id"], asking(qa("a", "a"), qa("slow", "slow")))

        async def half() -> bool:
            counts = (await client.get(f"/v1/evals/{run['eval_id']}/runs/{run['id']}")).json()["result_counts"]
            return counts["passed"] == 1

        await until(half)
        page = await owner.open(url_of(run))
        assert "1 of 2 answers" in text_of(page)
        assert 'data-refresh="3"' in page
        live = await owner.client.get(url_of(run, "live"))
        assert "<form" not in live.text  # a button that is not replaced keeps the focus
        assert "hx-refresh" not in live.headers
        worker.gate.set()
        await ended(client, run)
        assert (await owner.client.get(url_of(run, "live"))).headers["hx-refresh"] == "true"

    async def test_is_canceled(self, owner: Browser, client: Client, worker: Straight) -> None:
        worker.holds(lambda _: True)
        run = await create_run(client, (await create_eval(client))["id"], asking(qa("a", "a")))
        page = text_of(await owner.send(url_of(run, "cancel")))
        assert "The run ends; what was answered stays." in page
        assert "The run was canceled before its end" in page

    async def test_one_that_failed_says_why_and_what_to_do(
        self, owner: Browser, client: Client, worker: Straight
    ) -> None:
        worker.fails.append(NotAsked("The budget is used up.", code="quota", retry=False))
        run = await ended(client, await create_run(client, (await create_eval(client))["id"], asking(qa("a", "a"))))
        page = text_of(await owner.open(url_of(run)))
        assert (
            "The run failed. The budget is used up. Raise the budget of the project\u2019s key \u201cEvals\u201d"
            in page
        )

    async def test_one_without_figures_says_so(self, owner: Browser, client: Client, database: Database) -> None:
        run = await answered(client, await create_eval(client), "yes")
        async with database.session() as session:
            row = await session.get_one(EvalRunRow, run["id"])
            result = dict(row.result or {}) | {"metrics": None}
            await session.execute(update(EvalRunRow).where(EvalRunRow.id == run["id"]).values(result=result))
        assert "The figures could not be made" in text_of(await owner.open(url_of(run)))


class TestDelete:
    async def test_is_gone(self, owner: Browser, client: Client) -> None:
        run = await answered(client, await create_eval(client), "yes")
        assert "data-confirm" in (await owner.open(url_of(run)))
        assert "The run is deleted" in text_of(await owner.send(url_of(run, "delete")))
        await owner.open(url_of(run), 404)

    async def test_a_reader_sees_no_button(self, app: App, admin: Client, client: Client, owner: Browser) -> None:
        run = await answered(client, await create_eval(client), "yes")
        await add(admin, "reader@example.com", "reader")
        async with Browser.of(app) as browser:
            await browser.sign_in("reader@example.com")
            page = await browser.open(url_of(run))
            assert "Delete the run" not in page
            await browser.send(url_of(run, "delete"), 403)


class TestItems:
    async def test_are_filtered_by_what_became_of_them(self, owner: Browser, client: Client) -> None:
        run = await answered(client, await create_eval(client), "yes", "certainly not", "yes")
        page = text_of(await owner.open(url_of(run) + "?status=fail"))
        assert "certainly not" in page
        assert "Is it 0?" not in page
        none = text_of(await owner.open(url_of(run) + "?status=error"))
        assert "No answer of this run is like that." in none

    async def test_are_paged(self, owner: Browser, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("admin.console.pages.eval_run.PAGE", 2)
        run = await answered(client, await create_eval(client), "one", "two", "three")
        first = await owner.open(url_of(run) + "?status=fail")
        [following] = re.findall(r'rel="next" href="([^"]+)"', first)
        second = text_of(await owner.open(following.replace("&amp;", "&")))
        assert "three" in second
        assert "one" not in second.partition("Answers All")[2].partition("What was asked")[0]

    async def test_one_shows_question_answer_reference_and_what_differs(self, owner: Browser, client: Client) -> None:
        run = await done(client, await create_eval(client), qa("the cat sat", "the dog sat"))
        [item] = await items_of(client, run)
        page = await owner.open(url_of(run, "items", item["id"]))
        assert "<del>dog </del><ins>cat </ins>" in page
        text = text_of(page)
        assert "same fails does not hold (Text check: passes when the answer is exactly answer)" in text
        assert f"/exchanges/{item['exchange_id']}" in page
        assert "Latency 1 ms" in text

    async def test_a_judges_words_and_its_exchange(self, owner: Browser, client: Client) -> None:
        run = await done(client, await create_eval(client, SCORE), qa("a", "a", score="7"))
        [item] = await items_of(client, run)
        page = await owner.open(url_of(run, "items", item["id"]))
        assert "judge passes score 7 (Score by a model: passes when echo gives it 5 or more, of 0 to 10)" in text_of(
            page
        )
        assert f"/exchanges/{item['results'][0]['sample']['exchange_id']}" in page
        assert "In its own words" in page

    async def test_an_error_is_no_verdict(self, owner: Browser, client: Client) -> None:
        run = await done(client, await create_eval(client), {"question": "a"})
        [item] = await items_of(client, run)
        text = text_of(await owner.open(url_of(run, "items", item["id"])))
        assert "same could not grade" in text
        assert "same fails" not in text

    async def test_one_without_an_answer_says_why(self, owner: Browser, client: Client) -> None:
        source = asking(qa("a", "a"), model="status-400")
        run = await ended(client, await create_run(client, (await create_eval(client))["id"], source))
        [item] = await items_of(client, run)
        text = text_of(await owner.open(url_of(run, "items", item["id"])))
        assert f"There is no answer. {item['sample']['error']['message']}" in text

    async def test_one_whose_answer_was_erased(self, owner: Browser, client: Client, database: Database) -> None:
        run = await answered(client, await create_eval(client), "yes")
        [item] = await items_of(client, run)
        async with database.session() as session:
            await session.execute(
                update(EvalOutputItemRow)
                .where(EvalOutputItemRow.id == item["id"])
                .values(item={"completion_id": "chatcmpl-1"}, sample=null(), results=[])
            )
        assert (await items_of(client, run))[0]["sample"] == {}
        for url in (url_of(run), url_of(run, "items", item["id"])):
            assert "The answer was erased." in text_of(await owner.open(url))

    async def test_one_leads_to_the_next_of_its_kind_and_to_its_repeats(self, owner: Browser, client: Client) -> None:
        run = await answered(client, await create_eval(client), "no", "yes", "never", repeats=2)
        items = await items_of(client, run, status="fail")
        page = await owner.open(url_of(run, "items", items[1]["id"]) + "?status=fail")
        assert re.findall(r'rel="next" href="[^"]*(outputitem_\w+)\?status=fail"', page) == [items[2]["id"]]
        assert re.findall(r'rel="prev" href="[^"]*(outputitem_\w+)\?status=fail"', page) == [items[0]["id"]]
        assert "Other answers to it Answer 1 fails" in text_of(page)


class TestExport:
    async def test_as_a_spreadsheet(self, owner: Browser, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("admin.console.pages.eval_run_export.AT_A_TIME", 2)
        run = await answered(client, await create_eval(client, SAME, ALIKE), "yes", "=1+1", "no")
        answer = await owner.client.get(url_of(run, "export") + "?format=csv")
        assert "attachment" in answer.headers["content-disposition"]
        rows = list(csv.DictReader(io.StringIO(answer.text)))
        assert [(each["item"], each["answer"], each["same"], each["same (score)"]) for each in rows] == [
            ("1", "yes", "pass", "1.0"), ("2", "'=1+1", "fail", "0.0"), ("3", "no", "fail", "0.0"),
        ]  # fmt: skip
        assert {each["reference"] for each in rows} == {"yes"}

    async def test_an_error_is_an_empty_cell(self, owner: Browser, client: Client) -> None:
        run = await done(client, await create_eval(client), {"question": "a"})
        [row] = csv.DictReader(io.StringIO((await owner.client.get(url_of(run, "export"))).text))
        assert (row["same"], row["same (score)"], row["status"]) == ("", "", "error")
        assert row["errors"]

    async def test_as_json_of_one_status(self, owner: Browser, client: Client) -> None:
        run = await answered(client, await create_eval(client), "yes", "no")
        found = (await owner.client.get(url_of(run, "export") + "?format=json&status=fail")).json()
        assert found == await items_of(client, run, status="fail")
