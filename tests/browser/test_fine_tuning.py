"""A file is uploaded in the guided start and looked at; the whole way to a model that answers is told in test_story.py."""

import re
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.browser.test_every_page import keep
from tests.browser.watching import accessible, fits
from tests.openai_sdk.stacks import examples


def test_a_file_is_uploaded_and_estimated(page: Page, home: str, tmp_path: Path) -> None:
    data = tmp_path / "tickets.jsonl"
    data.write_bytes(examples(24))
    page.goto(f"{home}/fine-tuning/new")
    page.get_by_label("The goal, in your words").fill("Classify tickets in our words")
    page.get_by_role("button", name="Next: data").click()
    page.get_by_label(re.compile("JSONL in OpenAI")).set_input_files(data)
    page.get_by_role("button", name="Upload").click()
    expect(page.get_by_label("Training data")).to_contain_text("tickets.jsonl")
    expect(page.locator("#report")).to_contain_text("24")
    for width in (360, 1440):
        page.set_viewport_size({"width": width, "height": 900})
        fits(page)
        accessible(page)
        keep(page, "fine-tuning-new-data", "light", width)
    page.get_by_role("button", name="Next: base model").click()
    page.get_by_role("radio", name="starter", exact=True).check()
    page.get_by_role("button", name="Next: settings").click()
    expect(page.locator("#estimate")).to_contain_text("Time")
