"""Answers break a rule; the cluster is shown, its example opens, and its suggestion leads to a form that is filled in."""

import re
from typing import Any

import httpx
from openai import OpenAI
from playwright.sync_api import Page, expect

from deploy.demo.stack import DemoStack, Key
from tests.openai_sdk.stacks import user, wait_until

ROUTE = "guided"
RULES = [{"type": "json"}]


def got(stack: DemoStack, key: Key, path: str, **params: str) -> list[dict[str, Any]]:
    headers = {"authorization": f"Bearer {key.value}"}
    return httpx.get(f"{stack.url}/v1/{path}", params={"route": ROUTE} | params, headers=headers, timeout=30).json()[
        "data"
    ]


def counted(stack: DemoStack, key: Key) -> list[tuple[int, int]]:
    """Of each cluster that rules made. A report that was made before the last verdict came is renewed after a minute."""
    clusters = [each for each in got(stack, key, "guidance") if "Rule json fails" in each["title"]]
    return [(each["failing"]["n"], each["failing"]["of"]) for each in clusters]


def test_a_rule_that_answers_break_becomes_a_dataset(
    page: Page, home: str, stack: DemoStack, key: Key, client: OpenAI, admin: httpx.Client
) -> None:
    patient = {"timeout_ms": 10_000}  # what a busy machine does not check in time is no verdict
    check = {"name": "format", "rules": RULES, "mode": "flag"} | patient
    route = {"name": ROUTE, "project_id": key.project_id, "targets": [{"model": "echo"}], "checks": [check]}
    admin.post("/routes", json=route).raise_for_status()
    for n in range(6):
        client.chat.completions.create(
            model=ROUTE, messages=user(f"Where is parcel {n}?"), extra_body={"metadata": {"shop": "guided-north"}}
        )
    for _ in range(6):
        client.chat.completions.create(model=ROUTE, messages=user("{}"))
    wait_until(lambda: len(got(stack, key, "exchanges", q="parcel")) == 6, "a worker has read the questions")
    wait_until(lambda: counted(stack, key) == [(6, 12)], "a worker has counted every verdict", seconds=300)
    url = f"{home}/guidance?route={ROUTE}"
    page.goto(url)
    cluster = page.locator("details.cluster", has=page.get_by_role("heading", name=re.compile("Rule json fails")))
    expect(cluster).to_contain_text("6 of 12 answers")
    expect(cluster).to_contain_text("shop=guided-north")
    cluster.get_by_role("link", name=re.compile("Where is parcel")).first.click()
    page.wait_for_url("**/exchanges/*", wait_until="load")
    expect(page.locator("main")).to_contain_text("Where is parcel")
    page.goto(url)
    cluster.get_by_role("link", name="Build a dataset").first.click()
    page.wait_for_url("**/datasets/new?*", wait_until="load")
    expect(page.get_by_label("Routes")).to_have_value(ROUTE)
    expect(page.get_by_label("Metadata of the calls")).to_have_value("shop=guided-north")
