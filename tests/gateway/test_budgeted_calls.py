"""Calls of a key with a hard budget, from the body to the ledger. Each reservation is settled once, however it ends."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import msgspec
import pytest
from sqlalchemy import func, select

from gateway.app import App, build_app
from gateway.budgets.account import Account
from gateway.budgets.reservation import Reservation
from gateway.db.tables import BudgetEventRow, BudgetLeaseRow, BudgetWindowRow, LedgerRow
from gateway.errors import Refusal
from gateway.inference import CHAT_COMPLETIONS, Call, Reply, run
from gateway.kit.ids import new_request_id
from gateway.kit.money import format_usd
from gateway.metering.prices import Price
from gateway.protocol.routes import Target
from gateway.services import Services
from gateway.settings import BudgetSettings, PriceSettings, RouteSettings, Settings, TimeoutSettings, UpstreamSettings
from gateway.streamed_reply import StreamedReply
from tests.conftest import FAKE_MODELS, chat, client_of
from tests.fakes.upstream import Upstream
from tests.gateway import logged
from tests.gateway.test_errors import error_in
from tests.gateway.test_inference import COST_NANO
from tests.polling import until

pytestmark = pytest.mark.anyio

CHAT = "/v1/chat/completions"
MORE = ("no-max-tokens", "small", "tight")


@pytest.fixture
def settings(settings: Settings, upstream: Upstream) -> Settings:
    route = RouteSettings(name="mixed", targets=(Target(model="unpriced", weight=1), Target(model="echo", weight=1)))
    models = (*FAKE_MODELS, *MORE)
    prices = (
        *settings.prices,
        PriceSettings(model="small", input=5.0, output=10.0, max_output_tokens=2_000),
        PriceSettings(model="tight", input=0.0, output=10.0),
    )
    return msgspec.structs.replace(
        settings,
        upstreams=(UpstreamSettings(name="fake", base_url=upstream.url, models=models),),
        prices=prices,
        routes=(route,),
        budgets=BudgetSettings(wait_seconds=0.3, idle_seconds=60),
        timeouts=TimeoutSettings(drain=0.0, first_token=0.5, idle=0.5),
    )


@pytest.fixture
async def budget(admin: httpx.AsyncClient, project_key: dict[str, Any]) -> str:
    """One dollar in total; its id."""
    return await make_budget(admin, project_key)


async def make_budget(admin: httpx.AsyncClient, key: dict[str, Any], limit: float = 1.0, **fields: Any) -> str:
    asked = {"api_key_id": key["id"], "period": "total", "limit_usd": limit} | fields
    made = await admin.post("/v1/budgets", json=asked)
    assert made.status_code == 200, made.text
    return made.json()["id"]


def account(sv: Services) -> Account:
    [account] = sv.budgets.accounts.values()
    return account


@pytest.fixture
async def settled(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[list[int]]:
    """What each reservation was settled with, in the end every one of them once."""
    made: list[Reservation] = []
    seen: list[int] = []
    first = Reservation.__init__
    settle = Reservation.settle

    def init(self: Reservation, *args: Any) -> None:
        made.append(self)
        first(self, *args)

    def noted(self: Reservation, cost_nano: int) -> None:
        seen.append(cost_nano)
        settle(self, cost_nano)

    monkeypatch.setattr(Reservation, "__init__", init)
    monkeypatch.setattr(Reservation, "settle", noted)
    yield seen
    assert len(made) == len(seen)
    assert made, "this test reserved nothing"


async def spent(sv: Services) -> tuple[int, int]:
    """Of the window, and of the ledger."""
    await sv.drain.drain()
    async with sv.database.session() as session:
        window = await session.scalar(select(func.coalesce(func.sum(BudgetWindowRow.spent_nano), 0)))
        ledger = await session.scalar(select(func.coalesce(func.sum(LedgerRow.cost_nano), 0)))
    return int(window or 0), int(ledger or 0)


async def told(sv: Services, budget: str) -> list[int]:
    """Thresholds that were told of."""
    async with sv.database.session() as session:
        events = select(BudgetEventRow.threshold).where(BudgetEventRow.budget_id == budget)
        return list(await session.scalars(events))


def call_of(project_key: dict[str, Any], body: dict[str, Any]) -> Call:
    authorization = f"Bearer {project_key['value']}".encode()
    return Call(CHAT_COMPLETIONS, authorization, json.dumps(body).encode(), new_request_id())


@pytest.mark.usefixtures("budget")
class TestSettledOnce:
    @pytest.mark.parametrize("stream", [False, True])
    async def test_after_success(
        self, stream: bool, client: httpx.AsyncClient, sv: Services, settled: list[int]
    ) -> None:
        await client.post(CHAT, json=chat("echo", stream=stream))
        assert settled == [COST_NANO]
        assert (account(sv).reserved, account(sv).spent) == (0, COST_NANO)
        assert await spent(sv) == (COST_NANO, COST_NANO)

    @pytest.mark.parametrize("stream", [False, True])
    @pytest.mark.parametrize("model", ["status-400", "status-429", "status-500", "cut-before", "error-first"])
    async def test_after_an_upstreams_error(
        self, model: str, stream: bool, client: httpx.AsyncClient, sv: Services, settled: list[int]
    ) -> None:
        if model == "error-first" and not stream:
            model = "cut"
        answer = await client.post(CHAT, json=chat(model, stream=stream))
        assert answer.status_code >= 400
        assert settled == [0]
        assert (account(sv).reserved, account(sv).spent) == (0, 0)

    @pytest.mark.parametrize("model", ["cut", "error-midway", "ends-early"])
    async def test_after_a_stream_that_breaks(
        self, model: str, client: httpx.AsyncClient, sv: Services, settled: list[int]
    ) -> None:
        await client.post(CHAT, json=chat(model, stream=True))
        row = await logged.row(sv)
        assert settled == [row.cost_nano]
        assert row.cost_nano
        assert (account(sv).reserved, account(sv).spent) == (0, row.cost_nano)

    @pytest.mark.parametrize("stream", [False, True])
    async def test_after_a_timeout(
        self, stream: bool, client: httpx.AsyncClient, sv: Services, settled: list[int]
    ) -> None:
        body = chat("echo", stream=stream, metadata={"fault": "hang"})
        assert (await client.post(CHAT, json=body)).status_code == 504
        assert settled == [0]
        assert account(sv).reserved == 0

    async def test_after_the_client_left(
        self, project_key: dict[str, Any], sv: Services, settled: list[int], upstream: Upstream
    ) -> None:
        reply = await run(sv, call_of(project_key, chat("endless", stream=True)))
        assert isinstance(reply, StreamedReply)
        await anext(reply.frames)
        assert account(sv).reserved > 0
        reply.client_left()
        async for _ in reply.frames:
            pass
        row = await logged.row(sv)
        assert (row.outcome, settled) == ("client_left", [row.cost_nano])
        assert account(sv).reserved == 0

    async def test_after_a_stream_that_is_closed(
        self, project_key: dict[str, Any], sv: Services, settled: list[int]
    ) -> None:
        reply = await run(sv, call_of(project_key, chat("endless", stream=True)))
        assert isinstance(reply, StreamedReply)
        await anext(reply.frames)
        await reply.frames.aclose()
        assert len(settled) == 1
        assert account(sv).reserved == 0

    async def test_after_a_cancel(
        self, project_key: dict[str, Any], sv: Services, settled: list[int], upstream: Upstream
    ) -> None:
        task = asyncio.create_task(run(sv, call_of(project_key, chat("slow"))))
        await until(lambda: upstream.requests)
        assert account(sv).reserved > 0
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        upstream.release.set()
        assert settled == [0]
        assert account(sv).reserved == 0

    async def test_after_a_log_that_cannot_be_written(
        self, client: httpx.AsyncClient, sv: Services, settled: list[int], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(payload: bytes) -> None:
            raise Refusal("the disk is full")

        monkeypatch.setattr(sv.spool, "append", full)
        assert (await client.post(CHAT, json=chat("echo"))).status_code == 400
        assert settled == [COST_NANO], "the provider bills it all the same"
        assert account(sv).reserved == 0


@pytest.mark.usefixtures("settled")
class TestPrices:
    async def test_a_price_that_becomes_known_meanwhile_is_not_charged(
        self, client: httpx.AsyncClient, budget: str, sv: Services, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        calling = asyncio.ensure_future(client.post(CHAT, json=chat("slow")))
        await until(lambda: upstream.requests)
        monkeypatch.setattr(sv.prices, "find", lambda *_: Price(10**12, 10**12, 10**12))
        upstream.release.set()
        assert (await calling).headers["x-tuneway-cost"] == format_usd(COST_NANO)
        assert await spent(sv) == (COST_NANO, COST_NANO)


class TestOpenAnswers:
    async def test_get_the_assumed_limit(
        self, client: httpx.AsyncClient, admin: httpx.AsyncClient, project_key: dict[str, Any], upstream: Upstream
    ) -> None:
        await make_budget(admin, project_key)
        await client.post(CHAT, json=chat("echo"))
        assert upstream.requests[-1] == chat("echo", max_completion_tokens=16_384)
        await client.post("/v1/completions", json={"model": "echo", "prompt": "hi"})
        assert upstream.requests[-1] == {"model": "echo", "prompt": "hi", "max_tokens": 16}

    async def test_get_what_the_budget_pays(
        self, client: httpx.AsyncClient, admin: httpx.AsyncClient, project_key: dict[str, Any], upstream: Upstream
    ) -> None:
        await make_budget(admin, project_key, 0.05)
        assert (await client.post(CHAT, json=chat("tight"))).status_code == 200
        assert upstream.requests[-1]["max_completion_tokens"] == 5_000
        await client.post(CHAT, json=chat("tight", stream=True))
        assert upstream.requests[-1]["max_completion_tokens"] == 4_996, "four tokens were answered"
        assert upstream.requests[-1]["stream_options"] == {"include_usage": True}

    async def test_a_model_that_keeps_to_its_maximum_is_told_nothing(
        self, client: httpx.AsyncClient, admin: httpx.AsyncClient, project_key: dict[str, Any], upstream: Upstream
    ) -> None:
        await make_budget(admin, project_key)
        await client.post(CHAT, json=chat("small"))
        assert upstream.requests[-1] == chat("small")

    async def test_a_limit_of_the_clients_stays(
        self, client: httpx.AsyncClient, admin: httpx.AsyncClient, project_key: dict[str, Any], upstream: Upstream
    ) -> None:
        await make_budget(admin, project_key)
        await client.post(CHAT, json=chat("echo", max_tokens=5))
        assert upstream.requests[-1] == chat("echo", max_tokens=5)

    async def test_a_model_with_less_room_gets_what_it_has(
        self,
        client: httpx.AsyncClient,
        admin: httpx.AsyncClient,
        project_key: dict[str, Any],
        upstream: Upstream,
        sv: Services,
    ) -> None:
        await make_budget(admin, project_key)
        upstream.context = 100
        answer = await client.post(CHAT, json=chat("echo"))
        assert answer.status_code == 200, answer.text
        assert [each["max_completion_tokens"] for each in upstream.requests] == [16_384, 88]
        assert (await logged.row(sv)).attempts is None, "the client hears nothing of it"

    async def test_a_limit_of_the_clients_that_is_too_large_is_its_own_fault(
        self, client: httpx.AsyncClient, admin: httpx.AsyncClient, project_key: dict[str, Any], upstream: Upstream
    ) -> None:
        await make_budget(admin, project_key)
        upstream.context = 100
        answer = await client.post(CHAT, json=chat("echo", max_tokens=200))
        assert answer.status_code == 400
        assert len(upstream.requests) == 1

    async def test_without_a_budget_the_bytes_are_the_clients(
        self, stranger: httpx.AsyncClient, admin: httpx.AsyncClient, project_key: dict[str, Any], upstream: Upstream,
        client: httpx.AsyncClient,
    ) -> None:  # fmt: skip
        await make_budget(admin, project_key)
        await client.post(CHAT, json=chat("echo", max_tokens=5))
        await stranger.post(CHAT, json=chat("echo"))
        assert upstream.requests[-1] == chat("echo")


class TestRefused:
    async def test_when_it_is_spent_until_it_is_raised(
        self, client: httpx.AsyncClient, admin: httpx.AsyncClient, project_key: dict[str, Any], sv: Services,
        upstream: Upstream,
    ) -> None:  # fmt: skip
        id = await make_budget(admin, project_key, 0.0001)
        body = chat("tight", max_tokens=5)
        assert (await client.post(CHAT, json=body)).status_code == 200
        assert (await client.post(CHAT, json=body)).status_code == 200
        refused = await client.post(CHAT, json=body)
        assert refused.status_code == 429
        assert refused.headers["x-should-retry"] == "false"
        error = error_in(refused, 429)
        assert (error["type"], error["code"]) == ("insufficient_quota", "insufficient_quota")
        assert re.fullmatch(r"Your key's budget of \$0.0001 in total has \$0\.\d+ left, .*", error["message"])
        assert len(upstream.requests) == 2
        await admin.post(f"/v1/budgets/{id}", json={"limit_usd": 1})
        assert (await client.post(CHAT, json=body)).status_code == 200
        window, ledger = await spent(sv)
        assert window == ledger

    async def test_it_is_told_once_that_a_budget_is_used_up_although_its_last_cents_are_not_spent(
        self, client: httpx.AsyncClient, admin: httpx.AsyncClient, project_key: dict[str, Any], sv: Services
    ) -> None:
        budget = await make_budget(admin, project_key, 0.0101)
        assert (await client.post(CHAT, json=chat("tight", max_tokens=1000))).status_code == 200
        account(sv).settle(0, 9_990_000)  # as if its answer had been long
        for _ in range(2):
            refused = await client.post(CHAT, json=chat("tight", max_tokens=1000))
            assert error_in(refused, 429)["code"] == "insufficient_quota"
        await until(lambda: told(sv, budget))
        assert await told(sv, budget) == [100]

    async def test_a_call_that_asks_for_more_than_there_is_does_not_use_it_up(
        self, client: httpx.AsyncClient, budget: str, sv: Services
    ) -> None:
        refused = await client.post(CHAT, json=chat("tight", max_tokens=1_000_000))
        assert error_in(refused, 429)["code"] == "insufficient_quota"
        await sv.budgets.close()
        assert await told(sv, budget) == []

    async def test_a_refused_call_is_logged_and_costs_nothing(
        self, client: httpx.AsyncClient, admin: httpx.AsyncClient, project_key: dict[str, Any], sv: Services
    ) -> None:
        await make_budget(admin, project_key, 0.0001)
        assert (await client.post(CHAT, json=chat("tight", max_tokens=100))).status_code == 429
        row = await logged.row(sv)
        assert (row.outcome, row.status, row.cost_nano) == ("refused", 429, None)

    async def test_without_a_price(
        self, client: httpx.AsyncClient, admin: httpx.AsyncClient, project_key: dict[str, Any], upstream: Upstream
    ) -> None:
        id = await make_budget(admin, project_key, hard=False)
        assert (await client.post(CHAT, json=chat("unpriced"))).status_code == 200
        await admin.post(f"/v1/budgets/{id}", json={"hard": True})
        answer = await client.post(CHAT, json=chat("unpriced"))
        error = error_in(answer, 400)
        assert (error["code"], error["param"]) == ("price_missing", "model")
        assert "/v1/prices" in error["message"]
        assert len(upstream.requests) == 1

    @pytest.mark.usefixtures("budget")
    async def test_of_a_route_only_what_has_a_price_may_answer(self, client: httpx.AsyncClient) -> None:
        served = {(await client.post(CHAT, json=chat("mixed"))).headers["x-tuneway-model"] for _ in range(20)}
        assert served == {"echo"}

    @pytest.mark.usefixtures("budget")
    async def test_a_limit_that_says_nothing(self, client: httpx.AsyncClient, upstream: Upstream) -> None:
        answer = await client.post(CHAT, json=chat("echo", max_tokens="many"))
        assert error_in(answer, 400)["param"] == "max_tokens"
        assert upstream.requests == []

    async def test_of_a_project_for_all_its_keys(
        self, client: httpx.AsyncClient, admin: httpx.AsyncClient, project_key: dict[str, Any],
        stranger: httpx.AsyncClient,
    ) -> None:  # fmt: skip
        await make_budget(admin, project_key, 0.0001, api_key_id=None, project_id=project_key["project_id"])
        body = chat("tight", max_tokens=100)
        assert "project's" in error_in(await client.post(CHAT, json=body), 429)["message"]
        assert (await stranger.post(CHAT, json=body)).status_code == 200


class TestShutdown:
    async def test_nothing_is_leased_any_more(
        self, app: App, admin: httpx.AsyncClient, project_key: dict[str, Any], database: Any, settings: Settings
    ) -> None:
        await make_budget(admin, project_key)
        other = build_app(settings)
        async with other.lifespan(), client_of(other, project_key["value"]) as client:
            assert (await client.post(CHAT, json=chat("echo"))).status_code == 200
        async with database.session() as session:
            rows = list(await session.scalars(select(BudgetLeaseRow)))
        assert [(row.holder, row.granted_nano, row.spent_nano) for row in rows] == [("", 0, COST_NANO)]


async def test_a_grader_and_other_calls_of_ours_draw_on_it_too(
    sv: Services, admin: httpx.AsyncClient, project_key: dict[str, Any]
) -> None:
    await make_budget(admin, project_key, 0.0001)
    with pytest.raises(Refusal, match="budget"):
        await run(sv, call_of(project_key, chat("tight", max_tokens=100)))
    reply = await run(sv, call_of(project_key, chat("tight", max_tokens=5)))
    assert isinstance(reply, Reply)
