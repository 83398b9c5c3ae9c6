"""The whole way, by clicks and keys alone: answers that people liked become a dataset, which becomes a model that is watched while it
learns, held against its base, given half of a route's calls, and taken back. Only the traffic itself comes from a client."""

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
from tests.openai_sdk.stacks import SECONDS, user, wait_until

MINUTES = SECONDS * 1000
ROUTE = "promoted"
QUESTIONS = [
    "How do I load a piano into the van?",
    "Which tyres does the van need in snow?",
    "Who pays when a mirror of the van breaks?",
    "May my dog travel in the back of the van?",
    "How wide is the van with its doors open?",
    "Where do straps hold best in the van?",
    "What does diesel for the van cost me?",
    "Is glass insured once it is in the van?",
    "Can I lock the van from the inside?",
    "When must the van be back on Sunday?",
    "Does paint freeze in the van at night?",
    "Why does the brake light of the van stay on?",
]
"""So different that some of them can be held out."""
CALLS = 12
"""Of the route, once its calls are split in halves: that none comes to one of two has a chance of 1 in 2,048."""
WATCH_CURVE = """setInterval(() => {
  const points = document.getElementById("chart-losses")?.chart?.figures.x.length;
  const seen = JSON.parse(sessionStorage.getItem("points") ?? "[]");
  if (points && points !== seen.at(-1)) sessionStorage.setItem("points", JSON.stringify([...seen, points]));
}, 100)"""
"""On every page: that of a job is loaded anew when its status changes, and what was seen before is kept."""


def test_from_traffic_to_a_tuned_model_and_back(
    page: Page, home: str, client: OpenAI, key: Key, stack: DemoStack
) -> None:
    page.add_init_script(WATCH_CURVE)
    make_traffic(client, key, stack)
    build_a_dataset(page, home)
    start_a_job(page)
    tuned = watch_it_learn(page)
    evaluate(page)
    promote(page, home, tuned)
    see_the_split(page, client, tuned)
    roll_back(page)


def make_traffic(client: OpenAI, key: Key, stack: DemoStack) -> None:
    headers = {"authorization": f"Bearer {key.value}"}
    with httpx.Client(base_url=f"{stack.url}/v1", headers=headers, timeout=30) as api:
        for question in QUESTIONS:
            made = client.chat.completions.create(model="unicode", messages=user(question), metadata={"story": "vans"})
            api.post("/feedback", json={"completion_id": made._request_id, "thumbs": "up"}).raise_for_status()
        wanted: dict[str, Any] = {"kind": "sft", "sources": {"exchanges": {"metadata": {"story": "vans"}}}}
        wait_until(lambda: taken_of(api, wanted) == len(QUESTIONS), "all are in the log with what was said of them")


def taken_of(api: httpx.Client, recipe: dict[str, Any]) -> int:
    return api.post("/datasets/preview", json={"recipe": recipe}).raise_for_status().json()["taken"]


def build_a_dataset(page: Page, home: str) -> None:
    page.goto(f"{home}/datasets/new")
    page.get_by_label("Name").fill("vans")
    page.get_by_label("Metadata of the calls").first.fill("story=vans")
    page.get_by_label("For validation, %").fill("30")
    page.get_by_label("For validation, %").blur()
    taken = page.locator("#preview")
    expect(taken).to_contain_text("Of 12 exchanges that match")
    expect(taken.locator(".taken")).to_contain_text("12 of 12 answers")
    page.get_by_role("button", name="Build", exact=True).click()
    expect(page.get_by_role("status").first).to_contain_text("The dataset is made")
    expect(page.get_by_role("heading", name="Why rows were taken")).to_be_visible(timeout=MINUTES)
    held_out = page.locator(".stat", has=page.get_by_text("To validate", exact=True)).locator("dd")
    expect(held_out).to_have_text(re.compile(r"^[1-9]"))
    look(page, "dataset")
    page.get_by_label("Format").select_option("csv")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download").click()
    assert "the van" in Path(download.value.path()).read_text()
    page.get_by_role("link", name="Look at the rows").click()
    expect(page.get_by_role("heading", name=re.compile("^Row 1 "))).to_be_visible()
    look(page, "dataset-rows")
    page.go_back()
    page.get_by_role("link", name="Use in a fine-tuning job").click()


def start_a_job(page: Page) -> None:
    """The five steps, and a model's advice that comes to nothing; at the end the job's page."""
    page.get_by_label("The goal, in your words").fill("Answer in our words")
    page.get_by_role("button", name="Next: data").click()
    expect(page.get_by_label("Training data")).to_contain_text("vans")
    expect(page.locator("#report")).to_contain_text("Score")
    page.get_by_role("button", name="Next: base model").click()
    expect(page.get_by_text("It is the only base model")).to_be_visible()
    page.get_by_role("radio", name="starter", exact=True).check()
    page.get_by_role("button", name="Next: settings").click()
    page.get_by_label("Model to ask").select_option("echo")
    page.get_by_role("button", name="Ask it").click()
    expect(page.get_by_role("status").first).to_contain_text("There is no advice of a model")
    look(page, "advice")
    page.get_by_role("link", name="Go on with the rules").click()
    expect(page.locator("#estimate")).to_contain_text("Time")
    page.get_by_label("Name of the result").fill("story")
    before = page.locator("#estimate").inner_text()
    page.get_by_label("Passes over the data").fill("10")
    page.get_by_label("Passes over the data").blur()
    expect(page.locator("#estimate")).not_to_have_text(before)
    page.get_by_text("Advanced settings").click()
    page.get_by_label("Batch size").fill("2")
    look(page, "new-settings")
    page.get_by_role("button", name="Next: check").click()
    expect(page.get_by_text("It fits into the memory")).to_be_visible()
    look(page, "new-check")
    page.get_by_role("button", name="Start training").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("story")


def watch_it_learn(page: Page) -> str:
    """Nobody loads the page anew, and the curve gets longer. -> the tuned model."""
    model = page.locator("#evaluation [data-copy]")
    expect(model).to_have_count(1, timeout=MINUTES)
    points = json.loads(page.evaluate("sessionStorage.getItem('points')") or "[]")
    assert len(points) >= 2, f"it is seen to get longer: {points}"
    assert points == sorted(points)
    expect(page.locator("#live")).to_contain_text("100% trained")
    look(page, "job")
    tuned = model.get_attribute("data-copy")
    assert tuned
    return tuned


def evaluate(page: Page) -> None:
    page.get_by_role("button", name="Evaluate against the base").click()
    told = page.locator("#evaluation")
    expect(told).to_contain_text("questions that it was not trained on", timeout=MINUTES)
    look(page, "job-evaluated")
    page.get_by_role("link", name="Read the answers side by side").click()
    page.get_by_role("link", name="All items").click()
    expect(page.locator("main")).to_contain_text("the van")
    look(page, "job-compared")


def promote(page: Page, home: str, tuned: str) -> None:
    page.goto(f"{home}/models")
    page.get_by_role("link", name=tuned).first.click()
    expect(page.get_by_role("region", name="Lineage, drawn").locator("svg")).to_be_visible()
    look(page, "model")
    page.get_by_role("link", name="Put into a route").click()
    page.get_by_label("Name", exact=True).fill(ROUTE)
    page.get_by_label("Model 1").fill("starter")
    page.get_by_label("Weight").first.fill("100")
    look(page, "route-new")
    page.get_by_role("button", name="Make route").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(ROUTE)
    page.get_by_label("Candidate").fill(tuned)
    page.get_by_label("Share, by slider").fill("50")
    expect(page.get_by_label("Percent")).to_have_value("50")
    page.get_by_role("button", name="Split", exact=True).click()
    expect(page.get_by_role("status").first).to_contain_text("gets 50%")


def see_the_split(page: Page, client: OpenAI, tuned: str) -> None:
    """Without a reload."""
    for number in range(CALLS):
        client.chat.completions.create(model=ROUTE, messages=user(f"van {number}"), max_tokens=4)
    results = page.locator("#results")
    for model in ("starter", tuned):
        row = results.get_by_role("row").filter(has=page.get_by_role("rowheader", name=model, exact=True))
        expect(row.get_by_role("cell").first).to_have_text("50%")
        expect(row.get_by_role("cell").nth(1)).to_have_text(re.compile(r"^[1-9]"))
    look(page, "route")


def roll_back(page: Page) -> None:
    """By the keyboard: the question stands in a dialog, whose safe answer has the focus."""
    page.get_by_role("button", name="Roll back").focus()
    page.keyboard.press("Enter")
    yes = page.get_by_role("dialog").get_by_role("button", name="Roll back")
    expect(yes).to_be_visible()
    yes.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("status").first).to_contain_text("The route is back")
    expect(page.locator("#results").get_by_role("rowheader")).to_have_text(["starter"])


def look(page: Page, name: str) -> None:
    """At both widths."""
    for width in (360, 1440):
        page.set_viewport_size({"width": width, "height": 900})
        fits(page)
        accessible(page)
        keep(page, f"story-{name}", "light", width)
