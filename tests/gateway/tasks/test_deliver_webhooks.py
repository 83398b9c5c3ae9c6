"""Deliveries over real sockets: signed, retried, each by one worker, and nobody holds up anybody."""

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from openai import OpenAI
from sqlalchemy import select, text, update

from gateway.db.tables import WebhookDeliveryRow, WebhookRow
from gateway.kit.clock import now
from gateway.kit.sealing import Sealer, read_keys
from gateway.protocol.webhooks import SecretRotation, WebhookCreate, WebhookUpdate
from gateway.services import WorkerServices, worker_services
from gateway.settings import Secret, Settings
from gateway.tasks.deliver_webhooks import Deliveries
from gateway.webhooks import deliveries, repository
from gateway.webhooks.deliveries import LANES, LEASE_SECONDS, Answer
from gateway.webhooks.outbox import Event, announce
from gateway.webhooks.retries import WAITS
from tests.fakes.receiver import Received, Receiver, running_receiver
from tests.polling import until

pytestmark = pytest.mark.anyio

KEY = "5e" * 32
TYPE = "fine_tuning.job.succeeded"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return msgspec.structs.replace(settings, encryption_key=Secret(KEY))


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with running_receiver() as receiver:
        yield receiver


async def add(wv: WorkerServices, url: str, *, types: list[str] | None = None) -> tuple[str, str]:
    """A webhook's id and its secret."""
    async with wv.database.session() as session:
        wanted = WebhookCreate(url=url, event_types=types or [TYPE])
        row, secret = await repository.create(session, Sealer(read_keys(KEY)), wanted)
    return row.id, secret


async def tell(wv: WorkerServices, count: int = 1) -> None:
    async with wv.database.session() as session:
        await announce(session, [Event(TYPE, now(), {"id": f"ftjob-{number}"}) for number in range(count)])


async def rows(wv: WorkerServices) -> list[WebhookDeliveryRow]:
    async with wv.database.session() as session:
        query = select(WebhookDeliveryRow).order_by(WebhookDeliveryRow.created_at, WebhookDeliveryRow.id)
        return list(await session.scalars(query))


async def webhook(wv: WorkerServices, webhook_id: str) -> WebhookRow:
    async with wv.database.session() as session:
        return await session.get_one(WebhookRow, webhook_id)


async def change(wv: WorkerServices, table: Any, **values: Any) -> None:
    async with wv.database.session() as session:
        await session.execute(update(table).values(**values))


async def make_due(wv: WorkerServices) -> None:
    async with wv.database.session() as session:
        await session.execute(text("UPDATE webhook_deliveries SET next_at = now() WHERE next_at IS NOT NULL"))


async def deliver(wv: WorkerServices) -> None:
    """A round, until what it began has ended."""
    worker = Deliveries(wv)
    await worker.begin()
    await until(lambda: not +worker._under_way)


def unwrap(secret: str, got: Received) -> Any:
    with OpenAI(api_key="x", webhook_secret=secret) as client:
        return client.webhooks.unwrap(got.body, got.headers)


class TestDelivery:
    async def test_is_what_the_sdk_unwraps(self, wv: WorkerServices, receiver: Receiver) -> None:
        _, secret = await add(wv, f"{receiver.url}/hook?a=b")
        await tell(wv)
        await deliver(wv)
        [got], [row] = receiver.got, await rows(wv)
        event = unwrap(secret, got)
        assert (event.type, event.data.id, event.id) == (TYPE, "ftjob-0", row.event_id)
        assert list(json.loads(got.body)) == ["id", "object", "type", "created_at", "data"]
        assert (got.path, got.headers["content-type"]) == ("/hook?a=b", "application/json")
        assert (row.delivered_at is not None, row.next_at, row.attempts, row.last_status) == (True, None, 1, 204)
        await deliver(wv)
        assert len(receiver.got) == 1

    async def test_goes_to_who_wants_it_alone(self, wv: WorkerServices, receiver: Receiver) -> None:
        await add(wv, f"{receiver.url}/jobs")
        await add(wv, f"{receiver.url}/money", types=["budget.exhausted"])
        await add(wv, f"{receiver.url}/both", types=["budget.exhausted", TYPE])
        disabled, _ = await add(wv, f"{receiver.url}/off")
        gone, _ = await add(wv, f"{receiver.url}/gone")
        async with wv.database.session() as session:
            await repository.update(session, disabled, WebhookUpdate(enabled=False))
            await repository.delete(session, gone)
        await tell(wv)
        await deliver(wv)
        assert sorted(got.path for got in receiver.got) == ["/both", "/jobs"]
        assert len(await rows(wv)) == 2  # nothing waits for who is disabled or gone

    async def test_is_tried_again_with_the_same_id_and_a_new_time(self, wv: WorkerServices, receiver: Receiver) -> None:
        webhook_id, secret = await add(wv, receiver.url)
        await tell(wv)
        receiver.status, receiver.text = 500, "out of\norder" + "x" * 1000
        before = now()
        await deliver(wv)
        [row] = await rows(wv)
        assert row.last_error is not None
        assert row.last_error.startswith("It answered 500: out of order")
        assert len(row.last_error) < 400
        assert row.next_at is not None
        assert timedelta(seconds=WAITS[0]) <= row.next_at - before < timedelta(seconds=WAITS[0] * 1.1 + 20)
        assert (await webhook(wv, webhook_id)).failing_since is not None
        await deliver(wv)
        assert len(receiver.got) == 1  # it is not due
        receiver.status = 200
        await make_due(wv)
        await deliver(wv)
        [row] = await rows(wv)
        assert (row.attempts, row.last_status, row.last_error) == (2, 200, None)
        assert len({got.headers["webhook-id"] for got in receiver.got}) == 1
        assert unwrap(secret, receiver.got[1]).data.id == "ftjob-0"
        assert (await webhook(wv, webhook_id)).failing_since is None

    async def test_is_given_up_after_the_last_try(self, wv: WorkerServices, receiver: Receiver) -> None:
        await add(wv, receiver.url)
        await tell(wv)
        receiver.status = 503
        await change(wv, WebhookDeliveryRow, attempts=len(WAITS))
        await deliver(wv)
        [row] = await rows(wv)
        assert (row.attempts, row.next_at, row.delivered_at) == (len(WAITS) + 1, None, None)

    async def test_follows_no_redirect(self, wv: WorkerServices, receiver: Receiver) -> None:
        await add(wv, f"{receiver.url}/here")
        await tell(wv)
        receiver.status, receiver.headers = 307, {"location": f"{receiver.url}/elsewhere"}
        await deliver(wv)
        [row] = await rows(wv)
        assert [got.path for got in receiver.got] == ["/here"]
        assert "redirects are not followed" in (row.last_error or "")

    async def test_nobody_there_is_a_failure_like_others(self, wv: WorkerServices, receiver: Receiver) -> None:
        await add(wv, "http://127.0.0.1:9/")
        await tell(wv)
        await deliver(wv)
        [row] = await rows(wv)
        assert (row.last_status, row.next_at is not None) == (None, True)
        assert "cannot be reached" in (row.last_error or "")

    async def test_both_secrets_sign_for_a_day(self, wv: WorkerServices, receiver: Receiver) -> None:
        webhook_id, old = await add(wv, receiver.url)
        async with wv.database.session() as session:
            rotation = SecretRotation(keep_old_secret_active_for_24_hours=True)
            _, new = await repository.rotate(session, Sealer(read_keys(KEY)), webhook_id, rotation)
        await tell(wv)
        await deliver(wv)
        assert unwrap(old, receiver.got[0]).id == unwrap(new, receiver.got[0]).id
        await change(wv, WebhookRow, previous_until=now())
        await tell(wv)
        await deliver(wv)
        assert unwrap(new, receiver.got[1])
        with pytest.raises(Exception, match="signature"):
            unwrap(old, receiver.got[1])

    async def test_a_secret_of_another_key_is_a_failure_that_says_so(
        self, wv: WorkerServices, settings: Settings, receiver: Receiver
    ) -> None:
        await add(wv, receiver.url)
        await tell(wv)
        async with worker_services(msgspec.structs.replace(settings, encryption_key=Secret("77" * 32))) as other:
            await deliver(other)
        [row] = await rows(wv)
        assert "cannot be opened" in (row.last_error or "")
        assert receiver.got == []


class TestWhoIsHeldUp:
    async def test_nobody_by_one_that_does_not_answer(self, wv: WorkerServices, receiver: Receiver) -> None:
        await add(wv, f"{receiver.url}/silent")
        await tell(wv, LANES + 3)  # more than are tried at once
        await add(wv, f"{receiver.url}/other")
        await tell(wv)
        worker = Deliveries(wv)
        await worker.begin()
        await until(lambda: any(got.path == "/other" for got in receiver.got))
        await until(lambda: sum(worker._under_way.values()) == LANES)
        await worker.begin()  # the lanes are full, and stay so
        assert sum(worker._under_way.values()) == LANES
        assert sum(got.path == "/silent" for got in receiver.got) == LANES
        receiver.silent.set()
        await until(lambda: not +worker._under_way)
        await worker.begin()
        await until(lambda: not +worker._under_way)
        assert None not in [row.delivered_at for row in await rows(wv)]

    async def test_one_that_fails_is_tried_one_at_a_time(self, wv: WorkerServices, receiver: Receiver) -> None:
        await add(wv, f"{receiver.url}/silent")
        await tell(wv, 3)
        await change(wv, WebhookRow, failing_since=now())
        worker = Deliveries(wv)
        await worker.begin()
        assert sum(worker._under_way.values()) == 1


class TestSeveralWorkers:
    async def test_share_what_is_due(self, wv: WorkerServices, settings: Settings, receiver: Receiver) -> None:
        await add(wv, f"{receiver.url}/silent")
        await tell(wv, LANES)
        async with worker_services(settings) as other:
            first, second = Deliveries(wv), Deliveries(other)
            await first.begin()
            await second.begin()
            assert (sum(first._under_way.values()), sum(second._under_way.values())) == (LANES, 0)
            receiver.silent.set()
            await until(lambda: not +first._under_way)
        assert len(receiver.got) == len({got.headers["webhook-id"] for got in receiver.got}) == LANES

    async def test_claims_at_the_same_moment_take_each_once(self, wv: WorkerServices, receiver: Receiver) -> None:
        await add(wv, receiver.url)
        await tell(wv, 2)
        async with wv.database.session() as one, wv.database.session() as two:
            claimed = [each.id for each in await deliveries.claim(one, {}) + await deliveries.claim(two, {})]
        assert len(claimed) == len(set(claimed)) == 2

    async def test_what_a_dead_one_left_is_tried_again_and_its_late_word_does_not_count(
        self, wv: WorkerServices, receiver: Receiver
    ) -> None:
        await add(wv, receiver.url)
        await tell(wv)
        async with wv.database.session() as session:
            [dead] = await deliveries.claim(session, {})
        [row] = await rows(wv)
        assert row.next_at is not None
        assert now() < row.next_at <= now() + timedelta(seconds=LEASE_SECONDS)
        await make_due(wv)
        async with wv.database.session() as session:
            [alive] = await deliveries.claim(session, {})
        assert (alive.id, alive.event_id, alive.attempt) == (dead.id, dead.event_id, 2)
        async with wv.database.session() as session:
            await deliveries.record(session, dead, Answer(500, "late"))
        [row] = await rows(wv)
        assert (row.last_status, row.last_error) == (None, None)
        async with wv.database.session() as session:
            await deliveries.record(session, alive, Answer(200, None))
            await deliveries.record(session, alive, Answer(500, "twice"))
        [row] = await rows(wv)
        assert (row.last_status, row.next_at, row.delivered_at is not None) == (200, None, True)
        assert (await webhook(wv, alive.webhook.id)).failing_since is None


class TestDisabling:
    async def test_gone_disables_at_once(self, wv: WorkerServices, receiver: Receiver) -> None:
        webhook_id, _ = await add(wv, receiver.url)
        await tell(wv)
        receiver.status = 410
        await deliver(wv)
        row = await webhook(wv, webhook_id)
        assert row.disabled_at is not None
        assert "410" in (row.problem or "")
        await make_due(wv)
        await deliver(wv)
        assert len(receiver.got) == 1

    async def test_five_days_of_failures_disable_with_a_note_and_enabling_tries_again(
        self, wv: WorkerServices, receiver: Receiver
    ) -> None:
        webhook_id, _ = await add(wv, receiver.url)
        await tell(wv)
        receiver.status = 502
        await change(wv, WebhookRow, failing_since=now() - timedelta(days=4, hours=23))
        await deliver(wv)
        assert (await webhook(wv, webhook_id)).disabled_at is None
        await change(wv, WebhookRow, failing_since=now() - timedelta(days=5, seconds=1))
        await make_due(wv)
        await deliver(wv)
        row = await webhook(wv, webhook_id)
        assert row.disabled_at is not None
        assert row.problem == "It took nothing for 5 days. The last time: It answered 502."
        async with wv.database.session() as session:
            await repository.update(session, webhook_id, WebhookUpdate(enabled=True))
        receiver.status = 200
        await make_due(wv)
        await deliver(wv)
        [delivery] = await rows(wv)
        assert delivery.delivered_at is not None


class TestRemoveOld:
    async def test_keeps_what_is_pending_or_young(self, wv: WorkerServices, receiver: Receiver) -> None:
        await add(wv, receiver.url)
        await tell(wv, 3)
        old, pending, young = await rows(wv)
        async with wv.database.session() as session:
            ended, aged = {"next_at": None}, {"created_at": now() - timedelta(days=31)}
            for row, values in ((old, ended | aged), (pending, aged), (young, ended)):
                await session.execute(
                    update(WebhookDeliveryRow).where(WebhookDeliveryRow.id == row.id).values(**values)
                )
        await Deliveries(wv).remove_old()
        assert {row.id for row in await rows(wv)} == {pending.id, young.id}
