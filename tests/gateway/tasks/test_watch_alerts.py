"""Alerts are told to webhooks when they start and when they end, once each time."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import httpx
import msgspec
import pytest
from sqlalchemy import delete, func, select, update

from gateway import open_alerts
from gateway.db.tables import AlertRow, CriterionRow, JudgmentRow, WebhookDeliveryRow
from gateway.kit.clock import now, unix
from gateway.kit.sealing import Sealer, read_keys
from gateway.protocol.alerts import Alert
from gateway.protocol.webhooks import EVENT_TYPES, WebhookCreate
from gateway.services import Services, WorkerServices, worker_services
from gateway.settings import AlertSettings, Secret, Settings
from gateway.tasks.watch_alerts import watch_alerts, watch_quality
from gateway.webhooks import repository
from tests.fakes.judging import World
from tests.fakes.many_judgments import judged
from tests.gateway.metering.logged_calls import log

pytestmark = pytest.mark.anyio

KEY = "5e" * 32


@pytest.fixture
def settings(settings: Settings) -> Settings:
    alerts = AlertSettings(uptime=0)  # which would tell of the same calls for a day
    return msgspec.structs.replace(settings, encryption_key=Secret(KEY), alerts=alerts)


@pytest.fixture(autouse=True)
async def webhook(wv: WorkerServices) -> str:
    """It wants everything."""
    async with wv.database.session() as session:
        wanted = WebhookCreate(url="http://127.0.0.1:9", event_types=list(EVENT_TYPES))
        row, _ = await repository.create(session, Sealer(read_keys(KEY)), wanted)
    return row.id


@pytest.fixture
async def another(settings: Settings) -> AsyncIterator[WorkerServices]:
    async with worker_services(settings) as other:
        yield other


async def told(wv: WorkerServices) -> list[tuple[str, dict[str, Any]]]:
    async with wv.database.session() as session:
        query = select(WebhookDeliveryRow).order_by(WebhookDeliveryRow.created_at, WebhookDeliveryRow.id)
        return [(row.type, row.body["data"]) for row in await session.scalars(query)]


async def fail(wv: WorkerServices, project_id: str = "proj_bad") -> None:
    """A minute ago."""
    at = unix(now()) - 60
    calls = [{"created_at": at + n / 1000, "project_id": project_id} for n in range(30)]
    await log(wv.database, *(call | {"outcome": "failed", "status": 502} for call in calls))


async def fall(wv: WorkerServices) -> CriterionRow:
    """Fewer answers of the last day pass than of the weeks before."""
    criterion = await (await World(wv.database).open()).criterion()
    await judged(wv.database, criterion, 20, 50, hours=2)
    await judged(wv.database, criterion, 90, 100, hours=100)
    return criterion


async def pass_by(wv: WorkerServices, time: timedelta = open_alerts.ENDS_AFTER) -> None:
    """As if whatever was found had been found so long ago, and the calls that failed had come in long before."""
    async with wv.database.session() as session:
        await session.execute(update(AlertRow).values(seen_at=AlertRow.seen_at - time - timedelta(seconds=1)))


async def mend(wv: WorkerServices, project_id: str = "proj_bad") -> None:
    """So many calls that those which failed are few."""
    at = unix(now()) - 30
    await log(wv.database, *({"created_at": at + n / 1000, "project_id": project_id} for n in range(4000)))


class TestStarting:
    async def test_is_told_once(self, wv: WorkerServices) -> None:
        await fail(wv)
        await watch_alerts(wv)
        await watch_alerts(wv)
        [(kind, data)] = await told(wv)
        assert kind == "alert.started"
        assert (data["id"], data["kind"], data["project_id"]) == ("error_rate:proj_bad", "error_rate", "proj_bad")
        assert (data["value"], data["limit"], data["n"], data["severity"]) == (1.0, 0.01, 30, "critical")
        assert "failed (30 of 30)" in data["message"]
        assert "object" not in data

    async def test_by_two_workers_at_once_too(self, wv: WorkerServices, another: WorkerServices) -> None:
        await fail(wv)
        await asyncio.gather(*(watch_alerts(each) for each in (wv, another, wv, another)))
        assert [kind for kind, _ in await told(wv)] == ["alert.started"]

    async def test_what_has_events_of_its_own_is_not_told_twice(self, wv: WorkerServices) -> None:
        found = [
            Alert(kind=kind, severity="warning", message="x", since=None, subject_type="budget", subject_id="b")
            for kind in ("budget_exhausted", "budget_threshold", "judge_lag")
        ]
        async with wv.database.session() as session:
            assert await open_alerts.note(session, found) == []  # type: ignore[arg-type]
        assert await told(wv) == []

    async def test_nothing_is_told_that_is_not_written(
        self, wv: WorkerServices, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A worker that dies between the row and the end of the transaction leaves neither."""
        await fail(wv)

        async def dies(*_: object) -> None:
            raise RuntimeError("killed")

        with monkeypatch.context() as patched:
            patched.setattr(open_alerts, "end_past", dies)
            with pytest.raises(RuntimeError, match="killed"):
                await watch_alerts(wv)
        assert await told(wv) == []
        await watch_alerts(wv)
        assert len(await told(wv)) == 1


class TestEnding:
    async def test_is_told_once_when_nobody_has_found_it_for_a_while(
        self, wv: WorkerServices, another: WorkerServices
    ) -> None:
        await fail(wv)
        await watch_alerts(wv)
        await mend(wv)
        await watch_alerts(wv)
        assert len(await told(wv)) == 1, "not at once: it may come back"
        await pass_by(wv)
        await asyncio.gather(*(watch_alerts(each) for each in (wv, another, wv, another)))
        (first, _), (second, data) = await told(wv)
        assert (first, second) == ("alert.started", "alert.ended")
        assert (data["id"], data["started_at"] >= data["ended_at"] > 0) == ("error_rate:proj_bad", True)

    async def test_what_still_is_so_after_a_long_absence_of_workers_has_not_ended(self, wv: WorkerServices) -> None:
        await fail(wv)
        await watch_alerts(wv)
        await pass_by(wv, timedelta(hours=3))
        await watch_alerts(wv)
        assert [kind for kind, _ in await told(wv)] == ["alert.started"]

    async def test_it_may_start_again(self, wv: WorkerServices) -> None:
        await fail(wv, "proj_other")
        await watch_alerts(wv)
        async with wv.database.session() as session:
            await session.execute(update(AlertRow).values(id="error_rate:proj_gone"))
        await pass_by(wv)
        await watch_alerts(wv)
        assert sorted(kind for kind, _ in await told(wv)) == ["alert.ended", "alert.started", "alert.started"]


class TestQuality:
    async def test_a_fall_is_an_alert_of_the_project(
        self, wv: WorkerServices, admin: httpx.AsyncClient, project_key: dict[str, Any]
    ) -> None:
        criterion = await fall(wv)
        await watch_quality(wv)
        await watch_quality(wv)
        [(kind, data)] = await told(wv)
        assert (kind, data["kind"], data["subject_id"]) == ("alert.started", "quality_drift", criterion.id)
        assert (data["criterion"], data["source"]) == ("helpful", "human")
        assert data["message"] == (
            "By people, fewer answers pass helpful: 40% (28% to 54%, n = 50) in the last day,"
            " 90% (83% to 94%, n = 100) in the four weeks before."
        )
        [shown] = (await admin.get("/v1/organization/alerts")).json()["data"]
        assert {name: shown[name] for name in data} == data
        own = f"/v1/organization/projects/{project_key['project_id']}/alerts"
        assert (await admin.get(own)).json()["data"] == []

    async def test_its_beginning_stays_what_was_told(
        self, wv: WorkerServices, admin: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await fall(wv)
        await watch_quality(wv)
        later = now() + timedelta(minutes=5)
        monkeypatch.setattr("gateway.tasks.watch_alerts.now", lambda: later)
        await watch_quality(wv)
        [(_, data)] = await told(wv)
        [shown] = (await admin.get("/v1/organization/alerts")).json()["data"]
        assert shown["since"] == data["since"]

    async def test_what_no_worker_has_found_lately_is_not_shown(
        self, wv: WorkerServices, admin: httpx.AsyncClient
    ) -> None:
        world = await World(wv.database).open()
        criterion = await world.criterion()
        await judged(wv.database, criterion, 0, 50, hours=2)
        await judged(wv.database, criterion, 90, 100, hours=100)
        await watch_quality(wv)
        await pass_by(wv)
        assert (await admin.get("/v1/organization/alerts")).json()["data"] == []

    async def test_it_lasts_through_a_long_absence_of_workers(self, wv: WorkerServices) -> None:
        await fall(wv)
        await watch_quality(wv)
        await pass_by(wv)
        await watch_alerts(wv)  # which looks first, and not for this
        await watch_quality(wv)
        assert [kind for kind, _ in await told(wv)] == ["alert.started"]

    async def test_it_ends_when_nobody_has_found_it_for_a_while(self, wv: WorkerServices) -> None:
        await fall(wv)
        await watch_quality(wv)
        async with wv.database.session() as session:
            await session.execute(delete(JudgmentRow))
        await watch_quality(wv)
        assert len(await told(wv)) == 1
        await pass_by(wv)
        await watch_quality(wv)
        assert [kind for kind, _ in await told(wv)] == ["alert.started", "alert.ended"]


FAILING = Alert(
    id="upstream_failing:fake:echo", kind="upstream_failing", severity="critical", message="theirs", since=None,
    subject_type="upstream", subject_id="fake",
)  # fmt: skip


class TestOtherGateways:
    async def test_what_they_know_lasts_until_they_have_had_the_time_to_note_it(self, wv: WorkerServices) -> None:
        """After a break for all of them, a worker may look first."""
        async with wv.database.session() as session:
            await open_alerts.note(session, [FAILING])
        await pass_by(wv)
        await watch_alerts(wv)
        await watch_alerts(wv)
        assert [kind for kind, _ in await told(wv)] == ["alert.started"]
        wv.looks.since = now() - open_alerts.ENDS_AFTER
        await watch_alerts(wv)
        assert [kind for kind, _ in await told(wv)] == ["alert.started", "alert.ended"]

    async def test_a_worker_that_was_away_begins_anew(self, wv: WorkerServices) -> None:
        async with wv.database.session() as session:
            await open_alerts.note(session, [FAILING])
        await pass_by(wv)
        wv.looks.since, wv.looks.last = now() - timedelta(hours=1), now() - timedelta(minutes=6)
        await watch_alerts(wv)
        await watch_alerts(wv)
        assert [kind for kind, _ in await told(wv)] == ["alert.started"]

    async def test_what_another_process_knows_is_shown_too(
        self, wv: WorkerServices, admin: httpx.AsyncClient, sv: Services
    ) -> None:
        """Once, where both of them find it."""
        async with wv.database.session() as session:
            await open_alerts.note(session, [FAILING])
        [shown] = (await admin.get("/v1/organization/alerts")).json()["data"]
        assert (shown["message"], shown["since"] is None) == ("theirs", False)
        async with wv.database.session() as session:
            assert await session.scalar(select(func.count()).select_from(AlertRow)) == 1
