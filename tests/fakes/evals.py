"""Evals and their runs, and a worker whose calls go straight into the application under test."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any

import httpx
import msgspec

from gateway import eval_process
from gateway.app import App
from gateway.asking import Asked, NotAsked
from gateway.datasets.fitting import fit
from gateway.datasets.isolated import Isolated
from gateway.datasets.unusable import Unusable
from gateway.db.database import Database
from gateway.db.tables import EvalOutputItemRow, EvalRow, EvalRunRow
from gateway.errors import InvalidRequest
from gateway.evals import samples
from gateway.kit.clock import now
from gateway.kit.ids import new_id
from gateway.kit.money import nano_from_usd
from gateway.services import WorkerServices, worker_services
from gateway.settings import Settings, WorkerSettings
from gateway.tasks.run_evals import EvalRuns
from tests.polling import until

ENDED = ("completed", "failed", "canceled")
SCHEMA = {
    "type": "object",
    "properties": {"question": {"type": "string"}, "answer": {"type": "string"}},
    "required": ["question"],
}
CUSTOM = {"type": "custom", "item_schema": SCHEMA, "include_sample_schema": True}
SAME = {
    "type": "string_check", "name": "same", "input": "{{ sample.output_text }}", "reference": "{{ item.answer }}",
    "operation": "eq",
}  # fmt: skip
ALIKE = {
    "type": "text_similarity", "name": "alike", "input": "{{ sample.output_text }}", "reference": "{{ item.answer }}",
    "evaluation_metric": "rouge_l", "pass_threshold": 0.5,
}  # fmt: skip
SCORE = {
    "type": "score_model", "name": "judge", "model": "echo", "range": [0, 10],
    "input": [{"role": "user", "content": "Score: {{ item.score }}"}],
}  # fmt: skip
LABEL = {
    "type": "label_model", "name": "tone", "model": "echo", "input": [{"role": "user", "content": "Label: {{ item.tone }}"}],
    "labels": ["polite", "rude"], "passing_labels": ["polite"],
}  # fmt: skip
ASKED = {"type": "template", "template": [{"role": "user", "content": "{{ item.question }}"}]}


def inline(*items: dict[str, Any], samples: list[Any] | None = None) -> dict[str, Any]:
    lines = [{"item": each} | ({"sample": samples[n]} if samples else {}) for n, each in enumerate(items)]
    return {"type": "file_content", "content": lines}


def asking(*items: dict[str, Any], model: str = "echo", **more: Any) -> dict[str, Any]:
    """A data source: the fake upstream's `echo` answers with the question."""
    return {"type": "completions", "model": model, "input_messages": ASKED, "source": inline(*items), **more}


def qa(question: str, answer: str, **more: Any) -> dict[str, Any]:
    return {"question": question, "answer": answer, **more}


async def create_eval(client: httpx.AsyncClient, *criteria: dict[str, Any], **more: Any) -> dict[str, Any]:
    body = {"name": "suite", "data_source_config": CUSTOM, "testing_criteria": list(criteria or (SAME,)), **more}
    answer = await client.post("/v1/evals", json=body)
    assert answer.status_code == 201, answer.text
    return answer.json()


async def create_run(client: httpx.AsyncClient, eval_id: str, data_source: Any, **more: Any) -> dict[str, Any]:
    answer = await client.post(f"/v1/evals/{eval_id}/runs", json={"data_source": data_source, **more})
    assert answer.status_code == 201, answer.text
    return answer.json()


async def add_run(database: Database, project_id: str, name: str = "suite") -> dict[str, str]:
    """An eval and a completed run of one item, as if a worker had done it: their ids as URLs name them."""
    moment, id = now(), new_id("")
    criteria = [
        {"type": "string_check", "name": name, "input": "x", "reference": "x", "operation": "eq", "id": f"{name}-1"}
    ]
    config = {"type": "custom", "schema": {"type": "object", "properties": {"item": SCHEMA}, "required": ["item"]}}
    result = {"passed": 1, "failed": 0, "errored": 0, "criteria": {}, "usage": [], "metrics": None}
    sample = samples.shown(None, None, 42)
    async with database.session() as session:
        session.add(
            EvalRow(
                id=f"eval_{id}", project_id=project_id, name=name, data_source_config=config, metrics={},
                testing_criteria=criteria, created_at=moment, updated_at=moment,
            )
        )  # fmt: skip
        await session.flush()
        session.add(
            EvalRunRow(
                id=f"evalrun_{id}", eval_id=f"eval_{id}", project_id=project_id, api_key_id="key_x", name=name, total=1,
                data_source=asking(qa(name, name)), status="completed", result=result, created_at=moment, repeats=1,
            )
        )  # fmt: skip
        await session.flush()
        session.add(
            EvalOutputItemRow(
                id=f"outputitem_{id}", run_id=f"evalrun_{id}", number=0, item=qa(name, name), cluster="#0", status="pass",
                sample=sample, results=[], created_at=moment, finished_at=moment, repeat=0,
            )
        )  # fmt: skip
    return {"eval_id": f"eval_{id}", "run_id": f"evalrun_{id}", "output_item_id": f"outputitem_{id}"}


async def retrieve(client: httpx.AsyncClient, run: dict[str, Any]) -> dict[str, Any]:
    return (await client.get(f"/v1/evals/{run['eval_id']}/runs/{run['id']}")).json()


async def ended(client: httpx.AsyncClient, run: dict[str, Any]) -> dict[str, Any]:
    """The run once it has ended."""

    async def has_ended() -> bool:
        return (await retrieve(client, run))["status"] in ENDED

    await until(has_ended)
    return await retrieve(client, run)


async def items_of(client: httpx.AsyncClient, run: dict[str, Any], **query: Any) -> list[dict[str, Any]]:
    url = f"/v1/evals/{run['eval_id']}/runs/{run['id']}/output_items"
    return (await client.get(url, params={"limit": 100, **query})).json()["data"]


class InProcess(Isolated):
    """What `Isolated` has another process do, done here: a tenth of the time."""

    async def run(self, arguments: Sequence[str], files: Sequence[IO[bytes]], *, first: Any = None) -> bytes:
        return await asyncio.to_thread(self._answer, list(arguments))

    def _answer(self, arguments: list[str]) -> bytes:
        command, path, *options = arguments
        if command != "fit":
            return eval_process.answer(command, Path(path).read_bytes())
        named = dict(zip(options[::2], options[1::2], strict=True))
        try:
            found = fit(Path(named["--schema"]), Path(path), max_lines=int(named["--max-lines"]))
        except Unusable as reason:
            raise InvalidRequest(str(reason), param=reason.param) from None
        return msgspec.json.encode(found)


def in_process(sv: Any) -> None:
    """Of a gateway's or worker's services."""
    object.__setattr__(sv, "datasets", InProcess())
    object.__setattr__(sv, "evals", InProcess())


@dataclass
class Straight:
    """`gateway.asking.Asking` without a socket: the calls of one project's key, noted; `fails` refuses the next ones."""

    app: App
    key: str
    asked: list[dict[str, Any]] = field(default_factory=list)
    fails: list[NotAsked] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    """Calls wait for it; it is open at first."""
    held: Callable[[dict[str, Any]], bool] = lambda _: True
    """Which calls wait for it."""
    under_way: int = 0
    most: int = 0

    def __post_init__(self) -> None:
        self.gate.set()

    def holds(self, held: Callable[[dict[str, Any]], bool]) -> None:
        """Calls like that wait for the gate from now on."""
        self.held = held
        self.gate.clear()

    async def chat(self, project_id: str, purpose: str, body: dict[str, Any]) -> Asked:
        assert purpose == "eval"
        self.asked.append(body)
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            if self.held(body):
                await self.gate.wait()
            if self.fails:
                raise self.fails.pop(0)
            return await self._post(body)
        finally:
            self.under_way -= 1

    async def _post(self, body: dict[str, Any]) -> Asked:
        transport = httpx.ASGITransport(app=self.app)  # type: ignore[arg-type]
        headers = {"authorization": f"Bearer {self.key}"}
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway", headers=headers) as client:
            answer = await client.post("/v1/chat/completions", content=msgspec.json.encode(body))
        if answer.status_code != 200:
            error = answer.json()["error"]
            code = (
                "quota"
                if error["code"] == "insufficient_quota"
                else "refused"
                if answer.status_code < 429
                else "upstream"
            )
            id = answer.headers["x-request-id"]
            raise NotAsked(error["message"], code=code, retry=code == "upstream", exchange_id=id)
        cost = answer.headers["x-tuneway-cost"]
        nano = None if cost == "unpriced" else nano_from_usd(cost)
        return Asked(answer.content, answer.headers["x-request-id"], nano, 1.0)

    async def close(self) -> None:
        pass


@asynccontextmanager
async def eval_worker(
    settings: Settings, app: App, key: str, **options: Any
) -> AsyncIterator[tuple[WorkerServices, Straight, EvalRuns]]:
    """A worker's services and its runs, three calls at a time; rounds are made with `begin`."""
    straight = Straight(app, key)
    settings = msgspec.structs.replace(settings, worker=WorkerSettings(eval_calls=3))
    async with worker_services(settings) as opened:
        wv = replace(opened, asking=straight)  # type: ignore[arg-type]
        in_process(wv)
        yield wv, straight, EvalRuns(wv, **{"poll_seconds": 0.02, "first_wait": 0.0} | options)


@asynccontextmanager
async def working(settings: Settings, app: App, key: dict[str, Any], **options: Any) -> AsyncIterator[Straight]:
    """A worker that takes up what waits, every few milliseconds."""
    async with eval_worker(settings, app, key["value"], **options) as (wv, straight, runs):
        wv.background.repeat(runs.begin, 0.02, "take up runs of evals")
        yield straight


def jsonl(*lines: Any) -> bytes:
    return b"\n".join(json.dumps(line).encode() for line in lines)


async def upload(client: httpx.AsyncClient, content: bytes, purpose: str = "evals") -> str:
    """The id of the file."""
    answer = await client.post("/v1/files", files={"file": ("a.jsonl", content)}, data={"purpose": purpose})
    assert answer.status_code == 200, answer.text
    return answer.json()["id"]


RIGHT, WRONG = "yes", "no"


async def done(
    client: httpx.AsyncClient, of: dict[str, Any], *answers: str, first: int = 0, **more: Any
) -> dict[str, Any]:
    """A run whose items are alike in all runs (from `first` on), and whose answers came with them."""
    lines = [
        {"item": qa(f"Is it {number}?", RIGHT), "sample": {"output_text": answer}}
        for number, answer in enumerate(answers, first)
    ]
    source = {"type": "jsonl", "source": {"type": "file_content", "content": lines}}
    run = await ended(client, await create_run(client, of["id"], source, **more))
    assert run["status"] == "completed", run
    return run


async def report(client: httpx.AsyncClient, url: str, status: int = 200, **query: Any) -> dict[str, Any]:
    answer = await client.get(url, params=query)
    assert answer.status_code == status, answer.text
    return answer.json()
