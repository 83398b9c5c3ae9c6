"""/v1/organization/usage/completions and /v1/organization/costs"""

import time
from collections.abc import Iterable
from typing import Any

import httpx
import pytest

from gateway.db.database import Database
from gateway.kit.money import nano_from_usd
from tests.contract import SCHEMAS, conforms
from tests.gateway.metering.test_usage_report import DAY, MIDNIGHT, add
from tests.gateway.test_errors import error_in

pytestmark = pytest.mark.anyio

USAGE, COSTS = "/v1/organization/usage/completions", "/v1/organization/costs"
HOUR = 3_600


async def report(admin: httpx.AsyncClient, url: str, **query: Any) -> dict[str, Any]:
    answer = await admin.get(url, params={"start_time": MIDNIGHT, "end_time": MIDNIGHT + DAY} | query)
    assert answer.status_code == 200, answer.text
    conforms("UsageResponse", answer.json())
    return answer.json()


async def results(admin: httpx.AsyncClient, url: str, **query: Any) -> list[dict[str, Any]]:
    """Of the one bucket of the day."""
    (bucket,) = (await report(admin, url, **query))["data"]
    assert (bucket["start_time"], bucket["end_time"]) == (MIDNIGHT, MIDNIGHT + DAY)
    return bucket["results"]


def picked(found: Iterable[dict[str, Any]], *names: str) -> list[tuple[Any, ...]]:
    return [tuple(each[name] for name in names) for each in found]


class TestUsage:
    async def test_has_every_key_that_openai_documents(self, admin: httpx.AsyncClient, database: Database) -> None:
        await add(database, {}, {})
        (result,) = await results(admin, USAGE)
        conforms("UsageCompletionsResult", result)
        assert set(result) >= set(SCHEMAS["$defs"]["UsageCompletionsResult"]["properties"])
        assert result | {"input_tokens": 24, "input_cached_tokens": 8, "input_uncached_tokens": 16} == result
        assert (
            result | {"output_tokens": 8, "num_model_requests": 2, "object": "organization.usage.completions.result"}
            == result
        )
        groups = ("project_id", "user_id", "api_key_id", "model", "batch", "service_tier", "api_source")
        assert picked([result], *groups) == [(None,) * 7]

    async def test_groups_in_both_spellings(self, admin: httpx.AsyncClient, database: Database) -> None:
        await add(database, {"served_model": "x"}, {"served_model": "y", "project_id": "proj_2"})
        expected = [("x", "proj_1", False, "unlabeled", None), ("y", "proj_2", False, "unlabeled", None)]
        for name in ("group_by", "group_by[]"):
            groups = ["model", "project_id", "batch", "user_id", "service_tier", "api_source", "model"]
            found = await results(admin, USAGE, **{name: groups})
            assert picked(found, "model", "project_id", "batch", "api_source", "user_id") == expected

    async def test_filters(self, admin: httpx.AsyncClient, database: Database) -> None:
        await add(
            database,
            {"served_model": "x"},
            {"project_id": "proj_2"},
            {"api_key_id": "key_2"},
            {"endpoint": "/embeddings"},
        )
        for query, count in (
            ({}, 3),
            ({"models": "x"}, 1),
            ({"models[]": ["x", "m"]}, 3),
            ({"project_ids": ["proj_2"]}, 1),
            ({"api_key_ids": ["key_2", "key_9"]}, 1),
            ({"batch": "false"}, 3),
        ):
            (result,) = await results(admin, USAGE, **query)
            assert result["num_model_requests"] == count, query

    async def test_nothing_belongs_to_users_or_batches(self, admin: httpx.AsyncClient, database: Database) -> None:
        await add(database, {})
        for url in (USAGE, COSTS):
            assert await results(admin, url, user_ids=["user_1"]) == []
            assert await results(admin, url, batch="true") == []

    async def test_shows_every_bucket_of_the_range(self, admin: httpx.AsyncClient, database: Database) -> None:
        await add(database, {"created_at": MIDNIGHT + 5 * HOUR + 1})
        found = await report(admin, USAGE, bucket_width="1h", limit=24)
        assert picked(found["data"], "start_time", "end_time") == [
            (MIDNIGHT + hour * HOUR, MIDNIGHT + (hour + 1) * HOUR) for hour in range(24)
        ]
        assert [len(bucket["results"]) for bucket in found["data"]] == [0] * 5 + [1] + [0] * 18
        assert (found["has_more"], found["next_page"]) == (False, None)

    async def test_cuts_the_first_and_the_last_bucket(self, admin: httpx.AsyncClient, database: Database) -> None:
        await add(database, *({"created_at": MIDNIGHT + hour * HOUR} for hour in range(48)))
        start, end = MIDNIGHT + 20 * HOUR, MIDNIGHT + DAY + 2 * HOUR
        data = (await report(admin, USAGE, start_time=start, end_time=end))["data"]
        assert picked(data, "start_time", "end_time") == [(start, MIDNIGHT + DAY), (MIDNIGHT + DAY, end)]
        assert [bucket["results"][0]["num_model_requests"] for bucket in data] == [4, 2]

    async def test_without_an_end_it_goes_to_now(self, admin: httpx.AsyncClient, database: Database) -> None:
        now = time.time()
        await add(database, {"created_at": now})
        data = (await admin.get(USAGE, params={"start_time": int(now) - DAY})).json()["data"]
        assert data[-1]["results"][0]["num_model_requests"] == 1
        assert data[-1]["start_time"] <= now < data[-1]["end_time"]


class TestLimits:
    @pytest.mark.parametrize(
        ("url", "width", "default", "most"),
        [(USAGE, "1m", 60, 1440), (USAGE, "1h", 24, 168), (USAGE, "1d", 7, 31), (COSTS, "1d", 7, 180)],
    )
    async def test_are_openais(self, url: str, width: str, default: int, most: int, admin: httpx.AsyncClient) -> None:
        query = {"start_time": MIDNIGHT - 300 * DAY, "bucket_width": width}
        assert len((await report(admin, url, **query))["data"]) == default
        assert len((await report(admin, url, **query, limit=most))["data"]) == most
        answer = await admin.get(url, params=query | {"limit": most + 1})
        assert error_in(answer, 400)["param"] == "limit"


class TestPages:
    async def test_show_every_bucket_once(self, admin: httpx.AsyncClient, database: Database) -> None:
        await add(database, *({"created_at": MIDNIGHT + hour * HOUR} for hour in range(48)))
        for url, names in ((USAGE, ["model"]), (COSTS, ["line_item"])):
            query = {"start_time": MIDNIGHT + HOUR, "end_time": MIDNIGHT + 4 * DAY, "group_by": names}
            whole = await report(admin, url, **query)
            page = await report(admin, url, **query, limit=1)
            shown = page["data"]
            while page["has_more"]:
                page = await report(admin, url, **query, limit=2, page=page["next_page"])
                shown += page["data"]
            assert shown == whole["data"]
            assert len(shown) == 4
            assert page["next_page"] is None

    async def test_belong_to_their_query(self, admin: httpx.AsyncClient) -> None:
        query: dict[str, Any] = {"start_time": MIDNIGHT, "end_time": MIDNIGHT + 3 * DAY, "limit": 1}
        page = (await report(admin, USAGE, **query))["next_page"]
        for change in (
            {"start_time": MIDNIGHT - DAY}, {"end_time": MIDNIGHT + 2 * DAY}, {"bucket_width": "1h"}, {"models": "x"},
            {"group_by": "model"}, {"project_ids": "x"},
        ):  # fmt: skip
            answer = await admin.get(USAGE, params=query | {"page": page} | change)
            assert "another query" in error_in(answer, 400)["message"], change
        assert error_in(await admin.get(COSTS, params=query | {"page": page}), 400)["param"] == "page"
        assert error_in(await admin.get(USAGE, params=query | {"page": "x"}), 400)["param"] == "page"


class TestRefusals:
    @pytest.mark.parametrize("url", [USAGE, COSTS])
    async def test_name_what_is_wrong(self, url: str, admin: httpx.AsyncClient) -> None:
        assert error_in(await admin.get(url), 400)["code"] == "missing_required_parameter"
        wrong: list[tuple[dict[str, Any], str]] = [
            ({"start_time": "soon"}, "start_time"),
            ({"start_time": -1}, "start_time"),
            ({"start_time": MIDNIGHT, "end_time": MIDNIGHT}, "start_time"),
            ({"start_time": int(time.time()) + 10 * DAY}, "start_time"),
            ({"end_time": "x"}, "end_time"),
            ({"bucket_width": "1w"}, "bucket_width"),
            ({"limit": 0}, "limit"),
            ({"group_by": ["project_id", "colour"]}, "group_by"),
            ({"batch": "maybe"}, "batch"),
        ]
        for query, param in wrong:
            error = error_in(await admin.get(url, params={"start_time": MIDNIGHT} | query), 400)
            assert error["param"] == param, query
        assert (
            "'colour'" in error_in(await admin.get(url, params={"start_time": 1, "group_by": "colour"}), 400)["message"]
        )

    async def test_each_endpoint_has_its_own_groups(self, admin: httpx.AsyncClient) -> None:
        for url, name in ((USAGE, "line_item"), (COSTS, "model"), (COSTS, "batch")):
            answer = await admin.get(url, params={"start_time": MIDNIGHT, "group_by[]": name})
            assert error_in(answer, 400)["param"] == "group_by"
        for width in ("1m", "1h"):
            answer = await admin.get(COSTS, params={"start_time": MIDNIGHT, "bucket_width": width})
            assert error_in(answer, 400)["param"] == "bucket_width"


COST_MODELS = [{"served_model": "echo"}, {"served_model": "echo"}, {"served_model": "gone", "cost_nano": 7}]


class TestCosts:
    async def test_have_every_key_that_openai_documents(self, admin: httpx.AsyncClient, database: Database) -> None:
        await add(database, *COST_MODELS)
        (result,) = await results(admin, COSTS)
        conforms("CostsResult", result)
        assert set(result) >= set(SCHEMAS["$defs"]["CostsResult"]["properties"])
        assert result["amount"] == {"value": 0.000164007, "currency": "usd"}
        assert (result["object"], result["unpriced_requests"]) == ("organization.costs.result", 0)
        nulls = ("line_item", "project_id", "api_key_id", "user_id", "api_source", "quantity", "quantity_unit")
        assert picked([result], *nulls) == [(None,) * 7]

    async def test_line_items_add_up_to_the_nano_dollar(self, admin: httpx.AsyncClient, database: Database) -> None:
        await add(database, *COST_MODELS)
        found = await results(admin, COSTS, group_by="line_item")
        assert [(each["line_item"], each["quantity"], each["quantity_unit"]) for each in found] == [
            ("echo, input", 16, "tokens"),
            ("echo, cached input", 8, "tokens"),
            ("echo, output", 8, "tokens"),
            ("gone, input", 8, "tokens"),
            ("gone, cached input", 4, "tokens"),
            ("gone, output", 4, "tokens"),
        ]
        assert sum(nano_from_usd(each["amount"]["value"]) for each in found) == 164_007

    async def test_filter_by_line_item(self, admin: httpx.AsyncClient, database: Database) -> None:
        await add(database, *COST_MODELS)
        (result,) = await results(admin, COSTS, line_items=["echo, output", "gone, output"])
        assert result["amount"]["value"] == pytest.approx(0.000080001, abs=2e-9)
        assert await results(admin, COSTS, line_items="nothing") == []

    async def test_group_by_project_and_key(self, admin: httpx.AsyncClient, database: Database) -> None:
        await add(
            database, {"served_model": "x"}, {"served_model": "y"}, {"project_id": "proj_2", "api_key_id": "key_2"}
        )
        found = await results(admin, COSTS, **{"group_by[]": ["project_id", "api_key_id"]})
        assert [(each["project_id"], each["api_key_id"], each["amount"]["value"]) for each in found] == [
            ("proj_1", "key_1", 0.000164),
            ("proj_2", "key_2", 0.000082),
        ]
        (one,) = await results(admin, COSTS, project_ids="proj_2")
        assert one["amount"]["value"] == 0.000082

    async def test_what_has_no_price_is_seen(self, admin: httpx.AsyncClient, database: Database) -> None:
        unpriced = {"served_model": "unpriced", "priced": False, "cost_nano": None}
        await add(database, {"served_model": "echo"}, unpriced, unpriced)
        (result,) = await results(admin, COSTS)
        assert (result["amount"]["value"], result["unpriced_requests"]) == (0.000082, 2)
        found = await results(admin, COSTS, group_by="line_item")
        assert {each["line_item"]: each["unpriced_requests"] for each in found if each["unpriced_requests"]} == {
            "unpriced, input": 2,
            "unpriced, cached input": 2,
            "unpriced, output": 2,
        }

    async def test_count_calls_of_every_endpoint(self, admin: httpx.AsyncClient, database: Database) -> None:
        await add(database, {"endpoint": "/embeddings"}, {})
        (result,) = await results(admin, COSTS)
        assert result["amount"]["value"] == 0.000164
