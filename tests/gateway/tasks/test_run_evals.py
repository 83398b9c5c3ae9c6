"""Runs of evals from their beginning to their metrics."""

import json
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select

from gateway.app import App
from gateway.db.database import Database
from gateway.db.tables import EvalOutputItemRow, EvalRunRow
from gateway.settings import Settings
from tests.contract import conforms
from tests.fakes.evals import (
    ALIKE,
    SAME,
    Straight,
    asking,
    create_eval,
    create_run,
    ended,
    eval_worker,
    qa,
    retrieve,
    working,
)
from tests.polling import until

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_processes")]

Client = httpx.AsyncClient


class TestManyAtOnce:
    async def test_calls_are_bounded_over_all_runs(self, client: Client, worker: Straight) -> None:
        of = await create_eval(client)
        worker.gate.clear()
        runs = [await create_run(client, of["id"], asking(*(qa("a", "a") for _ in range(6)))) for _ in range(2)]
        await until(lambda: worker.under_way == 3)
        worker.gate.set()
        for run in runs:
            assert (await ended(client, run))["result_counts"]["passed"] == 6
        assert worker.most == 3

    async def test_a_run_shows_how_far_it_is(
        self, client: Client, app: App, settings: Settings, project_key: dict[str, Any]
    ) -> None:
        run = await create_run(client, (await create_eval(client))["id"], asking(*(qa("a", "a") for _ in range(5))))
        async with working(settings, app, project_key) as worker:
            plain = worker.chat

            async def two(*arguments: Any) -> Any:
                if len(worker.asked) == 2:
                    worker.gate.clear()
                return await plain(*arguments)

            worker.chat = two  # type: ignore[method-assign]
            await until(lambda: worker.under_way == 3)

            async def two_done() -> bool:
                return (await retrieve(client, run))["result_counts"]["passed"] == 2

            await until(two_done)
            found = await retrieve(client, run)
            assert (found["status"], found["result_counts"]["total"], found["metrics"]) == ("in_progress", 5, None)
            assert found["per_model_usage"][0]["invocation_count"] == 2
            conforms("EvalRun", found)
            worker.gate.set()
            assert (await ended(client, run))["result_counts"]["passed"] == 5

    async def test_projects_take_turns(
        self,
        client: Client,
        stranger: Client,
        app: App,
        settings: Settings,
        project_key: dict[str, Any],
        database: Database,
    ) -> None:
        ids = [
            (await create_run(client, (await create_eval(client))["id"], asking(qa("a", "a"))))["id"] for _ in range(5)
        ]
        theirs = (await create_run(stranger, (await create_eval(stranger))["id"], asking(qa("a", "a"))))["id"]
        async with eval_worker(settings, app, project_key["value"]) as (_, straight, runs):
            straight.gate.clear()
            await runs.begin()
            async with database.session() as session:
                query = select(EvalRunRow.id).where(EvalRunRow.status == "in_progress")
                begun = set(await session.scalars(query))
            assert begun == {*ids[:3], theirs}


class TestCancel:
    @pytest.mark.parametrize("path", ["", "/cancel"])
    async def test_ends_soon_and_keeps_what_was_done(self, client: Client, worker: Straight, path: str) -> None:
        run = await create_run(client, (await create_eval(client))["id"], asking(*(qa("a", "a") for _ in range(10))))
        worker.gate.clear()
        await until(lambda: worker.under_way == 3)
        answer = await client.post(f"/v1/evals/{run['eval_id']}/runs/{run['id']}{path}")
        assert (answer.status_code, answer.json()["status"]) == (200, "canceled")
        conforms("EvalRun", answer.json())
        await until(lambda: worker.under_way == 0)
        asked = len(worker.asked)
        worker.gate.set()
        other = await ended(client, await create_run(client, run["eval_id"], asking(qa("b", "b"))))
        assert other["status"] == "completed"
        assert len(worker.asked) == asked + 1
        assert (await retrieve(client, run))["status"] == "canceled"

    async def test_of_a_run_that_has_ended_changes_nothing(self, client: Client, worker: Straight) -> None:
        run = await ended(client, await create_run(client, (await create_eval(client))["id"], asking(qa("a", "a"))))
        again = await client.post(f"/v1/evals/{run['eval_id']}/runs/{run['id']}/cancel")
        assert again.json() == run

    async def test_a_deleted_run_ends_too_and_leaves_nothing(
        self, client: Client, worker: Straight, database: Database
    ) -> None:
        run = await create_run(client, (await create_eval(client))["id"], asking(*(qa("a", "a") for _ in range(10))))
        worker.gate.clear()
        await until(lambda: worker.under_way == 3)
        await client.delete(f"/v1/evals/{run['eval_id']}/runs/{run['id']}")
        await until(lambda: worker.under_way == 0)
        async with database.session() as session:
            assert await session.scalar(select(func.count()).select_from(EvalOutputItemRow)) == 0


class TestMetrics:
    async def test_of_answers_beside_their_references(self, client: Client, worker: Straight) -> None:
        of = await create_eval(client, ALIKE)
        items = (qa("the cat sat on the mat", "the cat is on the mat"), qa("same", "same"))
        metrics = (await ended(client, await create_run(client, of["id"], asking(*items))))["metrics"]
        assert metrics["rouge_l"]["value"] == pytest.approx((5 / 6 + 1) / 2)
        assert metrics["token_f1"]["value"] == pytest.approx((0.75 + 1) / 2)
        assert metrics["exact_match"]["value"] == 0.5
        assert metrics["length_ratio"]["median"] == 1.0
        assert metrics["quality"]["verdict"] == "ready"
        assert metrics["bleu"]["n"] == 2

    async def test_a_reference_and_clusters_that_the_eval_names(self, client: Client, worker: Straight) -> None:
        named = {"reference": "{{ item.right }}", "cluster": "{{ item.thread }}", "primary": "same"}
        of = await create_eval(client, SAME, metrics=named)
        assert of["metrics"] == named
        items = [qa("a", "a", right="b", thread=str(n // 2)) for n in range(4)]
        metrics = (await ended(client, await create_run(client, of["id"], asking(*items))))["metrics"]
        assert (metrics["exact_match"]["value"], metrics["exact_match"]["clusters"]) == (0.0, 2)
        assert metrics["primary"] == "same"

    async def test_a_perplexity_where_log_probabilities_are_there(self, client: Client, worker: Straight) -> None:
        of = await create_eval(client, metrics={"log_probabilities": True})
        plain = worker.chat

        async def with_log_probabilities(*arguments: Any) -> Any:
            asked = await plain(*arguments)
            body = json.loads(asked.body)
            tokens = [
                {"token": "x", "logprob": value}
                for value in (-0.6931471805599453, -1.3862943611198906, -2.0794415416798357)
            ]
            body["choices"][0]["logprobs"] = {"content": tokens}
            return type(asked)(json.dumps(body).encode(), asked.exchange_id, None, 1.0)

        worker.chat = with_log_probabilities  # type: ignore[method-assign]
        run = await ended(client, await create_run(client, of["id"], asking(qa("a", "a"), qa("b", "b"))))
        assert worker.asked[0]["logprobs"] is True
        assert run["metrics"]["perplexity"]["value"] == pytest.approx(4.0)
        assert run["metrics"]["perplexity"]["tokens"] == 6

    async def test_none_is_asked_for_otherwise(self, client: Client, worker: Straight) -> None:
        run = await ended(client, await create_run(client, (await create_eval(client))["id"], asking(qa("a", "a"))))
        assert "logprobs" not in worker.asked[0]
        assert run["metrics"]["perplexity"] is None
