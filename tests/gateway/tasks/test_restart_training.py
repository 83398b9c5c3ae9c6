"""A trainer that dies on its own, in a real process."""

from typing import Any

import httpx
import pytest

from gateway.errors import Unavailable
from gateway.fine_tuning import out_of_memory
from gateway.services import WorkerServices
from gateway.settings import Settings
from gateway.tasks import train_fine_tuning_jobs as task
from gateway.tasks.train_fine_tuning_jobs import train_fine_tuning_jobs
from gateway.tasks.validate_fine_tuning_job import validate_fine_tuning_job
from tests.fakes.fine_tuning import (
    QUICK,
    create_job,
    ended,
    idle,
    job_of,
    messages_of,
    set_mode,
    starts_of,
    until,
    wait,
)

pytestmark = pytest.mark.anyio

Client = httpx.AsyncClient


@pytest.fixture
def memory_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every kill was one of the system, for memory."""
    counts = iter(range(1000))
    monkeypatch.setattr(out_of_memory, "kills", lambda: next(counts))


async def restarts_of(client: Client, job: dict[str, Any]) -> list[dict[str, Any]]:
    """The events that tell of them."""
    events = (await client.get(f"/v1/fine_tuning/jobs/{job['id']}/events?limit=100&order=asc")).json()["data"]
    return [event for event in events if "reason" in (event["data"] or {})]


class TestCrash:
    async def test_goes_on_twice_then_fails(self, client: Client, wv: WorkerServices, settings: Settings) -> None:
        set_mode(settings, "crash")
        job = await ended(client, wv)
        assert (job["status"], job["error"]["code"]) == ("failed", "server_error")
        assert "(status 3). The worker's log has its last words" in job["error"]["message"]
        assert len(starts_of(settings, job["id"])) == 3
        restarts = await restarts_of(client, job)
        assert [restart["data"] for restart in restarts] == [
            {"reason": "crash", "step": 1},
            {"reason": "crash", "step": 2},
        ]
        assert "ended unexpectedly (status 3): going on from the last checkpoint (1 of 2" in restarts[0]["message"]
        told = await messages_of(client, job["id"])
        assert [message for message in told if message.startswith("Training goes on")] == [
            "Training goes on after step 1/3",
            "Training goes on after step 2/3",
        ]

    async def test_before_the_first_step_fails_at_once(
        self, client: Client, wv: WorkerServices, settings: Settings
    ) -> None:
        set_mode(settings, "stuck")
        job = await ended(client, wv)
        assert job["status"] == "failed"
        assert len(starts_of(settings, job["id"])) == 1
        assert await restarts_of(client, job) == []

    async def test_numbers_that_were_chosen_stay(self, client: Client, wv: WorkerServices, settings: Settings) -> None:
        set_mode(settings, "crash")
        job = await ended(client, wv, training={"lora_alpha": 16})
        first, second, _ = starts_of(settings, job["id"])
        assert (first["n_epochs"], first["lora_rank"], first["lora_alpha"]) == ("auto", "auto", 16)
        assert (second["n_epochs"], second["lora_rank"], second["lora_alpha"]) == (3, 8, 16)
        assert job["training"]["reasons"]["n_epochs"] == "few examples"

    async def test_cancelled_in_the_meantime_is_not_started_again(
        self, client: Client, wv: WorkerServices, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        set_mode(settings, "crash")
        job = await create_job(client)
        restart = task.restart_training

        async def cancelled_meanwhile(*arguments: Any) -> Any:
            await client.post(f"/v1/fine_tuning/jobs/{job['id']}/cancel")
            return await restart(*arguments)

        monkeypatch.setattr(task, "restart_training", cancelled_meanwhile)
        await validate_fine_tuning_job(wv, job["id"], QUICK)
        await wait(client, job["id"])
        await idle(wv)
        assert (await job_of(client, job["id"]))["status"] == "cancelled"
        assert len(starts_of(settings, job["id"])) == 1
        assert await restarts_of(client, job) == []


class TestKill:
    async def test_by_somebody_changes_nothing(self, client: Client, wv: WorkerServices, settings: Settings) -> None:
        set_mode(settings, "killed")
        job = await ended(client, wv)
        assert job["status"] == "succeeded"
        starts = starts_of(settings, job["id"])
        assert [start["largest_micro_batch"] for start in starts] == [None] * 4
        restarts = await restarts_of(client, job)
        assert [restart["data"]["reason"] for restart in restarts] == ["killed"] * 3


class TestSeveralDevices:
    async def test_are_started_anew_with_half_until_it_fits(
        self, client: Client, wv: WorkerServices, settings: Settings
    ) -> None:
        set_mode(settings, "crowded")
        job = await ended(client, wv)
        assert (job["status"], job["error"]) == ("succeeded", None)
        starts = starts_of(settings, job["id"])
        assert [start["largest_micro_batch"] for start in starts] == [None, 2, 1]
        assert [start["batch_size"] for start in starts] == ["auto", 4, 4]
        warnings = [restart["message"] for restart in await restarts_of(client, job)]
        assert [warning.split(",")[0] for warning in warnings] == [
            "Out of memory with 4 examples at once",
            "Out of memory with 2 examples at once",
        ]


@pytest.mark.usefixtures("memory_is_full")
class TestOutOfMemory:
    async def test_halves_what_is_computed_at_once_and_fails_at_one(
        self, client: Client, wv: WorkerServices, settings: Settings
    ) -> None:
        set_mode(settings, "killed")
        job = await create_job(client)
        await validate_fine_tuning_job(wv, job["id"], QUICK)
        job = await wait(client, job["id"])
        starts = starts_of(settings, job["id"])
        assert [start["largest_micro_batch"] for start in starts] == [None, 2, 1]
        assert [start["batch_size"] for start in starts] == ["auto", 4, 4]
        assert (job["status"], job["error"]["code"]) == ("failed", "out_of_memory")
        assert "gradient_checkpointing" in job["error"]["message"]
        warnings = [restart["message"] for restart in await restarts_of(client, job)]
        assert len(warnings) == 2
        assert warnings[0].startswith("Out of memory with 4 examples at once")
        assert "with 2 at once. The batch size stays the same." in warnings[0]

    async def test_smaller_size_outlives_the_worker(
        self, client: Client, wv: WorkerServices, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        set_mode(settings, "killed")
        job = await create_job(client)
        restart = task.restart_training

        async def then_the_database_goes_away(*arguments: Any) -> Any:
            await restart(*arguments)
            raise Unavailable("the database is away")

        monkeypatch.setattr(task, "restart_training", then_the_database_goes_away)
        await validate_fine_tuning_job(wv, job["id"], QUICK)
        await until(lambda: len(starts_of(settings, job["id"])) == 1)
        await idle(wv)
        set_mode(settings, "succeed")
        await train_fine_tuning_jobs(wv, QUICK)
        assert (await job_of(client, job["id"]))["status"] == "succeeded"
        assert [start["largest_micro_batch"] for start in starts_of(settings, job["id"])] == [None, 2]

    async def test_before_the_training_began_fails_with_advice(
        self, client: Client, wv: WorkerServices, settings: Settings
    ) -> None:
        set_mode(settings, "stuck")
        job = await ended(client, wv)
        assert job["error"]["code"] == "out_of_memory"
        assert "while the base model was loaded" in job["error"]["message"]
        await train_fine_tuning_jobs(wv, QUICK)
        assert (await job_of(client, job["id"]))["status"] == "failed"
