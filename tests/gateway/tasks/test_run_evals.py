"""Runs of evals, done by a worker whose calls go through the application under test."""

import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from sqlalchemy import func, select, update

from gateway.app import App
from gateway.asking import NotAsked
from gateway.db.database import Database
from gateway.db.tables import EvalOutputItemRow, EvalRunRow, ExchangeRow, StoredCompletionRow
from gateway.kit.clock import from_unix
from gateway.settings import GradingSettings, Settings, WorkerSettings
from gateway.tasks import answer_eval_items
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
    eval_worker,
    in_process,
    inline,
    items_of,
    qa,
    retrieve,
)
from tests.polling import until

pytestmark = pytest.mark.anyio

Client = httpx.AsyncClient


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return msgspec.structs.replace(settings, worker=WorkerSettings(eval_calls=3))


@pytest.fixture(autouse=True)
def no_processes(app: App) -> None:
    in_process(app.services)


@asynccontextmanager
async def working(settings: Settings, app: App, key: dict[str, Any], **options: Any) -> AsyncIterator[Straight]:
    """A worker that takes up what waits, every few milliseconds."""
    async with eval_worker(settings, app, key["value"], **options) as (wv, straight, runs):
        wv.background.repeat(runs.begin, 0.02, "take up runs of evals")
        yield straight


@pytest.fixture
async def worker(settings: Settings, app: App, project_key: dict[str, Any]) -> AsyncIterator[Straight]:
    async with working(settings, app, project_key) as straight:
        yield straight


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
        assert run["per_model_usage"] == [
            {
                "model_name": "echo", "invocation_count": 2, "prompt_tokens": 24, "completion_tokens": 8,
                "total_tokens": 32, "cached_tokens": 8,
            }
        ]  # fmt: skip
        conforms("EvalRun", run)
        items = await items_of(client, run)
        assert [item["status"] for item in items] == ["pass", "fail"]
        assert items[0]["sample"]["input"] == [{"role": "user", "content": "2"}]
        assert items[0]["sample"]["output"] == [{"role": "assistant", "content": "2"}]
        assert items[1]["results"] == [
            {
                "name": of["testing_criteria"][0]["id"], "type": "string_check", "score": 0.0, "passed": False,
                "sample": None,
            }
        ]  # fmt: skip

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
        assert results[3]["sample"] == {"model": "echo", "label": "rude"}
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
        assert [(each["type"], each["code"]) for each in found[1]["errors"]] == [
            ("score_model", "model_grader_parse_error")
        ]
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


class TestAnswersThatCameWithTheData:
    @pytest.mark.parametrize(
        "sample",
        [
            {"output_text": "yes"},
            {"choices": [{"index": 0, "message": {"role": "assistant", "content": "yes"}, "finish_reason": "stop"}]},
        ],
        ids=["text", "choices"],
    )
    async def test_are_graded_without_a_call(self, client: Client, worker: Straight, sample: Any) -> None:
        source = {"type": "jsonl", "source": inline(qa("?", "yes"), samples=[sample])}
        run = await ended(client, await create_run(client, (await create_eval(client))["id"], source))
        assert (run["status"], run["model"], run["per_model_usage"]) == ("completed", "", [])
        assert run["result_counts"]["passed"] == 1
        assert worker.asked == []
        conforms("EvalRunOutputItem", (await items_of(client, run))[0])

    async def test_items_alone_where_criteria_look_at_nothing_else(self, client: Client, worker: Straight) -> None:
        of = await create_eval(client, SAME | {"input": "{{ item.said }}"})
        source = {"type": "jsonl", "source": inline(qa("?", "yes", said="yes"), qa("?", "yes", said="no"))}
        run = await ended(client, await create_run(client, of["id"], source))
        assert run["result_counts"] == {"total": 2, "errored": 0, "failed": 1, "passed": 1}

    async def test_a_missing_answer_is_an_error_and_not_an_empty_one(self, client: Client, worker: Straight) -> None:
        of = await create_eval(client, SAME | {"operation": "ne"})
        run = await ended(client, await create_run(client, of["id"], {"type": "jsonl", "source": inline(qa("?", "x"))}))
        assert run["result_counts"]["errored"] == 1
        assert (await items_of(client, run))[0]["errors"][0]["code"] == "no_sample"


def jsonl(*lines: Any) -> bytes:
    return b"\n".join(json.dumps(line).encode() for line in lines)


async def upload(client: Client, content: bytes, purpose: str = "evals") -> str:
    answer = await client.post("/v1/files", files={"file": ("a.jsonl", content)}, data={"purpose": purpose})
    assert answer.status_code == 200, answer.text
    return answer.json()["id"]


class TestAFile:
    async def test_is_read_by_the_worker(self, client: Client, worker: Straight) -> None:
        content = jsonl(*({"item": qa(str(n), str(n % 3))} for n in range(7)))
        source = asking() | {"source": {"type": "file_id", "id": await upload(client, content + b"\n\n")}}
        run = await ended(client, await create_run(client, (await create_eval(client))["id"], source, repeats=2))
        assert run["status"] == "completed", run["error"]
        assert run["result_counts"] == {"total": 14, "errored": 0, "failed": 8, "passed": 6}

    @pytest.mark.parametrize(
        ("content", "said"),
        [
            (jsonl({"item": {"question": "a"}}, {"item": {"question": 1}}), "Item 2 (line 2)"),
            (b'{"item": {"question": "a"}}\n{"item"', "Line 2 is not"),
            (jsonl({"question": "a"}), "Line 1 is not"),
            (b"\n", "no item"),
            (b'{"item": {"question": "a\\u0000"}}', "NUL"),
        ],
        ids=["schema", "json", "shape", "empty", "nul"],
    )
    async def test_that_does_not_fit_fails_the_run(
        self, client: Client, worker: Straight, content: bytes, said: str
    ) -> None:
        source = asking() | {"source": {"type": "file_id", "id": await upload(client, content)}}
        run = await ended(client, await create_run(client, (await create_eval(client))["id"], source))
        assert run["status"] == "failed"
        assert said in run["error"]["message"]
        assert worker.asked == []

    async def test_that_was_deleted_since(
        self, client: Client, app: App, settings: Settings, project_key: dict[str, Any]
    ) -> None:
        file_id = await upload(client, jsonl({"item": qa("a", "a")}))
        source = asking() | {"source": {"type": "file_id", "id": file_id}}
        run = await create_run(client, (await create_eval(client))["id"], source)
        await client.delete(f"/v1/files/{file_id}")
        async with working(settings, app, project_key):
            run = await ended(client, run)
        assert (run["status"], run["error"]["code"]) == ("failed", "file_not_found")


@pytest.fixture
async def stored(client: Client, sv: Any, database: Database, project_key: dict[str, Any]) -> list[str]:
    """Three stored completions, oldest first: their exchanges' ids."""
    ids: list[str] = []
    for question in ("one", "two", "three"):
        body = {"model": "echo", "messages": [{"role": "user", "content": question}]}
        ids.append((await client.post("/v1/chat/completions", json=body)).headers["x-request-id"])
    await sv.drain.drain()
    async with database.session() as session:
        for number, id in enumerate(ids):
            row = StoredCompletionRow(
                exchange_id=id,
                project_id=project_key["project_id"],
                completion_id=f"chatcmpl-{number}",
                model="echo" if number else "other",
                created_at=from_unix(1000 + number),
                completion_metadata={"use": "shop", "n": str(number)},
                deleted_at=None,
            )
            session.add(row)
    return ids


LOGS = {"type": "logs", "metadata": {"use": "shop"}}
SAYS_TWO = SAME | {"reference": "two"}


class TestStoredCompletions:
    async def run(self, client: Client, source: dict[str, Any], config: Any = LOGS, **more: Any) -> dict[str, Any]:
        of = await create_eval(client, SAYS_TWO, data_source_config=config)
        data = {"type": "completions", "source": {"type": "stored_completions", **source}, **more}
        return await ended(client, await create_run(client, of["id"], data))

    async def test_are_graded_as_they_are(self, client: Client, worker: Straight, stored: list[str]) -> None:
        run = await self.run(client, {})
        assert run["result_counts"] == {"total": 3, "errored": 0, "failed": 2, "passed": 1}
        items = await items_of(client, run)
        assert [item["datasource_item"]["input"][0]["content"] for item in items] == ["one", "two", "three"]
        assert [item["exchange_id"] for item in items] == stored
        assert worker.asked == []

    @pytest.mark.parametrize(
        ("source", "found"),
        [
            ({"metadata": {"n": "1"}}, ["two"]),
            ({"model": "other"}, ["one"]),
            ({"created_after": 1001}, ["two", "three"]),
            ({"created_before": 1001}, ["one", "two"]),
            ({"limit": 2}, ["one", "two"]),
        ],
        ids=["metadata", "model", "after", "before", "limit"],
    )
    async def test_are_filtered(
        self, client: Client, worker: Straight, stored: list[str], source: Any, found: list[str]
    ) -> None:
        run = await self.run(client, source)
        items = await items_of(client, run)
        assert [item["datasource_item"]["input"][0]["content"] for item in items] == found

    async def test_are_answered_anew_by_a_model(self, client: Client, worker: Straight, stored: list[str]) -> None:
        messages = {"type": "item_reference", "item_reference": "item.input"}
        run = await self.run(client, {}, model="echo", input_messages=messages)
        assert run["result_counts"]["total"] == 3
        assert sorted(asked["messages"][0]["content"] for asked in worker.asked) == ["one", "three", "two"]

    async def test_of_another_use_are_none(self, client: Client, worker: Straight, stored: list[str]) -> None:
        run = await self.run(client, {}, {"type": "stored_completions", "metadata": {"use": "other"}})
        assert (run["status"], run["error"]["code"]) == ("failed", "no_data")

    async def test_of_another_project_are_none(self, stranger: Client, worker: Straight, stored: list[str]) -> None:
        run = await self.run(stranger, {})
        assert (run["status"], run["error"]["code"]) == ("failed", "no_data")

    async def test_what_was_erased_is_not_read(
        self, client: Client, worker: Straight, stored: list[str], database: Database
    ) -> None:
        async with database.session() as session:
            await session.execute(
                update(ExchangeRow).where(ExchangeRow.id == stored[0]).values(request=b"", reply=None)
            )
        run = await self.run(client, {})
        assert run["result_counts"]["total"] == 2

    async def test_turns_of_one_conversation_count_as_one(
        self, client: Client, worker: Straight, stored: list[str], database: Database
    ) -> None:
        body = json.dumps({"messages": [{"role": "user", "content": "one"}, {"role": "assistant", "content": "x"},
                                        {"role": "user", "content": "more"}]}).encode()  # fmt: skip
        async with database.session() as session:
            await session.execute(update(ExchangeRow).where(ExchangeRow.id == stored[1]).values(request=body))
        run = await self.run(client, {})
        assert (run["metrics"]["pass_rate"]["n"], run["metrics"]["pass_rate"]["clusters"]) == (3, 2)


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
        tries = answer_eval_items.TRIES["upstream"]
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


class TestTakingOver:
    async def test_what_a_dead_worker_left_is_done_once(
        self, client: Client, app: App, settings: Settings, project_key: dict[str, Any], database: Database
    ) -> None:
        """The first one is stopped in the middle as `kill -9` would: it gives nothing back."""
        run = await create_run(
            client, (await create_eval(client))["id"], asking(*(qa(str(n), str(n)) for n in range(9)))
        )
        async with eval_worker(settings, app, project_key["value"]) as (_, first, runs):
            plain = first.chat

            async def four(*arguments: Any) -> Any:
                if len(first.asked) == 4:
                    first.gate.clear()
                return await plain(*arguments)

            first.chat = four  # type: ignore[method-assign]
            runs._release = _nothing  # type: ignore[method-assign]
            await runs.begin()
            await until(lambda: len(first.asked) == 7)

            async def four_done() -> bool:
                return len(await items_of(client, run)) == 4

            await until(four_done)
            done = {item["datasource_item_id"] for item in await items_of(client, run)}
        assert len(done) == 4
        async with eval_worker(settings, app, project_key["value"]) as (_, second, runs):
            await runs.begin()
            assert second.asked == []  # the lease still holds
            async with database.session() as session:
                await session.execute(update(EvalRunRow).values(leased_until=from_unix(1)))
            await runs.begin()
            found = await ended(client, run)
            asked = {int(body["messages"][0]["content"]) for body in second.asked}
        assert found["result_counts"] == {"total": 9, "errored": 0, "failed": 0, "passed": 9}
        assert asked == set(range(9)) - done
        assert len(await items_of(client, run)) == 9

    async def test_half_read_data_is_read_on(
        self, client: Client, app: App, settings: Settings, project_key: dict[str, Any], database: Database
    ) -> None:
        file_id = await upload(client, jsonl(*({"item": qa(str(n), str(n))} for n in range(5))))
        source = asking() | {"source": {"type": "file_id", "id": file_id}}
        run = await create_run(client, (await create_eval(client))["id"], source)
        async with database.session() as session:
            session.add(
                EvalOutputItemRow(
                    id="outputitem_there",
                    run_id=run["id"],
                    number=0,
                    repeat=0,
                    item=qa("0", "0"),
                    cluster="#0",
                    status="queued",
                    created_at=from_unix(1),
                )
            )
        async with working(settings, app, project_key):
            found = await ended(client, run)
        assert found["result_counts"] == {"total": 5, "errored": 0, "failed": 0, "passed": 5}
        assert (await items_of(client, run))[0]["id"] == "outputitem_there"

    async def test_a_worker_that_stops_gives_its_runs_back(
        self, client: Client, app: App, settings: Settings, project_key: dict[str, Any], database: Database
    ) -> None:
        run = await create_run(client, (await create_eval(client))["id"], asking(qa("a", "a")))
        async with eval_worker(settings, app, project_key["value"]) as (_, straight, runs):
            straight.gate.clear()
            await runs.begin()
            await until(lambda: straight.under_way == 1)
        async with database.session() as session:
            row = await session.get_one(EvalRunRow, run["id"])
        assert (row.status, row.lease_holder, row.leased_until) == ("in_progress", None, None)

    async def test_who_lost_the_lease_writes_nothing(
        self, client: Client, app: App, settings: Settings, project_key: dict[str, Any], database: Database
    ) -> None:
        run = await create_run(client, (await create_eval(client))["id"], asking(qa("a", "a")))
        async with eval_worker(settings, app, project_key["value"], poll_seconds=60) as (_, straight, runs):
            straight.gate.clear()
            await runs.begin()
            await until(lambda: straight.under_way == 1)
            async with database.session() as session:
                await session.execute(update(EvalRunRow).values(lease_holder="another"))
            straight.gate.set()
            await until(lambda: runs._under_way == 0)
        assert await items_of(client, run) == []
        assert (await retrieve(client, run))["status"] == "in_progress"


async def _nothing(*_: Any) -> None:
    pass


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
