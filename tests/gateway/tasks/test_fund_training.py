"""Fine-tuning jobs draw on budgets."""

import httpx
import pytest
from sqlalchemy import func, select, update

from gateway.app import App
from gateway.db.database import Database
from gateway.db.tables import FineTuningJobRow
from gateway.fine_tuning import repository
from gateway.fine_tuning.estimates import save_hardware
from gateway.kit.clock import from_unix
from gateway.services import WorkerServices
from gateway.settings import Settings
from gateway.tasks import validate_fine_tuning_job as validation
from gateway.tasks.settle_fine_tuning_jobs import settle_fine_tuning_jobs
from gateway.tasks.train_fine_tuning_jobs import train_fine_tuning_jobs
from tests.fakes.engine import BASE
from tests.fakes.fine_tuning import QUICK, create_job, until, upload
from tests.fakes.paid_jobs import PaidJobs
from tests.fakes.training_money import NANO, TIME_NANO, TOKENS_NANO, with_price
from tests.gateway.test_errors import error_in
from trainer.contract import HardwareDescription

pytestmark = pytest.mark.anyio

Client = httpx.AsyncClient
COST = TOKENS_NANO + TIME_NANO
HELD = TOKENS_NANO + TIME_NANO * 5 // 4
"""By the estimate below: its time may be a quarter longer."""


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return with_price(settings)


@pytest.fixture
def estimated(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fake base model has no weights that an estimate could be made from."""

    async def estimate(wv: WorkerServices, job: FineTuningJobRow, *_: object) -> None:
        told = {"seconds": 0.5, "speed_source": "measured", "trained_tokens": 300}
        async with wv.database.session() as session:
            await repository.set_values(session, job.id, estimate=told)

    monkeypatch.setattr(validation, "estimate_job", estimate)


class TestCreating:
    async def test_under_a_budget_that_is_used_up_is_refused_like_a_call(
        self, jobs: PaidJobs, client: Client, database: Database
    ) -> None:
        await jobs.add_budget(0)
        answer = await client.post("/v1/fine_tuning/jobs", json={"model": BASE, "training_file": await upload(client)})
        error = error_in(answer, 429)
        assert (error["type"], error["code"]) == ("insufficient_quota", "insufficient_quota")
        assert "Your project's budget" in error["message"]
        assert answer.headers["x-should-retry"] == "false"
        async with database.session() as session:
            assert await session.scalar(select(func.count()).select_from(FineTuningJobRow)) == 0

    async def test_another_projects_budget_is_nobody_elses(self, jobs: PaidJobs, stranger: Client) -> None:
        await jobs.add_budget(0)
        assert (await create_job(stranger))["status"] == "validating_files"

    @pytest.mark.parametrize("limit", [None, NANO])
    async def test_without_a_price_is_refused_under_a_budget_only(
        self, jobs: PaidJobs, app: App, client: Client, limit: int | None
    ) -> None:
        app.services.prices._periods.clear()  # pyright: ignore[reportPrivateUsage]
        if limit is None:
            await jobs.created()
            return
        await jobs.add_budget(limit)
        answer = await client.post("/v1/fine_tuning/jobs", json={"model": BASE, "training_file": await upload(client)})
        error = error_in(answer, 400)
        assert (error["code"], error["param"]) == ("price_missing", "model")


@pytest.mark.usefixtures("estimated")
class TestHolding:
    async def test_what_it_may_cost_is_set_aside_before_it_trains(self, jobs: PaidJobs) -> None:
        await jobs.add_budget(10 * NANO)
        jobs.set_mode("hold")
        job = await jobs.queued()
        assert await jobs.unspent(job) == HELD
        await jobs.stop(job)

    async def test_what_it_did_not_cost_is_free_again(self, jobs: PaidJobs) -> None:
        await jobs.add_budget(10 * NANO)
        job = await jobs.ended()
        assert job["status"] == "succeeded"
        assert (await jobs.spent(), await jobs.unspent(job)) == (COST, 0)

    async def test_a_budget_that_just_pays_for_it_does(self, jobs: PaidJobs) -> None:
        await jobs.add_budget(HELD)
        assert (await jobs.ended())["status"] == "succeeded"

    async def test_one_that_does_not_fails_the_job_before_it_trains(self, jobs: PaidJobs) -> None:
        await jobs.add_budget(HELD - 1)
        job = await jobs.ended()
        assert (job["status"], job["error"]["code"]) == ("failed", "insufficient_quota")
        assert "Your project's budget of $1.549999999 a month" in job["error"]["message"]
        assert await jobs.charges(job) == []
        assert await jobs.unspent(job) == 0

    async def test_two_do_not_share_what_pays_for_one(self, jobs: PaidJobs) -> None:
        await jobs.add_budget(2 * HELD - 1)
        jobs.set_mode("hold")
        first, second = await jobs.queued(), await jobs.queued()
        assert (await jobs.shown(second))["error"]["code"] == "insufficient_quota"
        await jobs.stop(first)

    async def test_a_job_that_is_cancelled_in_the_queue_gives_it_back(self, jobs: PaidJobs) -> None:
        await jobs.add_budget(10 * NANO)
        jobs.set_mode("hold")
        running = await jobs.queued()
        waiting = await jobs.queued()
        assert await jobs.unspent(waiting) == HELD
        await jobs.do(waiting, "cancel")
        assert await jobs.unspent(waiting) == 0
        await jobs.stop(running)
        assert await jobs.unspent(running) == 0

    async def test_one_whose_worker_died_gives_it_back_once_that_is_settled(
        self, jobs: PaidJobs, wv: WorkerServices, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await jobs.add_budget(10 * NANO)
        monkeypatch.setattr(validation, "train_fine_tuning_jobs", never)
        job = await jobs.queued()
        async with database.session() as session:
            values = {"lease_holder": "gone", "leased_until": from_unix(0), "started_at": func.now()}
            await session.execute(update(FineTuningJobRow).values(values))
        await jobs.do(job, "cancel")
        assert await jobs.unspent(job) == HELD, "what it trained is not charged yet"
        await settle_fine_tuning_jobs(wv, quiet_seconds=-60)
        assert await jobs.unspent(job) == 0


async def never(*_: object) -> None:
    """In place of training."""


class TestRunningOut:
    """Nothing could be estimated, so that only a nano-dollar is held at first."""

    async def test_more_is_held_while_it_trains(self, jobs: PaidJobs) -> None:
        await jobs.add_budget(1000 * NANO)
        job = await jobs.training()

        async def enough() -> bool:
            return await jobs.unspent(job) >= 100 * 10**6  # a third of the tokens is trained

        await until(enough)
        await jobs.stop(job)
        assert await jobs.unspent(job) == 0

    async def test_a_budget_that_pays_no_more_pauses_the_job_which_goes_on_once_it_is_raised(
        self, jobs: PaidJobs
    ) -> None:
        await jobs.add_budget(50 * 10**6)
        job = await jobs.training("saves")
        job = await jobs.wait(job, "paused")
        await jobs.idle()
        (told,) = await jobs.told(job, "job paused")
        assert "Your project's budget of $0.05 a month" in told
        charge = await jobs.charge(job)
        assert charge.input_tokens in (100, 200)
        assert error_in(await jobs.ask(job, "resume"), 429)["code"] == "insufficient_quota"
        assert (await jobs.shown(job))["status"] == "paused"
        await jobs.raise_budget(1000 * NANO)
        jobs.set_mode("succeed")
        await jobs.do(job, "resume")
        await jobs.train()
        await jobs.succeeded(job)
        assert sum(await jobs.trained(job)) == 300
        assert await jobs.unspent(job) == 0


@pytest.mark.usefixtures("estimated")
class TestBeginning:
    async def test_what_is_not_held_any_more_is_held_again(self, jobs: PaidJobs, wv: WorkerServices) -> None:
        await jobs.add_budget(1000 * NANO)
        job = await jobs.training("saves")
        await jobs.stop(job, "pause")
        assert await jobs.unspent(job) == 0
        first = (await jobs.charges(job))[0].cost_nano
        jobs.set_mode("hold")
        await jobs.do(job, "resume")
        wv.background.spawn(train_fine_tuning_jobs(wv, QUICK), "train")
        await jobs.wait(job, "running")
        assert await jobs.unspent(job) >= max(HELD - first, 1)
        await jobs.stop(job)

    async def test_where_that_is_refused_it_is_paused_again(
        self, jobs: PaidJobs, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await jobs.add_budget(1000 * NANO)
        with monkeypatch.context() as patch:
            patch.setattr(validation, "train_fine_tuning_jobs", never)
            job = await jobs.queued()
        await jobs.do(job, "pause")
        assert await jobs.unspent(job) == 0
        await jobs.raise_budget(HELD - 1)
        await jobs.do(job, "resume")
        await jobs.train()
        paused = await jobs.wait(job, "paused")
        assert paused["error"] is None
        assert await jobs.told(job, "paused: Your project's budget")
        assert await jobs.charges(job) == []


@pytest.mark.usefixtures("estimated")
class TestBudgetMadeLater:
    """While the job waits or trains."""

    async def test_while_it_waits_leaves_what_is_held_elsewhere_as_it_is(
        self, jobs: PaidJobs, wv: WorkerServices, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await jobs.add_budget(HELD)
        with monkeypatch.context() as patch:
            patch.setattr(validation, "train_fine_tuning_jobs", never)
            job = await jobs.queued()
        await jobs.add_budget(2 * HELD, "budget_2")
        jobs.set_mode("hold")
        wv.background.spawn(train_fine_tuning_jobs(wv, QUICK), "train")
        await jobs.wait(job, "running")
        assert await jobs.unspent_in(job) == {"budget_1": HELD, "budget_2": HELD}
        await jobs.stop(job)

    @pytest.mark.parametrize("first", [None, 1000 * NANO])
    async def test_pays_for_the_rest(self, jobs: PaidJobs, first: int | None) -> None:
        if first is not None:
            await jobs.add_budget(first)
        job = await jobs.training()
        await jobs.add_budget(2 * HELD, "budget_2")
        before = {} if first is None else {"budget_1": HELD}

        async def is_held() -> bool:
            return await jobs.unspent_in(job) == before | {"budget_2": HELD}

        await until(is_held)
        await jobs.go_on(job)
        assert await jobs.unspent_in(job) == {}
        assert await jobs.spent() == COST * (len(before) + 1)
        assert await jobs.told(job, "udget") == []

    async def test_that_cannot_pay_stops_nothing_and_is_told_once_until_it_is_raised(self, jobs: PaidJobs) -> None:
        job = await jobs.training()
        await jobs.add_budget(HELD - 1)
        await jobs.until_told(job, "cannot pay for the rest of it, up to $1.55.")
        assert (await jobs.shown(job))["status"] == "running"
        assert await jobs.unspent_in(job) == {}
        await jobs.raise_budget(HELD)
        await jobs.until_told(job, "Budget budget_1 now pays for the rest of this job.")
        assert await jobs.unspent_in(job) == {"budget_1": HELD}
        assert len(await jobs.told(job, "cannot pay")) == 1
        await jobs.stop(job)

    async def test_that_cannot_pay_counts_what_the_job_cost(self, jobs: PaidJobs) -> None:
        job = await jobs.training()
        await jobs.add_budget(0)
        await jobs.until_told(job, "cannot pay")
        await jobs.go_on(job)
        assert await jobs.spent() == COST


class TestTwoBudgets:
    """Nothing could be estimated, so that only a nano-dollar is held at first."""

    async def test_more_is_held_in_the_one_that_pays(self, jobs: PaidJobs) -> None:
        await jobs.add_budget(1000 * NANO)
        job = await jobs.training()
        await jobs.add_budget(0, "budget_2")
        await jobs.until_told(job, "cannot pay")
        before = await jobs.unspent_in(job)
        assert list(before) == ["budget_1"]
        await jobs.go_on(job)
        assert await jobs.told(job, "job paused") == []


class TestWithoutABudget:
    async def test_nothing_is_held(self, jobs: PaidJobs, database: Database) -> None:
        async with database.session() as session:
            await save_hardware(session, "host", HARDWARE)
        job = await jobs.ended()
        assert job["status"] == "succeeded"
        assert await jobs.unspent(job) == 0


HARDWARE = HardwareDescription(
    device="cpu", name="none", devices=1, memory_bytes=10**9, dtype="float32", flops_per_second=1e9
)
