"""/v1/organization/costs"""

from collections.abc import Iterable
from typing import Any

import httpx
import pytest

from gateway.db.database import Database
from gateway.kit.money import nano_from_usd
from tests.contract import SCHEMAS, conforms
from tests.gateway.metering.ledger_rows import DAY, HOUR, MIDNIGHT, post
from tests.gateway.routes.reports import COSTS, picked, report, results

pytestmark = pytest.mark.anyio

NOTHING = {"input_nano": 0, "cached_input_nano": 0, "output_nano": 0, "request_nano": 0}
COST_MODELS = [{"model": "echo"}, {"model": "echo", "request_nano": 3}, {"model": "gone", **NOTHING, "output_nano": 4}]
TOTAL = 164_007


def exact(found: Iterable[dict[str, Any]]) -> int:
    """Nano-dollars."""
    return sum(nano_from_usd(each["amount"]["value"]) for each in found)


class TestCosts:
    async def test_have_every_key_that_openai_documents(self, admin: httpx.AsyncClient, database: Database) -> None:
        await post(database, *COST_MODELS)
        (result,) = await results(admin, COSTS)
        conforms("CostsResult", result)
        assert set(result) >= set(SCHEMAS["$defs"]["CostsResult"]["properties"])
        assert result["amount"] == {"value": 0.000164007, "currency": "usd"}
        assert (result["object"], result["unpriced_requests"]) == ("organization.costs.result", 0)
        nulls = ("line_item", "project_id", "api_key_id", "user_id", "api_source", "quantity", "quantity_unit")
        assert picked([result], *nulls) == [(None,) * 7]

    async def test_line_items_add_up_to_the_nano_dollar(self, admin: httpx.AsyncClient, database: Database) -> None:
        await post(database, *COST_MODELS)
        found = await results(admin, COSTS, group_by="line_item")
        assert [(each["line_item"], each["quantity"], each["quantity_unit"]) for each in found] == [
            ("echo, input", 16, "tokens"),
            ("echo, cached input", 8, "tokens"),
            ("echo, output", 8, "tokens"),
            ("echo, requests", 2, "requests"),
            ("gone, input", 8, "tokens"),
            ("gone, cached input", 4, "tokens"),
            ("gone, output", 4, "tokens"),
        ]
        assert exact(found) == TOTAL
        assert [nano_from_usd(each["amount"]["value"]) for each in found] == [80_000, 4_000, 80_000, 3, 0, 0, 4]

    async def test_filter_by_line_item(self, admin: httpx.AsyncClient, database: Database) -> None:
        await post(database, *COST_MODELS)
        (result,) = await results(admin, COSTS, line_items=["echo, output", "gone, output"])
        assert (exact([result]), result["line_item"], result["quantity"]) == (80_004, None, None)
        assert await results(admin, COSTS, line_items="nothing") == []
        assert await results(admin, COSTS, line_items="echo, output", models="gone") == []
        (item,) = await results(admin, COSTS, line_items="echo, requests", group_by="line_item")
        assert (exact([item]), item["quantity"]) == (3, 2)

    async def test_a_training_is_a_line_item(self, admin: httpx.AsyncClient, database: Database) -> None:
        training = NOTHING | {"kind": "training", "model": "base", "input_tokens": 5_000, "output_tokens": 0}
        await post(database, training | {"input_nano": 70, "request_nano": 7, "endpoint": "/fine_tuning/jobs"}, {})
        found = await results(admin, COSTS, group_by=["line_item", "project_id", "api_key_id"], models="base")
        assert picked(found, "line_item", "project_id", "api_key_id", "quantity", "quantity_unit") == [
            ("base, training", "proj_1", "key_1", 5_000, "tokens")
        ]
        assert exact(found) == 77
        assert exact(await results(admin, COSTS)) == 82_077

    async def test_group_by_person(self, admin: httpx.AsyncClient, database: Database) -> None:
        await post(database, {"user_id": "user_1"}, {"user_id": "user_1"}, {})
        found = await results(admin, COSTS, group_by=["user_id", "api_source"])
        assert picked(found, "user_id", "api_source") == [(None, "unlabeled"), ("user_1", "unlabeled")]
        assert exact(found[1:]) == 164_000
        assert exact(await results(admin, COSTS, user_ids="user_1")) == 164_000

    async def test_ragged_ends_cost_what_they_cost(self, admin: httpx.AsyncClient, database: Database) -> None:
        moments = [MIDNIGHT + 10, MIDNIGHT + 11, MIDNIGHT + 2 * HOUR, MIDNIGHT + DAY - 1]
        await post(database, *({"created_at": moment, "request_nano": 1} for moment in moments))
        range_ = {"start_time": MIDNIGHT + 11, "end_time": MIDNIGHT + DAY - 1}
        for groups in ([], ["line_item"]):
            page = await report(admin, COSTS, **range_, group_by=groups)
            assert exact(each for bucket in page["data"] for each in bucket["results"]) == 2 * 82_001

    async def test_group_by_project_and_key(self, admin: httpx.AsyncClient, database: Database) -> None:
        await post(database, {"model": "x"}, {"model": "y"}, {"project_id": "proj_2", "api_key_id": "key_2"})
        found = await results(admin, COSTS, **{"group_by[]": ["project_id", "api_key_id"]})
        assert [(each["project_id"], each["api_key_id"], each["amount"]["value"]) for each in found] == [
            ("proj_1", "key_1", 0.000164),
            ("proj_2", "key_2", 0.000082),
        ]
        (one,) = await results(admin, COSTS, project_ids="proj_2")
        assert one["amount"]["value"] == 0.000082

    async def test_what_has_no_price_is_seen(self, admin: httpx.AsyncClient, database: Database) -> None:
        unpriced = {"model": "unpriced", "priced": False, **NOTHING}
        await post(database, {"model": "echo"}, unpriced, unpriced)
        (result,) = await results(admin, COSTS)
        assert (result["amount"]["value"], result["unpriced_requests"]) == (0.000082, 2)
        found = await results(admin, COSTS, group_by="line_item")
        assert {each["line_item"]: each["unpriced_requests"] for each in found if each["unpriced_requests"]} == {
            "unpriced, input": 2,
            "unpriced, cached input": 2,
            "unpriced, output": 2,
        }

    async def test_count_calls_of_every_endpoint(self, admin: httpx.AsyncClient, database: Database) -> None:
        await post(database, {"endpoint": "/embeddings"}, {})
        (result,) = await results(admin, COSTS)
        assert result["amount"]["value"] == 0.000164
