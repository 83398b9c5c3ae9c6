"""The whole way of an event: a call or a job here, a budget or a status in the database, a worker process, a receiver."""

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import msgspec
import pytest
from openai import OpenAI

from gateway.settings import Secret, Settings
from tests.conftest import chat
from tests.deploy.test_worker import START_SECONDS, working
from tests.fakes.engine import running_engine
from tests.fakes.fine_tuning import create_job, set_mode, with_engine
from tests.fakes.receiver import Receiver, running_receiver
from tests.polling import until

pytestmark = pytest.mark.anyio

KEY = "5e" * 32
CALL_USD = 0.000082
"""Of a call to `echo` (tests/conftest.py, tests/fakes/upstream.py)."""


@pytest.fixture
def settings(settings: Settings) -> Iterator[Settings]:
    with running_engine() as engine:
        yield msgspec.structs.replace(with_engine(settings, engine), encryption_key=Secret(KEY))


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with running_receiver() as receiver:
        yield receiver


class TestEvents:
    async def test_a_call_that_reaches_thresholds_is_told_signed_and_once(
        self,
        admin: httpx.AsyncClient,
        client: httpx.AsyncClient,
        settings: Settings,
        receiver: Receiver,
        tmp_path: Path,
    ) -> None:
        types = (await admin.get("/v1/webhook_event_types")).json()["data"]
        hook = (await admin.post("/v1/webhooks", json={"url": receiver.url, "event_types": types})).json()
        limit = {"period": "day", "limit_usd": CALL_USD, "hard": False, "thresholds": [50, 100]}
        budget = (await admin.post("/v1/budgets", json=limit)).json()
        reply = await client.post("/v1/chat/completions", json=chat("echo"))
        assert float(reply.headers["x-tuneway-cost"]) == CALL_USD

        async def is_announced() -> bool:
            listed = (await admin.get(f"/v1/webhooks/{hook['id']}/deliveries")).json()["data"]
            return len(listed) == 2 and all(each["status"] == "delivered" for each in listed)

        with working(settings, tmp_path / "log", TUNEWAY_ENCRYPTION_KEY=KEY):
            await until(is_announced, START_SECONDS)
        assert sorted(json.loads(got.body)["data"]["threshold"] for got in receiver.got) == [50, 100]
        with OpenAI(api_key="x", webhook_secret=hook["signing_secret"]) as sdk:
            event = sdk.webhooks.unwrap(receiver.got[0].body, receiver.got[0].headers)
        assert event.type == "budget.threshold_reached"
        assert event.to_dict()["data"]["id"] == budget["id"]  # type: ignore[index]

    async def test_a_job_that_succeeds_is_told(
        self,
        admin: httpx.AsyncClient,
        client: httpx.AsyncClient,
        settings: Settings,
        receiver: Receiver,
        tmp_path: Path,
    ) -> None:
        set_mode(settings, "succeed")
        wanted = {"url": receiver.url, "event_types": ["fine_tuning.job.succeeded"]}
        hook = (await admin.post("/v1/webhooks", json=wanted)).json()
        job = await create_job(client)
        with working(settings, tmp_path / "log", TUNEWAY_ENCRYPTION_KEY=KEY):
            await until(lambda: receiver.got, START_SECONDS)
        with OpenAI(api_key="x", webhook_secret=hook["signing_secret"]) as sdk:
            event = sdk.webhooks.unwrap(receiver.got[0].body, receiver.got[0].headers)
        assert (event.type, event.data.id) == ("fine_tuning.job.succeeded", job["id"])  # type: ignore[union-attr]
