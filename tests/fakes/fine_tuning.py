"""Training files, jobs and a worker for tests of fine-tuning."""

import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import msgspec

from gateway.services import WorkerServices
from gateway.settings import EngineSettings, FineTuningSettings, Settings
from gateway.tasks.pauses import Pauses
from gateway.tasks.validate_fine_tuning_job import validate_fine_tuning_job
from tests.fakes.engine import BASE, FakeEngine

TRAINER = (sys.executable, "-P", str(Path(__file__).with_name("trainer.py")))
QUICK = Pauses(poll=0.02, load=0.02, load_tries=3, stop=5.0, budgets=0.02)
DEADLINE = 20.0


def example(question: str = "Question?", answer: str = "Answer.", **assistant: Any) -> dict[str, Any]:
    return {
        "messages": [
            {"role": "user", "content": question},
            {"role": "assistant", "content": answer, **assistant},
        ]
    }


def jsonl(*examples: Any) -> bytes:
    return b"".join(json.dumps(each).encode() + b"\n" for each in examples)


TEN = jsonl(*(example(f"Question {number}?") for number in range(10)))


def with_engine(settings: Settings, engine: FakeEngine, **fine_tuning: Any) -> Settings:
    """The settings of a gateway whose engine and trainer are the fakes."""
    weights = settings.data_dir / "base-model"
    weights.mkdir(exist_ok=True)
    return msgspec.structs.replace(
        settings,
        engine=EngineSettings(url=engine.url, model=BASE, model_path=str(weights)),
        fine_tuning=FineTuningSettings(command=TRAINER, **fine_tuning),
    )


def set_mode(settings: Settings, mode: str) -> None:
    """What the fake trainer does from its next start on."""
    (settings.data_dir / "trainer-mode").write_text(mode)


async def upload(client: httpx.AsyncClient, content: bytes = TEN, *, name: str = "train.jsonl", **fields: str) -> str:
    answer = await client.post("/v1/files", files={"file": (name, content)}, data={"purpose": "fine-tune", **fields})
    assert answer.status_code == 200, answer.text
    return answer.json()["id"]


async def create_job(client: httpx.AsyncClient, content: bytes = TEN, **fields: Any) -> dict[str, Any]:
    body = {"model": BASE, "training_file": await upload(client, content), **fields}
    answer = await client.post("/v1/fine_tuning/jobs", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def job_of(client: httpx.AsyncClient, job_id: str) -> dict[str, Any]:
    return (await client.get(f"/v1/fine_tuning/jobs/{job_id}")).json()


async def messages_of(client: httpx.AsyncClient, job_id: str) -> list[str]:
    """Of all events, oldest first."""
    events = (await client.get(f"/v1/fine_tuning/jobs/{job_id}/events?limit=100&order=asc")).json()["data"]
    return [event["message"] for event in events]


def finals(engine: FakeEngine) -> dict[str, str]:
    """The adapters that it has loaded of whole jobs, checkpoints left out."""
    return {name: path for name, path in engine.adapters.items() if ":ckpt-step-" not in name}


def prepare(settings: Settings, job_id: str) -> None:
    """The directory of a job as its validation leaves it."""
    directory = settings.data_dir / "jobs" / job_id
    directory.mkdir(parents=True)
    (directory / "training.jsonl").write_bytes(TEN)


def starts_of(settings: Settings, job_id: str) -> list[dict[str, Any]]:
    """The specs with which the fake trainer was started for a job."""
    path = settings.data_dir / "jobs" / job_id / "starts.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


async def until(condition: Callable[[], bool | Awaitable[bool]]) -> None:
    """Wait for a condition, at most DEADLINE seconds."""
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        met = condition()
        if met if isinstance(met, bool) else await met:
            return
        await asyncio.sleep(0.02)
    raise AssertionError("the condition was not met in time")


async def idle(wv: WorkerServices) -> None:
    """Until it trains nothing and has tidied up."""
    await until(lambda: not wv.training.locked())


async def queued(client: httpx.AsyncClient, wv: WorkerServices, **fields: Any) -> dict[str, Any]:
    """A new job, validated."""
    job = await create_job(client, **fields)
    await validate_fine_tuning_job(wv, job["id"], QUICK)
    return job


async def ended(client: httpx.AsyncClient, wv: WorkerServices, pauses: Pauses = QUICK, **fields: Any) -> dict[str, Any]:
    """A new job, validated and trained to its end."""
    job = await create_job(client, **fields)
    await validate_fine_tuning_job(wv, job["id"], pauses)
    return await wait(client, job["id"])


async def wait(client: httpx.AsyncClient, job_id: str, *statuses: str) -> dict[str, Any]:
    async def there() -> bool:
        return (await job_of(client, job_id))["status"] in (statuses or ("succeeded", "failed", "cancelled"))

    await until(there)
    return await job_of(client, job_id)


async def training(
    client: httpx.AsyncClient, wv: WorkerServices, settings: Settings, mode: str = "hold", **fields: Any
) -> dict[str, Any]:
    """A job whose trainer waits after its first step."""
    set_mode(settings, mode)
    job = await queued(client, wv, **fields)

    async def stepped() -> bool:
        return "Checkpoint created at step 1" in await messages_of(client, job["id"])

    await until(stepped)
    return job


def go_on(settings: Settings, job_id: str) -> None:
    (settings.data_dir / "jobs" / job_id / "go").touch()


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False
