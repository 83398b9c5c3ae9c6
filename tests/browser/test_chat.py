"""Chat: an answer that streams, is stopped, judged and asked again; JSON and tools."""

import json
from typing import Any

from openai import OpenAI
from playwright.sync_api import Locator, Page, expect

from tests.browser.watching import accessible
from tests.fakes.upstream import Upstream


def opened(page: Page, home: str, model: str) -> None:
    page.goto(f"{home}/chat?model={model}")
    page.get_by_role("button", name="New conversation").click()
    expect(page.get_by_label("Model or route")).to_have_value(model)


def send(page: Page, text: str) -> None:
    page.get_by_label("Message", exact=True).fill(text)
    page.keyboard.press("Enter")


def answers(page: Page) -> Locator:
    return page.locator(".message.assistant")


def figure(answer: Locator, name: str) -> Locator:
    return answer.locator("dl > div").filter(has_text=name).locator("dd")


def test_an_answer_has_its_figures_and_takes_feedback(page: Page, home: str, client: OpenAI) -> None:
    opened(page, home, "starter")
    page.get_by_label("Most tokens").fill("12")
    send(page, "Where is my order?")
    answer = answers(page)
    page.get_by_role("button", name="Good answer").click()
    expect(page.get_by_role("button", name="Good answer")).to_have_attribute("aria-pressed", "true")
    expect(figure(answer, "Cost")).to_contain_text("$0.0000")
    expect(figure(answer, "Tokens")).to_contain_text("out")
    accessible(page)
    spoken = page.get_by_role("log").inner_text().split()
    assert spoken == answer.locator(".answer-text").inner_text().split() != []
    exchange = answer.get_by_role("link", name="Exchange").get_attribute("href") or ""
    said: Any = client.get(f"/judgments?exchange={exchange.rpartition('/')[2]}", cast_to=object)
    assert [(each["criterion"], each["passed"]) for each in said["data"]] == [("thumbs", True)]


def test_a_stream_is_shown_while_it_comes_and_can_be_stopped(page: Page, home: str, provider: Upstream) -> None:
    opened(page, home, "gated")
    provider.release.clear()
    send(page, "Count.")
    expect(answers(page).locator(".answer-text")).to_have_text("one two")
    expect(answers(page)).to_have_attribute("aria-busy", "true")
    page.get_by_role("button", name="Stop").click()
    expect(answers(page)).to_contain_text("Stopped.")
    provider.release.set()
    page.reload()
    expect(answers(page)).to_contain_text("Stopped.")


def test_a_message_is_edited_and_the_conversation_goes_on_from_there(page: Page, home: str, provider: Upstream) -> None:
    opened(page, home, "echo")
    send(page, "first")
    expect(page.get_by_role("button", name="Regenerate")).to_be_visible()
    page.get_by_label("System prompt").fill("Be brief.")
    send(page, "second")
    expect(answers(page)).to_have_count(2)
    page.get_by_role("button", name="Edit").first.click()
    page.get_by_label("Your message").fill("another first")
    page.get_by_role("button", name="Send again").click()
    expect(answers(page)).to_have_count(1)
    expect(page.locator(".message.user")).to_have_text(["Youanother first"])
    expect(page.get_by_role("button", name="Regenerate")).to_be_visible()
    assert provider.requests[-1]["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "another first"},
    ]


def test_json_and_tools(page: Page, home: str, provider: Upstream) -> None:
    opened(page, home, "assistant")
    page.get_by_label("Answer in").select_option("json_schema")
    schema = page.get_by_label("JSON schema")
    schema.fill("{")
    send(page, "Where?")
    expect(page.get_by_role("region", name="Settings")).to_contain_text("This is not JSON")
    schema.fill(schema.get_attribute("placeholder") or "")
    send(page, "Where?")
    expect(answers(page).get_by_text("Valid JSON")).to_be_visible()
    page.get_by_label("Answer in").select_option("text")
    page.get_by_text("Tools", exact=True).click()
    page.get_by_role("button", name="Use the example").click()
    send(page, "How warm is it in Paris?")
    page.get_by_label("Result of get_weather").fill('{"degrees": 21}')
    page.get_by_role("button", name="Send results").click()
    expect(answers(page).last).to_contain_text("degrees")
    [called, result] = provider.requests[-1]["messages"][-2:]
    assert result == {
        "role": "tool",
        "tool_call_id": called["tool_calls"][0]["id"],
        "content": json.dumps({"degrees": 21}),
    }


def test_an_error_is_shown_where_the_answer_would_be(page: Page, home: str) -> None:
    opened(page, home, "error-midway")
    send(page, "hello")
    expect(answers(page).get_by_role("alert")).to_contain_text("it broke")
    expect(page.get_by_role("button", name="Try again")).to_be_visible()
