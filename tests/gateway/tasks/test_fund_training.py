"""Fine-tuning jobs draw on budgets."""

from collections.abc import Awaitable, Callable
from typing import Any

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
from tests.fakes.fine_tuning import (
    QUICK,
    create_job,
    ended,
    go_on,
    idle,
    job_of,
    messages_of,
    queued,
    set_mode,
    training,
    until,
    upload,
    wait,
)
from tests.fakes.training_money import (
    NANO,
    TIME_NANO,
    TOKENS_NANO,
    add_budget,
    charges,
    raise_budget,
    spent,
    unspent,
    unspent_in,
    with_price,
)
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


async def budget(app: App, database: Database, project_key: dict[str, Any], limit: int) -> None:
    await add_budget(database, project_key["project_id"], limit)
    await app.services.mirrors.refresh()


async def do(client: Client, job: dict[str, Any], verb: str) -> httpx.Response:
    return await client.post(f"/v1/fine_tuning/jobs/{job['id']}/{verb}")


class TestCreating:
    async def test_under_a_budget_that_is_used_up_is_refused_like_a_call(
        self, app: App, client: Client, database: Database, project_key: dict[str, Any]
    ) -> None:
        await budget(app, database, project_key, 0)
        answer = await client.post("/v1/fine_tuning/jobs", json={"model": BASE, "training_file": await upload(client)})
        error = error_in(answer, 429)
        assert (error["type"], error["code"]) == ("insufficient_quota", "insufficient_quota")
        assert "Your project's budget" in error["message"]
        assert answer.headers["x-should-retry"] == "false"
        async with database.session() as session:
            assert await session.scalar(select(func.count()).select_from(FineTuningJobRow)) == 0

    async def test_another_projects_budget_is_nobody_elses(
        self, app: App, client: Client, stranger: Client, database: Database, project_key: dict[str, Any]
    ) -> None:
        await budget(app, database, project_key, 0)
        assert (await create_job(stranger))["status"] == "validating_files"

    @pytest.mark.parametrize("limit", [None, NANO])
    async def test_without_a_price_is_refused_under_a_budget_only(
        self, app: App, client: Client, database: Database, project_key: dict[str, Any], limit: int | None
    ) -> None:
        app.services.prices._periods.clear()  # pyright: ignore[reportPrivateUsage]
        if limit is None:
            await create_job(client)
            return
        await budget(app, database, project_key, limit)
        answer = await client.post("/v1/fine_tuning/jobs", json={"model": BASE, "training_file": await upload(client)})
        error = error_in(answer, 400)
        assert (error["code"], error["param"]) == ("price_missing", "model")


@pytest.mark.usefixtures("estimated")
class TestHolding:
    async def test_what_it_may_cost_is_set_aside_before_it_trains(
        self, app: App, client: Client, wv: WorkerServices, database: Database, project_key: dict[str, Any]
    ) -> None:
        await budget(app, database, project_key, 10 * NANO)
        set_mode(wv.settings, "hold")
        job = await queued(client, wv)
        assert await unspent(database, job) == HELD
        await do(client, job, "cancel")
        await idle(wv)

    async def test_what_it_did_not_cost_is_free_again(
        self, app: App, client: Client, wv: WorkerServices, database: Database, project_key: dict[str, Any]
    ) -> None:
        await budget(app, database, project_key, 10 * NANO)
        job = await ended(client, wv)
        await idle(wv)
        assert job["status"] == "succeeded"
        assert (await spent(database), await unspent(database, job)) == (COST, 0)

    async def test_a_budget_that_just_pays_for_it_does(
        self, app: App, client: Client, wv: WorkerServices, database: Database, project_key: dict[str, Any]
    ) -> None:
        await budget(app, database, project_key, HELD)
        assert (await ended(client, wv))["status"] == "succeeded"

    async def test_one_that_does_not_fails_the_job_before_it_trains(
        self, app: App, client: Client, wv: WorkerServices, database: Database, project_key: dict[str, Any]
    ) -> None:
        await budget(app, database, project_key, HELD - 1)
        job = await ended(client, wv)
        assert (job["status"], job["error"]["code"]) == ("failed", "insufficient_quota")
        assert "Your project's budget of $1.549999999 a month" in job["error"]["message"]
        assert await charges(database, job) == []
        assert await unspent(database, job) == 0

    async def test_two_do_not_share_what_pays_for_one(
        self, app: App, client: Client, wv: WorkerServices, database: Database, project_key: dict[str, Any]
    ) -> None:
        await budget(app, database, project_key, 2 * HELD - 1)
        set_mode(wv.settings, "hold")
        first, second = await queued(client, wv), await queued(client, wv)
        assert (await job_of(client, second["id"]))["error"]["code"] == "insufficient_quota"
        await do(client, first, "cancel")
        await idle(wv)

    async def test_a_job_that_is_cancelled_in_the_queue_gives_it_back(
        self, app: App, client: Client, wv: WorkerServices, database: Database, project_key: dict[str, Any]
    ) -> None:
        await budget(app, database, project_key, 10 * NANO)
        set_mode(wv.settings, "hold")
        running = await queued(client, wv)
        waiting = await queued(client, wv)
        assert await unspent(database, waiting) == HELD
        await do(client, waiting, "cancel")
        assert await unspent(database, waiting) == 0
        await do(client, running, "cancel")
        await idle(wv)
        assert await unspent(database, running) == 0

    async def test_one_whose_worker_died_gives_it_back_once_that_is_settled(
        self,
        app: App,
        client: Client,
        wv: WorkerServices,
        database: Database,
        project_key: dict[str, Any],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        await budget(app, database, project_key, 10 * NANO)
        monkeypatch.setattr(validation, "train_fine_tuning_jobs", never)
        job = await queued(client, wv)
        async with database.session() as session:
            values = {"lease_holder": "gone", "leased_until": from_unix(0), "started_at": func.now()}
            await session.execute(update(FineTuningJobRow).values(values))
        await do(client, job, "cancel")
        assert await unspent(database, job) == HELD, "what it trained is not charged yet"
        await settle_fine_tuning_jobs(wv, quiet_seconds=-60)
        assert await unspent(database, job) == 0


async def never(*_: object) -> None:
    """In place of training."""


class TestRunningOut:
    """Nothing could be estimated, so that only a nano-dollar is held at first."""

    async def test_more_is_held_while_it_trains(
        self, app: App, client: Client, wv: WorkerServices, database: Database, project_key: dict[str, Any]
    ) -> None:
        await budget(app, database, project_key, 1000 * NANO)
        job = await training(client, wv, wv.settings)

        async def enough() -> bool:
            return await unspent(database, job) >= 100 * 10**6  # a third of the tokens is trained

        await until(enough)
        await do(client, job, "cancel")
        await idle(wv)
        assert await unspent(database, job) == 0

    async def test_a_budget_that_pays_no_more_pauses_the_job_which_goes_on_once_it_is_raised(
        self,
        app: App,
        client: Client,
        wv: WorkerServices,
        database: Database,
        project_key: dict[str, Any],
        settings: Settings,
    ) -> None:
        await budget(app, database, project_key, 50 * 10**6)
        job = await training(client, wv, settings, mode="saves")
        job = await wait(client, job["id"], "paused")
        await idle(wv)
        (told,) = [message for message in await messages_of(client, job["id"]) if "job paused" in message]
        assert "Your project's budget of $0.05 a month" in told
        (charge,) = await charges(database, job)
        assert charge.input_tokens in (100, 200)
        assert error_in(await do(client, job, "resume"), 429)["code"] == "insufficient_quota"
        assert (await job_of(client, job["id"]))["status"] == "paused"
        await raise_budget(database, 1000 * NANO)
        set_mode(settings, "succeed")
        assert (await do(client, job, "resume")).status_code == 200
        await train_fine_tuning_jobs(wv, QUICK)
        assert (await wait(client, job["id"]))["status"] == "succeeded"
        await idle(wv)
        assert sum(each.input_tokens for each in await charges(database, job)) == 300
        assert await unspent(database, job) == 0


@pytest.mark.usefixtures("estimated")
class TestBeginning:
    async def test_what_is_not_held_any_more_is_held_again(
        self,
        app: App,
        client: Client,
        wv: WorkerServices,
        database: Database,
        project_key: dict[str, Any],
        settings: Settings,
    ) -> None:
        await budget(app, database, project_key, 1000 * NANO)
        job = await training(client, wv, settings, mode="saves")
        await do(client, job, "pause")
        await idle(wv)
        assert await unspent(database, job) == 0
        first = (await charges(database, job))[0].cost_nano
        set_mode(settings, "hold")
        assert (await do(client, job, "resume")).status_code == 200
        wv.background.spawn(train_fine_tuning_jobs(wv, QUICK), "train")
        await wait(client, job["id"], "running")
        assert await unspent(database, job) >= max(HELD - first, 1)
        await do(client, job, "cancel")
        await idle(wv)

    async def test_where_that_is_refused_it_is_paused_again(
        self,
        app: App,
        client: Client,
        wv: WorkerServices,
        database: Database,
        project_key: dict[str, Any],
        settings: Settings,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        await budget(app, database, project_key, 1000 * NANO)
        with monkeypatch.context() as patch:
            patch.setattr(validation, "train_fine_tuning_jobs", never)
            job = await queued(client, wv)
        await do(client, job, "pause")
        assert await unspent(database, job) == 0
        await raise_budget(database, HELD - 1)
        assert (await do(client, job, "resume")).status_code == 200, "something is left"
        await train_fine_tuning_jobs(wv, QUICK)
        paused = await wait(client, job["id"], "paused")
        assert paused["error"] is None
        assert any("paused: Your project's budget" in message for message in await messages_of(client, job["id"]))
        assert await charges(database, job) == []


@pytest.mark.usefixtures("estimated")
class TestBudgetMadeLater:
    """While the job waits or trains."""

    async def test_while_it_waits_leaves_what_is_held_elsewhere_as_it_is(
        self,
        app: App,
        client: Client,
        wv: WorkerServices,
        database: Database,
        project_key: dict[str, Any],
        settings: Settings,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        await budget(app, database, project_key, HELD)
        with monkeypatch.context() as patch:
            patch.setattr(validation, "train_fine_tuning_jobs", never)
            job = await queued(client, wv)
        await add_budget(database, project_key["project_id"], 2 * HELD, "budget_2")
        set_mode(settings, "hold")
        wv.background.spawn(train_fine_tuning_jobs(wv, QUICK), "train")
        await wait(client, job["id"], "running")
        assert await unspent_in(database, job) == {"budget_1": HELD, "budget_2": HELD}
        await do(client, job, "cancel")
        await idle(wv)

    @pytest.mark.parametrize("first", [None, 1000 * NANO])
    async def test_pays_for_the_rest(
        self,
        client: Client,
        wv: WorkerServices,
        database: Database,
        project_key: dict[str, Any],
        settings: Settings,
        first: int | None,
    ) -> None:
        if first is not None:
            await add_budget(database, project_key["project_id"], first)
        job = await training(client, wv, settings)
        await add_budget(database, project_key["project_id"], 2 * HELD, "budget_2")
        before = {} if first is None else {"budget_1": HELD}

        async def is_held() -> bool:
            return await unspent_in(database, job) == before | {"budget_2": HELD}

        await until(is_held)
        go_on(settings, job["id"])
        assert (await wait(client, job["id"]))["status"] == "succeeded"
        await idle(wv)
        assert await unspent_in(database, job) == {}
        assert await spent(database) == COST * (len(before) + 1)
        assert [message for message in await messages_of(client, job["id"]) if "udget" in message] == []

    async def test_that_cannot_pay_stops_nothing_and_is_told_once_until_it_is_raised(
        self, client: Client, wv: WorkerServices, database: Database, project_key: dict[str, Any], settings: Settings
    ) -> None:
        job = await training(client, wv, settings)
        await add_budget(database, project_key["project_id"], HELD - 1)

        def told(words: str) -> Callable[[], Awaitable[bool]]:
            async def is_told() -> bool:
                return any(words in message for message in await messages_of(client, job["id"]))

            return is_told

        await until(told("cannot pay for the rest of it, up to $1.55."))
        assert (await job_of(client, job["id"]))["status"] == "running"
        assert await unspent_in(database, job) == {}
        await raise_budget(database, HELD)
        await until(told("Budget budget_1 now pays for the rest of this job."))
        assert await unspent_in(database, job) == {"budget_1": HELD}
        assert len([message for message in await messages_of(client, job["id"]) if "cannot pay" in message]) == 1
        await do(client, job, "cancel")
        await idle(wv)

    async def test_that_cannot_pay_counts_what_the_job_cost(
        self, client: Client, wv: WorkerServices, database: Database, project_key: dict[str, Any], settings: Settings
    ) -> None:
        job = await training(client, wv, settings)
        await add_budget(database, project_key["project_id"], 0)

        async def is_told() -> bool:
            return any("cannot pay" in message for message in await messages_of(client, job["id"]))

        await until(is_told)
        go_on(settings, job["id"])
        assert (await wait(client, job["id"]))["status"] == "succeeded"
        await idle(wv)
        assert await spent(database) == COST


class TestTwoBudgets:
    """Nothing could be estimated, so that only a nano-dollar is held at first."""

    async def test_more_is_held_in_the_one_that_pays(
        self, client: Client, wv: WorkerServices, database: Database, project_key: dict[str, Any], settings: Settings
    ) -> None:
        await add_budget(database, project_key["project_id"], 1000 * NANO)
        job = await training(client, wv, settings)
        await add_budget(database, project_key["project_id"], 0, "budget_2")

        async def is_told() -> bool:
            return any("cannot pay" in message for message in await messages_of(client, job["id"]))

        await until(is_told)
        before = await unspent_in(database, job)
        assert list(before) == ["budget_1"]
        go_on(settings, job["id"])
        assert (await wait(client, job["id"]))["status"] == "succeeded"
        assert [message for message in await messages_of(client, job["id"]) if "job paused" in message] == []
        await idle(wv)


class TestWithoutABudget:
    async def test_nothing_is_held(self, client: Client, wv: WorkerServices, database: Database) -> None:
        async with database.session() as session:
            await save_hardware(session, "host", HARDWARE)
        job = await ended(client, wv)
        assert job["status"] == "succeeded"
        assert await unspent(database, job) == 0


HARDWARE = HardwareDescription(
    device="cpu", name="none", devices=1, memory_bytes=10**9, dtype="float32", flops_per_second=1e9
)
