"""The menu of a narrow window, by keyboard."""

from playwright.sync_api import Page, expect


def test_the_menu_takes_the_focus_and_gives_it_back(page: Page, home: str) -> None:
    page.set_viewport_size({"width": 360, "height": 700})
    page.goto(home)
    button, first = page.get_by_role("button", name="Menu"), page.locator("#menu a").first
    expect(first).to_be_hidden()
    button.focus()
    page.keyboard.press("Enter")
    expect(first).to_be_focused()
    expect(button).to_have_attribute("aria-expanded", "true")
    page.keyboard.press("Escape")
    expect(first).to_be_hidden()
    expect(button).to_be_focused()
