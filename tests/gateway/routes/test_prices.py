"""/v1/prices: what models cost, and from when."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import msgspec
import pytest
from sqlalchemy import select, update

from gateway.app import App, build_app
from gateway.db.changes import touch
from gateway.db.database import Database
from gateway.db.tables import AuditLogRow, PriceRow
from gateway.exchanges import record
from gateway.exchanges.record import Record
from gateway.inference import CHAT_COMPLETIONS, Call, Reply, run
from gateway.kit.clock import from_unix, now, unix
from gateway.kit.ids import new_request_id
from gateway.metering import price_history
from gateway.services import Services
from gateway.settings import Settings
from tests.conftest import chat, client_of
from tests.gateway.metering.ledger_rows import DAY, MIDNIGHT, post
from tests.gateway.test_errors import error_in
from tests.polling import until

pytestmark = pytest.mark.anyio

URL = "/v1/prices"
CHAT = "/v1/chat/completions"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return msgspec.structs.replace(
        settings, prices=tuple(each for each in settings.prices if each.model in ("echo", "slow"))
    )


@pytest.fixture
async def elsewhere(app: App, settings: Settings) -> AsyncIterator[App]:
    """Another gateway process on the same database."""
    other = build_app(msgspec.structs.replace(settings, data_dir=settings.data_dir / "other"))
    async with other.lifespan():
        yield other


async def made(admin: httpx.AsyncClient, **fields: Any) -> dict[str, Any]:
    answer = await admin.post(URL, json={"model": "echo", "input": 1, "output": 2} | fields)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def costs(client: httpx.AsyncClient, model: str = "echo") -> str:
    answer = await client.post(CHAT, json=chat(model))
    assert answer.status_code == 200, answer.text
    return answer.headers["x-tuneway-cost"]


async def move(sv: Services, price_id: str, seconds: float) -> None:
    """As if the price had been made to begin `seconds` from now."""
    async with sv.database.session() as session:
        moment = from_unix(now().timestamp() + seconds)
        await session.execute(update(PriceRow).where(PriceRow.id == price_id).values(effective_at=moment))
        await touch(session, "prices")
    await sv.mirrors.catch_up()


class TestCreate:
    async def test_the_smallest_one(self, admin: httpx.AsyncClient) -> None:
        price = await made(admin)
        assert price == {
            "id": price["id"],
            "object": "price",
            "model": "echo",
            "input": 1.0,
            "cached_input": 1.0,
            "output": 2.0,
            "per_request": 0.0,
            "training": None,
            "training_hour": None,
            "max_output_tokens": None,
            "problem": None,
            "source": "api",
            "effective_at": price["created_at"],
            "created_at": price["created_at"],
        }
        assert price["id"].startswith("price_")
        assert abs(price["created_at"] - unix(now())) <= 5

    async def test_the_largest_one(self, admin: httpx.AsyncClient) -> None:
        asked = {
            "effective_at": unix(now()) + 3600,
            "input": 0.0375,
            "cached_input": 0,
            "output": 100_000,
            "per_request": 0.000000001,
            "training": 3.123456789,
            "training_hour": 2.5,
            "max_output_tokens": 4096,
        }
        price = await made(admin, **asked)
        assert {name: price[name] for name in asked} == asked
        assert (await admin.get(f"{URL}/{price['id']}")).json() == price

    async def test_calls_cost_it_from_now_on(self, admin: httpx.AsyncClient, client: httpx.AsyncClient) -> None:
        assert await costs(client) == "0.000082"
        await made(admin, input=1, cached_input=0.5, output=2, per_request=0.001)
        assert await costs(client) == "0.001018"  # (8 x 1 + 4 x 0.5 + 4 x 2) / 1M + 0.001

    async def test_a_model_that_had_none_has_one(self, admin: httpx.AsyncClient, client: httpx.AsyncClient) -> None:
        assert await costs(client, "unpriced") == "unpriced"
        await made(admin, model="unpriced", input=0, output=0)
        assert await costs(client, "unpriced") == "0"

    async def test_another_process_knows_it_within_a_second(
        self, admin: httpx.AsyncClient, project_key: dict[str, Any], elsewhere: App
    ) -> None:
        await made(admin, input=0, output=0)
        async with client_of(elsewhere, project_key["value"]) as client:

            async def there() -> bool:
                return await costs(client) == "0"

            await until(there)

    async def test_the_parts_go_into_the_record(
        self, admin: httpx.AsyncClient, client: httpx.AsyncClient, sv: Services, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await made(admin, input=1, cached_input=0.5, output=2, per_request=0.001)
        told = list[Record]()
        monkeypatch.setattr(sv.spool, "append", lambda entry: told.append(record.decode(entry)))
        await costs(client)
        (entry,) = told
        assert entry.cost_nano == 1_018_000
        parts = (entry.input_nano, entry.cached_input_nano, entry.output_nano, entry.request_nano)
        assert parts == (8_000, 2_000, 8_000, 1_000_000)

    async def test_of_a_provider_that_was_added_here(
        self, admin: httpx.AsyncClient, client: httpx.AsyncClient, upstream: Any
    ) -> None:
        before = await made(admin, model="acme-1", input=7, output=0)
        assert "No model is called `acme-1`" in before["problem"]
        fields = {
            "name": "acme",
            "base_url": upstream.url,
            "models": [{"model": "acme-1", "served_name": "echo"}],
        }
        assert (await admin.post("/v1/upstreams", json=fields)).status_code == 200
        assert (await admin.get(f"{URL}/{before['id']}")).json()["problem"] is None
        assert await costs(client, "acme-1") == "0.000084"

    async def test_the_audit_log_tells_of_it(self, admin: httpx.AsyncClient, database: Database) -> None:
        price = await made(admin, input=0.5)
        async with database.session() as session:
            entry = (await session.scalars(select(AuditLogRow).where(AuditLogRow.type == "organization.updated"))).one()
        asked = {"id": price["id"], "model": "echo", "input": 0.5, "output": 2}
        assert entry.detail == {"changes_requested": {"price": asked}}
        assert entry.actor["type"] == "api_key"


class TestWhenItBegins:
    async def test_one_of_the_future_costs_nobody_anything_yet(
        self, admin: httpx.AsyncClient, client: httpx.AsyncClient
    ) -> None:
        await made(admin, effective_at=unix(now()) + 3600)
        assert await costs(client) == "0.000082"

    async def test_it_takes_effect_by_itself(
        self, admin: httpx.AsyncClient, sv: Services, elsewhere: App, project_key: dict[str, Any]
    ) -> None:
        price = await made(admin, input=0, output=0, effective_at=unix(now()) + 3600)
        other, begins = elsewhere.services, price["effective_at"]
        await until(lambda: asyncio.sleep(0, other.prices.find("echo", at=begins) != other.prices.find("echo")))
        for each in (sv, other):  # nothing is loaded between these two moments
            before, after = each.prices.find("echo", at=begins - 0.001), each.prices.find("echo", at=begins)
            assert (before and before.input, after and after.input) == (5 * 10**9, 0)

    async def test_a_call_is_charged_by_when_it_came_in(
        self, admin: httpx.AsyncClient, sv: Services, project_key: dict[str, Any]
    ) -> None:
        begins = (await made(admin, input=0, output=0, effective_at=unix(now()) + 3600))["effective_at"]
        told = list[str]()
        for at in (begins - 0.001, begins):
            call = Call(
                CHAT_COMPLETIONS,
                f"Bearer {project_key['value']}".encode(),
                msgspec.json.encode(chat("echo")),
                new_request_id(),
                created_at=at,
            )
            reply = await run(sv, call)
            assert isinstance(reply, Reply)
            told.append(reply.headers["x-tuneway-cost"])
        assert told == ["0.000082", "0"]

    @pytest.mark.parametrize("seconds", [1, 100_000_000])
    async def test_the_past_does_not_change(self, admin: httpx.AsyncClient, seconds: int) -> None:
        body = {"model": "echo", "input": 1, "output": 2, "effective_at": unix(now()) - 10 * seconds}
        error = error_in(await admin.post(URL, json=body), 400)
        assert error["param"] == "effective_at"
        assert "in the past" in error["message"]

    async def test_this_very_second_is_now(
        self, admin: httpx.AsyncClient, sv: Services, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        moment = from_unix(1_900_000_000.75)
        monkeypatch.setattr(price_history, "now", lambda: moment)
        await made(admin, input=0, effective_at=1_900_000_000)
        before, after = sv.prices.find("echo", at=1_900_000_000.5), sv.prices.find("echo", at=1_900_000_000.75)
        assert (before and before.input, after and after.input) == (5 * 10**9, 0)

    async def test_two_from_the_same_second_are_one_too_many(self, admin: httpx.AsyncClient) -> None:
        at = unix(now()) + 3600
        await made(admin, effective_at=at)
        body = {"model": "echo", "input": 1, "output": 2, "effective_at": at}
        answer = await admin.post(URL, json=body)
        assert "already has a price" in error_in(answer, 409)["message"]
        assert answer.headers["x-should-retry"] == "false"
        await made(admin, model="slow", effective_at=at)


class TestBadFields:
    @pytest.mark.parametrize("field", ["input", "cached_input", "output", "per_request", "training", "training_hour"])
    @pytest.mark.parametrize("value", ['"1"', "-0.1", "true", "[]", "1e400", "100000.1", "0.0000000001"])
    async def test_an_amount(self, admin: httpx.AsyncClient, field: str, value: str) -> None:
        fields = {"model": '"echo"', "input": "1", "output": "2"} | {field: value}
        body = "{" + ", ".join(f'"{name}": {text}' for name, text in fields.items()) + "}"
        error = error_in(await admin.post(URL, content=body), 400)
        assert error["param"] == field
        assert f"'{field}'" in error["message"]

    async def test_not_a_number_is_not_json(self, admin: httpx.AsyncClient) -> None:
        error_in(await admin.post(URL, content='{"model": "echo", "input": NaN, "output": 1}'), 400)

    @pytest.mark.parametrize("field", ["model", "input", "output"])
    async def test_what_is_missing(self, admin: httpx.AsyncClient, field: str) -> None:
        body = {"model": "echo", "input": 1, "output": 2}
        del body[field]
        error = error_in(await admin.post(URL, json=body), 400)
        assert (error["param"], error["code"]) == (field, "missing_required_parameter")

    @pytest.mark.parametrize("field", ["input", "output"])
    async def test_null_is_no_price(self, admin: httpx.AsyncClient, field: str) -> None:
        error = error_in(await admin.post(URL, json={"model": "echo", "input": 1, "output": 2, field: None}), 400)
        assert error["param"] == field

    @pytest.mark.parametrize(
        "fields",
        [
            {"model": ""},
            {"model": " "},
            {"model": "m" * 257},
            {"model": "a\x00b"},
            {"model": 1},
            {"effective_at": -1},
            {"effective_at": 10**18},
            {"effective_at": 1.5},
            {"max_output_tokens": 0},
            {"max_output_tokens": 2**31},
            {"max_output_tokens": "10"},
            {"inptu": 1},
        ],
    )
    async def test_anything_else(self, admin: httpx.AsyncClient, fields: dict[str, Any]) -> None:
        error = error_in(await admin.post(URL, json={"model": "echo", "input": 1, "output": 2} | fields), 400)
        assert error["param"] == next(iter(fields))

    async def test_nothing_is_stored_of_what_is_refused(self, admin: httpx.AsyncClient, database: Database) -> None:
        error_in(await admin.post(URL, json={"model": "echo", "input": 1, "output": -2}), 400)
        async with database.session() as session:
            assert (await session.scalars(select(PriceRow))).all() == []
            assert (
                await session.scalars(select(AuditLogRow).where(AuditLogRow.type == "organization.updated"))
            ).all() == []


class TestList:
    async def ids(self, admin: httpx.AsyncClient, **query: Any) -> list[str]:
        return [each["id"] for each in (await admin.get(URL, params=query)).json()["data"]]

    async def test_the_last_to_begin_comes_first(self, admin: httpx.AsyncClient) -> None:
        later, soon = [await made(admin, effective_at=unix(now()) + seconds) for seconds in (7200, 3600)]
        listed = (await admin.get(URL)).json()
        assert [each["id"] for each in listed["data"]][:2] == [later["id"], soon["id"]]
        assert [(each["model"], each["source"], each["effective_at"]) for each in listed["data"]][2:] == [
            ("slow", "settings", 0),
            ("echo", "settings", 0),
        ]
        assert (listed["object"], listed["first_id"], listed["has_more"]) == ("list", later["id"], False)
        ascending = await self.ids(admin, order="asc")
        assert ascending == (await self.ids(admin))[::-1]

    async def test_page_by_page(self, admin: httpx.AsyncClient) -> None:
        for seconds in (60, 120, 180):
            await made(admin, effective_at=unix(now()) + seconds)
        every, found, after = await self.ids(admin), list[str](), dict[str, str]()
        while True:
            page = (await admin.get(URL, params={"limit": 2} | after)).json()
            found += [each["id"] for each in page["data"]]
            if not page["has_more"]:
                break
            after = {"after": page["last_id"]}
        assert found == every
        assert len(every) == 5
        error_in(await admin.get(URL, params={"after": "price_none"}), 400)

    async def test_of_a_model(self, admin: httpx.AsyncClient) -> None:
        price = await made(admin, model="slow")
        assert (await self.ids(admin, model="slow"))[0] == price["id"]
        assert len(await self.ids(admin, model="slow")) == 2
        assert len(await self.ids(admin, **{"model[]": ["slow", "echo"]})) == 3
        assert await self.ids(admin, model="none") == []

    async def test_by_when_they_begin(self, admin: httpx.AsyncClient) -> None:
        at = unix(now()) + 3600
        soon, later = await made(admin, effective_at=at), await made(admin, effective_at=at + 1)
        assert await self.ids(admin, **{"effective_at[gt]": at}) == [later["id"]]
        assert await self.ids(admin, **{"effective_at[gte]": at}) == [later["id"], soon["id"]]
        assert await self.ids(admin, **{"effective_at[gte]": at, "effective_at[lt]": at + 1}) == [soon["id"]]
        assert len(await self.ids(admin, **{"effective_at[lte]": at})) == 3
        error_in(await admin.get(URL, params={"effective_at[near]": 1}), 400)
        error_in(await admin.get(URL, params={"effective_at[gt]": "soon"}), 400)


class TestOfTheSettings:
    async def test_one_is_shown_like_any_other(self, admin: httpx.AsyncClient) -> None:
        listed = (await admin.get(URL, params={"model": "echo"})).json()["data"]
        assert (await admin.get(f"{URL}/{listed[0]['id']}")).json() == listed[0]
        assert (listed[0]["input"], listed[0]["cached_input"], listed[0]["output"]) == (5.0, 0.5, 10.0)

    async def test_it_is_not_deleted(self, admin: httpx.AsyncClient) -> None:
        listed = (await admin.get(URL, params={"model": "echo"})).json()["data"]
        assert "stands in the settings" in error_in(await admin.delete(f"{URL}/{listed[0]['id']}"), 409)["message"]


class TestUnpriced:
    URL = "/v1/prices/unpriced"

    async def test_says_what_was_called_without_a_price_and_where(
        self, admin: httpx.AsyncClient, database: Database
    ) -> None:
        late = {"model": "dear", "priced": False, "created_at": MIDNIGHT + DAY}
        await post(
            database,
            {"model": "dear", "priced": False},
            late,
            late | {"project_id": "proj_2"},
            {"model": "echo"},
            {"model": "echo", "priced": False, "created_at": MIDNIGHT + 2 * DAY},
            {"model": "old", "priced": False, "created_at": MIDNIGHT - 1},
        )
        found = (await admin.get(self.URL, params={"start_time": MIDNIGHT + 5})).json()["data"]
        names = ("model", "project_id", "requests", "last_used_on", "priced_now")
        assert [tuple(each[name] for name in names) for each in found] == [
            ("dear", "proj_1", 2, MIDNIGHT + DAY, False),
            ("dear", "proj_2", 1, MIDNIGHT + DAY, False),
            ("echo", "proj_1", 1, MIDNIGHT + 2 * DAY, True),
        ]

    async def test_looks_back_for_thirty_days(self, admin: httpx.AsyncClient, database: Database) -> None:
        moments = [unix(now()) - days * DAY for days in (29, 32)]
        await post(database, *({"model": "m", "priced": False, "created_at": moment} for moment in moments))
        assert [each["requests"] for each in (await admin.get(self.URL)).json()["data"]] == [1]


class TestDelete:
    async def test_one_that_has_not_begun(self, admin: httpx.AsyncClient, sv: Services, database: Database) -> None:
        price = await made(admin, effective_at=unix(now()) + 3600)
        deleted = (await admin.delete(f"{URL}/{price['id']}")).json()
        assert deleted == {"id": price["id"], "object": "price", "deleted": True}
        assert sv.prices.find("echo", at=price["effective_at"]) == sv.prices.find("echo")
        error_in(await admin.get(f"{URL}/{price['id']}"), 404)
        async with database.session() as session:
            kept = list(await session.scalars(select(AuditLogRow.detail).order_by(AuditLogRow.effective_at)))
        assert kept[-1] == {"changes_requested": {"price": {"id": price["id"], "model": "echo", "deleted": True}}}

    async def test_one_that_has_begun_stays(self, admin: httpx.AsyncClient) -> None:
        price = await made(admin)
        answer = await admin.delete(f"{URL}/{price['id']}")
        assert "it has begun" in error_in(answer, 409)["message"]
        assert answer.headers["x-should-retry"] == "false"
        assert (await admin.get(f"{URL}/{price['id']}")).status_code == 200

    async def test_one_that_begins_before_every_process_could_hear_of_it_stays(
        self, admin: httpx.AsyncClient, sv: Services
    ) -> None:
        price = await made(admin, effective_at=unix(now()) + 3600)
        await move(sv, price["id"], 0.5)
        error_in(await admin.delete(f"{URL}/{price['id']}"), 409)

    async def test_one_that_is_not_there(self, admin: httpx.AsyncClient) -> None:
        error_in(await admin.delete(f"{URL}/price_none"), 404)
        error_in(await admin.get(f"{URL}/price_none"), 404)
