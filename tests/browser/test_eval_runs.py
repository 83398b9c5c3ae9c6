"""A run of an eval read in the browser, down to one answer; two runs compared, and what got worse opened."""

import os
import re
from pathlib import Path
from typing import Any

from openai import OpenAI
from playwright.sync_api import Page, expect

from tests.browser.watching import accessible, fits
from tests.openai_sdk.stacks import wait_until

SCREENSHOTS = os.environ.get("TUNEWAY_SCREENSHOTS")
CONFIG: Any = {
    "type": "custom",
    "item_schema": {"type": "object", "properties": {"question": {"type": "string"}}, "required": ["question"]},
    "include_sample_schema": True,
}
SAME: Any = {
    "type": "text_similarity", "name": "like the answer of support", "input": "{{ sample.output_text }}",
    "reference": "{{ item.answer }}", "evaluation_metric": "rouge_l", "pass_threshold": 0.5,
}  # fmt: skip
JUDGE: Any = {
    "type": "score_model", "name": "helpful", "model": "echo", "range": [1, 7], "pass_threshold": 2,
    "input": [{"role": "user", "content": "Score: {{ item.score }}"}],
}  # fmt: skip
RIGHT = "A parcel that was never delivered is paid back within five working days, to the card that it was paid with."
VAGUE = "Please have a look at our terms, where everything is explained in detail."
ITEMS = 14


def items() -> list[dict[str, Any]]:
    """The base is right about the first three and the last; the tuned model about all but the second."""
    return [
        {
            "question": f"Order {1000 + number} never arrived. What now?", "answer": RIGHT, "score": "6",
            "base": RIGHT if number < 3 or number == ITEMS - 1 else VAGUE, "tuned": VAGUE if number == 1 else RIGHT,
        }
        for number in range(ITEMS)
    ]  # fmt: skip


def ran(client: OpenAI, eval_id: str, field: str) -> Any:
    """The model `echo` says what the item has in that field."""
    asked: Any = {
        "type": "completions",
        "model": "echo",
        "input_messages": {"type": "template", "template": [{"role": "user", "content": f"{{{{ item.{field} }}}}"}]},
        "source": {"type": "file_content", "content": [{"item": each} for each in items()]},
    }
    run = client.evals.runs.create(eval_id, name=f"{field} prompt", data_source=asked)
    wait_until(lambda: client.evals.runs.retrieve(run.id, eval_id=eval_id).status == "completed", f"{field} is done")
    return client.evals.runs.retrieve(run.id, eval_id=eval_id)


def looked_at(page: Page, name: str) -> None:
    """As tests/browser/test_every_page.py looks at pages that have no ids in their URL."""
    for theme in ("light", "dark"):
        page.emulate_media(color_scheme=theme)
        for width in (360, 1440):
            page.set_viewport_size({"width": width, "height": 900})
            fits(page)
            accessible(page)
            if SCREENSHOTS:
                page.screenshot(path=Path(SCREENSHOTS) / f"{name}-{width}-{theme}.png", full_page=True)


def test_a_run_and_a_comparison(page: Page, home: str, client: OpenAI) -> None:
    suite = client.evals.create(
        name="Refunds, as support answers", data_source_config=CONFIG, testing_criteria=[SAME, JUDGE]
    )
    base, tuned = ran(client, suite.id, "base"), ran(client, suite.id, "tuned")
    page.goto(tuned.report_url)
    expect(page.get_by_role("heading", level=1)).to_contain_text("echo")
    expect(page.get_by_text("ready to deploy", exact=True)).to_be_visible()
    looked_at(page, "run")
    page.get_by_role("link", name="Failed", exact=True).click()
    page.get_by_role("region", name="Answers").get_by_role("link", name="2", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Item 2")
    expect(page.get_by_role("link", name="The judge\u2019s exchange")).to_be_visible()
    looked_at(page, "run-item")
    page.get_by_role("link", name="the run of echo").click()
    page.get_by_label("Compare with the baseline").select_option(value=base.id)
    page.get_by_role("button", name="Compare", exact=True).click()
    expect(page.get_by_text("Better than the baseline.")).to_be_visible()
    looked_at(page, "comparison")
    page.get_by_role("link", name=re.compile(r"^Got worse \(1\)")).click()
    [changed] = page.get_by_role("article").all()
    expect(changed).to_contain_text("Item 2")
    changed.get_by_role("link", name="Verdicts").last.click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Item 2")
    page.goto(f"{home}/evals/{suite.id}/compare")
    looked_at(page, "comparison-choice")


def under_way(client: OpenAI, eval_id: str) -> Any:
    """A run that waits, since its model refuses each call for now."""
    asked: Any = {
        "type": "completions",
        "model": "status-429",
        "input_messages": {"type": "template", "template": [{"role": "user", "content": "{{ item.base }}"}]},
        "source": {"type": "file_content", "content": [{"item": each} for each in items()]},
    }
    return client.evals.runs.create(eval_id, name="slow", data_source=asked)


def moved_under_the_focus(page: Page, progress: str) -> None:
    """What changes is replaced, the button that has the focus is not."""
    button = page.get_by_role("main").get_by_role("button", name="Cancel the run")
    button.focus()
    page.locator(progress).evaluate("each => each.setAttribute('data-before', '')")
    expect(page.locator(f"{progress}[data-before]")).to_have_count(0)
    expect(button).to_be_focused()


def canceled_after_thought(page: Page) -> None:
    """The answer "Back", then "Cancel the run" after what is asked for meanwhile took the form away."""
    button = page.get_by_role("main").get_by_role("button", name="Cancel the run")
    button.click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("button")).to_have_text(["Back", "Cancel the run"])
    dialog.get_by_role("button", name="Back").click()
    expect(button).to_be_focused()
    button.click()
    page.locator("main form[data-confirm]", has_text="Cancel the run").evaluate("each => each.remove()")
    dialog.get_by_role("button", name="Cancel the run").click()
    expect(page.get_by_text("The run ends; what was answered stays.")).to_be_visible()


def test_a_run_under_way_is_canceled_by_keyboard_and_after_thought(page: Page, home: str, client: OpenAI) -> None:
    suite = client.evals.create(name="Canceled", data_source_config=CONFIG, testing_criteria=[SAME])
    page.goto(under_way(client, suite.id).report_url)
    moved_under_the_focus(page, "#run-live > p:first-child")
    canceled_after_thought(page)
    under_way(client, suite.id)
    page.goto(f"{home}/evals/{suite.id}")
    moved_under_the_focus(page, "#under-way .progress")
    canceled_after_thought(page)


def test_the_name_of_its_model_is_copied_where_pages_have_no_clipboard(page: Page, home: str) -> None:
    """As those of http:// have, but for localhost."""
    page.add_init_script("Object.defineProperty(navigator, 'clipboard', { value: undefined })")
    page.goto(f"{home}/models/view?model=echo")
    page.evaluate("document.addEventListener('copy', () => { window.said = document.activeElement.value; })")
    button = page.get_by_role("button", name="Copy the name")
    button.evaluate("each => { each.click(); each.click(); }")
    copied = page.get_by_role("button", name="Copied", exact=True)
    expect(copied).to_be_visible()
    copied.click()
    expect(button).to_be_visible()
    assert page.evaluate("window.said") == "echo"
    page.evaluate("document.execCommand = () => false")
    button.click()
    expect(page.get_by_role("button", name="Not copied")).to_be_visible()
    expect(page.locator("#announce")).to_contain_text("select the text")
