"""Calls under rate limits, from the request to the headers of the reply; in-process, in front of the fake upstream."""

import asyncio
import re
from typing import Any

import httpx
import msgspec
import openai
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from gateway.app import App
from gateway.limits.bucket import Bucket
from gateway.limits.headers import duration
from gateway.limits.service import Applicant
from gateway.services import Services
from gateway.settings import RateLimitSettings, RoutingSettings, Settings, TierSettings
from tests.conftest import chat, client_of
from tests.fakes.upstream import Upstream
from tests.gateway import logged
from tests.gateway.test_errors import error_in
from tests.gateway.test_inference import events
from tests.polling import until

pytestmark = pytest.mark.anyio

CHAT = "/v1/chat/completions"
MINUTE = {"max_requests_per_1_minute": 3}


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return msgspec.structs.replace(
        settings,
        tiers=(TierSettings(name="two", requests_per_minute=2),),
        limits=RateLimitSettings(answer_seconds=20),
        routing=RoutingSettings(aliases={"parrot": "echo"}),
    )


async def limit(
    admin: httpx.AsyncClient, key: dict[str, Any], model: str = "*", *, own: bool = False, **to: int
) -> None:
    url = f"/v1/organization/projects/{key['project_id']}/rate_limits/rl-{model}"
    answer = await admin.post(url, json=to, params={"api_key_id": key["id"]} if own else {})
    assert answer.status_code == 200, answer.text


async def statuses(client: httpx.AsyncClient, calls: int, model: str = "echo") -> list[int]:
    return [(await client.post(CHAT, json=chat(model))).status_code for _ in range(calls)]


def bucket_of(sv: Services, key: dict[str, Any], field: str, model: str = "echo") -> Bucket:
    found = sv.limits.buckets(Applicant(key["project_id"], key["id"], None, model))
    assert found is not None
    return next(bucket for bucket in found.every if bucket.limit.kind.field == field)


class TestHeaders:
    async def test_on_a_whole_reply(
        self, client: httpx.AsyncClient, admin: httpx.AsyncClient, project_key: dict[str, Any]
    ) -> None:
        await limit(admin, project_key, max_requests_per_1_minute=30, max_tokens_per_1_minute=6000)
        await limit(admin, project_key, "echo", max_requests_per_1_minute=20)
        headers = (await client.post(CHAT, json=chat("echo", max_tokens=100))).headers
        assert {name: headers[name] for name in headers if name.startswith("x-ratelimit") and "tokens" not in name} == {
            "x-ratelimit-limit-requests": "20",
            "x-ratelimit-remaining-requests": "19",
            "x-ratelimit-reset-requests": "3s",
        }
        assert headers["x-ratelimit-limit-tokens"] == "6000"
        reserved = 6000 - int(headers["x-ratelimit-remaining-tokens"])  # less what has refilled in the meantime
        assert 0 <= reserved <= 100 + 20
        assert headers["x-ratelimit-reset-tokens"] == duration(reserved / 100)

    async def test_on_a_stream(
        self, client: httpx.AsyncClient, admin: httpx.AsyncClient, project_key: dict[str, Any]
    ) -> None:
        await limit(admin, project_key, **MINUTE)
        answer = await client.post(CHAT, json=chat("echo", stream=True))
        assert events(answer)[-1] == "[DONE]"
        assert answer.headers["x-ratelimit-remaining-requests"] == "2"
        assert "x-ratelimit-limit-tokens" not in answer.headers

    async def test_on_what_failed_upstream(
        self, client: httpx.AsyncClient, admin: httpx.AsyncClient, project_key: dict[str, Any]
    ) -> None:
        await limit(admin, project_key, **MINUTE)
        answer = await client.post(CHAT, json=chat("status-400"))
        assert (answer.status_code, answer.headers["x-ratelimit-remaining-requests"]) == (400, "2")

    async def test_none_where_nothing_is_limited_by_the_minute(
        self, client: httpx.AsyncClient, admin: httpx.AsyncClient, project_key: dict[str, Any], sv: Services
    ) -> None:
        answer = await client.post(CHAT, json=chat("echo"))
        assert not [name for name in answer.headers if name.startswith("x-ratelimit")]
        await limit(admin, project_key, max_requests_per_1_day=5)
        answer = await client.post(CHAT, json=chat("echo"))
        assert not [name for name in answer.headers if name.startswith("x-ratelimit")]

    async def test_the_sdk_sees_them(self, app: App, admin: httpx.AsyncClient, project_key: dict[str, Any]) -> None:
        await limit(admin, project_key, max_requests_per_1_minute=1, max_tokens_per_1_minute=1000)
        transport = httpx.ASGITransport(app=app)  # type: ignore[arg-type]
        async with openai.AsyncOpenAI(
            base_url="http://gateway/v1",
            api_key=project_key["value"],
            max_retries=0,
            http_client=httpx.AsyncClient(transport=transport),
        ) as sdk:
            hello: Any = [{"role": "user", "content": "hello"}]
            raw = await sdk.chat.completions.with_raw_response.create(model="echo", messages=hello)
            assert raw.headers["x-ratelimit-remaining-requests"] == "0"
            with pytest.raises(openai.RateLimitError) as refused:
                await sdk.chat.completions.create(model="echo", messages=hello)
        assert (refused.value.code, refused.value.type) == ("rate_limit_exceeded", "requests")
        assert 1 <= int(refused.value.response.headers["retry-after"]) <= 60


class TestRefusals:
    async def test_are_openais(
        self, client: httpx.AsyncClient, admin: httpx.AsyncClient, project_key: dict[str, Any], sv: Services
    ) -> None:
        await limit(admin, project_key, **MINUTE)
        assert await statuses(client, 3) == [200] * 3
        answer = await client.post(CHAT, json=chat("echo"))
        error = error_in(answer, 429)
        assert (error["type"], error["code"], error["param"]) == ("requests", "rate_limit_exceeded", None)
        project = project_key["project_id"]
        assert error["message"].startswith(
            f"Rate limit reached for `echo` in project {project} (all models together) on requests per min (RPM):"
            " Limit 3, Used 3, Requested 1. Please try again in "
        )
        wait = int(answer.headers["retry-after-ms"])
        assert 15_000 < wait <= 20_000
        assert int(answer.headers["retry-after"]) == -(-wait // 1000)
        assert answer.headers["x-ratelimit-remaining-requests"] == "0"
        assert answer.headers["x-ratelimit-reset-requests"] == "1m0s"
        row = (await logged.rows(sv))[-1]
        assert (row.outcome, row.status, row.input_tokens) == ("refused", 429, None)

    async def test_nothing_reaches_the_upstream(
        self, client: httpx.AsyncClient, admin: httpx.AsyncClient, project_key: dict[str, Any], upstream: Upstream
    ) -> None:
        await limit(admin, project_key, **MINUTE)
        assert (await statuses(client, 6)).count(429) == 3
        assert len(upstream.requests) == 3

    async def test_of_tokens(
        self, client: httpx.AsyncClient, admin: httpx.AsyncClient, project_key: dict[str, Any]
    ) -> None:
        """20 of the prompt and 50 of the answer are asked for; 16 are used."""
        await limit(admin, project_key, "echo", max_tokens_per_1_minute=75)
        assert (await client.post(CHAT, json=chat("echo", max_tokens=50))).status_code == 200
        answer = await client.post(CHAT, json=chat("echo", max_completion_tokens=25, n=2))
        error = error_in(answer, 429)
        assert error["type"] == "tokens"
        assert "`echo` in project" in error["message"]
        found = re.search(r"on tokens per min \(TPM\): Limit 75, Used (\d+), Requested 74\.", error["message"])
        assert found
        assert 1 < int(found[1]) <= 16

    async def test_of_more_than_there_ever_is(
        self, client: httpx.AsyncClient, admin: httpx.AsyncClient, project_key: dict[str, Any]
    ) -> None:
        await limit(admin, project_key, max_tokens_per_1_minute=70)
        answer = await client.post(CHAT, json=chat("echo", max_tokens=100))
        error = error_in(answer, 429)
        assert error["message"].startswith("Request too large for `echo`")
        assert (answer.headers["x-should-retry"], "retry-after" in answer.headers) == ("false", False)
        assert answer.headers["x-ratelimit-remaining-tokens"] == "70"

    async def test_an_image_is_not_counted_by_its_bytes(
        self, client: httpx.AsyncClient, admin: httpx.AsyncClient, project_key: dict[str, Any]
    ) -> None:
        await limit(admin, project_key, max_tokens_per_1_minute=2000)
        image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 400_000}}
        body = {"model": "no-usage", "messages": [{"role": "user", "content": [image]}]}
        assert (await client.post(CHAT, json=body)).status_code == 200


class TestWhoShares:
    async def test_a_projects_keys_share_its_limit_and_others_do_not(
        self,
        client: httpx.AsyncClient,
        admin: httpx.AsyncClient,
        project_key: dict[str, Any],
        stranger: httpx.AsyncClient,
        app: App,
    ) -> None:
        await limit(admin, project_key, **MINUTE)
        url = f"/v1/organization/projects/{project_key['project_id']}/service_accounts"
        other = (await admin.post(url, json={"name": "other"})).json()["api_key"]["value"]
        assert await statuses(client, 1) == [200]
        async with client_of(app, other) as second:
            assert await statuses(second, 3) == [200, 200, 429]
        assert await statuses(client, 1) == [429]
        assert await statuses(stranger, 5) == [200] * 5

    async def test_a_keys_own_limit_is_its_alone(
        self, client: httpx.AsyncClient, admin: httpx.AsyncClient, project_key: dict[str, Any], app: App
    ) -> None:
        await limit(admin, project_key, own=True, **MINUTE)
        url = f"/v1/organization/projects/{project_key['project_id']}/service_accounts"
        other = (await admin.post(url, json={"name": "other"})).json()["api_key"]["value"]
        assert await statuses(client, 4) == [200, 200, 200, 429]
        async with client_of(app, other) as second:
            assert await statuses(second, 5) == [200] * 5

    async def test_an_alias_is_its_model_and_a_route_is_its_own(
        self, client: httpx.AsyncClient, admin: httpx.AsyncClient, project_key: dict[str, Any]
    ) -> None:
        await admin.post("/v1/routes", json={"name": "best", "targets": [{"model": "echo"}]})
        await limit(admin, project_key, "echo", max_requests_per_1_minute=2)
        await limit(admin, project_key, "best", max_requests_per_1_minute=1)
        assert await statuses(client, 1, "parrot") == [200]
        assert await statuses(client, 2, "echo") == [200, 429]
        assert await statuses(client, 1, "parrot") == [429]
        assert await statuses(client, 2, "best") == [200, 429]

    async def test_a_tier_holds_for_its_key(
        self, client: httpx.AsyncClient, admin: httpx.AsyncClient, project_key: dict[str, Any]
    ) -> None:
        url = f"/v1/organization/projects/{project_key['project_id']}/api_keys/{project_key['id']}"
        assert (await admin.post(url, json={"tier": "two"})).status_code == 200
        assert await statuses(client, 3) == [200, 200, 429]
        assert (await admin.post(url, json={"tier": None})).status_code == 200
        assert await statuses(client, 2) == [200, 200]

    async def test_a_change_holds_at_once(
        self, client: httpx.AsyncClient, admin: httpx.AsyncClient, project_key: dict[str, Any]
    ) -> None:
        await limit(admin, project_key, **MINUTE)
        assert await statuses(client, 4) == [200, 200, 200, 429]
        await limit(admin, project_key, max_requests_per_1_minute=5)
        await asyncio.sleep(0.06)  # how long one refusal stands for the next
        assert (await statuses(client, 3))[:2] == [200, 200]


class TestPlaces:
    async def test_a_call_holds_one_until_it_ends(
        self, client: httpx.AsyncClient, admin: httpx.AsyncClient, project_key: dict[str, Any], upstream: Upstream
    ) -> None:
        await limit(admin, project_key, max_concurrent_requests=2)
        calls = [asyncio.ensure_future(client.post(CHAT, json=chat("slow"))) for _ in range(2)]
        await until(lambda: len(upstream.requests) == 2)
        answer = await client.post(CHAT, json=chat("echo"))
        error = error_in(answer, 429)
        assert "on concurrent requests: Limit 2, Used 2, Requested 1." in error["message"]
        assert (error["type"], answer.headers["retry-after"]) == ("requests", "1")
        upstream.release.set()
        assert [answer.status_code for answer in await asyncio.gather(*calls)] == [200, 200]
        assert await statuses(client, 5) == [200] * 5

    async def test_a_stream_holds_its_place_to_the_last_byte(
        self, client: httpx.AsyncClient, admin: httpx.AsyncClient, project_key: dict[str, Any], sv: Services
    ) -> None:
        await limit(admin, project_key, max_concurrent_requests=1)
        places = bucket_of(sv, project_key, "concurrent_requests")
        async with client.stream("POST", CHAT, json=chat("echo", stream=True)) as answer:
            assert answer.status_code == 200
            async for _ in answer.aiter_bytes():
                pass
        assert places.outstanding == 0
        assert await statuses(client, 2) == [200, 200]

    async def test_one_after_the_other_is_never_refused(
        self, client: httpx.AsyncClient, admin: httpx.AsyncClient, project_key: dict[str, Any]
    ) -> None:
        await limit(admin, project_key, max_concurrent_requests=1)
        assert await statuses(client, 40) == [200] * 40


class TestBudgets:
    async def test_a_call_that_a_budget_refuses_counts_nowhere(
        self, client: httpx.AsyncClient, admin: httpx.AsyncClient, project_key: dict[str, Any], sv: Services
    ) -> None:
        """A key without money does not use up what all keys share."""
        await limit(admin, project_key, max_tokens_per_1_minute=1000, max_concurrent_requests=2, **MINUTE)
        budget = {"api_key_id": project_key["id"], "period": "total", "limit_usd": 0}
        made = (await admin.post("/v1/budgets", json=budget)).json()["id"]
        for _ in range(6):
            assert error_in(await client.post(CHAT, json=chat("echo")), 429)["code"] == "insufficient_quota"
        assert (await client.post(CHAT, json=chat("unpriced"))).status_code == 400
        requests = bucket_of(sv, project_key, "requests_per_minute")
        assert (requests.outstanding, requests.consumed) == (0, 0)
        assert (await admin.post(f"/v1/budgets/{made}", json={"limit_usd": 5})).status_code == 200
        assert await statuses(client, 4) == [200, 200, 200, 429]


HOW_CALLS_END = (
    "echo",
    "status-500",
    "cut-before",
    "error-midway",
    "cut",
    "ends-early",
    "refused",
    "left",
    "cancelled",
)


class TestNothingLeaks:
    @hypothesis_settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
    @given(ends=st.lists(st.tuples(st.sampled_from(HOW_CALLS_END), st.booleans()), min_size=1, max_size=8))
    async def test_however_calls_end(
        self,
        ends: list[tuple[str, bool]],
        client: httpx.AsyncClient,
        admin: httpx.AsyncClient,
        project_key: dict[str, Any],
        sv: Services,
        upstream: Upstream,
    ) -> None:
        """Success, upstream errors, cuts, clients that leave, calls that are cancelled at any moment: all places and all
        tokens that were reserved come back, and what was used is counted."""
        await limit(admin, project_key, max_concurrent_requests=4, max_tokens_per_1_minute=1_000_000)
        upstream.forget()
        places = bucket_of(sv, project_key, "concurrent_requests")
        tokens = bucket_of(sv, project_key, "tokens_per_minute")
        await asyncio.gather(*(self._call(client, upstream, how, stream) for how, stream in ends))
        upstream.release.set()
        await until(lambda: not sv.calls and not sv.streams and places.outstanding == tokens.outstanding == 0)

        async def told() -> bool:
            lane = sv.limits._lanes[project_key["project_id"]]
            await sv.limits._counters.step(lane.project_id, [places, tokens], [])
            return places.used == 0 and tokens.used < 500

        await until(told)

    async def _call(self, client: httpx.AsyncClient, upstream: Upstream, how: str, stream: bool) -> None:
        model = {"refused": "nothing", "left": "endless" if stream else "slow", "cancelled": "echo"}.get(how, how)
        call = asyncio.ensure_future(client.post(CHAT, json=chat(model, stream=stream, max_tokens=50)))
        if how == "cancelled":
            for _ in range(len(upstream.requests) % 7):
                await asyncio.sleep(0)
            call.cancel()
        if how == "left":
            await asyncio.sleep(0.02)
            call.cancel()
        await asyncio.wait([call])
