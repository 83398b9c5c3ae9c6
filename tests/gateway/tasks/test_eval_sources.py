"""What runs of evals read: answers that came with the data, files, stored completions."""

import json
from typing import Any

import httpx
import pytest
from sqlalchemy import update

from gateway.app import App
from gateway.db.database import Database
from gateway.db.tables import ExchangeRow, StoredCompletionRow
from gateway.kit.clock import from_unix
from gateway.settings import Settings
from tests.contract import conforms
from tests.fakes.evals import (
    SAME,
    Straight,
    asking,
    create_eval,
    create_run,
    ended,
    inline,
    items_of,
    jsonl,
    qa,
    upload,
    working,
)

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_processes")]

Client = httpx.AsyncClient


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
