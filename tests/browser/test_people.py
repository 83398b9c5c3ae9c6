"""Somebody is invited, comes in, has what is theirs, turns the authenticator on, and is removed."""

import re
import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect
from pyotp.totp import TOTP

from deploy.demo.stack import DemoStack, Key
from tests.browser.conftest import PASSWORD
from tests.browser.watching import watched

EMAIL = "grace@example.com"


@pytest.fixture
def newcomer(chrome: Browser, stack: DemoStack) -> Iterator[Page]:
    """A tab of a browser that nobody has signed in with."""
    context = chrome.new_context(base_url=stack.url, viewport={"width": 1440, "height": 900}, reduced_motion="reduce")
    page = context.new_page()
    with watched(page, stack.url):
        yield page
    context.close()


def invited(page: Page, project: str) -> str:
    """The link, of an owner's tab."""
    page.goto("/console/people")
    page.get_by_label("Email of whom you invite").fill(EMAIL)
    page.get_by_label("Project", exact=True).last.select_option(label=project)
    page.get_by_role("button", name="Make invitation").click()
    link = page.get_by_role("button", name="Copy link").get_attribute("data-copy")
    assert link
    return link


def accept(newcomer: Page, link: str) -> None:
    newcomer.goto(link)
    expect(newcomer.get_by_label("Invitation")).to_be_hidden()
    assert "token" not in newcomer.url
    newcomer.get_by_label("Name").fill("Grace Hopper")
    newcomer.get_by_label("Password", exact=True).fill(PASSWORD)
    newcomer.get_by_label("Password again").fill(PASSWORD)
    newcomer.get_by_role("button", name="Join").click()
    newcomer.wait_for_url("**/console/overview")


def switch_code_on(newcomer: Page) -> str:
    """The secret."""
    newcomer.goto("/console/account")
    newcomer.get_by_label("Password", exact=True).fill(PASSWORD)
    newcomer.get_by_role("button", name="Set it up").click()
    expect(newcomer.get_by_role("img", name="QR code of the secret")).to_be_visible()
    secret = newcomer.get_by_role("button", name="Copy secret").get_attribute("data-copy")
    assert secret
    newcomer.get_by_role("textbox", name="Code").fill(TOTP(secret).now())
    newcomer.get_by_role("button", name="Switch on").click()
    expect(newcomer.get_by_role("listitem").filter(has_text=re.compile("^[a-z2-9]{5}-[a-z2-9]{5}$"))).to_have_count(10)
    expect(newcomer.get_by_role("button", name="Print")).to_be_visible()
    return secret


def sign_in_with_code(newcomer: Page, secret: str) -> None:
    newcomer.get_by_role("button", name="Sign out").click()
    newcomer.get_by_label("Email").fill(EMAIL)
    newcomer.get_by_label("Password").fill(PASSWORD)
    newcomer.get_by_role("button", name="Sign in").click()
    code = TOTP(secret).at(time.time(), counter_offset=1)  # that of this moment was used to switch it on
    newcomer.get_by_role("textbox", name="Code").fill(code)
    newcomer.get_by_role("button", name="Sign in").click()
    newcomer.wait_for_url("**/console/overview")


def test_somebody_comes_and_goes(page: Page, newcomer: Page, home: str, key: Key) -> None:
    accept(newcomer, invited(page, "shop"))
    newcomer.goto(f"{home}/chat")
    expect(newcomer.get_by_role("heading", level=1)).to_have_text("Chat")
    for url in (f"{home}/keys", "/console/people", "/console/webhooks", "/console/admin-keys", f"{home}/people"):
        newcomer.goto(url)
        forms = newcomer.locator('main form[method="post"]')
        expect(forms).to_have_count(0)
    sign_in_with_code(newcomer, switch_code_on(newcomer))
    page.goto("/console/people")
    page.get_by_role("link", name="Grace Hopper").click()
    page.get_by_role("button", name="Remove").click()
    page.get_by_role("dialog").get_by_role("button", name="Remove").click()
    expect(page.get_by_role("status").first).to_contain_text("removed")
    newcomer.goto("/console/account")
    expect(newcomer.get_by_role("heading", level=1)).to_have_text("Sign in")
