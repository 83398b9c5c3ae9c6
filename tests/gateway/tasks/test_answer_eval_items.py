"""Items of runs of evals: answered by a model, graded by criteria, in calls through the application under test."""

import json
import sys
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from gateway.app import App
from gateway.asking import NotAsked
from gateway.db.database import Database
from gateway.db.tables import ExchangeRow
from gateway.settings import GradingSettings, Settings
from gateway.tasks import answer_eval_items, eval_calls
from judges import python_runner
from tests.contract import conforms
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
    working,
)

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_processes")]

Client = httpx.AsyncClient


def by_number(items: list[dict[str, Any]]) -> dict[int, dict[str, Any]]:
    return {item["datasource_item_id"]: item for item in items}


class TestAModelThatAnswers:
    async def test_is_asked_graded_and_counted(self, client: Client, worker: Straight) -> None:
        of = await create_eval(client, SAME)
        run = await ended(client, await create_run(client, of["id"], asking(qa("2", "2"), qa("3", "4"))))
        assert (run["status"], run["model"], run["error"]) == ("completed", "echo", {"code": "", "message": ""})
        assert run["result_counts"] == {"total": 2, "errored": 0, "failed": 1, "passed": 1}
        assert run["per_testing_criteria_results"] == [
            {
                "testing_criteria": of["testing_criteria"][0]["id"],
                "passed": 1,
                "failed": 1,
                "name": "same",
                "errored": 0,
            }
        ]
        items = await items_of(client, run)
        assert all(item["cost_usd"] > 0 for item in items)
        assert run["per_model_usage"] == [
            {
                "model_name": "echo", "invocation_count": 2, "prompt_tokens": 24, "completion_tokens": 8,
                "total_tokens": 32, "cached_tokens": 8, "cost_usd": sum(item["cost_usd"] for item in items),
            }
        ]  # fmt: skip
        conforms("EvalRun", run)
        assert [(item["status"], item["reference"], item["duration_ms"]) for item in items] == [
            ("pass", "2", 1.0), ("fail", "4", 1.0),
        ]  # fmt: skip
        assert run["metrics"]["latency"] == {"p50_ms": 1.0, "p95_ms": 1.0, "n": 2}
        assert items[0]["sample"]["input"] == [{"role": "user", "content": "2"}]
        assert items[0]["sample"]["output"] == [{"role": "assistant", "content": "2"}]
        assert items[1]["results"] == [
            {
                "name": of["testing_criteria"][0]["id"], "type": "string_check", "score": 0.0, "passed": False,
                "sample": None,
            }
        ]  # fmt: skip

    async def test_what_has_no_price_has_no_cost(self, client: Client, worker: Straight) -> None:
        of = await create_eval(client, SAME, SCORE)
        source = asking(qa("a", "a", score="5"), model="unpriced")
        run = await ended(client, await create_run(client, of["id"], source))
        costs = {each["model_name"]: each["cost_usd"] for each in run["per_model_usage"]}
        assert costs["unpriced"] is None
        assert costs["echo"] > 0
        [item] = await items_of(client, run)
        assert item["cost_usd"] is None

    async def test_parameters_reach_it_and_are_shown(self, client: Client, worker: Straight) -> None:
        of = await create_eval(client)
        tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
        params = {"temperature": 0.5, "top_p": 0.25, "max_completion_tokens": 7, "seed": 9, "tools": [tool]}
        run = await create_run(client, of["id"], asking(qa("a", "a"), sampling_params=params))
        await ended(client, run)
        assert {name: worker.asked[0][name] for name in params} == params
        sample = (await items_of(client, run))[0]["sample"]
        shown = ("temperature", "top_p", "max_completion_tokens", "seed")
        assert {name: sample[name] for name in shown} == {name: params[name] for name in shown}

    async def test_its_exchange_is_in_the_log_as_an_evals(
        self, client: Client, worker: Straight, sv: Any, database: Database
    ) -> None:
        run = await create_run(client, (await create_eval(client))["id"], asking(qa("a", "a")))
        await ended(client, run)
        await sv.drain.drain()
        exchange_id = (await items_of(client, run))[0]["exchange_id"]
        async with database.session() as session:
            assert await session.get(ExchangeRow, exchange_id) is not None

    async def test_every_repeat_has_a_seed_of_its_own(self, client: Client, worker: Straight) -> None:
        of = await create_eval(client)
        run = await ended(client, await create_run(client, of["id"], asking(qa("a", "a"), qa("b", "c")), repeats=3))
        assert run["result_counts"] == {"total": 6, "errored": 0, "failed": 3, "passed": 3}
        assert sorted(asked["seed"] for asked in worker.asked) == [42, 42, 43, 43, 44, 44]
        assert run["metrics"]["steadiness"] == {
            "k": 3, "pass_at_k": 0.5, "pass_all_k": 0.5, "flip_rate": 0.0, "items": 2,
        }  # fmt: skip
        assert run["metrics"]["pass_rate"]["clusters"] == 2

    async def test_messages_of_the_item(self, client: Client, worker: Straight) -> None:
        of = await create_eval(client, data_source_config={"type": "custom", "item_schema": {"type": "object"}})
        messages = [{"role": "system", "content": "Be short."}, {"role": "user", "content": "Hi"}]
        source = asking({"turns": messages, "answer": "Hi"}, {"turns": "Hi", "answer": "Hi"})
        source["input_messages"] = {"type": "item_reference", "item_reference": "item.turns"}
        run = await ended(client, await create_run(client, of["id"], source))
        assert [asked["messages"] for asked in worker.asked] == [messages]
        found = by_number(await items_of(client, run))
        assert found[0]["status"] == "pass"
        assert (found[1]["status"], found[1]["sample"]["error"]["code"]) == ("error", "invalid_item")
        assert "not a list of messages" in found[1]["sample"]["error"]["message"]

    async def test_the_words_of_the_responses_api(self, client: Client, worker: Straight) -> None:
        of = await create_eval(client)
        format = {"type": "json_schema", "name": "f", "schema": {"type": "object"}, "strict": True}
        tool = {"type": "function", "name": "f", "parameters": {"type": "object"}}
        source = asking(qa("a", "a")) | {
            "type": "responses",
            "sampling_params": {"text": {"format": format}, "tools": [tool]},
        }
        run = await ended(client, await create_run(client, of["id"], source))
        assert run["status"] == "completed"
        named = {name: value for name, value in format.items() if name != "type"}
        assert worker.asked[0]["response_format"] == {"type": "json_schema", "json_schema": named}
        function = {name: value for name, value in tool.items() if name != "type"}
        assert worker.asked[0]["tools"] == [{"type": "function", "function": function}]

    async def test_what_it_says_can_be_stored_whatever_it_is(self, client: Client, worker: Straight) -> None:
        of = await create_eval(client)
        plain = worker.chat

        async def with_nul(*arguments: Any) -> Any:
            asked = await plain(*arguments)
            body = json.loads(asked.body)
            body["choices"][0]["message"]["content"] = "a\0b"
            return type(asked)(json.dumps(body).encode(), asked.exchange_id, None, 1.0)

        worker.chat = with_nul  # type: ignore[method-assign]
        run = await ended(client, await create_run(client, of["id"], asking(qa("x", "x"))))
        assert run["result_counts"]["failed"] == 1
        assert (await items_of(client, run))[0]["sample"]["output"][0]["content"] == "a\ufffdb"


class TestGraders:
    async def test_all_that_need_no_sandbox(self, client: Client, worker: Straight) -> None:
        of = await create_eval(client, SAME, ALIKE, SCORE | {"pass_threshold": 7}, LABEL)
        items = [qa("a b", "a b", score="8", tone="polite"), qa("a b", "a c", score="6.5", tone="rude")]
        run = await ended(client, await create_run(client, of["id"], asking(*items)))
        counts = {each["name"]: (each["passed"], each["failed"]) for each in run["per_testing_criteria_results"]}
        assert counts == {"same": (1, 1), "alike": (2, 0), "judge": (1, 1), "tone": (1, 1)}
        assert run["result_counts"] == {"total": 2, "errored": 0, "failed": 1, "passed": 1}
        assert run["per_model_usage"][0]["invocation_count"] == 6
        results = by_number(await items_of(client, run))[1]["results"]
        assert [result["score"] for result in results] == [0.0, 0.5, 6.5, 0.0]
        call = results[3]["sample"].pop("exchange_id")
        assert results[3]["sample"] == {"model": "echo", "label": "rude"}
        asked = (await client.get(f"/v1/exchanges/{call}")).json()["request"]["messages"]
        assert "Label: rude" in asked[-1]["content"]
        judge = run["metrics"]["judge"]
        assert judge["value"] == pytest.approx((0.8 + 1 + 0.65 + 0) / 4)

    async def test_what_could_not_be_graded_is_an_error_and_no_score(self, client: Client, worker: Straight) -> None:
        of = await create_eval(client, SAME, SCORE)
        items = [qa("a", "a", score="5"), qa("a", "a", score="7/10"), qa("a", "a", score="99")]
        run = await ended(client, await create_run(client, of["id"], asking(*items)))
        assert run["result_counts"] == {"total": 3, "errored": 2, "failed": 0, "passed": 1}
        judged = run["per_testing_criteria_results"][1]
        assert (judged["passed"], judged["failed"], judged["errored"]) == (1, 0, 2)
        found = by_number(await items_of(client, run))
        assert [result["type"] for result in found[1]["results"]] == ["string_check"]
        [error] = found[1]["errors"]
        assert (error["type"], error["code"]) == ("score_model", "model_grader_parse_error")
        assert (await client.get(f"/v1/exchanges/{error['exchange_id']}")).status_code == 200
        assert run["metrics"]["coverage"] == pytest.approx(1 / 3)
        assert run["metrics"]["judge"]["value"] == 0.5
        assert [each["status"] for each in await items_of(client, run, status="error")] == ["error", "error"]

    async def test_a_judge_without_structured_outputs_is_asked_again(self, client: Client, worker: Straight) -> None:
        of = await create_eval(client, SCORE | {"model": "no-schema"})
        run = await ended(client, await create_run(client, of["id"], asking(qa("a", "a", score="10"))))
        assert run["result_counts"]["passed"] == 1

    async def test_python_in_the_operators_sandbox(
        self, admin: Client, app: App, settings: Settings, project_key: dict[str, Any], client: Client
    ) -> None:
        command = (sys.executable, "-I", str(Path(python_runner.__file__)))
        with_python = msgspec.structs.replace(settings, grading=GradingSettings(python_runner=command))
        source = "def grade(sample, item):\n    return len(sample['output_text']) / 4"
        object.__setattr__(app.services, "python_sandbox", object())  # what it takes to create one
        of = await create_eval(client, {"type": "python", "name": "length", "source": source, "pass_threshold": 0.75})
        async with working(with_python, app, project_key):
            run = await ended(client, await create_run(client, of["id"], asking(qa("abc", ""), qa("ab", ""))))
        assert run["result_counts"] == {"total": 2, "errored": 0, "failed": 1, "passed": 1}

    async def test_without_a_sandbox_python_is_an_error(self, client: Client, app: App, worker: Straight) -> None:
        object.__setattr__(app.services, "python_sandbox", object())
        of = await create_eval(
            client, {"type": "python", "name": "p", "source": "def grade(sample, item):\n    return 1"}
        )
        run = await ended(client, await create_run(client, of["id"], asking(qa("a", "a"))))
        assert run["result_counts"]["errored"] == 1
        assert (await items_of(client, run))[0]["errors"][0]["code"] == "python_grader_server_error"

    async def test_a_variable_that_an_item_has_not(self, client: Client, worker: Straight) -> None:
        of = await create_eval(client)
        run = await ended(client, await create_run(client, of["id"], asking({"question": "a"}, qa("b", "b"))))
        assert run["result_counts"] == {"total": 2, "errored": 1, "failed": 0, "passed": 1}


class TestWhatGoesWrong:
    async def test_a_model_that_refuses_one_item(self, client: Client, worker: Straight) -> None:
        worker.fails.append(NotAsked("too long", code="refused", retry=False))
        run = await ended(
            client, await create_run(client, (await create_eval(client))["id"], asking(qa("a", "a"), qa("b", "b")))
        )
        assert run["status"] == "completed"
        assert run["result_counts"] == {"total": 2, "errored": 1, "failed": 0, "passed": 1}
        failed = (await items_of(client, run, status="error"))[0]
        assert failed["sample"]["error"] == {"code": "refused", "message": "too long"}
        conforms("EvalRunOutputItem", failed)
        assert run["per_testing_criteria_results"][0]["errored"] == 1

    async def test_what_passes_is_tried_again(self, client: Client, worker: Straight) -> None:
        worker.fails += [NotAsked("busy", code="rate_limit", retry=True, retry_after=0.0) for _ in range(5)]
        worker.fails += [NotAsked("away", code="upstream", retry=True) for _ in range(3)]
        run = await ended(client, await create_run(client, (await create_eval(client))["id"], asking(qa("a", "a"))))
        assert run["result_counts"]["passed"] == 1
        assert len(worker.asked) == 9

    async def test_not_for_ever(self, client: Client, worker: Straight) -> None:
        tries = eval_calls.TRIES["upstream"]
        worker.fails += [NotAsked("away", code="upstream", retry=True) for _ in range(tries)]
        run = await ended(client, await create_run(client, (await create_eval(client))["id"], asking(qa("a", "a"))))
        assert run["result_counts"]["errored"] == 1
        assert len(worker.asked) == tries

    @pytest.mark.parametrize("criteria", [(SAME,), (SCORE,)], ids=["answer", "grader"])
    async def test_no_money_left_fails_the_run_and_keeps_what_was_done(
        self, client: Client, app: App, settings: Settings, project_key: dict[str, Any], criteria: Any
    ) -> None:
        source = asking(*(qa("a", "a", score="9") for _ in range(20)))
        if criteria == (SCORE,):
            source = {"type": "jsonl", "source": source["source"]}
        run = await create_run(client, (await create_eval(client, *criteria))["id"], source)
        async with working(settings, app, project_key) as worker:
            plain = worker.chat

            async def while_it_lasts(*arguments: Any) -> Any:
                if len(worker.asked) >= 5:
                    raise NotAsked("You have no money.", code="quota", retry=False)
                return await plain(*arguments)

            worker.chat = while_it_lasts  # type: ignore[method-assign]
            run = await ended(client, run)
        assert run["status"] == "failed"
        assert run["error"] == {"code": "insufficient_quota", "message": "You have no money."}
        counts = run["result_counts"]
        assert counts["total"] == 20
        assert counts["passed"] == len(await items_of(client, run)) > 0
        assert counts["errored"] == 0

    async def test_a_bug_fails_the_run_and_says_nothing_of_itself(
        self, client: Client, worker: Straight, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(answer_eval_items.judging, "grade", lambda *_: 1 / 0)
        run = await ended(client, await create_run(client, (await create_eval(client))["id"], asking(qa("a", "a"))))
        assert (run["status"], run["error"]["code"]) == ("failed", "server_error")
        assert "ZeroDivisionError" in caplog.text
        assert "division" not in run["error"]["message"]
