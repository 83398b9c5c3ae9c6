"""An exchange joins a queue that is there, and the queue's list tells who did what."""

import os
from pathlib import Path

from openai import OpenAI
from playwright.sync_api import Page, expect

from deploy.demo.stack import DemoStack, Key
from tests.browser.test_review import answer_all, api, make
from tests.browser.watching import accessible, fits

SCREENSHOTS = os.environ.get("TUNEWAY_SCREENSHOTS")


def test_an_exchange_joins_a_queue(page: Page, home: str, stack: DemoStack, key: Key, client: OpenAI) -> None:
    """It stands last; the page is as every other one: it fits, and is accessible."""
    long = "Is a parcel that was never delivered paid back, and when? " * 6
    asked = answer_all(client, "joining", [f"{number}: {long}" for number in range(3)])
    with api(stack, key) as calls:
        named = [{"exchange_id": id} for id in asked[:2]]
        queue = make(calls, "joining", 3, name="Answers about refunds", source={"answers": named, "metadata": None})
        item = calls.post(f"/review_queues/{queue['id']}/next").json()["item"]
        decided = calls.post(
            f"/review_queues/{queue['id']}/items/{item['id']}/decision", json={"values": {"thumbs": True}}
        )
        assert decided.status_code == 200, decided.text
    page.goto(f"{home}/exchanges/{asked[2]}")
    page.get_by_label("Or put it into a review queue").select_option(queue["id"])
    page.get_by_role("button", name="Add to queue").click()
    expect(page.get_by_role("status").first).to_contain_text("1 item added to Answers about refunds.")
    page.goto(f"{home}/review/{queue['id']}/items")
    expect(page.get_by_role("region", name="Items").locator("tbody tr")).to_have_count(3)
    for theme in ("light", "dark"):
        page.emulate_media(color_scheme=theme)
        for width in (360, 1440):
            page.set_viewport_size({"width": width, "height": 900})
            fits(page)
            accessible(page)
            if SCREENSHOTS:
                page.screenshot(path=Path(SCREENSHOTS) / f"review-items-{width}-{theme}.png", full_page=True)
