"""Devices, turns and positions with real trainer processes."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import msgspec
import pytest

from gateway.services import WorkerServices, worker_services
from gateway.settings import Settings
from gateway.tasks.train_fine_tuning_jobs import train_fine_tuning_jobs
from tests.fakes.fine_tuning import (
    QUICK,
    go_on,
    job_of,
    messages_of,
    queued,
    set_mode,
    starts_of,
    training,
    until,
    wait,
)

pytestmark = pytest.mark.anyio

Client = httpx.AsyncClient


async def positions(client: Client, job: dict[str, Any]) -> list[str]:
    return [message for message in await messages_of(client, job["id"]) if message.startswith("Waiting in the queue")]


class TestOneDevice:
    async def test_those_that_wait_are_told_their_place_as_it_changes(
        self, client: Client, wv: WorkerServices, settings: Settings
    ) -> None:
        running = await training(client, wv, settings)
        second, third = await queued(client, wv), await queued(client, wv)

        async def told() -> bool:
            return await positions(client, third) == ["Waiting in the queue: 2 jobs are ahead"]

        await until(told)
        assert await positions(client, second) == ["Waiting in the queue: 1 job is ahead"]
        assert await positions(client, running) == []
        assert starts_of(settings, second["id"]) == []
        go_on(settings, running["id"])
        await wait(client, running["id"])

        async def told_again() -> bool:
            return (await positions(client, third))[1:] == ["Waiting in the queue: 1 job is ahead"]

        await until(told_again)
        set_mode(settings, "succeed")
        go_on(settings, second["id"])
        for job in (second, third):
            assert (await wait(client, job["id"]))["status"] == "succeeded"
        assert len(await positions(client, second)) == 1

    async def test_another_projects_job_is_not_kept_waiting_by_many(
        self, client: Client, stranger: Client, wv: WorkerServices, settings: Settings
    ) -> None:
        first = await training(client, wv, settings)
        many = [await queued(client, wv) for _ in range(2)]
        set_mode(settings, "succeed")
        other = await queued(stranger, wv)
        go_on(settings, first["id"])
        for each in many:
            assert (await wait(client, each["id"]))["status"] == "succeeded"
        started = {job["id"]: starts_of(settings, job["id"])[0]["at"] for job in (*many, other)}
        assert sorted(started, key=lambda job_id: started[job_id]) == [other["id"], many[0]["id"], many[1]["id"]]


class TestDevices:
    @pytest.fixture
    async def two(self, settings: Settings) -> AsyncIterator[WorkerServices]:
        fine_tuning = msgspec.structs.replace(settings.fine_tuning, devices=("3", "0,1"))
        async with worker_services(msgspec.structs.replace(settings, fine_tuning=fine_tuning)) as wv:
            yield wv

    async def test_each_trains_one_job_at_a_time(self, client: Client, two: WorkerServices, settings: Settings) -> None:
        set_mode(settings, "hold")
        jobs = [await queued(client, two) for _ in range(3)]
        await until(lambda: all(starts_of(settings, job["id"]) for job in jobs[:2]))
        devices = [starts_of(settings, job["id"])[0]["device"] for job in jobs[:2]]
        assert sorted(devices) == ["0,1", "3"]
        await train_fine_tuning_jobs(two, QUICK)
        assert (await job_of(client, jobs[2]["id"]))["status"] == "queued"
        assert await positions(client, jobs[2]) == ["Waiting in the queue: 2 jobs are ahead"]
        go_on(settings, jobs[1]["id"])
        await until(lambda: starts_of(settings, jobs[2]["id"]) != [])
        assert starts_of(settings, jobs[2]["id"])[0]["device"] == devices[1]

    async def test_without_any_the_trainer_takes_what_it_finds(
        self, client: Client, wv: WorkerServices, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        job = await queued(client, wv)
        await wait(client, job["id"])
        assert starts_of(settings, job["id"])[0]["device"] is None
