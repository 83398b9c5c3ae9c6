"""A key is made in the browser and used with the SDK."""

import re

from openai import AuthenticationError, OpenAI
from playwright.sync_api import Page, expect

from deploy.demo.stack import DemoStack
from tests.openai_sdk.stacks import connect, user, wait_until


def call(client: OpenAI) -> str | None:
    reply = client.chat.completions.create(model="starter", messages=user("hello"), max_tokens=4)
    return reply.choices[0].message.content


def is_refused(client: OpenAI) -> bool:
    try:
        call(client)
    except AuthenticationError:
        return True
    return False


def test_a_key_is_made_used_and_revoked(page: Page, home: str, stack: DemoStack) -> None:
    page.goto(f"{home}/keys")
    page.get_by_label("Name").fill("browser")
    page.get_by_role("button", name="Make key").click()
    secret = page.get_by_role("button", name="Copy secret").get_attribute("data-copy")
    assert secret
    with connect(stack, secret, max_retries=0) as client:
        assert call(client) is not None
        page.get_by_role("link", name="All keys").click()
        row = page.get_by_role("row", name=re.compile("browser"))
        row.get_by_role("button", name="Revoke").click()
        page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
        expect(page.get_by_role("status").first).to_contain_text("revoked")
        expect(page.get_by_role("row", name=re.compile("browser"))).to_have_count(0)
        wait_until(lambda: is_refused(client), "the key is refused")
