"""Runs of an eval beside each other in the browser: which is better, how sure that is, and what changed."""

import csv
import io
import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from admin.console.api import Api
from gateway.app import App
from gateway.settings import Settings
from tests.admin.console.browsers import Browser, text_of
from tests.admin.console.pages.eval_runs import answered, worker_of
from tests.fakes.evals import (
    ALIKE,
    SAME,
    Straight,
    asking,
    create_eval,
    create_run,
    ended,
    inline,
    items_of,
    qa,
)

pytestmark = pytest.mark.anyio

Client = httpx.AsyncClient
RIGHT, WRONG = "yes", "no"


@pytest.fixture(autouse=True)
async def worker(settings: Settings, app: App, project_key: dict[str, Any]) -> AsyncIterator[Straight]:
    async with worker_of(settings, app, project_key) as straight:
        yield straight


@pytest.fixture
def home(project_id: str) -> str:
    return f"/console/projects/{project_id}"


def url_of(home: str, base: dict[str, Any], *others: dict[str, Any], **query: str) -> str:
    wanted = httpx.QueryParams([("base", base["id"]), *(("with", each["id"]) for each in others), *query.items()])
    return f"{home}/evals/{base['eval_id']}/compare?{wanted}"


class TestVerdict:
    async def test_better(self, owner: Browser, client: Client, home: str) -> None:
        of = await create_eval(client)
        base = await answered(client, of, *[WRONG] * 8, RIGHT, RIGHT)
        run = await answered(client, of, *[RIGHT] * 10, name="tuned")
        page = text_of(await owner.open(url_of(home, base, run)))
        assert "Better than the baseline." in page
        assert "Answers that pass: 20.0% of the baseline, 100.0% of this run, +80.0 points , 95% interval +" in page
        assert "10 items that both answered" in page
        assert "p 0.008, by McNemar\u2019s test" in page
        assert "Win rate 90.0%: 8 won, 0 lost, 2 tied" in page
        assert "How many items it takes" not in page

    async def test_worse(self, owner: Browser, client: Client, home: str) -> None:
        of = await create_eval(client)
        base, run = await answered(client, of, *[RIGHT] * 8), await answered(client, of, *[WRONG] * 8)
        assert "Worse than the baseline." in text_of(await owner.open(url_of(home, base, run)))

    async def test_where_nothing_is_sure_it_says_how_many_items_it_takes(
        self, owner: Browser, client: Client, home: str
    ) -> None:
        of = await create_eval(client)
        base, run = await answered(client, of, RIGHT, WRONG, RIGHT), await answered(client, of, RIGHT, RIGHT, RIGHT)
        page = text_of(await owner.open(url_of(home, base, run)))
        assert "No difference that is sure." in page
        assert "How many items it takes." in page
        assert "Better than the baseline." not in page

    async def test_of_several_each_against_the_baseline(self, owner: Browser, client: Client, home: str) -> None:
        of = await create_eval(client)
        base = await answered(client, of, *[WRONG] * 4, *[RIGHT] * 4)
        good, bad = await answered(client, of, *[RIGHT] * 8), await answered(client, of, *[WRONG] * 8)
        page = text_of(await owner.open(url_of(home, base, good, bad)))
        assert page.count("of the baseline,") == 2
        assert "The more runs one tries" in page

    async def test_other_differences_are_corrected(self, owner: Browser, client: Client, home: str) -> None:
        of = await create_eval(client, SAME, ALIKE)
        base, run = await answered(client, of, *[WRONG] * 9, RIGHT), await answered(client, of, *[RIGHT] * 10)
        page = text_of(await owner.open(url_of(home, base, run)))
        assert re.search(r"Exact match better 10\.0% 100\.0% \+90\.0 points", page)
        assert re.search(r"Length ratio no difference that is sure 1\.000 1\.000 \+0\.000", page)
        assert "corrected after Holm" in page

    async def test_figures_stand_side_by_side(self, owner: Browser, client: Client, home: str) -> None:
        of = await create_eval(client, ALIKE)
        items = [qa("a b", "a b"), qa("c d", "c x")]
        runs = [await ended(client, await create_run(client, of["id"], asking(*items))) for _ in range(2)]
        page = text_of(await owner.open(url_of(home, runs[0], runs[1])))
        assert re.search(r"Quality score \d+ ready to deploy \d+ ready to deploy", page)
        assert "Latency, median 1 ms n = 2 1 ms n = 2" in page
        cost = sum(each["cost_usd"] for each in runs[0]["per_model_usage"])
        assert cost > 0
        assert re.search(r"Cost (\$0\.0\d+) \1", page)


class TestWhatCannotBeCompared:
    async def test_one_that_has_not_completed(
        self, owner: Browser, client: Client, home: str, worker: Straight
    ) -> None:
        of = await create_eval(client)
        base = await answered(client, of, RIGHT)
        worker.holds(lambda _: True)
        run = await create_run(client, of["id"], asking(qa("a", "a")))
        page = text_of(await owner.open(url_of(home, base, run)))
        assert re.search(r"This run (waits for a worker|is still running); runs are compared when", page)
        await client.post(f"/v1/evals/{of['id']}/runs/{run['id']}/cancel")
        assert "This run was canceled;" in text_of(await owner.open(url_of(home, base, run)))
        assert "The baseline was canceled;" in text_of(await owner.open(url_of(home, run, base)))

    async def test_runs_on_different_data(self, owner: Browser, client: Client, home: str) -> None:
        of = await create_eval(client)
        base = await answered(client, of, RIGHT)
        source = {"type": "jsonl", "source": inline(qa("other?", "yes"), samples=[{"output_text": "yes"}])}
        run = await ended(client, await create_run(client, of["id"], source))
        page = text_of(await owner.open(url_of(home, base, run)))
        assert "they ran on different data" in page
        assert "Answer by answer" not in page

    @pytest.mark.parametrize(
        ("beside", "message"), [(0, "other than the baseline itself"), (5, "Up to 4 runs are compared")]
    )
    async def test_a_choice_that_is_none(
        self, owner: Browser, client: Client, home: str, beside: int, message: str
    ) -> None:
        base = await answered(client, await create_eval(client), RIGHT)
        others = [{"id": f"evalrun_{number}"} for number in range(beside)]
        assert message in text_of(await owner.open(url_of(home, base, base, *others), 400))

    async def test_a_run_that_is_not_there(self, owner: Browser, client: Client, home: str) -> None:
        base = await answered(client, await create_eval(client), RIGHT)
        await owner.open(url_of(home, base, {"id": "evalrun_none"}), 404)

    async def test_without_a_choice_it_asks_for_one(self, owner: Browser, client: Client, home: str) -> None:
        of = await create_eval(client)
        first = await answered(client, of, RIGHT)
        page = await owner.open(f"{home}/evals/{of['id']}/compare")
        assert "This eval has one." in text_of(page)
        second = await answered(client, of, RIGHT)
        page = await owner.open(f"{home}/evals/{of['id']}/compare")
        assert re.findall(r'value="(evalrun_\w+)" selected', page) == [first["id"]]
        assert re.findall(r'value="(evalrun_\w+)" checked', page) == [second["id"]]

    async def test_runs_that_are_chosen_are_offered_however_old(
        self, owner: Browser, client: Client, home: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("admin.console.pages.eval_comparison.RUNS", 2)
        of = await create_eval(client)
        runs = [await answered(client, of, RIGHT) for _ in range(4)]
        page = await owner.open(url_of(home, runs[0], runs[1], choose="true"))
        assert re.findall(r'value="(evalrun_\w+)" selected', page) == [runs[0]["id"]]
        assert re.findall(r'value="(evalrun_\w+)" checked', page) == [runs[1]["id"]]
        page = await owner.open(url_of(home, {"id": "evalrun_none", "eval_id": of["id"]}, runs[1], choose="true"))
        assert '<option value="" selected>Choose</option>' in page


class TestAnswerByAnswer:
    async def test_what_got_worse_comes_first(self, owner: Browser, client: Client, home: str) -> None:
        of = await create_eval(client)
        base = await answered(client, of, WRONG, RIGHT, RIGHT)
        run = await answered(client, of, RIGHT, "surely not", RIGHT)
        page = await owner.open(url_of(home, base, run))
        assert re.findall(r"Item (\d) <span class=\"badge (\w+)\">", page) == [("2", "bad"), ("1", "good")]
        assert "<del>yes</del><ins>surely not</ins>" in page
        assert "Got worse (1)" in text_of(page)
        assert "Reference yes" in text_of(page)

    async def test_filters(self, owner: Browser, client: Client, home: str) -> None:
        of = await create_eval(client)
        base, run = await answered(client, of, WRONG, RIGHT, RIGHT), await answered(client, of, RIGHT, WRONG, RIGHT)
        shown = {
            show: re.findall(r'id="item-(\d)"', await owner.open(url_of(home, base, run, show=show)))
            for show in ("pass_to_fail", "fail_to_pass", "all", "nonsense")
        }
        assert shown == {"pass_to_fail": ["2"], "fail_to_pass": ["1"], "all": ["1", "2", "3"], "nonsense": ["2", "1"]}

    async def test_are_of_the_run_that_is_chosen(self, owner: Browser, client: Client, home: str) -> None:
        of = await create_eval(client)
        base = await answered(client, of, RIGHT, RIGHT)
        first, second = await answered(client, of, "one", RIGHT), await answered(client, of, RIGHT, "two")
        page = await owner.open(url_of(home, base, first, second, of=second["id"]))
        assert re.findall(r'id="item-(\d)"', page) == ["2"]

    async def test_lead_to_both_answers_and_their_exchanges(self, owner: Browser, client: Client, home: str) -> None:
        of = await create_eval(client)
        base = await answered(client, of, WRONG)
        # another question would be another item
        run = await ended(client, await create_run(client, of["id"], asking(qa("Is it 0?", "yes"))))
        page = await owner.open(url_of(home, base, run, show="all"))
        [theirs], [ours] = await items_of(client, base), await items_of(client, run)
        for each in (theirs, ours):
            assert f"/runs/{each['run_id']}/items/{each['id']}" in page
        assert f"/exchanges/{ours['exchange_id']}" in page

    async def test_are_paged(self, owner: Browser, client: Client, home: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("admin.console.pages.eval_comparison.PAGE", 2)
        of = await create_eval(client)
        base, run = await answered(client, of, *[RIGHT] * 3), await answered(client, of, *[WRONG] * 3)
        first = await owner.open(url_of(home, base, run))
        assert re.findall(r'id="item-(\d)"', first) == ["1", "2"]
        assert "2 of 3 items on this page, what got worse first." in text_of(first)
        [following] = re.findall(r'rel="next" href="([^"]+)"', first)
        second = await owner.open(following.replace("&amp;", "&"))
        assert re.findall(r'id="item-(\d)"', second) == ["3"]

    async def test_the_number_of_calls_does_not_follow_the_number_of_items(
        self, owner: Browser, client: Client, home: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        of = await create_eval(client)
        pairs = [
            (await answered(client, of, *[RIGHT] * count), await answered(client, of, *[WRONG] * count))
            for count in (8, 20)
        ]
        send, asked = Api.send, list[str]()

        async def counted(self: Api, method: str, path: str, **more: Any) -> Any:
            asked.append(path)
            return await send(self, method, path, **more)

        monkeypatch.setattr(Api, "send", counted)
        counts: list[int] = []
        for base, run in pairs:
            asked.clear()
            await owner.open(url_of(home, base, run))
            counts.append(len(asked))
        assert counts[0] == counts[1]


class TestExport:
    async def test_every_figure_as_a_spreadsheet(self, owner: Browser, client: Client, home: str) -> None:
        of = await create_eval(client)
        base, run = await answered(client, of, WRONG, RIGHT), await answered(client, of, RIGHT, RIGHT, name="=1+1")
        url = url_of(home, base, run).replace("/compare?", "/compare/export?")
        rows = list(csv.DictReader(io.StringIO((await owner.client.get(f"{url}&format=csv")).text)))
        assert [each["figure"] for each in rows if each["decides"] == "true"] == ["pass_rate"]
        first = rows[0]
        assert (first["base"], first["run"], first["difference"], first["n"]) == ("0.5", "1.0", "0.5", "2")
        assert (first["name"], first["test"], first["fail_to_pass"]) == ("'=1+1", "mcnemar", "1")

    async def test_all_of_it_as_json(self, owner: Browser, client: Client, home: str) -> None:
        of = await create_eval(client)
        base, run = await answered(client, of, WRONG, RIGHT), await answered(client, of, RIGHT, RIGHT)
        url = url_of(home, base, run).replace("/compare?", "/compare/export?")
        found = (await owner.client.get(f"{url}&format=json")).json()
        assert (found["base"]["id"], found["compared"][0]["id"]) == (base["id"], run["id"])
        assert found["compared"][0]["comparison"]["fail_to_pass"] == 1
        assert "data_source" not in found["base"]
