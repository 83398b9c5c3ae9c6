"""An owner's whole life with client.admin.organization, in strict mode and in lenient: every call that the SDK has."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pytest
from openai import DefaultHttpxClient, NotFoundError, OpenAI, RateLimitError

from deploy.demo.stack import DemoStack
from gateway.routes.urls import ROUTES
from tests.openai_sdk import contract
from tests.openai_sdk.operations import Operation, operations
from tests.openai_sdk.owner import AS_ADMIN, Owner
from tests.openai_sdk.stacks import connect, user, wait_until

pytestmark = pytest.mark.train

NOT_SERVED = {
    "certificates",
    "data_retention",
    "external_keys",
    "external_storage",
    "groups",
    "groups.roles",
    "groups.users",
    "projects.certificates",
    "projects.data_retention",
    "projects.groups",
    "projects.groups.roles",
    "projects.hosted_tool_permissions",
    "projects.roles",
    "projects.service_tier_settings",
    "projects.users.roles",
    "roles",
    "users.roles",
    "workload_identity_providers",
    "workload_identity_providers.federation_rules",
}
"""Resources of the SDK that nothing here has a use for; a new one is here or is served."""
OPERATIONS = operations()
SERVED = [each for each in OPERATIONS if each.resource not in NOT_SERVED]
USAGE = sorted(each.name for each in OPERATIONS if each.resource == "usage" and each.name != "costs")

INPUT, CACHED, OUTPUT = 12, 4, 4
USD = Decimal("0.000082")
"""Of each call to `echo`; tests/openai_sdk/test_organization.py reckons it."""
BUDGET = 0.0025
MOST_USD = Decimal("0.002")
"""What a short call to `echo` can cost at most, generously."""
MINUTE, HOUR, DAY = 60, 3600, 86_400
WIDTHS = {"1m": MINUTE, "1h": HOUR, "1d": DAY}


@dataclass
class Heard:
    """What went over the wire."""

    calls: list[tuple[str, str, int]] = field(default_factory=list)
    """Method, path below /v1, status."""

    def note(self, response: Any) -> None:
        request = response.request
        self.calls.append((request.method, request.url.path.removeprefix("/v1"), response.status_code))

    def client(self, stack: DemoStack, api_key: str, **options: Any) -> OpenAI:
        http = DefaultHttpxClient(event_hooks={"response": [contract.check, self.note]})
        return connect(stack, api_key, http_client=http, **options)


@pytest.fixture(params=[False, True], ids=["lenient", "strict"])
def heard_owner(request: pytest.FixtureRequest, stack: DemoStack) -> Iterator[tuple[Heard, Owner]]:
    heard = Heard()
    with heard.client(stack, "sk-none", _strict_response_validation=request.param) as client:
        yield heard, Owner(client)


@pytest.fixture
def owner(heard_owner: tuple[Heard, Owner]) -> Owner:
    """With a project."""
    heard_owner[1].set_up_a_project()
    return heard_owner[1]


def spend(stack: DemoStack, key: str, calls: int) -> None:
    with connect(stack, key) as client:
        for _ in range(calls):
            assert client.chat.completions.create(model="echo", messages=user("hello"), max_tokens=8)


def total(owner: Owner, **query: Any) -> tuple[int, Decimal]:
    """Calls and dollars of the owner's project."""
    usage, project_ids = owner.client.admin.organization.usage, [owner.project.id]
    query = {"start_time": midnight() - DAY, "project_ids": project_ids} | query
    calls = [row for bucket in usage.completions(**query).data for row in bucket.results]
    costs = [row for bucket in usage.costs(**query).data for row in bucket.results]
    amounts: list[Any] = [row.to_dict()["amount"] for row in costs]
    dollars = sum((Decimal(str(each["value"])) for each in amounts), Decimal(0))
    return sum(getattr(row, "num_model_requests") for row in calls), dollars  # noqa: B009 the SDK has a union here


def midnight() -> int:
    return int(time.time()) // DAY * DAY


class TestResources:
    def test_every_resource_is_served_or_known_not_to_be(self) -> None:
        unknown = NOT_SERVED - {each.resource for each in OPERATIONS}
        assert unknown == set()
        paths = {
            (method, path.replace(":str", "").replace(":path", "").removeprefix("/v1"))
            for route in ROUTES
            for path in route.paths
            for method in getattr(route, "http_methods", ())
        }
        missing = [
            f"{each.resource}.{each.name}"
            for each in SERVED
            if not any(Operation("", "", *at).is_call(each.method, each.path) for at in paths)
        ]
        assert missing == []

    @pytest.mark.parametrize(
        "operation",
        [each for each in OPERATIONS if each.resource in NOT_SERVED],
        ids=lambda each: f"{each.resource}.{each.name}",
    )
    def test_what_is_not_served_is_openais_404(self, stack: DemoStack, operation: Operation) -> None:
        with connect(stack, "sk-none") as client, pytest.raises(NotFoundError) as caught:
            operation.make(client)
        assert caught.value.code == "unknown_url"
        assert caught.value.type == "invalid_request_error"


class TestStory:
    def test_an_owner_walks_the_whole_api(self, stack: DemoStack, heard_owner: tuple[Heard, Owner]) -> None:
        heard, owner = heard_owner
        [before] = owner.client.admin.organization.audit_logs.list(limit=1).data or [None]
        owner.set_up_a_project()
        account = owner.give_out_a_key("web")
        assert account.api_key is not None
        owner.limit_its_models()
        owner.limit_its_rates()
        owner.limit_its_spending()
        owner.limit_everybodys_spending()
        owner.want_alerts()
        owner.manage_accounts_and_keys()
        owner.manage_admin_keys()
        owner.manage_people()
        spend(stack, account.api_key.value, 2)
        wait_until(lambda: total(owner) == (2, 2 * USD), "two calls are logged")
        for name in USAGE:
            assert getattr(owner.client.admin.organization.usage, name)(start_time=midnight())
        owner.archive_the_project()
        entries = list(owner.client.admin.organization.audit_logs.list(limit=7))
        ids = [each.id for each in entries]
        new = entries[: ids.index(before.id)] if before else entries
        assert [each.type for each in reversed(new)] == owner.told
        left_out = [each for each in SERVED if not any(each.is_call(*call[:2]) for call in heard.calls)]
        assert [f"{each.resource}.{each.name}" for each in left_out] == []

    def test_a_key_calls_until_its_budget_is_used_up(self, stack: DemoStack, owner: Owner) -> None:
        made = owner.give_out_a_key("web").api_key
        assert made is not None
        wanted = {"api_key_id": made.id, "period": "total", "limit_usd": BUDGET}
        budget: Any = owner.client.post("/budgets", cast_to=object, body=wanted, options=AS_ADMIN)
        heard = Heard()
        with heard.client(stack, made.value, max_retries=2) as client:
            while (refusal := _refusal(client)) is None:
                assert len(heard.calls) * USD < Decimal(str(BUDGET))
        statuses = [status for *_, status in heard.calls]
        calls = len(statuses) - 1
        assert statuses == [200] * calls + [429]  # asked once: an SDK does not try again what cannot help
        assert (refusal.code, refusal.type) == ("insufficient_quota", "insufficient_quota")
        assert f"${BUDGET}" in refusal.message
        left = Decimal(str(BUDGET)) - calls * USD
        assert 0 <= left < MOST_USD
        wait_until(lambda: total(owner)[0] == calls, "every call is logged")
        assert total(owner) == (calls, calls * USD)
        shown: Any = owner.client.get(f"/budgets/{budget['id']}", cast_to=object, options=AS_ADMIN)
        assert Decimal(str(shown["window"]["spent_usd"])) == calls * USD
        assert Decimal(str(shown["window"]["remaining_usd"])) == left
        owner.client.post(f"/budgets/{budget['id']}", cast_to=object, body={"limit_usd": 1}, options=AS_ADMIN)
        with connect(stack, made.value, max_retries=5) as client:
            wait_until(lambda: _refusal(client) is None, "a raised budget pays again")


def _refusal(client: OpenAI) -> RateLimitError | None:
    """Of one call."""
    try:
        client.chat.completions.create(model="echo", messages=user("hello"), max_tokens=8)
    except RateLimitError as error:
        return error
    return None


class TestReports:
    @pytest.fixture
    def spender(self, stack: DemoStack, owner: Owner) -> str:
        """The id of a key that has made three calls which are in the log."""
        made = owner.give_out_a_key("web").api_key
        assert made is not None
        spend(stack, made.value, 3)
        wait_until(lambda: total(owner)[0] == 3, "three calls are logged")
        return made.id

    @pytest.mark.parametrize("width", WIDTHS)
    def test_usage_in_every_width_over_three_pages(self, owner: Owner, spender: str, width: Any) -> None:
        end = int(time.time()) // WIDTHS[width] * WIDTHS[width] + WIDTHS[width]
        asked: Any = {"start_time": end - 5 * WIDTHS[width], "end_time": end, "bucket_width": width}
        for name in USAGE:
            report = getattr(owner.client.admin.organization.usage, name)
            buckets, sizes, page = [], [], None
            while page is not None or not sizes:
                answer = report(**asked, limit=2, project_ids=[owner.project.id], **({"page": page} if page else {}))
                assert answer.has_more == (answer.next_page is not None)
                buckets += answer.data
                sizes.append(len(answer.data))
                page = answer.next_page
            assert sizes == [2, 2, 1]
            starts = [each.start_time for each in buckets]
            assert starts == [end - number * WIDTHS[width] for number in (5, 4, 3, 2, 1)]
            rows = [row for each in buckets for row in each.results]
            assert sum(row.num_model_requests for row in rows) == (3 if name == "completions" else 0)

    def test_usage_grouped_by_everything(self, owner: Owner, spender: str) -> None:
        completions = owner.client.admin.organization.usage.completions
        asked: Any = {"start_time": midnight() - DAY, "project_ids": [owner.project.id]}
        names: list[Any] = ["project_id", "user_id", "api_key_id", "model", "batch", "service_tier", "api_source"]
        wanted = {"project_id": owner.project.id, "api_key_id": spender, "model": "echo", "batch": False}
        for group_by in ([name] for name in names):
            [row] = [
                each.to_dict() for bucket in completions(**asked, group_by=group_by).data for each in bucket.results
            ]
            assert {name: row.get(name) for name in wanted} == {
                name: value if [name] == group_by else None for name, value in wanted.items()
            }
        [row] = [each.to_dict() for bucket in completions(**asked, group_by=names).data for each in bucket.results]
        assert {name: row[name] for name in wanted} == wanted
        assert (row["input_tokens"], row["input_cached_tokens"]) == (3 * INPUT, 3 * CACHED)

    def test_costs_by_line_item_over_three_pages(self, owner: Owner, spender: str) -> None:
        costs = owner.client.admin.organization.usage.costs
        asked: Any = {"start_time": midnight() - 2 * DAY, "end_time": midnight() + DAY, "limit": 1}
        asked |= {"project_ids": [owner.project.id], "api_key_ids": [spender], "group_by": ["line_item", "project_id"]}
        pages = [costs(**asked)]
        while pages[-1].next_page:
            pages.append(costs(**asked, page=pages[-1].next_page))
        assert [len(page.data) for page in pages] == [1, 1, 1]
        rows: list[Any] = [row.to_dict() for page in pages for bucket in page.data for row in bucket.results]
        assert {row["project_id"] for row in rows} == {owner.project.id}
        assert {row["line_item"]: (row["quantity"], Decimal(str(row["amount"]["value"]))) for row in rows} == {
            "echo, input": (3 * (INPUT - CACHED), 3 * Decimal("0.00004")),
            "echo, cached input": (3 * CACHED, 3 * Decimal("0.000002")),
            "echo, output": (3 * OUTPUT, 3 * Decimal("0.00004")),
        }


class TestAuditLog:
    def test_filters_and_pages(self, owner: Owner) -> None:
        owner.give_out_a_key("web")
        owner.limit_its_rates()
        logs = owner.client.admin.organization.audit_logs
        mine = list(logs.list(project_ids=[owner.project.id], limit=2))
        assert [each.type for each in reversed(mine)] == owner.told
        assert {each.project.id for each in mine if each.project} == {owner.project.id}
        made = next(each for each in mine if each.type == "api_key.created")
        assert made.api_key_created is not None
        assert made.api_key_created.id is not None
        assert [each.id for each in logs.list(resource_ids=[made.api_key_created.id])] == [made.id]
        types: Any = ["project.created", "project.updated"]
        found = logs.list(project_ids=[owner.project.id], event_types=types)
        assert [each.type for each in found] == ["project.updated", "project.created"]
        for entry in mine:
            assert entry.actor is not None
            assert entry.actor.type == "api_key"
        oldest = mine[-1]
        since = {"gte": oldest.effective_at, "lte": mine[0].effective_at}
        assert {each.id for each in mine} <= {each.id for each in logs.list(effective_at=since, limit=100)}
        later = logs.list(effective_at={"gt": mine[0].effective_at}, limit=100)
        assert not {each.id for each in mine} & {each.id for each in later}
        behind = logs.list(project_ids=[owner.project.id], before=oldest.id, limit=1)
        assert [each.id for each in behind.data] == [mine[-2].id]
        [actor] = {each.actor.api_key.id for each in mine if each.actor and each.actor.api_key}
        assert actor is not None
        assert mine[0].id in [each.id for each in logs.list(actor_ids=[actor], limit=50)]
        assert list(logs.list(actor_emails=["nobody@example.com"])) == []
