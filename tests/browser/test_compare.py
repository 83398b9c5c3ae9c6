"""The comparison lab: two models side by side, blind, votes by the keyboard, and what is kept of them."""

import csv
import io
import json
import re
from typing import Any

from openai import OpenAI
from playwright.sync_api import Page, expect

from tests.browser.watching import accessible, fits


def compared(page: Page, home: str, models: list[str], prompts: str) -> None:
    page.goto(f"{home}/compare?" + "&".join(f"models={name}" for name in models))
    page.get_by_label("Prompt", exact=True).fill(prompts)
    page.get_by_label("Each line is a prompt of its own").check()
    page.get_by_text("How they are asked").click()
    page.get_by_label("Most tokens").fill("12")


def best(page: Page, letter: str) -> str:
    """Vote for that answer; the model that it turns out to be."""
    expect(page.get_by_role("button", name=f"{letter} is best")).to_be_enabled()
    page.keyboard.press(str("ABCD".index(letter) + 1))
    heading = page.get_by_role("heading", name=re.compile(f"^{letter}: "))
    expect(page.get_by_text("Kept.")).to_be_visible()
    return heading.inner_text().removeprefix(f"{letter}: ").removesuffix(" Best")


def preferences(client: OpenAI, **filters: str) -> list[dict[str, Any]]:
    query = "&".join(f"{name}={value}" for name, value in filters.items())
    found: Any = client.get(f"/judgments?limit=100&source=human&{query}", cast_to=object)
    return [each for each in found["data"] if (each["metadata"] or {}).get("from") == "compare"]


def served(client: OpenAI, exchange_id: str) -> str:
    found: Any = client.get(f"/exchanges/{exchange_id}", cast_to=object)
    return found["requested_model"]


def test_votes_become_judgments(page: Page, home: str, client: OpenAI) -> None:
    compared(page, home, ["starter", "echo"], "Where is my order?\nMay I send it back?")
    page.get_by_role("button", name="Compare").click()
    expect(page.get_by_role("heading", name="Prompt 1 of 2")).to_be_visible()
    expect(page.get_by_role("button", name="A is best")).to_be_enabled()
    blind = page.locator("[data-place]").inner_text()
    assert "starter" not in blind
    assert "First token" not in blind
    page.get_by_label("Clarity of answer A").select_option("5")
    page.get_by_role("button", name="Next prompt").focus()
    winner = best(page, "A")
    expect(page.get_by_text("First token")).to_have_count(2)
    accessible(page)
    page.keyboard.press("n")
    expect(page.get_by_role("heading", name="Prompt 2 of 2")).to_be_visible()
    expect(page.get_by_role("button", name="Tie")).to_be_enabled()
    page.keyboard.press("t")
    expect(page.get_by_text("Kept.")).to_be_visible()
    page.keyboard.press("n")
    row = page.get_by_role("row", name=re.compile(f"^{winner}"))
    accessible(page)
    page.set_viewport_size({"width": 360, "height": 900})
    fits(page)
    expect(row).to_contain_text("75.0% (19.8% to 97.3%)")
    expect(row).to_contain_text("5.00 (n=1)")

    said = preferences(client, criterion="preference")
    assert [(each["preference"], each["blind"], each["metadata"]["order_shown"]) for each in said] == [
        ("tie", True, "ab"),
        ("a", True, "ab"),
    ]
    [first] = [each for each in said if each["preference"] == "a"]
    assert served(client, first["exchange_id"]) == winner
    assert {served(client, first["other_exchange_id"]), winner} == {"starter", "echo"}
    [clear] = preferences(client, criterion="clear")
    assert (clear["exchange_id"], clear["value"], clear["blind"]) == (first["exchange_id"], 5, True)

    with page.expect_download() as download:
        page.get_by_role("button", name="CSV").click()
    lines = list(csv.DictReader(io.StringIO(download.value.path().read_text())))
    assert [each["vote"] for each in lines] == ["best", "not best", "tie", "tie"]
    assert lines[0]["model"] == winner
    assert lines[0]["exchange_id"] == first["exchange_id"]


def test_a_dataset_of_preferences_takes_votes(page: Page, home: str, client: OpenAI) -> None:
    before = votes_taken(client)
    compared(
        page, home, ["starter", "assistant"], "Which of the two lamps in your shop is the brighter one for a desk?"
    )
    page.get_by_label("Blind").uncheck()  # the starter's answer is cut off: the other one must be the better
    page.get_by_role("button", name="Compare").click()
    expect(page.get_by_role("heading", name="B: assistant")).to_be_visible()
    best(page, "B")
    assert votes_taken(client) == before + 1


def votes_taken(client: OpenAI) -> int:
    recipe = {"kind": "preference", "pairs": {"sources": ["votes"]}}
    preview: Any = client.post("/datasets/preview", body={"recipe": recipe}, cast_to=object)
    return preview["by_signal"].get("vote", 0)


def test_of_three_the_best_is_preferred_over_each_other(page: Page, home: str, client: OpenAI) -> None:
    before = {each["id"] for each in preferences(client, criterion="preference")}
    compared(page, home, ["unicode", "echo", "assistant"], "What do you sell? " * 400)
    page.get_by_label("Blind").uncheck()
    page.get_by_role("button", name="Compare").click()
    expect(page.get_by_role("heading", name="B: echo")).to_be_visible()
    expect(page.get_by_role("button", name="B is best")).to_be_enabled()
    accessible(page)
    page.get_by_role("button", name="B is best").click()
    expect(page.get_by_text("Kept.")).to_be_visible()
    new = [each for each in preferences(client, criterion="preference") if each["id"] not in before]
    pairs = {
        (served(client, each["exchange_id"]), served(client, each["other_exchange_id"])): each["preference"]
        for each in new
    }
    assert pairs == {("unicode", "echo"): "b", ("echo", "assistant"): "a"}
    assert not any(each["blind"] for each in new)


def test_a_failed_answer_takes_no_vote(page: Page, home: str) -> None:
    compared(page, home, ["echo", "error-midway"], "hello")
    page.get_by_label("Blind").uncheck()
    page.get_by_role("button", name="Compare").click()
    expect(page.get_by_text("There are not two answers to compare.")).to_be_visible()
    expect(page.get_by_role("button", name="A is best")).to_be_disabled()
    page.get_by_role("button", name="Results", exact=True).click()
    expect(page.get_by_role("row", name=re.compile("error-midway"))).to_contain_text("1 failed")


def test_prompts_come_of_a_file(page: Page, home: str) -> None:
    page.goto(f"{home}/compare?models=echo&models=unicode")
    table = 'id,question\r\n1,"Is it ""new"", or\nused?"\r\n2,Why?\r\n'
    page.get_by_label("Or a file optional").set_input_files(
        {"name": "questions.csv", "mimeType": "text/csv", "buffer": table.encode()}
    )
    page.get_by_role("button", name="Compare").click()
    expect(page.get_by_role("heading", name="Prompt 1 of 2")).to_be_visible()
    expect(page.locator(".comparison .message.user")).to_contain_text('Is it "new", or\nused?')


def test_and_of_a_file_of_the_project_without_its_answers(page: Page, home: str, client: OpenAI) -> None:
    line = {"messages": [{"role": "user", "content": "Is it new?"}, {"role": "assistant", "content": "It is."}]}
    file = client.files.create(file=("compared.jsonl", json.dumps(line).encode() + b"\n"), purpose="evals")
    page.goto(f"{home}/compare?models=echo&models=assistant")
    page.get_by_label("Or a file of the project").select_option(file.id)
    page.get_by_label("Blind").uncheck()
    page.get_by_role("button", name="Compare").click()
    expect(page.get_by_role("heading", name="Prompt 1 of 1")).to_be_visible()
    expect(page.locator(".comparison .message.user")).to_have_text("PromptIs it new?")
    expect(page.locator(".columns-of-answers")).to_contain_text("You said: Is it new?")
