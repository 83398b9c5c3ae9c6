"""Rules are chosen, filled in, tried on an answer and made a judge, without JSON."""

from openai import OpenAI
from playwright.sync_api import Page, expect

from tests.browser.watching import accessible


def test_rules_are_tried_before_they_judge(page: Page, home: str, client: OpenAI) -> None:
    page.goto(f"{home}/judges/new?type=rule")
    page.get_by_label("Name").fill("brief-answers")
    page.get_by_label("First rule").select_option("Has a length")
    page.get_by_role("button", name="Add").click()
    length = page.get_by_role("group", name="1. Has a length")
    length.get_by_label("Counted in").select_option("words")
    length.get_by_label("At most").fill("3")
    page.get_by_label("Another rule").select_option("Is JSON")
    page.get_by_role("button", name="Add").click()
    expect(page.get_by_role("group", name="2. Is JSON")).to_be_focused()
    page.get_by_text("Try them on an answer").click()
    page.get_by_label("Answer optional", exact=True).fill("One two three four")
    page.get_by_role("button", name="Try them").click()
    expect(page.get_by_role("heading", name="The answer does not pass")).to_be_focused()
    verdicts = page.get_by_role("region", name="What each rule says")
    expect(verdicts).to_contain_text("The answer has 4 words.")
    accessible(page)
    page.get_by_role("button", name="Remove rule 2").click()
    expect(page.get_by_role("group", name="2. Is JSON")).to_have_count(0)
    expect(page.get_by_role("heading", name="Rules", exact=True)).to_be_focused()
    length.get_by_label("At most").fill("4")
    page.get_by_role("button", name="Try them").click()
    expect(page.get_by_role("heading", name="The answer passes")).to_be_visible()
    page.get_by_label("It judges traffic by itself").uncheck()
    length.get_by_label("At most").press("Enter")
    expect(page.get_by_role("heading", name="brief-answers", level=1)).to_be_visible()
