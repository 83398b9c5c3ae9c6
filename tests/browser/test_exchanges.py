"""The log in the browser: found by words, kept as a view, corrected, replayed, learnt from and erased."""

import re
from typing import Any

from httpx import Client
from openai import OpenAI
from playwright.sync_api import Page, expect

from tests.browser.watching import accessible, fits
from tests.openai_sdk.stacks import user, wait_until


def ask(client: OpenAI, text: str, **more: Any) -> str:
    """A call; its exchange's id."""
    answer = client.chat.completions.with_raw_response.create(
        model="starter", messages=user(text), max_tokens=12, **more
    )
    return answer.headers["x-request-id"]


def found(client: OpenAI, words: str) -> int:
    listed: Any = client.get("/exchanges", cast_to=object, options={"params": {"q": words}})
    return len(listed["data"])


def everywhere(page: Page) -> None:
    for theme in ("light", "dark"):
        page.emulate_media(color_scheme=theme)
        for width in (360, 1440):
            page.set_viewport_size({"width": width, "height": 900})
            fits(page)
            accessible(page)


def test_an_exchange_is_found_kept_in_a_view_and_its_page_fits(page: Page, home: str, client: OpenAI) -> None:
    ids = [ask(client, f"Where is my xylophone number {number}?") for number in range(3)]
    wait_until(lambda: found(client, "xylophone") == 3, "they are read")
    page.goto(f"{home}/exchanges")
    page.get_by_label("Words").fill('"number 1"')
    page.get_by_role("button", name="Show", exact=True).click()
    expect(page.get_by_role("row")).to_have_count(2)
    expect(page.get_by_role("row").last).to_contain_text("Where is my xylophone number 1?")
    page.get_by_text("Saved views").click()
    page.get_by_label("Name of a view").fill("first xylophone")
    page.get_by_role("button", name="Save view").click()
    expect(page.get_by_role("status").first).to_contain_text("is saved")
    page.get_by_role("link", name=re.compile("Words")).click()
    expect(page.get_by_role("row").nth(2)).to_be_visible()
    page.get_by_text("Saved views").click()
    page.get_by_role("link", name="first xylophone").click()
    expect(page.get_by_role("row")).to_have_count(2)
    page.get_by_role("row").last.get_by_role("link").first.click()
    expect(page.get_by_role("heading", name="What was said")).to_be_visible()
    assert ids[1] in page.url
    everywhere(page)


def test_a_kept_answer_is_told_from_one_that_was_asked_for(
    page: Page, home: str, client: OpenAI, admin: Client
) -> None:
    route = {"name": "kept", "targets": [{"model": "starter"}], "cache": {"ttl_seconds": 3600}}
    admin.post("/routes", json=route).raise_for_status()
    asked: dict[str, Any] = {"model": "kept", "messages": user("Is it kept?"), "temperature": 0, "max_tokens": 12}
    ids = [client.chat.completions.with_raw_response.create(**asked).headers["x-request-id"] for _ in range(2)]
    client.get(f"/exchanges/{ids[1]}", cast_to=object)  # waits until it is in the log
    page.goto(f"{home}/exchanges?model=kept")
    expect(page.get_by_role("row")).to_have_count(3)
    expect(page.get_by_role("row").nth(1)).to_contain_text("from the cache")
    expect(page.get_by_role("row").nth(2)).not_to_contain_text("from the cache")
    everywhere(page)
    page.goto(f"{home}/exchanges?cache_hit=true&model=kept")
    expect(page.get_by_role("row")).to_have_count(2)
    page.get_by_role("row").last.get_by_role("link").first.click()
    expect(page.get_by_text("from the cache")).to_be_visible()
    assert ids[1] in page.url
    everywhere(page)


def test_new_calls_are_told_while_one_looks(page: Page, home: str, client: OpenAI) -> None:
    ask(client, "before")
    page.goto(f"{home}/exchanges?model=starter")
    ask(client, "while somebody looks")
    page.get_by_role("link", name=re.compile(r"^\d+\+? new$")).click()
    expect(page.get_by_role("row").nth(1)).to_contain_text("starter")


def test_an_answer_is_corrected_replayed_learnt_and_erased(page: Page, home: str, client: OpenAI) -> None:
    id = ask(client, "Where is my yoghurt?")
    client.get(f"/exchanges/{id}", cast_to=object)  # waits until it is in the log
    page.goto(f"{home}/exchanges/{id}")
    page.get_by_role("button", name="Bad answer").click()
    expect(page.get_by_role("region", name="Judgments")).to_contain_text("failed")
    page.get_by_text("Correct or comment").click()
    page.get_by_label("The answer as it should have been").fill("In the fridge.")
    page.get_by_role("button", name="Say so").click()
    expect(page.get_by_role("region", name="Judgments")).to_contain_text("correction")
    page.get_by_role("button", name="Add to training examples").click()
    expect(page.get_by_role("status").first).to_contain_text("training example")
    page.get_by_label("Model").select_option("echo")
    page.get_by_role("button", name="Replay").click()
    expect(page.get_by_role("heading", name="What changed")).to_be_visible()
    accessible(page)
    page.get_by_role("link", name="Logged").click()
    page.get_by_role("button", name="Erase").click()
    page.get_by_role("dialog").get_by_role("button", name="Erase").click()
    expect(page.get_by_role("status").first).to_contain_text("erased")
    kept: Any = client.get(f"/exchanges/{id}", cast_to=object)
    assert kept["request"] is None
