"""What models cost, and models without a price."""

import re
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from admin.console.pages.prices import status_of
from gateway.db.database import Database
from gateway.kit.clock import now, unix
from tests.admin.console.browsers import Browser, text_of
from tests.gateway.metering.ledger_rows import post

pytestmark = pytest.mark.anyio

URL = "/console/prices"


async def of(admin: httpx.AsyncClient, model: str) -> list[dict[str, object]]:
    return (await admin.get("/v1/prices", params={"model": model})).json()["data"]


class TestAdding:
    async def test_every_amount(self, owner: Browser, admin: httpx.AsyncClient) -> None:
        tomorrow = (datetime.now(UTC) + timedelta(days=1)).replace(second=0, microsecond=0)
        await owner.send(
            URL, model="new-1", input="0.15", output="$0.6", cached_input="0.000000001", per_request="0", training="3",
            training_hour="2.5", max_output_tokens="16384", effective_at=f"{tomorrow:%Y-%m-%dT%H:%M}",
        )  # fmt: skip
        [price] = await of(admin, "new-1")
        assert (price["input"], price["cached_input"], price["output"], price["per_request"]) == (0.15, 1e-9, 0.6, 0)
        assert (price["training"], price["training_hour"], price["max_output_tokens"]) == (3, 2.5, 16384)
        assert price["effective_at"] == tomorrow.timestamp()

    @pytest.mark.parametrize(
        ("field", "value"),
        [("input", "cheap"), ("output", ""), ("effective_at", "some day"), ("effective_at", "2001-01-01T00:00"), ("max_output_tokens", "0")],
    )  # fmt: skip
    async def test_what_is_wrong_is_said_beside_its_field(
        self, owner: Browser, admin: httpx.AsyncClient, field: str, value: str
    ) -> None:
        page = await owner.send(URL, 400, **{"model": "new-1", "input": "1", "output": "2"} | {field: value})
        assert re.search(rf'id="f-{field}"[^>]*aria-invalid="true"', page)
        assert 'value="new-1"' in page
        assert await of(admin, "new-1") == []


class TestRemoving:
    async def test_one_that_has_not_begun(self, owner: Browser, admin: httpx.AsyncClient) -> None:
        body = {"model": "echo", "input": 1, "output": 1, "effective_at": unix(now()) + 5_000}
        made = (await admin.post("/v1/prices", json=body)).json()
        assert "Not yet" in text_of(await owner.open(URL))
        assert "removed" in text_of(await owner.send(f"{URL}/{made['id']}/remove"))
        assert made["id"] not in [each["id"] for each in await of(admin, "echo")]

    async def test_one_of_the_settings_stays_and_the_page_says_why(
        self, owner: Browser, admin: httpx.AsyncClient
    ) -> None:
        [price] = await of(admin, "echo")
        assert "stands in the settings" in text_of(await owner.send(f"{URL}/{price['id']}/remove", 409))


class TestShowing:
    async def test_what_was_replaced_is_history(self, owner: Browser, admin: httpx.AsyncClient) -> None:
        for amount in (1234, 4321):
            await admin.post("/v1/prices", json={"model": "mine", "input": amount, "output": 1})
        text = text_of(await owner.open(f"{URL}?model=MINE"))
        assert "$4,321.00" in text
        assert "$1,234.00" not in text
        assert "$1,234.00" in text_of(await owner.open(f"{URL}?model=mine&history=all"))

    async def test_models_that_were_called_without_a_price(
        self, owner: Browser, database: Database, project_id: str
    ) -> None:
        await post(database, {"model": "free/1", "priced": False, "project_id": project_id, "created_at": unix(now())})
        page = await owner.open(URL)
        assert f"/console/projects/{project_id}/exchanges?model=free/1" in page
        assert 'value="free/1"' in await owner.open(f"{URL}?new=free/1")
        await owner.send(URL, model="free/1", input="0", output="0")
        assert "Called without a price" not in await owner.open(URL)


class TestStatus:
    def test_the_last_that_has_begun_holds(self) -> None:
        def price(id: str, model: str, at: int) -> dict[str, object]:
            return {"id": id, "model": model, "effective_at": at}

        listed = [price("a", "m", 30), price("b", "m", 20), price("c", "n", 20), price("d", "m", 10)]
        assert status_of(listed, 20) == {"a": "begins", "b": "holds", "c": "holds", "d": "replaced"}
