"""Workers ask models through a real gateway, with a key of the project that its budgets and its people bind."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import msgspec
import pytest
from sqlalchemy import select

from gateway.asking import Asked, Asking, NotAsked
from gateway.db.database import Database
from gateway.db.tables import ApiKeyRow, ExchangeRow, ServiceAccountRow, WorkingKeyRow
from gateway.judgments import criteria
from gateway.kit.clock import now
from gateway.kit.sealing import Sealer, read_keys
from gateway.protocol.criteria import CriterionSpec
from gateway.protocol.judges import LlmSpec, Watch
from gateway.services import WorkerServices, worker_services
from gateway.settings import DatabaseSettings, Secret, Settings, WorkerSettings
from gateway.tasks.judge_answers import Judging
from gateway.tasks.sample_exchanges import Sampling
from gateway.working_keys import WorkingKeys
from tests.conftest import ADMIN_KEY, chat, create_key
from tests.fakes.judging import World
from tests.gateway.conftest import SECRET_KEY, RunningGateway
from tests.judges.llm.payloads import PAYLOADS
from tests.polling import until

pytestmark = pytest.mark.anyio

KEY = "5e" * 32
HELLO = chat("echo")


@pytest.fixture
def settings(running_gateway: RunningGateway, redis_url: str, tmp_path: Any) -> Settings:
    plain = Settings()
    return Settings(
        data_dir=tmp_path,
        secret_key=Secret(SECRET_KEY),
        encryption_key=Secret(KEY),
        database=DatabaseSettings(url=running_gateway.database_url, pool_size=2),
        redis=msgspec.structs.replace(plain.redis, url=redis_url),
        worker=WorkerSettings(gateway_url=running_gateway.url, answer_seconds=30),
    )


@pytest.fixture
async def database(settings: Settings) -> AsyncIterator[Database]:
    database = Database(settings.database.url, pool_size=4, timeout=10)
    yield database
    await database.close()


@pytest.fixture
async def admin(running_gateway: RunningGateway) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"authorization": f"Bearer {ADMIN_KEY}"}
    async with httpx.AsyncClient(base_url=running_gateway.url, headers=headers, timeout=30) as client:
        yield client


@pytest.fixture
async def project(admin: httpx.AsyncClient) -> str:
    return (await create_key(admin, "asks"))["project_id"]


@pytest.fixture
async def asking(settings: Settings, database: Database) -> AsyncIterator[Asking]:
    asking = Asking(settings, database, Sealer(read_keys(KEY)))
    yield asking
    await asking.close()


async def working_key(database: Database, project: str) -> ApiKeyRow:
    async with database.session() as session:
        query = select(ApiKeyRow).join(WorkingKeyRow, WorkingKeyRow.api_key_id == ApiKeyRow.id)
        return (await session.scalars(query.where(WorkingKeyRow.project_id == project))).one()


async def failure(asking: Asking, project: str, body: dict[str, Any] = HELLO) -> NotAsked:
    with pytest.raises(NotAsked) as refused:
        await asking.chat(project, "judge", body)
    return refused.value


class TestKey:
    async def test_a_call_is_charged_and_logged_with_its_purpose(
        self, asking: Asking, database: Database, project: str
    ) -> None:
        answer = await asking.chat(project, "judge", HELLO)
        assert isinstance(answer, Asked)
        assert json.loads(answer.body)["choices"][0]["message"]["content"] == "hello"
        assert answer.cost_nano is not None
        assert answer.cost_nano > 0

        async def logged() -> ExchangeRow | None:
            async with database.session() as session:
                return await session.get(ExchangeRow, answer.exchange_id)

        await until(logged)
        row, key = await logged(), await working_key(database, project)
        assert row is not None
        assert (row.purpose, row.project_id, row.api_key_id) == ("judge", project, key.id)
        assert row.cost_nano == answer.cost_nano

    async def test_two_workers_at_once_make_one(
        self, settings: Settings, database: Database, project: str, admin: httpx.AsyncClient
    ) -> None:
        workers = [Asking(settings, database, Sealer(read_keys(KEY))) for _ in range(2)]
        await asyncio.gather(*(each.chat(project, "judge", HELLO) for each in workers for _ in range(3)))
        for each in workers:
            await each.close()
        async with database.session() as session:
            accounts = list(
                await session.scalars(select(ServiceAccountRow).where(ServiceAccountRow.project_id == project))
            )
        assert sorted(account.name for account in accounts) == ["Judges", "app"]
        listed = (await admin.get(f"/v1/organization/projects/{project}/api_keys")).json()["data"]
        assert "Judges" in {key["name"] for key in listed}

    async def test_each_purpose_has_its_own(self, asking: Asking, database: Database, project: str) -> None:
        await asking.chat(project, "judge", HELLO)
        await asking.chat(project, "eval", HELLO)
        async with database.session() as session:
            query = select(ApiKeyRow.purpose).join(WorkingKeyRow, WorkingKeyRow.api_key_id == ApiKeyRow.id)
            found = set(await session.scalars(query.where(WorkingKeyRow.project_id == project)))
        assert found == {"judge", "eval"}

    async def test_who_revokes_it_ends_what_it_was_for(
        self, settings: Settings, asking: Asking, database: Database, project: str, admin: httpx.AsyncClient
    ) -> None:
        await asking.chat(project, "judge", HELLO)
        key = await working_key(database, project)
        assert (await admin.delete(f"/v1/organization/projects/{project}/api_keys/{key.id}")).status_code == 200
        refused: list[NotAsked] = []

        async def ended() -> bool:
            try:
                await asking.chat(project, "judge", HELLO)
            except NotAsked as error:
                refused.append(error)
            return bool(refused)

        await until(ended)
        assert (refused[0].code, refused[0].retry) == ("refused", False)
        another = Asking(settings, database, Sealer(read_keys(KEY)))
        assert f"POST /v1/organization/projects/{project}/working_keys" in str(await failure(another, project))
        await another.close()

    async def test_another_one_in_its_place_is_taken_by_workers_that_run(
        self, settings: Settings, asking: Asking, database: Database, project: str, admin: httpx.AsyncClient
    ) -> None:
        await asking.chat(project, "judge", HELLO)
        key = await working_key(database, project)
        assert (await admin.delete(f"/v1/organization/projects/{project}/api_keys/{key.id}")).status_code == 200
        keys = WorkingKeys(Sealer(read_keys(KEY)), settings.secret_key.reveal())
        async with database.session() as session:
            made = await keys.another(session, project, "judge")

        async def taken() -> bool:
            """A gateway may take the old secret for a moment; a call is in the log a moment after its answer."""
            await asking.chat(project, "judge", HELLO)
            async with database.session() as session:
                query = select(ExchangeRow.id).where(ExchangeRow.api_key_id == made.id).limit(1)
                return await session.scalar(query) is not None

        await until(taken)

    async def test_a_rotated_one_is_still_the_same_key(
        self, asking: Asking, database: Database, project: str, admin: httpx.AsyncClient
    ) -> None:
        await asking.chat(project, "judge", HELLO)
        key = await working_key(database, project)
        url = f"/v1/organization/projects/{project}/api_keys/{key.id}/rotate"
        assert (await admin.post(url, json={"overlap_seconds": 0})).status_code == 200

        async def taken() -> bool:
            """A gateway may take the old secret for a moment."""
            await asking.chat(project, "judge", HELLO)
            return (await working_key(database, project)).hash not in hashes

        hashes = {key.hash, (await working_key(database, project)).hash}
        await until(taken)
        assert (await working_key(database, project)).id == key.id

    async def test_without_an_encryption_key_it_says_what_is_missing(
        self, settings: Settings, database: Database, project: str
    ) -> None:
        asking = Asking(settings, database, Sealer())
        error = await failure(asking, project)
        assert (error.code, error.retry) == ("refused", False)
        assert "encryption_key" in str(error)


class TestNotAsked:
    @pytest.mark.parametrize(
        ("model", "code", "retry"),
        [
            ("status-400", "refused", False),
            ("no-such-model", "refused", False),
            ("status-429", "rate_limit", True),
            ("status-500", "upstream", True),
            ("cut-before", "upstream", True),
        ],
    )
    async def test_says_what_was_wrong_and_whether_it_may_pass(
        self, asking: Asking, project: str, model: str, code: str, retry: bool
    ) -> None:
        error = await failure(asking, project, chat(model))
        assert (error.code, error.retry) == (code, retry)

    async def test_a_budget_on_the_key_binds_it(
        self, asking: Asking, database: Database, project: str, admin: httpx.AsyncClient
    ) -> None:
        await asking.chat(project, "judge", HELLO)
        key = await working_key(database, project)
        budget = {"api_key_id": key.id, "project_id": project, "period": "day", "limit_usd": 0.00001, "hard": True}
        assert (await admin.post("/v1/budgets", json=budget)).status_code == 200
        refused: list[NotAsked] = []

        async def spent() -> bool:
            try:
                await asking.chat(project, "judge", HELLO)
            except NotAsked as error:
                refused.append(error)
            return bool(refused)

        await until(spent)
        assert (refused[0].code, refused[0].retry) == ("quota", False)

    async def test_a_gateway_that_is_away_may_come_back(
        self, settings: Settings, database: Database, project: str
    ) -> None:
        away = msgspec.structs.replace(settings, worker=WorkerSettings(gateway_url="http://127.0.0.1:9"))
        asking = Asking(away, database, Sealer(read_keys(KEY)))
        error = await failure(asking, project)
        await asking.close()
        assert (error.code, error.retry) == ("upstream", True)

    async def test_another_model_never_answers_for_it(
        self, asking: Asking, project: str, admin: httpx.AsyncClient
    ) -> None:
        route = {"name": f"way-{project[-6:]}", "targets": [{"model": "status-500"}], "fallbacks": [{"model": "echo"}]}
        made = await admin.post("/v1/routes", json=route)
        if made.status_code != 200:  # the shape of a route is not what this is about
            pytest.fail(made.text)

        async def known() -> bool:
            return (await failure(asking, project, chat(route["name"]))).code != "refused"

        await until(known)
        assert (await failure(asking, project, chat(route["name"]))).code == "upstream"


class TestJudging:
    @pytest.fixture
    async def wv(self, settings: Settings) -> AsyncIterator[WorkerServices]:
        async with worker_services(settings) as wv:
            yield wv

    async def judged(self, world: World, wv: WorkerServices, count: int) -> None:
        await Judging(wv).begin()

        async def done() -> bool:
            return len(await world.judged()) == count

        await until(done)

    async def test_from_the_answer_to_the_verdict_and_not_on_from_there(
        self, wv: WorkerServices, database: Database, project: str
    ) -> None:
        """The judge's own call is in the log, and is itself never sampled."""
        world = World(database, project)
        async with database.session() as session:
            kept = CriterionSpec(name="kept", kind="boolean", description="Is it kept?")
            await criteria.find_or_make(session, project, kept, "key_1")
        await world.judge(LlmSpec(model="assistant"), criterion="kept", watch=Watch(), since=now())
        await world.answer("fine")
        await Sampling(wv).round()
        await self.judged(world, wv, 1)
        (row,) = await world.judged()
        assert (row.status, row.passed, row.score) == ("ok", True, 1.0)
        assert row.cost_nano is not None

        async def logged() -> bool:
            async with database.session() as session:
                return await session.get(ExchangeRow, row.judge_exchange_id) is not None

        await until(logged)
        await Sampling(wv).round()
        assert len(await world.tasks()) == 1

    async def test_the_injection_corpus_over_the_network(
        self, wv: WorkerServices, database: Database, project: str
    ) -> None:
        """Pitfall 4: a model that repeats what it is shown, through the real path to and from it."""
        world = World(database, project)
        _, version = await world.judge(LlmSpec(model="echo"))
        await world.ask(version, *[await world.answer(payload) for payload in PAYLOADS.values()])
        await self.judged(world, wv, len(PAYLOADS))
        rows = await world.judged()
        assert {(row.status, row.score) for row in rows} == {("error", None)}
        assert {row.error_code for row in rows} <= {"parse", "schema", "injection_suspected"}
        assert all(row.judge_exchange_id for row in rows)
