"""What a fine-tuning job trained is charged once, however it ends."""

import asyncio
import signal
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import func, select, text, update

from gateway.db.database import Database
from gateway.db.tables import ApiKeyRow, FineTuningJobRow, PriceRow, UsageHourRow, UserRow
from gateway.errors import Unavailable
from gateway.kit.clock import from_unix, now
from gateway.services import WorkerServices
from gateway.settings import Settings, child_environment
from gateway.tasks import charge_training as task
from gateway.tasks import train_fine_tuning_jobs as training_task
from gateway.tasks.charge_training import charge_job
from gateway.tasks.settle_fine_tuning_jobs import settle_fine_tuning_jobs
from tests.fakes.engine import BASE, FakeEngine
from tests.fakes.fine_tuning import until
from tests.fakes.paid_jobs import Job, PaidJobs
from tests.fakes.training_money import TIME_NANO, TOKENS_NANO, with_price

pytestmark = pytest.mark.anyio


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return with_price(settings)


class TestSucceeded:
    async def test_its_tokens_and_its_time(self, jobs: PaidJobs, project_key: dict[str, Any]) -> None:
        job = await jobs.ended()
        row = await jobs.charge(job)
        assert row.id == f"charge_{job['id']}_1"
        assert (row.kind, row.endpoint, row.model, row.batch) == ("training", "/fine_tuning/jobs", BASE, False)
        assert (row.project_id, row.api_key_id, row.user_id) == (project_key["project_id"], project_key["id"], "")
        assert (row.input_tokens, row.cached_input_tokens, row.output_tokens, row.device_ms) == (300, 0, 0, 500)
        assert (row.input_nano, row.request_nano, row.cost_nano) == (TOKENS_NANO, TIME_NANO, TOKENS_NANO + TIME_NANO)
        assert row.priced
        assert job["actual"]["cost_usd"] == 1.3
        assert not await jobs.told(job, "Charged")

    async def test_counts_when_the_training_began(self, jobs: PaidJobs, database: Database) -> None:
        job = await jobs.ended()
        async with database.session() as session:
            row = await session.get_one(FineTuningJobRow, job["id"])
        charge = await jobs.charge(job)
        assert charge.created_at == row.started_at

    async def test_rollups_have_it(self, jobs: PaidJobs, database: Database) -> None:
        job = await jobs.ended()
        async with database.session() as session:
            (hour,) = await session.scalars(select(UsageHourRow).where(UsageHourRow.kind == "training"))
        charge = await jobs.charge(job)
        assert (hour.cost_nano, hour.input_tokens, hour.device_ms) == (charge.cost_nano, 300, 500)

    async def test_a_persons_key_says_whose_it_is(
        self, jobs: PaidJobs, database: Database, project_key: dict[str, Any]
    ) -> None:
        async with database.session() as session:
            session.add(UserRow(id="user-1", added_at=now(), email="a@b.c", name="A", role="reader"))
            await session.flush()
            await session.execute(
                update(ApiKeyRow)
                .where(ApiKeyRow.id == project_key["id"])
                .values(user_id="user-1", service_account_id=None)
            )
        job = await jobs.ended()
        charge = await jobs.charge(job)
        assert charge.user_id == "user-1"

    async def test_a_tuned_model_costs_what_its_base_costs(self, jobs: PaidJobs, app: Any) -> None:
        first = await jobs.ended()
        await app.services.mirrors.refresh()
        second = await jobs.ended(model=first["fine_tuned_model"])
        charge = await jobs.charge(second)
        assert (charge.model, charge.cost_nano) == (first["fine_tuned_model"], TOKENS_NANO + TIME_NANO)

    async def test_costs_what_was_in_force_when_it_began(self, jobs: PaidJobs, database: Database) -> None:
        job = await jobs.training()
        async with database.session() as session:
            session.add(price("price_1", now().timestamp()))
        await jobs.go_on(job)
        jobs.set_mode("succeed")
        other = await jobs.ended()
        assert (await jobs.charge(job)).cost_nano == TOKENS_NANO + TIME_NANO
        assert (await jobs.charge(other)).cost_nano == 300  # a nano-dollar a token


def price(price_id: str, since: float) -> PriceRow:
    return PriceRow(
        id=price_id,
        created_at=now(),
        model=BASE,
        effective_at=from_unix(since),
        input_nano=1,
        output_nano=1,
        request_nano=0,
        training_nano=10**6,
        training_hour_nano=0,
    )


async def dies(*_: object) -> None:
    """In place of what a worker does last."""
    raise Unavailable("as good as dead")


class TestEndedOtherwise:
    async def test_failed(self, jobs: PaidJobs) -> None:
        jobs.set_mode("stuck")
        job = await jobs.ended()
        assert job["status"] == "failed"
        assert await jobs.charges(job) == [], "it came to nothing"
        jobs.set_mode("fail")
        job = await jobs.ended()
        charge = await jobs.charge(job)
        assert (charge.input_tokens, charge.input_nano) == (0, 0)
        assert charge.device_ms > 0
        assert charge.request_nano == charge.cost_nano == charge.device_ms * 2_000_000

    async def test_adapter_that_the_engine_refuses(self, jobs: PaidJobs, engine: FakeEngine) -> None:
        engine.refusals["*"] = (400, "its rank is too large")
        job = await jobs.ended()
        assert job["status"] == "failed"
        charge = await jobs.charge(job)
        assert (charge.input_tokens, charge.device_ms) == (300, 500)

    async def test_cancelled(self, jobs: PaidJobs) -> None:
        job = await jobs.training("saves")
        await jobs.stop(job)
        charge = await jobs.charge(job)
        assert (charge.input_tokens, charge.input_nano) == (200, 200 * 10**6)
        assert charge.device_ms > 0
        (told,) = await jobs.told(job, "Charged")
        assert "for 200 trained tokens" in told

    async def test_cancelled_before_it_trained(self, jobs: PaidJobs, wv: WorkerServices) -> None:
        job = await jobs.created()
        await jobs.do(job, "cancel")
        await charge_job(wv, job["id"])
        assert await jobs.charges(job) == []

    async def test_cancelled_while_its_worker_was_dying(
        self, jobs: PaidJobs, wv: WorkerServices, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(training_task, "settle", dies)
            job = await jobs.training()
            await jobs.stop(job)
        assert await jobs.charges(job) == []
        for _ in range(2):
            await settle_fine_tuning_jobs(wv, quiet_seconds=-60)
        assert await jobs.trained(job) == [100]

    async def test_paused_and_ended(self, jobs: PaidJobs) -> None:
        job = await jobs.training("saves")
        await jobs.stop(job, "pause")
        first = await jobs.charge(job)
        assert first.input_tokens == 200
        jobs.set_mode("succeed")
        await jobs.do(job, "resume")
        await jobs.train()
        done = await jobs.succeeded(job)
        _, second = await jobs.charges(job)
        assert (second.id, second.input_tokens) == (f"charge_{job['id']}_2", 100)
        assert second.created_at > first.created_at
        assert done["actual"]["cost_usd"] == (first.cost_nano + second.cost_nano) / 10**9

    async def test_paused_by_a_worker_that_died(
        self, jobs: PaidJobs, wv: WorkerServices, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(training_task, "settle", dies)
        job = await jobs.training()
        await jobs.stop(job, "pause")
        assert await jobs.charges(job) == []
        for _ in range(2):
            await settle_fine_tuning_jobs(wv)
        assert await jobs.trained(job) == [100]


class TestOnce:
    async def test_charged_again_charges_nothing(self, jobs: PaidJobs, wv: WorkerServices) -> None:
        job = await jobs.ended()
        await asyncio.gather(*(charge_job(wv, job["id"]) for _ in range(3)))
        assert len(await jobs.charges(job)) == 1

    async def test_several_at_once_charge_once(self, jobs: PaidJobs, wv: WorkerServices) -> None:
        job = await uncharged(jobs)
        await asyncio.gather(*(charge_job(wv, job["id"]) for _ in range(4)))
        assert await jobs.trained(job) == [300]

    async def test_a_worker_that_dies_in_the_transaction_leaves_no_half(
        self, jobs: PaidJobs, wv: WorkerServices, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        release, tries = task.holds.release, list[str]()

        async def dies_at_first(session: Any, holder: str) -> None:
            tries.append(holder)
            if len(tries) == 1:
                await dies()
            await release(session, holder)

        monkeypatch.setattr(task.holds, "release", dies_at_first)
        job = await jobs.queued()
        await until(lambda: tries != [] and not wv.training.locked())
        assert (await jobs.shown(job))["status"] == "running"
        assert await jobs.charges(job) == []
        await jobs.train()
        await jobs.idle()
        assert (await jobs.shown(job))["status"] == "succeeded"
        assert await jobs.trained(job) == [300]

    async def test_kill_9_before_the_commit_leaves_nothing_and_after_it_everything(
        self, jobs: PaidJobs, wv: WorkerServices, database: Database, settings: Settings, tmp_path: Path
    ) -> None:
        job = await uncharged(jobs)
        config = tmp_path / "tuneway.toml"
        config.write_text(
            f'data_dir = "{settings.data_dir}"\n[database]\nurl = "{settings.database.url}"\n[engine]\nmodel = "{BASE}"\n'
            f'[[prices]]\nmodel = "{BASE}"\ninput = 1\noutput = 1\ntraining = 1000\ntraining_hour = 7200\n'
        )
        program = [sys.executable, "-m", "tests.gateway.tasks.killed_charge", str(config), job["id"]]
        for _ in range(2):
            process = await asyncio.create_subprocess_exec(*program, env=child_environment())
            assert await process.wait() == -signal.SIGKILL
            assert await jobs.charges(job) == []
            assert await hours(database) == 0
        await charge_job(wv, job["id"])
        charge = await jobs.charge(job)
        assert charge.cost_nano == await hours(database) == TOKENS_NANO + TIME_NANO

    async def test_a_job_that_another_worker_goes_on_with_is_left_alone(
        self, jobs: PaidJobs, wv: WorkerServices
    ) -> None:
        job = await jobs.training()
        await charge_job(wv, job["id"])
        assert await jobs.charges(job) == []
        await jobs.stop(job)


async def uncharged(jobs: PaidJobs) -> Job:
    """A job that has succeeded, as if the charge had not been made."""
    job = await jobs.ended()
    async with jobs.database.session() as session:
        for table in ("ledger", "usage_hours", "usage_days"):
            await session.execute(text(f"DELETE FROM {table}"))
    return job


async def hours(database: Database) -> int:
    async with database.session() as session:
        return int(await session.scalar(select(func.coalesce(func.sum(UsageHourRow.cost_nano), 0))) or 0)


class TestUnpriced:
    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        return msgspec.structs.replace(settings, prices=())

    async def test_is_seen_in_the_ledger_and_costs_nothing(self, jobs: PaidJobs) -> None:
        job = await jobs.ended()
        charge = await jobs.charge(job)
        assert (charge.priced, charge.cost_nano, charge.input_tokens) == (False, 0, 300)
        assert job["actual"]["cost_usd"] is None


class TestSeveralDevices:
    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        return msgspec.structs.replace(
            settings, fine_tuning=msgspec.structs.replace(settings.fine_tuning, devices=("0,1", "2,3"))
        )

    async def test_the_time_of_each_counts(self, jobs: PaidJobs) -> None:
        job = await jobs.ended()
        charge = await jobs.charge(job)
        assert (charge.device_ms, charge.request_nano) == (1000, 2 * TIME_NANO)
