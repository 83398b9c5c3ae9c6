"""The report of a month on paper: light, without the menu, as wide as a page."""

import re

from openai import OpenAI
from playwright.sync_api import Page, expect

from tests.browser.watching import fits


def test_the_report_is_printed(page: Page, home: str, client: OpenAI) -> None:
    client.chat.completions.create(model="echo", messages=[{"role": "user", "content": "For the report."}])
    page.emulate_media(color_scheme="dark")
    page.goto(f"{home}/report")
    expect(page.get_by_role("navigation", name="Pages")).to_be_visible()
    page.emulate_media(media="print", color_scheme="dark")
    page.set_viewport_size({"width": 703, "height": 1000})  # of A4, between its margins
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    expect(page.get_by_role("navigation", name="Pages")).to_be_hidden()
    expect(page.get_by_role("button", name="Print or save as PDF")).to_be_hidden()
    assert page.evaluate("getComputedStyle(document.querySelector('h1')).color") == "rgb(23, 32, 42)"
    fits(page)
    printed = page.pdf(format="A4")
    assert printed.startswith(b"%PDF")
    assert re.search(rb"/Type\s*/Page\b", printed)
