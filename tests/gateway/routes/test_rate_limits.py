"""OpenAI's rate limits of a project, and what is added: all models together, single keys, back to the tier."""

from typing import Any

import httpx
import msgspec
import openai
import pytest
from sqlalchemy import select

from gateway.app import App
from gateway.db.database import Database
from gateway.db.tables import AuditLogRow, RateLimitRow
from gateway.protocol.rate_limits import UNLIMITED
from gateway.services import Services
from gateway.settings import LimitSettings, RateLimitSettings, Settings, TierSettings
from tests.conftest import ADMIN_KEY, FAKE_MODELS
from tests.contract import conforms
from tests.gateway.test_errors import error_in

pytestmark = pytest.mark.anyio

TIERS = (
    TierSettings(
        name="free",
        requests_per_minute=100,
        concurrent_requests=5,
        models={"echo": LimitSettings(requests_per_minute=10, tokens_per_day=7000)},
    ),
    TierSettings(name="pro", requests_per_minute=1000),
)


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return msgspec.structs.replace(settings, tiers=TIERS, limits=RateLimitSettings(default_tier="free"))


@pytest.fixture
def url(project_key: dict[str, Any]) -> str:
    return f"/v1/organization/projects/{project_key['project_id']}/rate_limits"


async def entries(admin: httpx.AsyncClient, url: str, **query: str) -> dict[str, dict[str, Any]]:
    answer = await admin.get(url, params=query)
    assert answer.status_code == 200, answer.text
    return {each["id"]: each for each in answer.json()["data"]}


class TestList:
    async def test_has_every_name_that_the_project_may_call(
        self, admin: httpx.AsyncClient, url: str, project_key: dict[str, Any]
    ) -> None:
        await admin.post("/v1/routes", json={"name": "everyone", "targets": [{"model": "echo"}]})
        found = await entries(admin, url)
        assert set(found) == {"rl-*", "rl-everyone", *(f"rl-{model}" for model in FAKE_MODELS)}
        assert next(iter(found)) == "rl-*"
        for each in found.values():
            conforms("ProjectRateLimit", each)
            assert each["id"] == f"rl-{each['model']}"

    async def test_shows_the_numbers_that_hold(self, admin: httpx.AsyncClient, url: str) -> None:
        found = await entries(admin, url)
        assert found["rl-*"] == {
            "id": "rl-*",
            "object": "project.rate_limit",
            "model": "*",
            "max_requests_per_1_minute": 100,
            "max_tokens_per_1_minute": UNLIMITED,
            "max_concurrent_requests": 5,
        }
        assert (found["rl-echo"]["max_requests_per_1_minute"], found["rl-echo"]["max_tokens_per_1_day"]) == (10, 7000)
        assert found["rl-slow"]["max_requests_per_1_minute"] == 100

    async def test_pages_both_ways(self, admin: httpx.AsyncClient, url: str) -> None:
        every = list(await entries(admin, url))
        seen: list[str] = []
        query: dict[str, Any] = {"limit": 10}
        while True:
            page = (await admin.get(url, params=query)).json()
            seen += [each["id"] for each in page["data"]]
            assert (page["first_id"], page["last_id"]) == (page["data"][0]["id"], page["data"][-1]["id"])
            if not page["has_more"]:
                break
            query["after"] = page["last_id"]
        assert seen == every
        back = (await admin.get(url, params={"before": every[15], "limit": 10})).json()
        assert ([each["id"] for each in back["data"]], back["has_more"]) == (every[5:15], True)
        error = error_in(await admin.get(url, params={"after": "rl-nothing"}), 400)
        assert error["param"] == "after"

    async def test_an_unknown_project_or_key_is_not_found(self, admin: httpx.AsyncClient, url: str) -> None:
        assert error_in(await admin.get("/v1/organization/projects/proj_x/rate_limits"), 404)["param"] == "project_id"
        assert error_in(await admin.get(url, params={"api_key_id": "key_x"}), 404)["param"] == "key_id"


class TestUpdate:
    async def test_what_is_given_takes_the_tiers_place(
        self, admin: httpx.AsyncClient, url: str, database: Database
    ) -> None:
        answer = await admin.post(f"{url}/rl-echo", json={"max_requests_per_1_minute": 3})
        assert answer.status_code == 200, answer.text
        conforms("ProjectRateLimit", answer.json())
        assert answer.json()["max_requests_per_1_minute"] == 3
        assert answer.json()["max_tokens_per_1_day"] == 7000
        await admin.post(f"{url}/rl-echo", json={"max_tokens_per_1_minute": 900})
        found = await entries(admin, url)
        assert (found["rl-echo"]["max_requests_per_1_minute"], found["rl-echo"]["max_tokens_per_1_minute"]) == (3, 900)
        assert found["rl-slow"]["max_requests_per_1_minute"] == 100
        async with database.session() as session:
            [row] = await session.scalars(select(RateLimitRow))
        assert (row.model, row.requests_per_minute, row.tokens_per_minute, row.tokens_per_day) == ("echo", 3, 900, None)

    async def test_null_is_back_to_the_tier(self, admin: httpx.AsyncClient, url: str) -> None:
        await admin.post(f"{url}/rl-*", json={"max_requests_per_1_minute": 3, "max_concurrent_requests": 1})
        answer = await admin.post(f"{url}/rl-*", json={"max_requests_per_1_minute": None})
        assert (answer.json()["max_requests_per_1_minute"], answer.json()["max_concurrent_requests"]) == (100, 1)

    async def test_the_number_for_no_limit_takes_one_away(
        self, admin: httpx.AsyncClient, url: str, sv: Services, project_key: dict[str, Any]
    ) -> None:
        wanted = {"max_requests_per_1_minute": UNLIMITED, "max_concurrent_requests": UNLIMITED}
        answer = await admin.post(f"{url}/rl-*", json=wanted)
        assert answer.json()["max_requests_per_1_minute"] == UNLIMITED
        assert list(sv.limit_book.limits(project_key["project_id"], project_key["id"], None, "slow")) == []

    async def test_of_one_key(
        self, admin: httpx.AsyncClient, url: str, project_key: dict[str, Any], sv: Services
    ) -> None:
        query = {"api_key_id": project_key["id"]}
        answer = await admin.post(f"{url}/rl-echo", params=query, json={"max_requests_per_1_minute": 4})
        assert (answer.json()["max_requests_per_1_minute"], answer.json()["api_key_id"]) == (4, project_key["id"])
        assert (await entries(admin, url, **query))["rl-echo"]["max_requests_per_1_minute"] == 4
        assert (await entries(admin, url))["rl-echo"]["max_requests_per_1_minute"] == 10
        [mine] = [
            limit
            for limit in sv.limit_book.limits(project_key["project_id"], project_key["id"], None, "echo")
            if limit.model == "echo" and limit.kind.field == "requests_per_minute"
        ]
        assert (mine.amount, mine.api_key_id) == (4, project_key["id"])

    async def test_what_nothing_here_counts_is_kept_and_shown(self, admin: httpx.AsyncClient, url: str) -> None:
        wanted = {
            "max_images_per_1_minute": 5,
            "max_audio_megabytes_per_1_minute": 6,
            "batch_1_day_max_input_tokens": 7,
        }
        answer = (await admin.post(f"{url}/rl-echo", json=wanted)).json()
        assert {name: answer[name] for name in wanted} == wanted

    @pytest.mark.parametrize(
        ("body", "param"),
        [
            ({"max_requests_per_1_minute": 0}, "max_requests_per_1_minute"),
            ({"max_requests_per_1_minute": UNLIMITED + 1}, "max_requests_per_1_minute"),
            ({"max_tokens_per_1_minute": "many"}, "max_tokens_per_1_minute"),
            ({"max_tokens_per_1_minute": 1.5}, "max_tokens_per_1_minute"),
            ({"rpm": 5}, "rpm"),
        ],
    )
    async def test_what_is_wrong_is_named(
        self, body: dict[str, Any], param: str, admin: httpx.AsyncClient, url: str
    ) -> None:
        assert error_in(await admin.post(f"{url}/rl-echo", json=body), 400)["param"] == param

    @pytest.mark.parametrize("id", ["rl-nothing", "echo", "rl-", "rl-ft:echo:x::1"])
    async def test_an_unknown_model_is_not_found(self, id: str, admin: httpx.AsyncClient, url: str) -> None:
        error = error_in(await admin.post(f"{url}/{id}", json={"max_requests_per_1_minute": 1}), 404)
        assert error["param"] == "rate_limit_id"

    async def test_any_name_of_a_model_works(self, admin: httpx.AsyncClient, url: str) -> None:
        await admin.post("/v1/routes", json={"name": "team/best", "targets": [{"model": "echo"}]})
        for name in ("模型 é", "team%2Fbest", "team/best"):
            answer = await admin.post(f"{url}/rl-{name}", json={"max_requests_per_1_minute": 2})
            assert answer.json()["max_requests_per_1_minute"] == 2, answer.text

    async def test_another_projects_key_is_not_found(
        self, admin: httpx.AsyncClient, url: str, stranger: httpx.AsyncClient, sv: Services
    ) -> None:
        key = sv.keys.authenticate_project(stranger.headers["authorization"].encode())
        answer = await admin.post(f"{url}/rl-echo", params={"api_key_id": key.id}, json={})
        assert error_in(answer, 404)["param"] == "key_id"


class TestDelete:
    async def test_is_back_to_the_tier(self, admin: httpx.AsyncClient, url: str) -> None:
        await admin.post(f"{url}/rl-echo", json={"max_requests_per_1_minute": 3})
        answer = await admin.delete(f"{url}/rl-echo")
        assert answer.json() == {"id": "rl-echo", "object": "project.rate_limit.deleted", "deleted": True}
        assert (await entries(admin, url))["rl-echo"]["max_requests_per_1_minute"] == 10
        assert (await admin.delete(f"{url}/rl-echo")).status_code == 200


class TestAudit:
    async def test_every_change_is_in_the_log(
        self, admin: httpx.AsyncClient, url: str, project_key: dict[str, Any], database: Database
    ) -> None:
        await admin.post(f"{url}/rl-echo", json={"max_requests_per_1_minute": 3})
        await admin.delete(f"{url}/rl-echo", params={"api_key_id": project_key["id"]})
        async with database.session() as session:
            query = select(AuditLogRow).where(AuditLogRow.type.startswith("rate_limit."))
            rows = list(await session.scalars(query.order_by(AuditLogRow.effective_at)))
        assert [(row.type, row.resource_id, row.project_id) for row in rows] == [
            ("rate_limit.updated", "rl-echo", project_key["project_id"]),
            ("rate_limit.deleted", "rl-echo", project_key["project_id"]),
        ]
        assert rows[0].detail == {"changes_requested": {"max_requests_per_1_minute": 3}}
        assert rows[1].detail == {"api_key_id": project_key["id"]}


class TestOfficialSdk:
    async def test_walks_and_changes_them_strictly(self, app: App, url: str, project_key: dict[str, Any]) -> None:
        transport = httpx.ASGITransport(app=app)  # type: ignore[arg-type]
        async with openai.AsyncOpenAI(
            base_url="http://gateway/v1",
            admin_api_key=ADMIN_KEY,
            max_retries=0,
            http_client=httpx.AsyncClient(transport=transport),
            _strict_response_validation=True,
        ) as sdk:
            limits = sdk.admin.organization.projects.rate_limits
            seen = [each async for each in limits.list_rate_limits(project_key["project_id"], limit=7)]
            assert len(seen) == len(FAKE_MODELS) + 1
            changed = await limits.update_rate_limit(
                "rl-echo", project_id=project_key["project_id"], max_tokens_per_1_minute=77
            )
            assert (changed.model, changed.max_tokens_per_1_minute) == ("echo", 77)
