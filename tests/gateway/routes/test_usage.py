"""/v1/organization/usage, and what /v1/organization/costs has in common with it"""

import time
from typing import Any

import httpx
import pytest

from gateway.db.database import Database
from gateway.routes.usage import NOT_PRODUCED
from gateway.services import Services
from tests.conftest import chat
from tests.contract import SCHEMAS, conforms
from tests.gateway.metering.ledger_rows import DAY, HOUR, MIDNIGHT, post
from tests.gateway.routes.reports import COSTS, USAGE, picked, report, results
from tests.gateway.test_errors import error_in

pytestmark = pytest.mark.anyio


class TestUsage:
    async def test_has_every_key_that_openai_documents(self, admin: httpx.AsyncClient, database: Database) -> None:
        await post(database, {}, {})
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
        await post(database, {"model": "x"}, {"model": "y", "project_id": "proj_2"})
        expected = [("x", "proj_1", False, "unlabeled", None), ("y", "proj_2", False, "unlabeled", None)]
        for name in ("group_by", "group_by[]"):
            groups = ["model", "project_id", "batch", "user_id", "service_tier", "api_source", "model"]
            found = await results(admin, USAGE, **{name: groups})
            assert picked(found, "model", "project_id", "batch", "api_source", "user_id") == expected

    async def test_filters(self, admin: httpx.AsyncClient, database: Database) -> None:
        await post(
            database,
            {"model": "x"},
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

    async def test_people_and_batches(self, admin: httpx.AsyncClient, database: Database) -> None:
        await post(database, {}, {"user_id": "user_1"}, {"batch": True}, {"user_id": "user_2", "batch": True})
        found = await results(admin, USAGE, group_by=["user_id", "batch"])
        assert picked(found, "user_id", "batch") == [
            (None, False), (None, True), ("user_1", False), ("user_2", True),
        ]  # fmt: skip
        for query, count in (
            ({"user_ids": ["user_1", "user_2"]}, 2),
            ({"batch": "true"}, 2),
            ({"batch": "false", "user_ids": "user_1"}, 1),
            ({}, 4),
        ):
            (result,) = await results(admin, USAGE, **query)
            assert result["num_model_requests"] == count, query
        assert await results(admin, USAGE, user_ids="user_9") == []

    async def test_a_training_is_no_completion(self, admin: httpx.AsyncClient, database: Database) -> None:
        await post(database, {"kind": "training", "endpoint": "/fine_tuning/jobs"})
        assert await results(admin, USAGE) == []

    async def test_shows_a_call_as_soon_as_it_is_logged(
        self, admin: httpx.AsyncClient, client: httpx.AsyncClient, sv: Services
    ) -> None:
        assert (await client.post("/v1/chat/completions", json=chat("echo"))).status_code == 200
        await sv.drain.drain()
        for width in ("1m", "1h", "1d"):
            query = {"start_time": int(time.time()) - DAY, "bucket_width": width, "limit": 31 if width == "1d" else 168}
            pages = [(await admin.get(USAGE, params=query)).json()]
            while pages[-1]["has_more"]:
                pages.append((await admin.get(USAGE, params=query | {"page": pages[-1]["next_page"]})).json())
            found = [each for page in pages for bucket in page["data"] for each in bucket["results"]]
            assert picked(found, "input_tokens", "output_tokens") == [(12, 4)], width

    async def test_shows_every_bucket_of_the_range(self, admin: httpx.AsyncClient, database: Database) -> None:
        await post(database, {"created_at": MIDNIGHT + 5 * HOUR + 1})
        found = await report(admin, USAGE, bucket_width="1h", limit=24)
        assert picked(found["data"], "start_time", "end_time") == [
            (MIDNIGHT + hour * HOUR, MIDNIGHT + (hour + 1) * HOUR) for hour in range(24)
        ]
        assert [len(bucket["results"]) for bucket in found["data"]] == [0] * 5 + [1] + [0] * 18
        assert (found["has_more"], found["next_page"]) == (False, None)

    async def test_cuts_the_first_and_the_last_bucket(self, admin: httpx.AsyncClient, database: Database) -> None:
        await post(database, *({"created_at": MIDNIGHT + hour * HOUR} for hour in range(48)))
        start, end = MIDNIGHT + 20 * HOUR, MIDNIGHT + DAY + 2 * HOUR
        data = (await report(admin, USAGE, start_time=start, end_time=end))["data"]
        assert picked(data, "start_time", "end_time") == [(start, MIDNIGHT + DAY), (MIDNIGHT + DAY, end)]
        assert [bucket["results"][0]["num_model_requests"] for bucket in data] == [4, 2]

    async def test_without_an_end_it_goes_to_now(self, admin: httpx.AsyncClient, database: Database) -> None:
        now = time.time()
        await post(database, {"created_at": now})
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
        await post(database, *({"created_at": MIDNIGHT + hour * HOUR} for hour in range(48)))
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


class TestOtherEndpoints:
    @pytest.mark.parametrize(
        ("name", "schema"), [("embeddings", "UsageEmbeddingsResult"), ("moderations", "UsageModerationsResult")]
    )
    async def test_count_by_endpoint(
        self, name: str, schema: str, admin: httpx.AsyncClient, database: Database
    ) -> None:
        await post(database, {"endpoint": f"/{name}"}, {"endpoint": f"/{name}", "model": "n", "user_id": "user_1"}, {})
        url = f"/v1/organization/usage/{name}"
        (whole,) = await results(admin, url)
        conforms(schema, whole)
        assert set(whole) == set(SCHEMAS["$defs"][schema]["properties"])
        assert (whole["input_tokens"], whole["num_model_requests"]) == (24, 2)
        found = await results(admin, url, group_by=["model", "user_id", "project_id", "api_key_id"])
        assert picked(found, "model", "user_id", "project_id", "api_key_id") == [
            ("m", None, "proj_1", "key_1"),
            ("n", "user_1", "proj_1", "key_1"),
        ]
        answer = await admin.get(url, params={"start_time": MIDNIGHT, "group_by": "batch"})
        assert error_in(answer, 400)["param"] == "group_by"

    @pytest.mark.parametrize("name", NOT_PRODUCED)
    async def test_what_nothing_produces_is_empty_buckets(
        self, name: str, admin: httpx.AsyncClient, database: Database
    ) -> None:
        await post(database, {})
        url = f"/v1/organization/usage/{name}"
        page = await report(admin, url, bucket_width="1h", group_by=list(NOT_PRODUCED[name]), limit=20)
        assert [bucket["results"] for bucket in page["data"]] == [[]] * 20
        page = await report(admin, url, bucket_width="1h", group_by=list(NOT_PRODUCED[name]), page=page["next_page"])
        assert (len(page["data"]), page["has_more"]) == (4, False)
        answer = await admin.get(url, params={"start_time": MIDNIGHT, "group_by": "colour"})
        assert error_in(answer, 400)["param"] == "group_by"
        assert error_in(await admin.get(url), 400)["param"] == "start_time"


class TestTrainings:
    async def test_what_was_trained_by_project(self, admin: httpx.AsyncClient, database: Database) -> None:
        trained = {"kind": "training", "endpoint": "/fine_tuning/jobs", "device_ms": 90_500, "input_tokens": 1000}
        await post(database, trained, trained | {"project_id": "proj_2"}, trained | {"model": "n"}, {})
        query: dict[str, Any] = {"start_time": MIDNIGHT, "end_time": MIDNIGHT + DAY, "group_by": "project_id"}
        [bucket] = (await admin.get("/v1/organization/usage/trainings", params=query)).json()["data"]
        found = bucket["results"]
        names = ("project_id", "num_trainings", "trained_tokens", "device_seconds", "cost_usd")
        assert picked(found, *names) == [("proj_1", 2, 2000, 181.0, 0.000164), ("proj_2", 1, 1000, 90.5, 0.000082)]

    async def test_what_it_cannot_be_grouped_by_is_refused(self, admin: httpx.AsyncClient) -> None:
        answer = await admin.get(
            "/v1/organization/usage/trainings", params={"start_time": MIDNIGHT, "group_by": "batch"}
        )
        assert error_in(answer, 400)["param"] == "group_by"
