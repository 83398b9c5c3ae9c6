"""What graders say in runs of evals is kept as judgments, and what was erased is not."""

from typing import Any

import httpx
import pytest
from sqlalchemy import func, select, update

from gateway.app import App
from gateway.db.database import Database
from gateway.db.tables import EvalOutputItemRow, ExchangeRow, JudgmentRow
from gateway.evals import claims
from gateway.exchanges import deletions, erasure
from gateway.services import Services
from gateway.settings import Settings
from gateway.tasks import finish_eval_items
from tests.conftest import chat
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
    eval_worker,
    inline,
    items_of,
    qa,
)
from tests.polling import until

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_processes")]

Client = httpx.AsyncClient
SECRET = "zebra"
LOGS = {"type": "logs"}
ABOUT_SAMPLE = SCORE | {
    "input": [
        {"role": "user", "content": "{{ sample.output_text }}"},
        {"role": "user", "content": "Score: 5"},
    ]
}
"""Shows the grader what was answered; the fake upstream answers with the last message."""
STORED = {"type": "completions", "source": {"type": "stored_completions"}}
ANEW = STORED | {"model": "echo", "input_messages": {"type": "item_reference", "item_reference": "item.input"}}


async def judgments_of(client: Client, run: dict[str, Any]) -> list[dict[str, Any]]:
    """In the order in which they were written."""
    answer = await client.get("/v1/judgments", params={"eval_run": run["id"], "limit": 100})
    return answer.json()["data"][::-1]


@pytest.fixture
async def stored(client: Client, sv: Services) -> list[str]:
    """Two stored completions of one end user, in the log: their exchanges."""
    ids: list[str] = []
    for number in range(2):
        asked = chat("echo", store=True, user="ann")
        asked["messages"] = [{"role": "user", "content": f"{SECRET} {number}"}]
        ids.append((await client.post("/v1/chat/completions", json=asked)).headers["x-request-id"])
    await sv.drain.drain()
    return ids


async def run_over_stored(client: Client, *criteria: Any, source: Any = STORED, **more: Any) -> dict[str, Any]:
    of = await create_eval(client, *(criteria or (ABOUT_SAMPLE,)), data_source_config=LOGS)
    return await create_run(client, of["id"], source, **more)


async def bodies(sv: Services, database: Database) -> dict[str, str]:
    """By exchange, whatever the log has of it."""
    await sv.drain.drain()
    async with database.session() as session:
        rows = await session.execute(select(ExchangeRow.id, ExchangeRow.request, ExchangeRow.reply))
        return {id: f"{request!r} {reply!r}" for id, request, reply in rows}


class TestJudgments:
    async def test_each_grader_has_a_criterion_of_its_kind(self, client: Client, worker: Straight) -> None:
        of = await create_eval(client, SAME, ALIKE, SCORE | {"pass_threshold": 7}, LABEL)
        run = await ended(
            client, await create_run(client, of["id"], asking(qa("a b", "a c", score="6.5", tone="rude")))
        )
        [item] = await items_of(client, run)
        same, alike, score, tone = await judgments_of(client, run)
        for each in (same, alike, score, tone):
            assert (each["exchange_id"], each["output_item_id"]) == (item["exchange_id"], item["id"])
            assert (each["status"], each["judge_version_id"], each["sampling"]) == ("ok", None, None)
        said = ("source", "kind", "value", "label", "score", "passed")
        assert [tuple(each[name] for name in said) for each in (same, alike, score, tone)] == [
            ("rule", "boolean", False, None, 0.0, False),
            ("rule", "numeric", 0.5, None, 0.5, True),
            ("llm", "numeric", 6.5, None, 0.65, False),
            ("llm", "categorical", "rude", "rude", 0.0, False),
        ]
        numeric = (await client.get(f"/v1/criteria/{score['criterion_id']}")).json()
        assert (numeric["lowest"], numeric["highest"], numeric["pass_score"]) == (0, 10, 0.7)
        assert numeric["name"].startswith("eval.judge.")
        listed = (await client.get(f"/v1/criteria/{tone['criterion_id']}")).json()
        assert (listed["labels"], listed["passing_labels"]) == (["polite", "rude"], ["polite"])

    async def test_a_model_that_graded_has_its_cost_and_its_call(
        self, client: Client, worker: Straight, sv: Services, database: Database
    ) -> None:
        of = await create_eval(client, SAME, SCORE)
        run = await ended(client, await create_run(client, of["id"], asking(qa("a", "a", score="5"))))
        same, score = await judgments_of(client, run)
        await sv.drain.drain()
        async with database.session() as session:
            call = await session.get_one(ExchangeRow, score["judge_exchange_id"])
        assert b"Score: 5" in call.request
        assert score["cost_nano"] == call.cost_nano != 0
        assert score["latency_ms"] == 1.0
        assert (same["judge_exchange_id"], same["cost_nano"], same["latency_ms"]) == (None, None, None)

    async def test_what_could_not_be_graded_is_an_error_without_a_score(self, client: Client, worker: Straight) -> None:
        of = await create_eval(client, SCORE, SAME | {"reference": "{{ item.absent }}"})
        run = await ended(client, await create_run(client, of["id"], asking(qa("a", "a", score="7/10"))))
        unread, unknown = await judgments_of(client, run)
        for each, code in ((unread, "model_grader_parse_error"), (unknown, "invalid_variable_error")):
            assert (each["status"], each["error_code"]) == ("error", code)
            assert (each["score"], each["passed"], each["value"], each["label"]) == (None, None, None, None)
        assert unread["judge_exchange_id"] is not None
        assert unknown["judge_exchange_id"] is None

    async def test_an_answer_that_was_not_had_is_an_error_of_every_grader(
        self, client: Client, worker: Straight
    ) -> None:
        of = await create_eval(client, SAME, SCORE)
        run = await ended(client, await create_run(client, of["id"], asking(qa("a", "a"), model="status-400")))
        [item] = await items_of(client, run)
        found = await judgments_of(client, run)
        assert [(each["status"], each["error_code"]) for each in found] == [("error", "sample_error")] * 2
        assert {each["exchange_id"] for each in found} == {item["exchange_id"]} != {None}

    async def test_of_answers_that_came_with_the_data_there_are_none(self, client: Client, worker: Straight) -> None:
        source = {"type": "jsonl", "source": inline(qa("?", "yes"), samples=[{"output_text": "yes"}])}
        run = await ended(client, await create_run(client, (await create_eval(client))["id"], source))
        assert run["result_counts"]["passed"] == 1
        assert await judgments_of(client, run) == []

    async def test_of_stored_completions_are_about_them_and_of_each_run_and_repeat(
        self, client: Client, worker: Straight, stored: list[str]
    ) -> None:
        first = await ended(client, await run_over_stored(client, repeats=2))
        second = await ended(client, await create_run(client, first["eval_id"], STORED))
        assert sorted(each["exchange_id"] for each in await judgments_of(client, second)) == sorted(stored)
        of_first = await judgments_of(client, first)
        assert sorted(each["exchange_id"] for each in of_first) == sorted(stored * 2)
        assert {each["criterion_id"] for each in await judgments_of(client, second)} == {
            each["criterion_id"] for each in of_first
        }
        assert all(each["superseded_at"] is None for each in of_first)

    async def test_are_counted_in_a_summary_of_the_run_alone(
        self, client: Client, worker: Straight, stored: list[str]
    ) -> None:
        run = await ended(client, await run_over_stored(client))
        summary = (await client.get("/v1/judgments/summary", params={"eval_run": run["id"]})).json()["data"]
        assert [(each["source"], each["judgments"], each["mean_score"]) for each in summary] == [("llm", 2, 0.5)]
        assert (await client.get("/v1/judgments/summary")).json()["data"] == []

    async def test_stand_in_the_lineage_between_the_run_and_the_answer(
        self, client: Client, worker: Straight, stored: list[str]
    ) -> None:
        run = await ended(client, await run_over_stored(client))
        judged = next(each for each in await judgments_of(client, run) if each["exchange_id"] == stored[0])
        for id, expected in (
            (run["id"], (run["id"], judged["id"], "judged_in")),
            (stored[0], (stored[0], judged["id"], "judged")),
        ):
            edges = (await client.get(f"/v1/lineage/{id}")).json()["edges"]
            assert expected in [(each["from"], each["to"], each["type"]) for each in edges]

    async def test_are_written_with_the_item_or_not_at_all(
        self,
        client: Client,
        app: App,
        settings: Settings,
        project_key: dict[str, Any],
        database: Database,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """As if the worker died between the two."""
        run = await create_run(client, (await create_eval(client))["id"], asking(qa("a", "a")))
        add = finish_eval_items.judgments.add

        async def killed(*arguments: Any) -> list[str]:
            await add(*arguments)
            raise RuntimeError("killed")

        monkeypatch.setattr(finish_eval_items.judgments, "add", killed)
        async with eval_worker(settings, app, project_key["value"]) as (_, _, runs):
            await runs.begin()
            await ended(client, run)
        async with database.session() as session:
            assert await session.scalar(select(EvalOutputItemRow.status)) == "queued"
            assert await session.scalar(select(func.count()).select_from(JudgmentRow)) == 0

    async def test_none_of_an_item_that_was_finished_by_another(
        self,
        client: Client,
        worker: Straight,
        database: Database,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """Another worker had the run meanwhile, and got as far."""
        finish = claims.finish_item

        async def late(session: Any, item: Any, *arguments: Any, **values: Any) -> bool:
            await session.execute(update(EvalOutputItemRow).values(status="pass"))
            return await finish(session, item, *arguments, **values)

        monkeypatch.setattr(finish_eval_items.claims, "finish_item", late)
        await create_run(client, (await create_eval(client))["id"], asking(qa("a", "a")))
        await until(lambda: len(worker.asked) >= 2)
        async with database.session() as session:
            assert await session.scalar(select(func.count()).select_from(JudgmentRow)) == 0


class TestDeletion:
    async def test_of_a_run_leaves_its_judgments_which_have_no_words(self, client: Client, worker: Straight) -> None:
        of = await create_eval(client, SAME, SCORE)
        run = await ended(client, await create_run(client, of["id"], asking(qa("a", "a", score="5"))))
        before = await judgments_of(client, run)
        await client.delete(f"/v1/evals/{of['id']}/runs/{run['id']}")
        assert await judgments_of(client, run) == before
        assert all(each["rationale"] is None for each in before)

    async def test_of_an_eval_puts_its_criteria_away(self, client: Client, worker: Straight) -> None:
        of = await create_eval(client, SAME)
        run = await ended(client, await create_run(client, of["id"], asking(qa("a", "a"))))
        [judgment] = await judgments_of(client, run)
        assert judgment["criterion"] in [each["name"] for each in (await client.get("/v1/criteria")).json()["data"]]
        await client.delete(f"/v1/evals/{of['id']}")
        assert judgment["criterion"] not in [each["name"] for each in (await client.get("/v1/criteria")).json()["data"]]
        assert await judgments_of(client, run) == [judgment]


class TestErasure:
    async def test_of_a_stored_completion_takes_what_graders_were_asked(
        self, client: Client, worker: Straight, stored: list[str], sv: Services, database: Database
    ) -> None:
        run = await ended(client, await run_over_stored(client))
        log = await bodies(sv, database)
        assert len([body for body in log.values() if f"{SECRET} 0" in body]) == 2
        await client.delete(f"/v1/exchanges/{stored[0]}")
        assert f"{SECRET} 0" not in str(await bodies(sv, database))
        assert f"{SECRET} 1" in str(await bodies(sv, database))
        kept = {each["exchange_id"]: each["score"] for each in await judgments_of(client, run)}
        assert kept == {stored[0]: 0.5, stored[1]: 0.5}

    async def test_takes_what_graders_were_asked_of_an_answer_made_anew(
        self, client: Client, worker: Straight, stored: list[str], sv: Services, database: Database
    ) -> None:
        await ended(client, await run_over_stored(client, source=ANEW))
        log = await bodies(sv, database)
        assert len([body for body in log.values() if f"{SECRET} 0" in body]) == 3
        await client.delete(f"/v1/exchanges/{stored[0]}")
        assert f"{SECRET} 0" not in str(await bodies(sv, database))
        assert f"{SECRET} 1" in str(await bodies(sv, database))

    async def test_takes_calls_that_were_refused(
        self, client: Client, worker: Straight, stored: list[str], sv: Services, database: Database
    ) -> None:
        await ended(client, await run_over_stored(client, ABOUT_SAMPLE | {"model": "no-schema"}))
        log = await bodies(sv, database)
        assert len([body for body in log.values() if f"{SECRET} 0" in body]) == 3
        await client.delete(f"/v1/exchanges/{stored[0]}")
        assert f"{SECRET} 0" not in str(await bodies(sv, database))

    async def test_of_the_runs_own_call_empties_the_item(
        self, client: Client, worker: Straight, sv: Services, database: Database
    ) -> None:
        of = await create_eval(client, ABOUT_SAMPLE)
        run = await ended(client, await create_run(client, of["id"], asking(qa(SECRET, ""), qa("other", ""))))
        await sv.drain.drain()
        first, second = await items_of(client, run)
        await client.delete(f"/v1/exchanges/{first['exchange_id']}")
        assert SECRET not in str(await bodies(sv, database))
        emptied, kept = await items_of(client, run)
        assert (emptied["sample"], emptied["results"]) == ({}, [])
        assert kept == second

    @pytest.mark.parametrize("source", [STORED, ANEW], ids=["as it is", "anew"])
    @pytest.mark.parametrize("of_user", [False, True], ids=["one", "all of a user"])
    async def test_while_a_grader_is_at_it_takes_its_call_and_the_verdict(
        self,
        client: Client,
        worker: Straight,
        stored: list[str],
        sv: Services,
        database: Database,
        source: Any,
        of_user: bool,
    ) -> None:
        worker.holds(lambda body: "Score: 5" in str(body))
        run = await run_over_stored(client, source=source)
        await until(lambda: worker.under_way == 2)
        urls = ["/v1/exchanges?user=ann"] if of_user else [f"/v1/exchanges/{id}" for id in stored]
        assert [(await client.delete(url)).status_code for url in urls] == [200] * len(urls)
        worker.gate.set()
        run = await ended(client, run)
        assert SECRET not in str(await bodies(sv, database))
        assert await judgments_of(client, run) == []
        assert run["result_counts"]["errored"] == 2
        items = await items_of(client, run)
        assert SECRET not in str(items)
        assert {item["sample"]["error"]["code"] for item in items} == {"erased"}

    async def test_of_all_of_a_user_holds_from_its_announcement(
        self, client: Client, worker: Straight, stored: list[str], database: Database, project_key: dict[str, Any]
    ) -> None:
        """One exchange after the other follows; whoever writes between them knows already."""
        worker.holds(lambda body: "Score: 5" in str(body))
        run = await run_over_stored(client)
        await until(lambda: worker.under_way == 2)
        async with database.session() as session:
            user = await session.scalar(select(ExchangeRow.end_user).where(ExchangeRow.id == stored[0]))
            await erasure.announce(session, project_key["project_id"], [f"{deletions.USER}{user}"], "key_1")
        worker.gate.set()
        assert (await ended(client, run))["result_counts"]["errored"] == 2

    async def test_between_reading_and_writing_leaves_an_empty_item(
        self,
        client: Client,
        worker: Straight,
        stored: list[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        extend = claims.extend
        erased: list[httpx.Response] = []

        async def erase_first(*arguments: Any) -> bool:
            if not erased:
                erased.append(await client.delete(f"/v1/exchanges/{stored[0]}"))
            return await extend(*arguments)

        monkeypatch.setattr("gateway.tasks.eval_sources.claims.extend", erase_first)
        run = await ended(client, await run_over_stored(client))
        assert f"{SECRET} 0" not in str([worker.asked, await items_of(client, run)])
        assert f"{SECRET} 1" in str(worker.asked)
        assert run["result_counts"] == {"total": 2, "errored": 1, "failed": 0, "passed": 1}
