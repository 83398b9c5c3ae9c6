"""From a file to a tuned model that half of the calls go to, and back, without a terminal."""

import re
from pathlib import Path

import httpx
from playwright.sync_api import Page, expect

from tests.browser.test_every_page import keep
from tests.browser.watching import accessible, fits
from tests.openai_sdk.stacks import SECONDS, examples, wait_until

MINUTES = SECONDS * 1000
NAME = "promoted"


def start_a_job(page: Page, home: str, directory: Path) -> None:
    """The five steps; at the end the job's page."""
    data = directory / "tickets.jsonl"
    data.write_bytes(examples(24))
    page.goto(f"{home}/fine-tuning/new")
    page.get_by_label("The goal, in your words").fill("Classify tickets in our words")
    page.get_by_role("button", name="Next: data").click()
    page.get_by_label(re.compile("JSONL in OpenAI")).set_input_files(data)
    page.get_by_role("button", name="Upload").click()
    expect(page.get_by_label("Training data")).to_contain_text("tickets.jsonl")
    expect(page.locator("#report")).to_contain_text("24")
    page.get_by_role("button", name="Next: base model").click()
    page.get_by_role("radio", name="starter", exact=True).check()
    page.get_by_role("button", name="Next: settings").click()
    expect(page.locator("#estimate")).to_contain_text("Time")
    page.get_by_label("Name of the result").fill("browser")
    before = page.locator("#estimate").inner_text()
    page.get_by_label("Passes over the data").fill("6")
    page.get_by_label("Passes over the data").blur()
    expect(page.locator("#estimate")).not_to_have_text(before)
    check_page(page, "new-settings")
    page.get_by_role("button", name="Next: check").click()
    expect(page.get_by_text("It fits into the memory")).to_be_visible()
    check_page(page, "new-check")
    page.get_by_role("button", name="Start training").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("browser")


def check_page(page: Page, name: str) -> None:
    """At both widths."""
    for width in (360, 1440):
        page.set_viewport_size({"width": width, "height": 900})
        fits(page)
        accessible(page)
        keep(page, f"fine-tuning-{name}", "light", width)


def test_a_model_is_trained_compared_promoted_and_rolled_back(
    page: Page, home: str, tmp_path: Path, admin: httpx.Client
) -> None:
    start_a_job(page, home, tmp_path)
    losses = page.locator("#chart-losses")
    expect(losses.locator("canvas")).to_have_count(1, timeout=MINUTES)  # the curve, without a reload
    model = page.locator("#evaluation [data-copy]")
    expect(model).to_have_count(1, timeout=MINUTES)
    tuned = model.get_attribute("data-copy")
    assert tuned
    expect(page.locator("#live")).to_contain_text("100% trained")
    check_page(page, "job")
    page.get_by_role("link", name="Compare with its base").click()
    expect(page.locator("main")).to_contain_text(tuned)
    promote(page, home, tuned, admin)


def promote(page: Page, home: str, tuned: str, admin: httpx.Client) -> None:
    page.goto(f"{home}/models")
    page.get_by_role("link", name=tuned).first.click()
    expect(page.get_by_role("region", name="Lineage, drawn").locator("svg")).to_be_visible()
    check_page(page, "model")
    page.get_by_role("link", name="Put into a route").click()
    page.get_by_label("Name").fill(NAME)
    page.get_by_label("Model 1").fill("starter")
    page.get_by_label("Weight").first.fill("100")
    check_page(page, "route-new")
    page.get_by_role("button", name="Make route").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(NAME)
    page.get_by_label("Candidate").fill(tuned)
    page.get_by_label("Share, by slider").fill("50")
    expect(page.get_by_label("Percent")).to_have_value("50")
    page.get_by_role("button", name="Split", exact=True).click()
    expect(page.get_by_role("status").first).to_contain_text("gets 50%")
    assert weights(admin) == {"starter": 50, tuned: 50}
    check_page(page, "route")
    page.get_by_role("button", name="Roll back").click()
    page.get_by_role("dialog").get_by_role("button", name="Roll back").click()
    expect(page.get_by_role("status").first).to_contain_text("The route is back")
    wait_until(lambda: weights(admin) == {"starter": 100}, "the route is as it was")


def weights(admin: httpx.Client) -> dict[str, float]:
    routes = admin.get("/routes", params={"limit": 100}).raise_for_status().json()["data"]
    [route] = [each for each in routes if each["name"] == NAME]
    return {each["model"]: each["weight"] for each in route["targets"]}
