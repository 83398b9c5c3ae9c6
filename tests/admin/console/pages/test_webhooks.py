"""Webhooks: made, tried, changed, their secrets shown once."""

import re
from collections.abc import AsyncIterator

import httpx
import pytest

from gateway.app import App
from gateway.kit.clock import now
from gateway.services import Services
from gateway.webhooks.outbox import Event, announce
from tests.admin.console.browsers import Browser, text_of
from tests.fakes.receiver import Receiver, running_receiver
from tests.gateway.people import add
from tests.gateway.routes.test_webhooks import TYPE, URL, create

pytestmark = pytest.mark.anyio
PAGE = "/console/webhooks"
JOB = "fine_tuning.job.failed"


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with running_receiver() as receiver:
        yield receiver


@pytest.fixture
async def url(admin: httpx.AsyncClient, receiver: Receiver) -> str:
    """Of the page of one that the receiver gets."""
    made = await create(admin, url=f"{receiver.url}/x", event_types=[TYPE, JOB], name="ours")
    return f"{PAGE}/{made['id']}"


def secret_of(page: str) -> str:
    [secret] = re.findall(r'data-copy="(whsec_[^"]+)"', page)
    return secret


def wrong(page: str) -> list[str]:
    return re.findall(r'id="f-(\w+)"[^>]*aria-invalid="true"', page)


async def one(admin: httpx.AsyncClient, url: str) -> dict[str, object]:
    return (await admin.get(url.replace("/console", "/v1"))).json()


class TestMaking:
    async def test_the_secret_is_shown_once(self, owner: Browser, admin: httpx.AsyncClient) -> None:
        assert "No webhook yet" in text_of(await owner.open(PAGE))
        secret = secret_of(await owner.send(PAGE, url=URL, name="", event_types=[TYPE, JOB]))
        [made] = (await admin.get("/v1/webhooks")).json()["data"]
        assert (made["url"], made["name"], made["event_types"]) == (URL, "hooks.example.com", [TYPE, JOB])
        for page in (PAGE, f"{PAGE}/{made['id']}"):
            assert secret not in await owner.open(page)

    async def test_what_is_wrong_is_said_beside_its_field(self, owner: Browser) -> None:
        page = await owner.send(PAGE, 400, url="ftp://x", name="mine", event_types=[JOB])
        assert wrong(page) == ["url"]
        assert 'value="mine"' in page
        assert re.findall(r'value="([\w.]+)" checked', page) == [JOB]
        assert '<p class="help" id="h-event_types">' in await owner.send(PAGE, 400, url=URL)


class TestOne:
    async def test_a_sample_is_sent_and_the_answer_told(self, owner: Browser, url: str, receiver: Receiver) -> None:
        assert "It was answered with 204." in text_of(await owner.send(f"{url}/test", event_type=JOB))
        assert JOB.encode() in receiver.got[0].body
        receiver.status, receiver.text = 500, "<b>no</b>"
        page = await owner.send(f"{url}/test", event_type=TYPE)
        assert "It answered 500: &lt;b&gt;no&lt;/b&gt;" in page

    async def test_deliveries_with_what_was_sent(self, owner: Browser, url: str, sv: Services) -> None:
        assert "Nothing was sent yet" in text_of(await owner.open(url))
        async with sv.database.session() as session:
            await announce(session, [Event(TYPE, now(), {"id": "budget_of_mine"})])
        text = text_of(await owner.open(url))
        assert "pending" in text
        assert '"id": "budget_of_mine"' in text

    async def test_is_changed_switched_off_and_on(self, owner: Browser, admin: httpx.AsyncClient, url: str) -> None:
        await owner.send(url, url=URL, name="theirs", event_types=[JOB])
        changed = await one(admin, url)
        assert (changed["url"], changed["name"], changed["event_types"]) == (URL, "theirs", [JOB])
        assert "It is off" in text_of(await owner.send(f"{url}/enabled", enabled="false"))
        assert (await one(admin, url))["enabled"] is False
        assert "It is off" not in text_of(await owner.send(f"{url}/enabled", enabled="true"))
        assert wrong(await owner.send(url, 400, url="no", name="theirs", event_types=[JOB])) == ["url"]

    @pytest.mark.parametrize(("keep", "signatures"), [("true", 2), ("false", 1)])
    async def test_a_new_secret(self, owner: Browser, url: str, receiver: Receiver, keep: str, signatures: int) -> None:
        assert secret_of(await owner.send(f"{url}/rotate", keep=keep))
        await owner.send(f"{url}/test")
        assert len(receiver.got[0].headers["webhook-signature"].split()) == signatures

    async def test_deleted_it_is_gone(self, owner: Browser, url: str) -> None:
        assert "No webhook yet" in text_of(await owner.send(f"{url}/delete"))
        await owner.open(url, 404)


async def test_readers_have_nothing_to_press(app: App, admin: httpx.AsyncClient, url: str) -> None:
    await add(admin, "reader@example.com")
    async with Browser.of(app) as browser:
        await browser.sign_in("reader@example.com")
        for each in (PAGE, url):
            page = await browser.open(each)
            assert set(re.findall(r'<form method="post" action="([^"]+)"', page)) == {"/console/sign-out"}
        await browser.send(PAGE, 403, url=URL, event_types=[TYPE])
