"""The rounds around judging: traffic is sampled, lag is told, judges are held against people."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from gateway.db.database import Database
from gateway.db.tables import CalibrationRow, ExchangeRow, JudgingTaskRow, WebhookDeliveryRow, WebhookRow
from gateway.kit.clock import now
from gateway.protocol.judges import LlmSpec, Watch
from gateway.services import Services, WorkerServices, worker_services
from gateway.settings import Settings
from gateway.tasks.calibrate_judges import calibrate_judges
from gateway.tasks.judge_answers import Judging
from gateway.tasks.sample_exchanges import Sampling
from gateway.tasks.watch_judging import watch_judging
from tests.conftest import chat
from tests.fakes.judging import FakeAsking, World, says
from tests.gateway.judging.test_calibrations import fill, made
from tests.polling import until

pytestmark = pytest.mark.anyio


@pytest.fixture
async def world(database: Database) -> World:
    return await World(database).open()


@pytest.fixture
async def wv(settings: Settings) -> AsyncIterator[WorkerServices]:
    async with worker_services(settings) as wv:
        yield replace(wv, asking=FakeAsking({"five": says(5)}))  # type: ignore[arg-type]


class TestSampling:
    async def test_traffic_ends_in_judgments(
        self, client: httpx.AsyncClient, sv: Services, wv: WorkerServices, project_key: dict[str, Any]
    ) -> None:
        """Pitfall 20, from the call to the verdict; the judge's own calls would carry a purpose."""
        world = World(sv.database, project_key["project_id"])
        await world.judge(LlmSpec(model="five"), watch=Watch(), since=now() - timedelta(minutes=1))
        ids = {(await client.post("/v1/chat/completions", json=chat("echo"))).headers["x-request-id"] for _ in range(3)}
        streamed = await client.post("/v1/chat/completions", json=chat("echo", stream=True))
        ids.add(streamed.headers["x-request-id"])
        await client.post("/v1/chat/completions", json=chat("status-400"))
        await sv.drain.drain()
        await Sampling(wv).round()
        await Judging(wv).begin()

        async def all_judged() -> bool:
            return {row.exchange_id for row in await world.judged()} == ids

        await until(all_judged)
        assert {(row.status, row.score) for row in await world.judged()} == {("ok", 1.0)}
        assert {(row.sampling or {})["probability"] for row in await world.judged()} == {1.0}

    async def test_looks_back_for_long_at_first_and_then_now_and_then(self, world: World, wv: WorkerServices) -> None:
        await world.judge(watch=Watch(), since=now() - timedelta(days=2))
        sampling = Sampling(wv)
        await world.answer(at=now() - timedelta(hours=3))
        await sampling.round()
        assert len(await world.tasks()) == 1
        await world.answer(at=now() - timedelta(hours=2))
        await sampling.round()
        assert len(await world.tasks()) == 1
        await Sampling(wv).round()
        assert len(await world.tasks()) == 2

    async def test_judges_that_watch_nothing_are_left_alone(self, world: World, wv: WorkerServices) -> None:
        await world.judge()
        await world.answer()
        await Sampling(wv).round()
        assert await world.tasks() == []


async def test_a_judge_that_lags_is_told_to_webhooks_once(
    world: World, wv: WorkerServices, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    _, version = await world.judge()
    await world.ask(version, "req_1", "req_2")
    async with database.session() as session:
        moment = now()
        session.add(
            WebhookRow(
                id="whe_1", url="http://127.0.0.1:9/", name="w", events=["judge.lagging"], secret=b"", secret_hint="",
                created_at=moment, updated_at=moment,
            )
        )  # fmt: skip
    await watch_judging(wv)
    async with database.session() as session:
        assert list(await session.scalars(select(WebhookDeliveryRow))) == []
        for row in await session.scalars(select(JudgingTaskRow)):
            row.created_at = moment - timedelta(minutes=16)
    await watch_judging(wv)
    await watch_judging(wv)
    async with database.session() as session:
        (delivery,) = await session.scalars(select(WebhookDeliveryRow))
    assert delivery.type == "judge.lagging"
    data = delivery.body["data"]
    assert (data["name"], data["project_id"], data["waiting"]) == ("j", world.project_id, 2)
    assert caplog.text.count("lags: 2 wait") == 1


async def test_judges_are_held_against_people_by_themselves(
    world: World, wv: WorkerServices, database: Database
) -> None:
    _, version, criterion = await made(world)
    await fill(world, version, criterion, [[3, 0], [0, 3]])
    await calibrate_judges(wv)
    await calibrate_judges(wv)
    async with database.session() as session:
        (row,) = await session.scalars(select(CalibrationRow))
    assert (row.judge_version_id, row.n, row.kappa) == (version.id, 6, 1.0)


async def test_what_tuneway_asked_is_never_sampled(world: World, wv: WorkerServices, database: Database) -> None:
    await world.judge(watch=Watch(), since=now() - timedelta(minutes=1))
    await world.answer(purpose="judge")
    await Sampling(wv).round()
    async with database.session() as session:
        assert await session.scalar(select(ExchangeRow.purpose)) == "judge"
    assert await world.tasks() == []
