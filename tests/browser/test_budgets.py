"""A key with a budget of a cent is made in the browser and spent with the SDK, which is refused; the console shows why."""

import re
from collections.abc import Iterator

import httpx
import pytest
from openai import OpenAI, RateLimitError
from playwright.sync_api import Page, expect

from deploy.demo.stack import DemoStack
from tests.browser.watching import accessible, fits
from tests.fakes.upstream import Upstream
from tests.openai_sdk.stacks import connect, user, wait_until

CALL_USD, CALLS = 0.0025, 4
"""That use up a cent to the nano-dollar."""
MODEL = "by-the-call"


@pytest.fixture(scope="module")
def sold_by_the_call(admin: httpx.Client, provider: Upstream) -> Iterator[None]:
    """A model that costs the same whatever it answers."""
    served = {"model": MODEL, "served_name": "echo"}
    fields = {"name": "seller", "base_url": provider.url, "models": [served]}
    made = admin.post("/upstreams", json=fields).raise_for_status().json()
    price = {"model": MODEL, "input": 0, "output": 0, "per_request": CALL_USD}
    admin.post("/prices", json=price).raise_for_status()
    yield
    admin.delete(f"/upstreams/{made['id']}").raise_for_status()


def call(client: OpenAI) -> None:
    client.chat.completions.create(model=MODEL, messages=user("hello"), max_tokens=4)


@pytest.mark.usefixtures("sold_by_the_call")
def test_a_cent_is_spent_and_then_refused(page: Page, home: str, stack: DemoStack) -> None:
    page.goto(f"{home}/keys")
    page.get_by_label("Name").fill("a cent")
    page.get_by_text("Budget and rate limits").click()
    page.get_by_label("Budget in dollars").fill("0.01")
    page.get_by_role("button", name="Make key").click()
    secret = page.get_by_role("button", name="Copy secret").get_attribute("data-copy")
    assert secret
    with connect(stack, secret) as client:
        for _ in range(CALLS):
            call(client)
        with pytest.raises(RateLimitError) as refused:
            call(client)
    assert refused.value.code == "insufficient_quota"

    page.get_by_role("link", name="This key").click()
    bar = page.get_by_role("progressbar", name="$0.0100 of $0.0100")
    calls = page.get_by_text("Calls in 31 days").locator("..")

    def all_told() -> bool:
        page.reload()
        return bar.count() == 1 and calls.locator("dd").text_content() == str(CALLS)

    wait_until(all_told, "the calls are in the ledger")
    expect(bar).to_have_class("full")
    expect(page.get_by_role("row", name=re.compile("Key a cent, a month"))).to_contain_text(
        "Used up: calls are refused"
    )
    for width in (360, 1440):
        page.set_viewport_size({"width": width, "height": 900})
        fits(page)
        accessible(page)

    page.get_by_role("link", name="Key a cent, a month").click()
    page.get_by_label("Limit in dollars").fill("1")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("$0.0100 of $1.00")).to_be_visible()
    with connect(stack, secret) as client:
        call(client)
