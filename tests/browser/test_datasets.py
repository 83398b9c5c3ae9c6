"""A table is dropped into the browser, mended and stored. A dataset of the log is built in test_story.py."""

import json
import re
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.browser.test_every_page import keep
from tests.browser.watching import accessible, fits

MANY = 30_000
"""Milliseconds: a worker builds it, on a machine that does much else."""
DROP = """(place, [name, text]) => {
  const carried = new DataTransfer();
  carried.items.add(new File([text], name, { type: "text/csv" }));
  place.dispatchEvent(new DragEvent("drop", { dataTransfer: carried, bubbles: true, cancelable: true }));
}"""
ROW = "Where is the parcel with the number {0} by now?,It left our house on day {0}."


def looks_right(page: Page, name: str) -> None:
    for theme in ("light", "dark"):
        page.emulate_media(color_scheme=theme)
        for width in (360, 1440):
            page.set_viewport_size({"width": width, "height": 900})
            fits(page)
            accessible(page)
            keep(page, name, theme, width)


def test_a_table_is_dropped_mended_and_stored(page: Page, home: str) -> None:
    rows = [ROW.format(each) for each in range(40)]
    table = "\n".join(["question,answer", *rows, rows[0], "And this one?,It is d\ufffdmaged."])
    page.goto(f"{home}/datasets/import")
    page.locator("[data-drop]").evaluate(DROP, ["parcels.csv", table])
    expect(page.get_by_role("heading", name="Quality report")).to_be_visible(timeout=MANY)
    expect(page.get_by_role("row", name=re.compile("^question"))).to_contain_text("Question")
    page.get_by_role("button", name="Leave out repeats").click()
    expect(page.get_by_label("Repeats are left out")).to_be_checked()
    page.get_by_role("button", name="Leave out damaged texts").click()
    expect(page.get_by_label("Damaged texts are left out")).to_be_checked()
    page.get_by_role("button", name="Leave row 2 out").click()
    expect(page.get_by_label("Row 2 is left out")).to_be_checked()
    looks_right(page, "datasets-import-looked-at")
    page.get_by_role("button", name="Store 39 examples").click()
    expect(page.get_by_role("status").first).to_contain_text("39 of 42 rows were converted", timeout=MANY)
    with page.expect_download() as download:
        page.get_by_role("link", name="Download parcels.jsonl").click()
    lines = Path(download.value.path()).read_text().splitlines()
    assert 0 < len(lines) < 39
    assert json.loads(lines[0])["messages"][0]["role"] == "user"
