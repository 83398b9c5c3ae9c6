"""Chat: an answer that streams, is stopped, judged and asked again; JSON and tools."""

import json
from typing import Any

from openai import OpenAI
from playwright.sync_api import BrowserContext, Locator, Page, expect

from deploy.demo.stack import DemoStack
from tests.browser.watching import accessible, watched
from tests.fakes.upstream import Upstream
from tests.openai_sdk.stacks import ended, examples, start_job


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
    page.get_by_role("button", name="Try what it can do").click()
    expect(page.locator("[data-badges]")).to_contain_text("Tools: works")
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


def test_a_refusal_is_told_in_the_words_of_the_api(signed_in: BrowserContext, stack: DemoStack, home: str) -> None:
    page = signed_in.new_page()
    with watched(page, stack.url) as wrong:
        opened(page, home, "status-429")
        send(page, "hello")
        expect(answers(page).get_by_role("alert")).to_contain_text("429")
        expect(answers(page).get_by_role("link", name="Exchange")).to_be_visible()
        [failed] = wrong
        assert "/v1/chat/completions" in failed
        wrong.clear()
    page.close()


def test_one_click_leads_from_a_tuned_model_to_its_base_and_one_asks_both(
    page: Page, home: str, client: OpenAI
) -> None:
    job = ended(client, start_job(client, examples(16), suffix="chat").id)
    assert job.fine_tuned_model
    opened(page, home, job.fine_tuned_model)
    page.get_by_role("button", name="Switch to its base starter").click()
    expect(page.get_by_label("Model or route")).to_have_value("starter")
    page.get_by_role("button", name=f"Switch to the tuned {job.fine_tuned_model}").click()
    page.get_by_label("Most tokens").fill("12")
    page.get_by_label("Ask both").check()
    send(page, "Where is my order?")
    expect(answers(page).get_by_role("link", name="Exchange")).to_have_count(2)
    page.get_by_role("button", name="Go on with this one").click()
    expect(answers(page).last).to_contain_text("starter \u00b7 the conversation goes on with this")
    page.get_by_label("Ask both").uncheck()
    send(page, "And the other one?")
    expect(page.get_by_role("button", name="Ask starter, too")).to_be_visible()
