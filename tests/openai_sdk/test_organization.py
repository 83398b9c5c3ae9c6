"""client.admin.organization: projects, keys, usage and costs, to the token and the nano-dollar."""

import time
from decimal import Decimal
from typing import Any

import pytest
from openai import AuthenticationError, OpenAI, PermissionDeniedError

from deploy.demo.stack import DemoStack, Key
from tests.openai_sdk.stacks import connect, user, wait_until

pytestmark = pytest.mark.train

CALLS = 3
INPUT, CACHED, OUTPUT = 12, 4, 4
"""Of each call to `echo` (tests/fakes/upstream.py)."""
USD = Decimal("0.000082")
"""8 tokens at 5, 4 cached ones at 0.5 and 4 written ones at 10 dollars a million."""
DAY = 86_400


@pytest.fixture(scope="package")
def spender(stack: DemoStack) -> Key:
    """A key of its own project, which has made three calls that have arrived in the log."""
    key = stack.make_key("spenders", "robot")
    with connect(stack, key.value) as client:
        for number in range(CALLS):
            reply = client.chat.completions.create(model="echo", messages=user("hello"), stream=number == 0)
            assert list(reply) if number == 0 else reply
        wait_until(lambda: sum(row.num_model_requests for row in _usage(client, key)) == CALLS, "calls are logged")
    return key


def _usage(client: OpenAI, key: Key) -> list[Any]:
    completions = client.admin.organization.usage.completions
    buckets = completions(start_time=_yesterday(), project_ids=[key.project_id], group_by=["model"])
    return [row for bucket in buckets.data for row in bucket.results]


class TestUsage:
    def test_counts_every_call(self, client: OpenAI, spender: Key) -> None:
        [row] = _usage(client, spender)
        assert (row.input_tokens, row.input_cached_tokens, row.output_tokens) == (
            CALLS * INPUT, CALLS * CACHED, CALLS * OUTPUT,
        )  # fmt: skip
        assert row.model == "echo"
        assert row.project_id is None

    def test_groups_and_filters_by_key(self, client: OpenAI, spender: Key) -> None:
        usage = client.admin.organization.usage
        buckets = usage.completions(start_time=_yesterday(), api_key_ids=[spender.id], group_by=["api_key_id"])
        [row] = [each.to_dict() for bucket in buckets.data for each in bucket.results]
        assert row["api_key_id"] == spender.id
        none = usage.completions(start_time=_yesterday(), api_key_ids=["key_none"])
        assert [row for bucket in none.data for row in bucket.results] == []

    def test_costs_exactly(self, client: OpenAI, spender: Key) -> None:
        usage = client.admin.organization.usage
        buckets = usage.costs(start_time=_yesterday(), project_ids=[spender.project_id])
        [row] = [each.to_dict() for bucket in buckets.data for each in bucket.results]
        amount: Any = row["amount"]
        assert amount["currency"] == "usd"
        assert Decimal(str(amount["value"])) == CALLS * USD


class TestAdministration:
    def test_a_key_made_through_the_sdk_works(self, client: OpenAI, stack: DemoStack) -> None:
        projects = client.admin.organization.projects
        project = projects.create(name="sdk")
        account = projects.service_accounts.create(project.id, name="bot")
        assert account.api_key is not None
        assert project.id in [each.id for each in projects.list(limit=2)]
        assert [each.id for each in projects.api_keys.list(project.id)] == [account.api_key.id]
        with connect(stack, account.api_key.value) as bot:
            assert bot.models.retrieve("starter")
            projects.api_keys.delete(account.api_key.id, project_id=project.id)
            wait_until(lambda: _is_refused(bot), "the revoked key is refused")

    def test_a_projects_key_is_no_admin_key(self, stack: DemoStack, key: Key) -> None:
        with connect(stack, key.value, admin_api_key=key.value) as client, pytest.raises(PermissionDeniedError):
            client.admin.organization.projects.list()

    def test_an_admin_key_is_no_projects_key(self, stack: DemoStack) -> None:
        with connect(stack, stack.admin_key) as client, pytest.raises(PermissionDeniedError):
            client.models.list()


def _is_refused(client: OpenAI) -> bool:
    try:
        client.models.list()
    except AuthenticationError:
        return True
    return False


def _yesterday() -> int:
    return int(time.time()) // DAY * DAY - DAY
