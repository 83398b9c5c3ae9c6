"""A call shows up on the overview by itself, and a point of a chart opens the calls behind it."""

import re

from openai import OpenAI
from playwright.sync_api import Page, expect

from tests.openai_sdk.stacks import user


def test_a_call_shows_up_and_leads_to_its_exchange(page: Page, home: str, client: OpenAI) -> None:
    client.chat.completions.create(model="starter", messages=user("hello overview"), max_tokens=4)
    page.goto(f"{home}?range=1h")
    requests = page.locator(".stat", has=page.get_by_text("Requests", exact=True)).locator("dd")
    expect(requests).to_contain_text(re.compile(r"[1-9]"))
    before = int(re.findall(r"[\d,]+", requests.inner_text())[0].replace(",", ""))
    client.chat.completions.create(model="starter", messages=user("hello again"), max_tokens=4)
    page.evaluate("document.activeElement.blur()")
    expect(requests).to_contain_text(f"{before + 1:,}", timeout=30_000)
    table = page.locator("#chart-requests")
    table.get_by_text("As a table").click()
    table.get_by_role("row").last.get_by_role("link").click()
    page.wait_for_url(re.compile(r"/exchanges\?created_after=\d+&created_before=\d+"))
    expect(page.get_by_role("heading", level=1)).to_contain_text("Exchanges")
