"""A web page of another origin gives feedback with a key that can do nothing else: the snippet of docs/feedback.md, run."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from openai import OpenAI
from playwright.sync_api import Browser, Error, Page

from deploy.demo.stack import DemoStack, Key
from tests.browser.product import running_product
from tests.openai_sdk.stacks import user

DOCUMENT = Path(__file__).parents[2] / "docs" / "feedback.md"
READS = ("models", "exchanges", "judgments", "judgments/summary", "criteria", "datasets", "files", "chat/completions")


def snippet() -> str:
    """What the page shows to whoever builds a product."""
    [found] = re.findall(r"^```js\n(.*?)^```", DOCUMENT.read_text(), re.DOTALL | re.MULTILINE)
    return found


def give(page: Page, gateway: str, **known: str) -> Any:
    """Run the snippet in a page that knows these constants; None when it went well."""
    names = "".join(f"const {name} = {json.dumps(value)};\n" for name, value in known.items())
    code = snippet().replace("https://gateway.example.com", gateway)
    assert gateway in code
    return page.evaluate(f"(async () => {{ {names} {code} }})()")


def asked(client: OpenAI) -> str:
    return client.chat.completions.create(model="starter", messages=user("hello"), max_tokens=4).id


@pytest.fixture(scope="module")
def page_key(admin: httpx.Client, key: Key) -> str:
    """A key that may give feedback, and nothing else."""
    wanted = {"name": "page", "scopes": ["api.feedback.write"]}
    answer = admin.post(f"/organization/projects/{key.project_id}/api_keys", json=wanted)
    return answer.raise_for_status().json()["value"]


@pytest.fixture
def web(chrome: Browser) -> Iterator[Page]:
    """A customer's browser, which has never heard of the gateway."""
    context = chrome.new_context()
    yield context.new_page()
    context.close()


def said(client: OpenAI, completion_id: str) -> list[tuple[str, bool]]:
    found: Any = client.get(f"/judgments?exchange={completion_id}", cast_to=object)
    return [(each["criterion"], each["passed"]) for each in found["data"]]


class TestFromAnotherOrigin:
    def test_the_documented_lines_give_thumbs(
        self, web: Page, product: str, stack: DemoStack, client: OpenAI, page_key: str
    ) -> None:
        completion_id = asked(client)
        web.goto(product)
        give(web, stack.url, PAGE_KEY=page_key, id=completion_id, userId="ann")
        assert said(client, completion_id) == [("thumbs", True)]

    def test_a_refusal_can_be_read_there(self, web: Page, product: str, stack: DemoStack, page_key: str) -> None:
        web.goto(product)
        with pytest.raises(Error, match="No exchange 'chatcmpl-none' in this project"):
            give(web, stack.url, PAGE_KEY=page_key, id="chatcmpl-none", userId="ann")
        with pytest.raises(Error, match="Incorrect API key provided"):
            give(web, stack.url, PAGE_KEY="sk-proj-made-up", id="chatcmpl-none", userId="ann")

    def test_the_browser_keeps_an_origin_out_that_is_not_in_the_settings(
        self, web: Page, product: str, stack: DemoStack, client: OpenAI, page_key: str
    ) -> None:
        completion_id = asked(client)
        with running_product() as elsewhere:
            web.goto(elsewhere)
            with pytest.raises(Error, match="Failed to fetch"):
                give(web, stack.url, PAGE_KEY=page_key, id=completion_id, userId="ann")
        web.goto(product)
        give(web, stack.url, PAGE_KEY=page_key, id=completion_id, userId="bob")
        assert said(client, completion_id) == [("thumbs", True)]


class TestThePagesKey:
    def test_reads_nothing(self, stack: DemoStack, client: OpenAI, page_key: str) -> None:
        completion_id = asked(client)
        urls = [*READS, f"exchanges/{completion_id}", f"chat/completions/{completion_id}/messages"]
        with httpx.Client(base_url=f"{stack.url}/v1", headers={"authorization": f"Bearer {page_key}"}) as http:
            assert {url: http.get(f"/{url}").status_code for url in urls} == dict.fromkeys(urls, 403)
            call = {"model": "starter", "messages": user("hello")}
            assert http.post("/chat/completions", json=call).status_code == 403

    def test_in_the_browser_no_other_url_is_for_pages(
        self, web: Page, product: str, stack: DemoStack, page_key: str
    ) -> None:
        web.goto(product)
        read = "([url, key]) => fetch(url, {headers: {authorization: `Bearer ${key}`}})"
        with pytest.raises(Error, match="Failed to fetch"):
            web.evaluate(read, [f"{stack.url}/v1/judgments", page_key])
