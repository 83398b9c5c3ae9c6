"""Somebody wants to be forgotten: after DELETE /v1/exchanges?user=... none of their words is anywhere in what Tuneway keeps.

A word that only one person says goes through every feature that copies what calls say. Then all is read: each column of each
table, the file storage, the data directory and Redis, unpacked where it is packed.
"""

import json
import random
import re
from base64 import b64encode
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
import redis.asyncio
from sqlalchemy import text

from gateway.asking import Asked
from gateway.cache_settings import CacheSettings
from gateway.db.database import Database
from gateway.exchanges.left_bodies import remove_left
from gateway.judging import work
from gateway.kit.packing import MARKS, MovedBody, unpack
from gateway.protocol.judges import LlmSpec
from gateway.reply_cache.shared import PREFIX
from gateway.services import Services, WorkerServices, worker_services
from gateway.settings import ExchangeSettings, Settings, WorkerSettings
from gateway.tasks.announce_events import announce_events
from gateway.tasks.blank_erased_lines import blank_erased_lines
from gateway.tasks.judge_answers import judge
from gateway.tasks.read_exchanges import read_exchanges
from gateway.tasks.run_evals import EvalRuns
from tests.conftest import chat
from tests.fakes import guidance as fake_guidance
from tests.fakes.evals import SAME, Straight, create_eval, create_run, ended, in_process
from tests.fakes.judging import World, says
from tests.gateway.reviewing.answers import decided, make, taken
from tests.gateway.tasks.test_build_datasets import built, created
from tests.polling import until

pytestmark = pytest.mark.anyio

Client = httpx.AsyncClient
CHAT = "/v1/chat/completions"
CACHE = "x-tuneway-cache"
WORD = "qzyxwvut"
"""Of the person who is forgotten."""
OTHER = "kjhgfdsa"
"""Of somebody else, whose words stay."""
ANN, BOB = "ann-plmoknij", "bob"
COLUMNS = """SELECT c.relname::text, a.attname::text, format_type(a.atttypid, NULL) FROM pg_class c
JOIN pg_attribute a ON a.attrelid = c.oid
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition AND a.attnum > 0
AND NOT a.attisdropped"""


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Drained when the test says so; large bodies become blobs; answers are kept where a call asks for it."""
    exchanges = ExchangeSettings(drain_seconds=60, drain="inside", blob_bytes=1024)
    cache = CacheSettings(enabled=True, mode="opt_in", answer_seconds=10)
    worker = WorkerSettings(dataset_wait_seconds=0.0)
    return msgspec.structs.replace(settings, exchanges=exchanges, cache=cache, worker=worker)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody drains meanwhile, so that there is nothing to wait for."""
    monkeypatch.setattr("gateway.routes.new_exchanges.SPARE_SECONDS", -1000)


class Asking(Straight):
    """Its calls are the project's; a judge likes everything."""

    async def chat(self, project_id: str, purpose: str, body: dict[str, Any]) -> Asked:
        asked = await self._post(body | {"model": "echo"})
        if purpose == "eval":
            return asked
        reply = json.loads(asked.body)
        reply["choices"][0]["message"]["content"] = says(5)(body)
        return replace(asked, body=json.dumps(reply).encode())


@pytest.fixture
async def wv(settings: Settings, sv: Services, app: Any, project_key: dict[str, Any]) -> AsyncIterator[WorkerServices]:
    async with worker_services(settings) as opened:
        in_process(sv)
        wv = replace(opened, asking=Asking(app, project_key["value"]))  # type: ignore[arg-type]
        in_process(wv)
        yield wv


def told(word: str, more: str = "") -> list[dict[str, Any]]:
    return [{"role": "user", "content": f"My name is {word}, what is it? {more}"}]


async def call(client: Client, user: str, word: str, more: str = "", **given: Any) -> str:
    body = chat("echo", user=user, store=True, metadata={"said": word}, **given) | {"messages": told(word, more)}
    answer = await client.post(CHAT, json=body, headers={CACHE: "on"})
    assert answer.status_code == 200, answer.text
    assert answer.headers[CACHE] in ("miss", "hit")
    return answer.headers["x-request-id"]


async def calls(client: Client, user: str, word: str) -> list[str]:
    """Whole and streamed, small and large, one that was refused, and one that got what was kept of another."""
    large = b64encode(random.Random(word).randbytes(2400)).decode()
    small = [await call(client, user, word, f"{number} times") for number in range(8)]
    refused = await client.post(CHAT, json=chat("status-400", user=user) | {"messages": told(word)})
    return [
        *small,
        await call(client, user, word, large),
        await call(client, user, word, "streamed", stream=True),
        refused.headers["x-request-id"],
        await call(client, user, word, "0 times"),
    ]


async def say(client: Client, id: str, user: str, word: str) -> None:
    body = {"completion_id": id, "thumbs": "up", "comment": word, "correction": f"It is {word}.", "user": user}
    answer = await client.post("/v1/feedback", json=body | {"metadata": {"page": word}})
    assert answer.status_code == 200, answer.text


async def places(database: Database, settings: Settings, word: str) -> set[str]:
    """Where it still is: `table.column`, files without what is random of their names, keys of Redis."""
    found: set[str] = set()
    async with database.session() as session:
        for table, column, kind in list(await session.execute(text(COLUMNS))):
            as_it_is = f'"{column}"' if kind == "bytea" else f"convert_to(\"{column}\"::text, 'UTF8')"
            rows = await session.scalars(text(f'SELECT {as_it_is} FROM "{table}" WHERE "{column}" IS NOT NULL'))
            if any(has(word, each) for each in rows):
                found.add(f"{table}.{column}")
    for path in settings.data_dir.rglob("*"):
        if path.is_file() and has(word, path.read_bytes()):
            found.add(_kind_of(path.relative_to(settings.data_dir)))
    async with redis.asyncio.Redis.from_url(settings.redis.url) as store:
        async for key in store.scan_iter():
            if has(word, key) or has(word, await store.dump(key)):
                found.add(f"redis {key!r}")
    return found


async def kept(sv: Services, word: str) -> set[str]:
    """Where the reply cache still has it. What is in Redis is sealed: only whoever asks for a name can read it."""
    cache: Any = sv.replies
    found = {"memory" for entry in cache._memory._entries.values() if has(word, entry.body)}
    async with redis.asyncio.Redis.from_url(sv.settings.redis.url) as store:
        beginning = f"{PREFIX}:reply:"
        async for key in store.scan_iter(f"{beginning}*"):
            sealed = await cache._shared.get(key.decode().removeprefix(beginning))
            if sealed and has(word, sealed):
                found.add("redis")
    return found


def has(word: str, kept: bytes) -> bool:
    whole = unpack(kept) if kept.startswith(MARKS) else kept
    return not isinstance(whole, MovedBody) and word.encode() in whole


def _kind_of(path: Path) -> str:
    return re.sub(r"[0-9a-zA-Z]{16,}.*|\d+-[0-9a-f]+.*", "*", str(path))


class Everything:
    """What copies words, one feature after the other."""

    def __init__(self, client: Client, wv: WorkerServices, key: dict[str, Any], sv: Services) -> None:
        self.client, self.wv, self.key, self.sv = client, wv, key, sv
        self.runs = EvalRuns(wv, poll_seconds=0.02, first_wait=0.0)

    async def copy(self, ids: list[str]) -> None:
        await self.sv.drain.drain()
        await read_exchanges(self.wv)
        await self.judge(ids)
        await self.review(ids[1])
        imported = await self.client.post("/v1/training_examples/import", json={"exchanges": {"ids": ids[:3]}})
        assert imported.json()["created"], imported.text
        await self.evaluate()
        version = await built(self.wv, self.client, await created(self.client))
        assert version["status"] == "completed", version
        await self.guide()
        await announce_events(self.wv)
        await self.sv.drain.drain()
        await read_exchanges(self.wv)

    async def corrected(self, *ids: str) -> None:
        """Examples of calls that are not the person's, as that one, or somebody else, wrote that they should be answered."""
        body = {"exchanges": {"ids": ids}, "validated": True, "score": 1.0, "tags": ["corrected"]}
        imported = await self.client.post("/v1/training_examples/import", json=body)
        assert imported.json()["created"] == len(ids), imported.text
        recipe = {
            "kind": "sft",
            "split": {"validation": 0},
            "sources": {"exchanges": None, "examples": {"tags": ["corrected"]}},
        }
        version = await built(self.wv, self.client, await created(self.client, recipe=recipe))
        assert version["training_rows"] == len(ids), version

    async def judge(self, ids: list[str]) -> None:
        world = World(self.wv.database, project_id=self.key["project_id"])
        _, version = await world.judge(LlmSpec(model="echo"))
        await world.ask(version, ids[0], ids[8])
        async with self.wv.database.session() as session:
            tasks = await work.claim(session, "one", 10)
        for task in tasks:
            await judge(self.wv, task)
        assert len(tasks) == 2

    async def review(self, id: str) -> None:
        queue = await make(self.client, source={"answers": [{"exchange_id": id, "choice_index": 0}]})
        await decided(self.client, queue, await taken(self.client, queue), comment=f"Not {WORD}!")

    async def evaluate(self) -> None:
        of = await create_eval(self.client, SAME | {"reference": "two"}, data_source_config={"type": "logs"})
        as_they_are = {"type": "completions", "source": {"type": "stored_completions"}}
        anew = as_they_are | {
            "model": "echo",
            "input_messages": {"type": "item_reference", "item_reference": "item.input"},
        }
        self.wv.background.repeat(self.runs.begin, 0.02, "take up runs of evals")
        for source in (as_they_are, anew):
            run = await ended(self.client, await create_run(self.client, of["id"], source))
            assert run["status"] == "completed", run

    async def guide(self) -> None:
        await self.client.get("/v1/guidance")
        await fake_guidance.compute(self.wv, self.key["project_id"])


@pytest.fixture
def everything(client: Client, wv: WorkerServices, project_key: dict[str, Any], sv: Services) -> Everything:
    return Everything(client, wv, project_key, sv)


COPIES = {
    "exchanges.request", "exchanges.reply", "exchanges.request_metadata", "exchange_texts.question", "exchange_texts.answer",
    "exchange_texts.words", "stored_completions.completion_metadata", "judgments.rationale", "judgments.edited_message",
    "judgments.judgment_metadata", "training_examples.line", "eval_output_items.item", "eval_output_items.sample",
}  # fmt: skip
"""Where it must have been, so that the search for it can fail."""


async def all_kept(sv: Services) -> bool:
    return await kept(sv, WORD) == {"memory", "redis"}


async def nothing_kept(sv: Services) -> bool:
    return await kept(sv, WORD) == set()


class TestForgotten:
    async def test_nothing_that_a_person_said_is_anywhere(
        self,
        everything: Everything,
        client: Client,
        admin: Client,
        database: Database,
        settings: Settings,
        wv: WorkerServices,
    ) -> None:
        ids = await calls(client, ANN, WORD)
        of_bob = await calls(client, BOB, OTHER)
        await everything.sv.drain.drain()
        for id in ids[:6]:
            await say(client, id, ANN, WORD)
        await say(client, of_bob[0], ANN, WORD)
        await say(client, of_bob[1], BOB, OTHER)
        await everything.corrected(of_bob[0], of_bob[1])
        await everything.copy(ids)
        late = await call(client, ANN, WORD, "still in the spool")
        before = await places(database, settings, WORD)
        assert before >= COPIES, COPIES - before
        await until(lambda: all_kept(everything.sv))
        assert {"blobs/file-*", "blobs/bodies/req_*", "spool/*"} <= before, before
        others = await places(database, settings, OTHER)
        assert await places(database, settings, ANN)
        of_project = f"/v1/organization/projects/{everything.key['project_id']}/exchanges"
        answer = await admin.delete(of_project, params={"user": ANN})
        assert answer.status_code == 200, answer.text
        await until(lambda: nothing_kept(everything.sv))
        await everything.sv.drain.drain()
        while await remove_left(wv.database):
            pass
        await blank_erased_lines(wv)
        everything.sv.spool.turn()
        await everything.sv.drain.drain()
        assert await places(database, settings, WORD) == set()
        assert await places(database, settings, ANN) == set(), "nor is the person named"
        (entry,) = (await admin.get("/v1/organization/audit_logs", params={"limit": 1})).json()["data"]
        assert "exchanges_deleted" in json.dumps(entry), "that it happened is told"
        assert await kept(everything.sv, WORD) == set(), "nothing of what was under way came back"
        assert (await client.get(f"/v1/exchanges/{late}")).json()["request"] is None
        assert await places(database, settings, OTHER) >= others - {"spool/*"}
