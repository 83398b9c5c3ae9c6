"""A table is dropped into the browser, mended and stored; a dataset is built of what people liked, and downloaded."""

import json
import re
from pathlib import Path
from typing import Any

import httpx
from openai import OpenAI
from playwright.sync_api import Page, expect

from deploy.demo.stack import DemoStack, Key
from tests.browser.test_every_page import keep
from tests.browser.watching import accessible, fits
from tests.openai_sdk.stacks import user, wait_until

MANY = 30_000
"""Milliseconds: a worker builds it, on a machine that does much else."""
DROP = """(place, [name, text]) => {
  const carried = new DataTransfer();
  carried.items.add(new File([text], name, { type: "text/csv" }));
  place.dispatchEvent(new DragEvent("drop", { dataTransfer: carried, bubbles: true, cancelable: true }));
}"""
TOPICS = [
    "brakes",
    "mirrors",
    "straps",
    "ladders",
    "paint",
    "glass",
    "rain",
    "fuel",
    "dogs",
    "pianos",
    "tyres",
    "locks",
]
ROW = "Where is the parcel with the number {0} by now?,It left our house on day {0}."


def taken_of(api: httpx.Client, recipe: dict[str, Any]) -> int:
    return api.post("/datasets/preview", json={"recipe": recipe}).raise_for_status().json()["taken"]


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


def test_a_dataset_of_what_people_liked(page: Page, home: str, client: OpenAI, key: Key, stack: DemoStack) -> None:
    headers = {"authorization": f"Bearer {key.value}"}
    with httpx.Client(base_url=f"{stack.url}/v1", headers=headers, timeout=30) as api:
        for topic in TOPICS:
            asked = user(f"What do I have to know about {topic} when I pack a van?")
            made = client.chat.completions.create(model="unicode", messages=asked, metadata={"story": "vans"})
            api.post("/feedback", json={"completion_id": made._request_id, "thumbs": "up"}).raise_for_status()
        wanted = {"kind": "sft", "sources": {"exchanges": {"metadata": {"story": "vans"}}}}
        wait_until(lambda: taken_of(api, wanted) == len(TOPICS), "all are in the log with what was said of them")
    page.goto(f"{home}/datasets/new")
    page.get_by_label("Name").fill("vans")
    page.get_by_label("Metadata of the calls").fill("story=vans")
    page.get_by_label("Metadata of the calls").blur()
    taken = page.locator("#preview")
    expect(taken).to_contain_text("Of 12 exchanges that match", timeout=MANY)
    expect(taken.locator(".taken")).to_contain_text("12 of 12 answers")
    page.get_by_role("button", name="Build", exact=True).click()
    expect(page.get_by_role("status").first).to_contain_text("The dataset is made")
    expect(page.get_by_role("heading", name="Why rows were taken")).to_be_visible(timeout=4 * MANY)
    looks_right(page, "datasets-one")
    page.get_by_label("Format").select_option("csv")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download").click()
    assert "when I pack a van?" in Path(download.value.path()).read_text()
    page.get_by_role("link", name="Look at the rows").click()
    expect(page.get_by_role("heading", name=re.compile("^Row 1 "))).to_be_visible()
    looks_right(page, "datasets-rows")
