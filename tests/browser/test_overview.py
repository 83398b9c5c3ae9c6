"""A call shows up on the overview by itself, and a point of a chart opens the calls behind it."""

import re

from openai import OpenAI
from playwright.sync_api import Page, expect

from tests.browser.watching import WIDE
from tests.openai_sdk.stacks import user, wait_until


def requests(page: Page) -> int:
    """As the overview shows them; 0 where it says how to send the first."""
    shown = page.locator(".stat", has=page.get_by_text("Requests", exact=True)).locator("dd")
    told = re.search(r"[\d,]+", shown.inner_text()) if shown.count() else None
    return int(told[0].replace(",", "")) if told else 0


def test_a_call_shows_up_and_leads_to_its_exchange(page: Page, home: str, client: OpenAI) -> None:
    page.goto(f"{home}?range=1h")
    before = requests(page)
    client.chat.completions.create(model="starter", messages=user("hello overview"), max_tokens=4)
    wait_until(lambda: requests(page) > before, "the overview shows the call without being loaded again")
    table = page.locator("#chart-requests")
    table.get_by_text("As a table").click()
    table.get_by_role("row").last.get_by_role("link").click()
    page.wait_for_url(re.compile(r"/exchanges\?created_after=\d+&created_before=\d+"))
    expect(page.get_by_role("heading", level=1)).to_contain_text("Exchanges")


def test_a_chart_as_wide_as_it_was_makes_no_page_wider(page: Page, home: str, client: OpenAI) -> None:
    """A window that becomes narrow is narrow a moment before its charts are drawn anew."""
    client.chat.completions.create(model="starter", messages=user("hello overview"), max_tokens=4)
    page.set_viewport_size({"width": 360, "height": 900})
    page.goto(home)
    page.locator("#chart-requests canvas").wait_for()
    before = "document.querySelector('#chart-requests .u-wrap').style.width = '800px'"
    assert page.evaluate(f"() => {{ {before}; return ({WIDE})(); }}") == [0, []]
