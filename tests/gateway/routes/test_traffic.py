"""/v1/organization/traffic, and that of a project."""

import random
from typing import Any

import httpx
import pytest

from gateway.app import App
from gateway.db.database import Database
from gateway.kit.clock import now, unix
from gateway.metering import traffic_report
from gateway.services import Services
from tests.conftest import chat
from tests.gateway.metering.ledger_rows import DAY, HOUR, MIDNIGHT
from tests.gateway.metering.logged_calls import log
from tests.gateway.people import add, browser, join, sign_in
from tests.gateway.test_errors import error_in

pytestmark = pytest.mark.anyio

URL = "/v1/organization/traffic"
ERROR = 0.049
"""Of percentiles of the sums, as docs/usage.md promises."""


async def asked(client: httpx.AsyncClient, url: str = URL, **query: Any) -> dict[str, Any]:
    answer = await client.get(url, params={"start_time": MIDNIGHT, "end_time": MIDNIGHT + DAY} | query)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def refused(client: httpx.AsyncClient, **query: Any) -> str:
    answer = await client.get(URL, params={"start_time": MIDNIGHT, "end_time": MIDNIGHT + DAY} | query)
    return error_in(answer, 400)["param"]


def nearest_rank(values: list[float], share: float) -> float:
    """The smallest value that at least this share of all is not above."""
    return sorted(values)[max(0, -(-int(share * len(values) * 1000) // 1000) - 1)]


class TestTraffic:
    async def test_buckets_and_totals(self, admin: httpx.AsyncClient, database: Database) -> None:
        await log(
            database,
            {},
            {"created_at": MIDNIGHT + HOUR},
            {"created_at": MIDNIGHT + HOUR, "status": 429, "outcome": "refused"},
        )
        await log(database, {"created_at": MIDNIGHT - 1}, {"created_at": MIDNIGHT + DAY})  # before and after
        told = await asked(admin)
        assert len(told["data"]) == 24
        assert [[each["requests"] for each in bucket["results"]] for bucket in told["data"][:3]] == [[1], [2], []]
        [whole] = told["totals"]
        assert (whole["requests"], whole["client_errors"], whole["cost_nano"]) == (3, 1, 3 * 82_000)
        assert whole["cost_usd"] == pytest.approx(0.000246)
        assert whole["latency"]["n"] == 2

    async def test_times_are_widened_to_whole_buckets(self, admin: httpx.AsyncClient) -> None:
        told = await asked(admin, start_time=MIDNIGHT + 5, end_time=MIDNIGHT + HOUR + 5)
        assert (told["start_time"], told["end_time"], len(told["data"])) == (MIDNIGHT, MIDNIGHT + 2 * HOUR, 2)

    @pytest.mark.parametrize("width", ["1h", "1d"])
    async def test_percentiles_are_within_the_promised_error(
        self, width: str, admin: httpx.AsyncClient, database: Database
    ) -> None:
        chance = random.Random(7)
        times = [chance.lognormvariate(6, 1.2) for _ in range(2000)]
        half = len(times) // 2
        for part in (times[:half], times[half:]):  # the second adds to what the first wrote
            at = [MIDNIGHT + HOUR * (n % 20) + part[0] % 1 + n / 1000 for n in range(half)]
            both = zip(part, at, strict=True)
            await log(database, *({"duration_ms": ms, "first_token_ms": ms / 7, "created_at": t} for ms, t in both))
        [whole] = (await asked(admin, bucket_width=width))["totals"]
        for measure, scale in (("latency", 1), ("first_token", 7)):
            assert whole[measure]["n"] == 2000
            for name, share in (("p50_ms", 0.5), ("p95_ms", 0.95), ("p99_ms", 0.99)):
                assert whole[measure][name] == pytest.approx(nearest_rank(times, share) / scale, rel=ERROR)

    async def test_grouped_the_largest_are_shown(self, admin: httpx.AsyncClient, database: Database) -> None:
        calls = [{"served_model": name, "duration_ms": ms} for name, ms in (("a", 10.0), ("b", 500.0), ("b", 500.0))]
        await log(database, *calls, {"served_model": None, "status": 404, "outcome": "refused"})
        told = await asked(admin, group_by="model")
        assert [(each["model"], each["requests"]) for each in told["totals"]] == [("b", 2), (None, 1), ("a", 1)]
        assert told["totals"][0]["latency"]["p50_ms"] == pytest.approx(500, rel=ERROR)
        assert told["totals"][1]["latency"] is None
        assert [each["model"] for each in told["data"][0]["results"]] == ["b", None, "a"]
        fewer = await asked(admin, group_by="model", group_limit=1)
        assert ([each["model"] for each in fewer["totals"]], fewer["groups"]) == (["b"], 3)

    @pytest.mark.parametrize("group", ["project_id", "api_key_id", "upstream", "purpose"])
    async def test_groups(self, group: str, admin: httpx.AsyncClient, database: Database) -> None:
        await log(database, {}, {group: "other"}, {group: "other"})
        first, second = (await asked(admin, group_by=group))["totals"]
        assert (first[group], first["requests"], second["requests"]) == ("other", 2, 1)
        minutes = await asked(admin, group_by=group, bucket_width="1m", end_time=MIDNIGHT + HOUR)
        assert [(each[group], each["requests"]) for each in minutes["totals"]] == [
            (first[group], 2), (second[group], 1)
        ]  # fmt: skip

    async def test_of_some_projects(self, admin: httpx.AsyncClient, database: Database) -> None:
        await log(database, {}, {"project_id": "proj_2"}, {"project_id": "proj_3"})
        for width, end in (("1h", MIDNIGHT + DAY), ("1m", MIDNIGHT + HOUR)):
            query: dict[str, Any] = {"project_ids": ["proj_1", "proj_3"], "bucket_width": width, "end_time": end}
            [whole] = (await asked(admin, **query))["totals"]
            assert whole["requests"] == 2

    async def test_minutes_are_exact(self, admin: httpx.AsyncClient, database: Database) -> None:
        times = [3.0, 100.0, 101.0, 5000.0]
        await log(database, *({"duration_ms": ms, "created_at": MIDNIGHT + 61 + n} for n, ms in enumerate(times)))
        told = await asked(admin, bucket_width="1m", end_time=MIDNIGHT + 180)
        assert [len(bucket["results"]) for bucket in told["data"]] == [0, 1, 0]
        latency = told["totals"][0]["latency"]
        assert (latency["p50_ms"], latency["p95_ms"], latency["n"]) == (100.0, 5000.0, 4)
        assert told["complete"] is True

    async def test_minutes_look_at_the_newest_calls(
        self, admin: httpx.AsyncClient, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(traffic_report, "NEWEST", 2)
        await log(database, {}, {}, {})
        told = await asked(admin, bucket_width="1m", end_time=MIDNIGHT + 180)
        assert (told["complete"], told["totals"][0]["requests"]) == (False, 2)

    @pytest.mark.parametrize("width", ["1m", "1h", "1d"])
    @pytest.mark.parametrize("group", [{}, {"group_by": "model"}])
    async def test_totals_alone_are_the_same(
        self, width: str, group: dict[str, str], admin: httpx.AsyncClient, database: Database
    ) -> None:
        await log(
            database,
            *(
                {"served_model": f"m{n % 3}", "created_at": MIDNIGHT + 60 * n, "duration_ms": 10.0 * n}
                for n in range(20)
            ),
        )
        wanted = {"bucket_width": width, "end_time": MIDNIGHT + 1800, **group}
        whole = await asked(admin, **wanted)
        totals = await asked(admin, totals_only="true", **wanted)
        assert len(whole["data"]) >= 1
        assert totals == {**whole, "data": []}
        assert totals["totals"][0]["latency"]["n"] > 0

    async def test_a_call_is_there_once_it_is_logged(
        self, admin: httpx.AsyncClient, client: httpx.AsyncClient, sv: Services, project_key: dict[str, Any]
    ) -> None:
        await client.post("/v1/chat/completions", json=chat("echo"))
        await client.post("/v1/chat/completions", json=chat("unknown"))
        await sv.drain.drain()
        for width in ("1m", "1h", "1d"):
            query: dict[str, Any] = {
                "start_time": unix(now()) - 600,
                "end_time": unix(now()) + 60,
                "bucket_width": width,
            }
            [whole] = (await asked(admin, project_ids=project_key["project_id"], **query))["totals"]
            assert (whole["requests"], whole["client_errors"]) == (2, 1)
            assert whole["input_tokens"] > 0
        [key] = (await asked(admin, group_by="api_key_id", **query))["totals"]
        assert (key["api_key_id"], key["api_key_name"]) == (project_key["id"], project_key["name"])

    async def test_what_is_wrong_is_named(self, admin: httpx.AsyncClient) -> None:
        assert await refused(admin, bucket_width="2h") == "bucket_width"
        assert await refused(admin, bucket_width="1m") == "bucket_width"  # 1,440 of them
        assert await refused(admin, group_by="weather") == "group_by"
        assert await refused(admin, end_time=MIDNIGHT) == "start_time"
        assert await refused(admin, group_limit=51) == "group_limit"
        assert error_in(await admin.get(URL), 400)["param"] == "start_time"


class TestOfAProject:
    async def test_who_belongs_to_it_sees_its_own_alone(
        self, app: App, admin: httpx.AsyncClient, database: Database, project_key: dict[str, Any]
    ) -> None:
        project_id = project_key["project_id"]
        await log(database, {"project_id": project_id}, {"project_id": "proj_2"})
        person = await add(admin, "member@example.com")
        await join(admin, project_id, person["id"], "member")
        url = f"/v1/organization/projects/{project_id}/traffic"
        async with browser(app) as member:
            await sign_in(member, "member@example.com")
            [whole] = (await asked(member, url))["totals"]
            assert whole["requests"] == 1
            answer = await member.get(url, params={"start_time": MIDNIGHT, "project_ids": "proj_2"})
            assert error_in(answer, 400)["param"] == "project_ids"

    async def test_there_is_none(self, admin: httpx.AsyncClient) -> None:
        answer = await admin.get("/v1/organization/projects/proj_none/traffic", params={"start_time": MIDNIGHT})
        error_in(answer, 404)
