"""An eval is made of a table, run on two models at once, and what the second does worse is opened."""

import re
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.browser.test_every_page import keep
from tests.browser.watching import accessible, fits

TABLE = (
    "ticket,label\n" + "".join(f"Parcel {n} is late,Parcel {n} is late\n" for n in range(1, 12)) + "Hello,Greeting\n"
)
"""The model `echo` says what it is asked: it is right but for the last one. `starter` never is."""
NAME = "Late parcels, by the table of support"


def check_page(page: Page, name: str) -> None:
    """At both widths."""
    for width in (360, 1440):
        page.set_viewport_size({"width": width, "height": 900})
        fits(page)
        accessible(page)
        keep(page, f"evals-{name}", "light", width)


def make_it(page: Page, home: str, directory: Path) -> None:
    table = directory / "late.csv"
    table.write_text(TABLE)
    page.goto(f"{home}/evals")
    page.get_by_role("main").get_by_role("link", name="New eval").click()
    page.locator("input[type=file]").set_input_files(table)
    page.get_by_role("button", name="Look at it").first.click()
    expect(page.get_by_role("region", name="Fields of an item").get_by_role("row")).to_have_count(3)
    page.get_by_label("Name of the eval").fill(NAME)
    page.get_by_role("button", name="Similarity").click()
    expect(page.get_by_role("group", name="Similarity")).to_be_in_viewport()
    expect(page.get_by_label("Name of the eval")).to_have_value(NAME)
    page.get_by_role("button", name="Score by a model").click()
    check_page(page, "new-criteria")
    page.get_by_role("button", name="Remove score").click()
    expect(page.get_by_role("group", name="Score by a model")).to_have_count(0)
    page.get_by_role("button", name="Make the eval").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(f"Run {NAME}")


def run_it(page: Page) -> None:
    """On two models; at its end both have completed."""
    page.get_by_label("Model or route").select_option("echo")
    page.get_by_label("Second").select_option("starter")
    page.get_by_label("Most tokens of an answer").fill("8")
    expect(page.get_by_label("Question")).to_have_value("{{ item.ticket }}")
    check_page(page, "start")
    page.get_by_role("button", name="Start").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(NAME)
    expect(page.get_by_role("region", name="Runs").get_by_text("completed", exact=True)).to_have_count(2)
    expect(page.locator("#under-way")).to_have_count(0)  # it went without a click


def test_an_eval_is_made_run_on_two_models_and_compared(page: Page, home: str, tmp_path: Path) -> None:
    make_it(page, home, tmp_path)
    run_it(page)
    echo = page.get_by_role("region", name="Runs").get_by_role("row").filter(has_text="echo")
    expect(echo).to_contain_text("n = 12")
    check_page(page, "eval")
    page.get_by_role("button", name="Compare", exact=True).click()
    expect(page.get_by_text("Worse than the baseline.")).to_be_visible()
    page.get_by_role("link", name=re.compile(r"^Got worse \(11\)")).click()
    flip = page.get_by_role("article").first
    expect(flip).to_contain_text("Parcel 1 is late")
    flip.get_by_role("link", name="Verdicts").last.click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Item 1")
    page.goto(f"{home}/evals")
    listed = page.get_by_role("row").filter(has_text=NAME)
    expect(listed).to_contain_text("regressing")
    check_page(page, "list")
