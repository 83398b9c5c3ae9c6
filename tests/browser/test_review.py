"""Answers are reviewed by keyboard alone; two people at once; a pair."""

import os
import re
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from openai import OpenAI
from playwright.sync_api import Browser, BrowserContext, Page, expect

from deploy.demo.stack import DemoStack, Key
from tests.browser.conftest import PASSWORD
from tests.browser.watching import accessible, fits, watched
from tests.openai_sdk.stacks import wait_until

SCREENSHOTS = os.environ.get("TUNEWAY_SCREENSHOTS")
ANSWERS = 22
LONG = "A parcel that was never delivered is paid back within five working days, to the card that it was paid with. "
HEADING = "#item-heading"


def answer_all(client: OpenAI, batch: str, questions: list[str]) -> list[str]:
    """The ids of the exchanges."""
    asked = [messages(text) for text in questions]
    create = client.chat.completions.with_raw_response.create
    return [create(model="echo", messages=each, metadata={"batch": batch}).headers["x-request-id"] for each in asked]


def messages(text: str) -> Any:
    return [{"role": "system", "content": "You help."}, {"role": "user", "content": text}]


@contextmanager
def api(stack: DemoStack, key: Key) -> Generator[httpx.Client]:
    headers = {"authorization": f"Bearer {key.value}"}
    with httpx.Client(base_url=f"{stack.url}/v1", headers=headers, timeout=30) as client:
        yield client


def make(calls: httpx.Client, batch: str, answers: int, **body: Any) -> dict[str, Any]:
    """A queue of a batch, once all its answers are in the log."""
    filters = {"metadata[batch]": batch}
    wait_until(
        lambda: len(calls.get("/exchanges", params=filters | {"limit": 100}).json()["data"]) == answers, "logged"
    )
    body["source"] = {"metadata": {"batch": batch}, **body.get("source", {})}
    answer = calls.post("/review_queues", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def judgments(calls: httpx.Client, queue: dict[str, Any]) -> list[dict[str, Any]]:
    """Those in force that were made in this queue."""
    found = calls.get("/judgments", params={"limit": 100, "source": "human"}).json()["data"]
    return [each for each in found if each["identifier"] == queue["id"]]


def press(page: Page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def on_item(page: Page, number: int) -> None:
    """It is on the screen, and screen readers stand at its heading."""
    heading = page.locator(HEADING)
    expect(heading).to_have_text(re.compile(rf"^Item {number}\b"))
    expect(heading).to_be_focused()


def looked_at(page: Page, name: str) -> None:
    """At both widths, in both themes."""
    for theme in ("light", "dark"):
        page.emulate_media(color_scheme=theme)
        for width in (360, 1440):
            page.set_viewport_size({"width": width, "height": 900})
            fits(page)
            accessible(page)
            if SCREENSHOTS:
                page.screenshot(path=Path(SCREENSHOTS) / f"review-{name}-{width}-{theme}.png", full_page=True)
    page.emulate_media(color_scheme="light")


def test_twenty_answers_by_keyboard_alone(page: Page, home: str, stack: DemoStack, key: Key, client: OpenAI) -> None:
    questions = [f"Where is parcel {n}? {LONG * 2}" for n in range(ANSWERS)]
    ids = answer_all(client, "keyboard", questions)
    with api(stack, key) as calls:
        words = [{"exchange_id": id, "criterion": "helpful", "value": 2, "rationale": "It only repeats."} for id in ids]
        assert calls.post("/judgments", json={"judgments": words}).status_code == 200
        queue = make(calls, "keyboard", ANSWERS, name="Parcels", source={"limit": 21})
        page.goto(f"{home}/review/{queue['id']}")
        expect(page.get_by_role("button", name="Start")).to_be_focused()
        press(page, "Enter")
        on_item(page, 1)
        expect(page.get_by_text("It only repeats.")).to_have_count(0)
        press(page, "?")
        expect(page.get_by_role("dialog")).to_be_visible()
        press(page, "2", "Escape")
        expect(page.get_by_role("radio", name="Thumbs down")).not_to_be_checked()

        press(page, "1", "Enter")  # 1: thumbs up
        on_item(page, 2)
        expect(page.get_by_text("It only repeats.")).to_be_visible()  # said by a judge of item 1
        press(page, "2", "c")  # 2: with a comment and an edit, whose words are keys elsewhere
        page.keyboard.type("such a 1 u s")
        press(page, "Escape", "e", "Control+Home")
        page.keyboard.type("Soon. ")
        expect(page.locator("[data-diff] ins")).to_have_text("Soon. ")
        looked_at(page, "item")
        press(page, "Control+Enter")
        on_item(page, 3)
        press(page, "s")  # 3: skipped
        on_item(page, 4)
        press(page, "2")
        expect(page.get_by_text("2 by you, 1 skipped by you")).to_be_visible()
        page.reload()  # 4: the place is kept, and what was chosen
        expect(page.locator(HEADING)).to_have_text("Item 4")
        expect(page.get_by_role("radio", name="Thumbs down")).to_be_checked()
        press(page, "Enter")
        on_item(page, 5)
        press(page, "u")  # 4 is taken back
        on_item(page, 4)
        press(page, "1", "Enter")
        for number in range(5, 22):
            on_item(page, number)
            press(page, "1", "Enter")
        expect(page.locator(HEADING)).to_have_text("Nothing left for you right now")
        expect(page.get_by_text("20 of 21 done, 20 by you, 1 skipped by you")).to_be_visible()
        looked_at(page, "end")

        said = judgments(calls, queue)
        assert sorted(each["value"] for each in said if each["criterion"] == "thumbs") == [False] + [True] * 19
        assert [each["rationale"] for each in said if each["criterion"] == "comment"] == ["such a 1 u s"]
        [edit] = [each for each in said if each["criterion"] == "correction"]
        assert edit["edited_message"]["content"].startswith("Soon. Where is parcel")
        assert {each["annotator_id"][:5] for each in said} == {"user-"}


def test_two_people_never_have_the_same_item(
    page: Page, home: str, stack: DemoStack, key: Key, client: OpenAI, admin: httpx.Client, chrome: Browser
) -> None:
    answer_all(client, "two", [f"Is shop {n} open?" for n in range(6)])
    person = {"email": "grace@example.com", "name": "Grace", "password": PASSWORD, "role": "reader"}
    made = admin.post("/organization/users", json=person).json()
    member = {"user_id": made["id"], "role": "member"}
    admin.post(f"/organization/projects/{key.project_id}/users", json=member).raise_for_status()
    with api(stack, key) as calls:
        queue = make(calls, "two", 6, name="Shops", criteria=["helpful", "thumbs"])
    url = f"{home}/review/{queue['id']}"
    context = chrome.new_context(base_url=stack.url)
    other = context.new_page()
    with watched(other, stack.url):
        other.goto("/console")
        other.get_by_label("Email").fill("grace@example.com")
        other.get_by_label("Password").fill(PASSWORD)
        other.get_by_role("button", name="Sign in").click()
        other.wait_for_url(re.compile(r"/console/(overview|projects)"))
        seen: list[str] = []
        for tab in (page, other):
            tab.goto(url)
            press(tab, "Enter")
            expect(tab.locator(HEADING)).to_have_text(re.compile(r"^Item \d"))
        for tab in (page, other, page, other, other, page):
            seen.append(tab.locator("[data-answer]").inner_text())
            before = tab.locator("[data-item]").get_attribute("data-item")
            press(tab, "4", "2", "Enter")  # helpful: 4, thumbs: down
            expect(tab.locator(f'[data-item="{before}"]')).to_have_count(0)
            if len(set(seen)) == 6:
                break
            tab.locator("[data-item], [data-nothing]").wait_for()
        assert len(set(seen)) == len(seen)
    context.close()


def test_a_pair_is_voted_on_blind(page: Page, home: str, stack: DemoStack, key: Key, client: OpenAI) -> None:
    question = f"Which shop delivers on Sunday? {LONG}"
    answer_all(client, "pair", [question])
    asked = client.chat.completions.create(
        model="unicode", messages=messages(question), metadata={"batch": "pair"}, stream=True
    )
    assert list(asked)
    with api(stack, key) as calls:
        queue = make(calls, "pair", 2, name="Sundays", kind="pairwise")
        page.goto(f"{home}/review/{queue['id']}")
        press(page, "Enter")
        on_item(page, 1)
        assert "unicode" not in page.locator(".review").inner_text()
        first = page.locator("[data-answer]").first.inner_text()
        press(page, "d")
        expect(page.locator("[data-answer] del, [data-answer] ins").first).to_be_visible()
        looked_at(page, "pair")
        press(page, "d", "ArrowRight", "ArrowLeft")
        expect(page.get_by_role("radio", name="Answer 1 is better")).to_be_checked()
        press(page, "Enter")
        expect(page.locator(HEADING)).to_have_text("All done")
        told = page.get_by_role("region", name="The last item")
        expect(told).to_contain_text("preference: answer 1")
        expect(told).to_contain_text("unicode")
        looked_at(page, "told")
        [word] = judgments(calls, queue)
        preferred = word["exchange_id"] if word["preference"] == "a" else word["other_exchange_id"]
        reply = calls.get(f"/exchanges/{preferred}").json()["reply"]["choices"][0]["message"]["content"]
        assert reply.strip() == first.strip()
        assert word["blind"] is True


def test_what_did_not_arrive_is_on_the_screen_again(
    signed_in: BrowserContext, home: str, stack: DemoStack, key: Key, client: OpenAI
) -> None:
    answer_all(client, "away", ["Is it open?", "Is it closed?"])
    page = signed_in.new_page()
    with api(stack, key) as calls, watched(page, stack.url) as wrong:
        queue = make(calls, "away", 2, name="Away")
        page.goto(f"{home}/review/{queue['id']}")
        press(page, "Enter")
        on_item(page, 1)
        page.route("**/items/*", lambda route: route.abort())
        press(page, "c")
        page.keyboard.type("Kept in mind.")
        press(page, "Escape", "2", "Enter")
        expect(page.get_by_role("alert")).to_contain_text("cannot be reached")
        expect(page.locator(HEADING)).to_have_text("Item 1")
        expect(page.get_by_label("Comment")).to_have_value("Kept in mind.")
        page.unroute("**/items/*")
        assert wrong, "the browser says that the call failed"
        wrong.clear()
        press(page, "Enter")
        on_item(page, 2)
        wait_until(lambda: len(judgments(calls, queue)) == 2, "both were written")
    page.close()
