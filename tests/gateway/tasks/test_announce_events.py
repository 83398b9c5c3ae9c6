"""What happened becomes deliveries exactly once, whoever tells of it and whenever that one dies."""

from datetime import timedelta
from typing import Any

import httpx
import msgspec
import pytest
from openai.types.webhooks import (
    EvalRunCanceledWebhookEvent,
    EvalRunFailedWebhookEvent,
    EvalRunSucceededWebhookEvent,
    FineTuningJobCancelledWebhookEvent,
    FineTuningJobFailedWebhookEvent,
    FineTuningJobSucceededWebhookEvent,
)
from sqlalchemy import select, text, update

from gateway.budgets import repository as budgets
from gateway.db.tables import BudgetEventRow, EvalRunRow, FineTuningJobRow, WebhookDeliveryRow
from gateway.fine_tuning import repository as jobs
from gateway.kit.clock import now, unix
from gateway.kit.sealing import Sealer, read_keys
from gateway.protocol.webhooks import EVENT_TYPES, WebhookCreate
from gateway.services import WorkerServices
from gateway.settings import Secret, Settings
from gateway.tasks import announce_events as module
from gateway.tasks.announce_events import BATCH, announce_events
from gateway.webhooks import repository
from tests.fakes.evals import add_run
from tests.fakes.fine_tuning import create_job

pytestmark = pytest.mark.anyio

KEY = "5e" * 32
TYPES = {
    "succeeded": FineTuningJobSucceededWebhookEvent,
    "failed": FineTuningJobFailedWebhookEvent,
    "cancelled": FineTuningJobCancelledWebhookEvent,
}


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return msgspec.structs.replace(settings, encryption_key=Secret(KEY))


@pytest.fixture
async def webhook(wv: WorkerServices) -> str:
    """It wants everything."""
    async with wv.database.session() as session:
        wanted = WebhookCreate(url="http://127.0.0.1:9", event_types=list(EVENT_TYPES))
        row, _ = await repository.create(session, Sealer(read_keys(KEY)), wanted)
    return row.id


async def deliveries(wv: WorkerServices) -> list[WebhookDeliveryRow]:
    async with wv.database.session() as session:
        query = select(WebhookDeliveryRow).order_by(WebhookDeliveryRow.created_at, WebhookDeliveryRow.id)
        return list(await session.scalars(query))


async def reach(wv: WorkerServices, budget: dict[str, Any], *thresholds: int) -> None:
    async with wv.database.session() as session:
        for threshold in thresholds:
            session.add(
                BudgetEventRow(
                    id=f"budevt_{budget['id']}{threshold}", created_at=now(), budget_id=budget["id"],
                    starts_at=now().replace(day=1, hour=0, minute=0, second=0, microsecond=0),
                    threshold=threshold, limit_nano=10_000_000_000, spent_nano=threshold * 100_000_000,
                )
            )  # fmt: skip


async def create(admin: httpx.AsyncClient, **fields: Any) -> dict[str, Any]:
    return (await admin.post("/v1/budgets", json={"period": "month", "limit_usd": 10, "name": "all"} | fields)).json()


class TestBudgets:
    async def test_thresholds_are_told_once(self, admin: httpx.AsyncClient, wv: WorkerServices, webhook: str) -> None:
        budget = await create(admin)
        await reach(wv, budget, 80, 100)
        await announce_events(wv)
        await announce_events(wv)
        told = {row.type: row.body for row in await deliveries(wv)}
        assert sorted(told) == ["budget.exhausted", "budget.threshold_reached"]
        body = told["budget.threshold_reached"]
        window = budget["window"]
        assert body["data"] == {
            "id": budget["id"], "name": "all", "scope": "organization", "project_id": None, "api_key_id": None,
            "period": "month", "hard": True, "threshold": 80, "limit_usd": 10, "spent_usd": 8,
            "starts_at": window["starts_at"], "ends_at": window["ends_at"], "source": "budgets",
        }  # fmt: skip
        assert (body["object"], body["type"], body["id"][:4]) == ("event", "budget.threshold_reached", "evt_")
        assert abs(body["created_at"] - unix(now())) < 60
        events = (await admin.get(f"/v1/budgets/{budget['id']}/events")).json()["data"]
        assert all(each["announced_at"] for each in events)

    async def test_a_soft_one_is_never_exhausted(
        self, admin: httpx.AsyncClient, wv: WorkerServices, webhook: str
    ) -> None:
        await reach(wv, await create(admin, hard=False), 100)
        await announce_events(wv)
        assert [row.type for row in await deliveries(wv)] == ["budget.threshold_reached"]

    async def test_nothing_is_noted_as_told_when_telling_fails(
        self, admin: httpx.AsyncClient, wv: WorkerServices, webhook: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await reach(wv, await create(admin), 50)

        async def dies(*arguments: Any) -> int:
            await session_of(*arguments)
            raise RuntimeError("killed")

        session_of = module.announce
        with monkeypatch.context() as patched:
            patched.setattr(module, "announce", dies)
            with pytest.raises(RuntimeError):
                await announce_events(wv)
        assert await deliveries(wv) == []
        await announce_events(wv)
        assert len(await deliveries(wv)) == 1

    async def test_two_at_once_tell_each_once(self, admin: httpx.AsyncClient, wv: WorkerServices, webhook: str) -> None:
        await reach(wv, await create(admin), 50, 80)
        async with wv.database.session() as one, wv.database.session() as two:
            first = await budgets.unannounced(one, 1)
            second = await budgets.unannounced(two, 10)
        assert len({event.id for event, _ in [*first, *second]}) == len(first) + len(second) == 2

    async def test_more_than_a_batch(self, admin: httpx.AsyncClient, wv: WorkerServices, webhook: str) -> None:
        await reach(wv, await create(admin), *range(1, BATCH + 2))
        await announce_events(wv)
        assert len(await deliveries(wv)) == BATCH + 1

    async def test_without_a_webhook_it_is_old_news(self, admin: httpx.AsyncClient, wv: WorkerServices) -> None:
        await reach(wv, await create(admin), 50)
        await announce_events(wv)
        assert await deliveries(wv) == []
        async with wv.database.session() as session:
            left = select(BudgetEventRow).where(BudgetEventRow.announced_at.is_(None))
            assert list(await session.scalars(left)) == []


class TestJobs:
    @pytest.mark.parametrize("status", ["succeeded", "failed", "cancelled"])
    async def test_an_end_is_told_once_as_openai_does(
        self, client: httpx.AsyncClient, wv: WorkerServices, webhook: str, status: Any
    ) -> None:
        job = await create_job(client)
        await announce_events(wv)
        assert await deliveries(wv) == []
        async with wv.database.session() as session:
            await session.execute(text("UPDATE fine_tuning_jobs SET status = 'running', finished_at = NULL"))
        async with wv.database.session() as session:
            assert await jobs.move(session, job["id"], status)
        await announce_events(wv)
        await announce_events(wv)
        [row] = await deliveries(wv)
        event = TYPES[status].model_validate(row.body, strict=True)
        assert (event.data.id, row.type) == (job["id"], f"fine_tuning.job.{status}")
        assert row.body["data"]["project_id"]

    async def test_ends_before_there_were_webhooks_are_not(
        self, client: httpx.AsyncClient, wv: WorkerServices, webhook: str
    ) -> None:
        job = await create_job(client)
        async with wv.database.session() as session:
            row = await session.get_one(FineTuningJobRow, job["id"])
            row.status, row.finished_at, row.announced_at = "failed", now() - timedelta(days=1), now()
        await announce_events(wv)
        assert await deliveries(wv) == []


class TestRuns:
    @pytest.mark.parametrize(
        ("status", "kind"),
        [
            ("completed", EvalRunSucceededWebhookEvent),
            ("failed", EvalRunFailedWebhookEvent),
            ("canceled", EvalRunCanceledWebhookEvent),
        ],
    )
    async def test_an_end_is_told_once_as_openai_does(
        self, wv: WorkerServices, project_key: dict[str, Any], webhook: str, status: str, kind: Any
    ) -> None:
        await add_run(wv.database, project_key["project_id"])
        await announce_events(wv)
        assert await deliveries(wv) == []
        await self.end(wv, status)
        await announce_events(wv)
        await announce_events(wv)
        [row] = await deliveries(wv)
        event = kind.model_validate(row.body, strict=True)
        assert event.data.id.startswith("evalrun_")
        assert row.body["data"]["eval_id"].startswith("eval_")

    async def test_a_deleted_one_is_not(self, wv: WorkerServices, project_key: dict[str, Any], webhook: str) -> None:
        await add_run(wv.database, project_key["project_id"])
        await self.end(wv, "canceled", deleted_at=now())
        await announce_events(wv)
        assert await deliveries(wv) == []

    async def end(self, wv: WorkerServices, status: str, **fields: Any) -> None:
        async with wv.database.session() as session:
            await session.execute(update(EvalRunRow).values(status=status, finished_at=now(), **fields))
