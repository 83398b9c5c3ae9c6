"""A real Chromium on a real stack: `tuneway serve`, an owner who has signed in, a project with a key.

Without a browser these tests are skipped, unless TUNEWAY_REQUIRE_BROWSER=1 says that they must run: Debian's `chromium`, or
the path of another in TUNEWAY_CHROMIUM.
"""

import importlib.util
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from openai import OpenAI
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from deploy.demo.stack import DemoStack, Key, running
from tests.browser.product import running_product
from tests.browser.watching import watched
from tests.fakes.upstream import Upstream, running_upstream
from tests.openai_sdk.stacks import CONFIG, connect

REQUIRED = os.environ.get("TUNEWAY_REQUIRE_BROWSER") == "1"
ENABLE = "apt install chromium (or TUNEWAY_CHROMIUM=/path/to/chrome) enables it"
PATIENCE = 60_000
"""Milliseconds that anything may take: a busy machine is no failure."""
EMAIL, PASSWORD = "ada@example.com", "correct horse battery"
MODELS = '"unicode", "assistant", "gated"]'
"""Of the provider, beside those of the other suites."""
FEEDBACK = """
[feedback]
origins = ["{origin}"]
"""


def chromium() -> str:
    """Its path; skips, or fails where it is required."""
    found = os.environ.get("TUNEWAY_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if found is None:
        (pytest.fail if REQUIRED else pytest.skip)(f"There is no Chromium: {ENABLE}.")
    return found or ""


@pytest.fixture(scope="package")
def chrome() -> Iterator[Browser]:
    path = chromium()
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture(scope="package")
def provider() -> Iterator[Upstream]:
    with running_upstream() as upstream:
        yield upstream


@pytest.fixture(scope="package")
def product() -> Iterator[str]:
    """The origin of a web page that may give feedback."""
    with running_product() as origin:
        yield origin


@pytest.fixture(scope="package")
def stack(provider: Upstream, product: str) -> Iterator[DemoStack]:
    chromium()
    if importlib.util.find_spec("torch") is None:
        pytest.skip("the embedded engine needs torch: pip install 'tuneway[train]'")
    config = CONFIG.replace('"unicode"]', MODELS).format(url=provider.url) + FEEDBACK.format(origin=product)
    with (
        tempfile.TemporaryDirectory(prefix="tuneway-browser-") as directory,
        running(DemoStack(Path(directory), config=config)) as stack,
    ):
        yield stack


@pytest.fixture(scope="package")
def admin(stack: DemoStack) -> Iterator[httpx.Client]:
    headers = {"authorization": f"Bearer {stack.admin_key}"}
    with httpx.Client(base_url=f"{stack.url}/v1", headers=headers, timeout=30) as client:
        yield client


@pytest.fixture(scope="package")
def key(stack: DemoStack) -> Key:
    """Of the project `shop`."""
    return stack.make_key("shop", "web")


@pytest.fixture(scope="package")
def client(stack: DemoStack, key: Key) -> Iterator[OpenAI]:
    with connect(stack, key.value) as client:
        yield client


@pytest.fixture(scope="package")
def signed_in(stack: DemoStack, admin: httpx.Client, chrome: Browser) -> Iterator[BrowserContext]:
    """The browser of an owner of the organisation, signed in through the form."""
    person = {"email": EMAIL, "name": "Ada Lovelace", "password": PASSWORD, "role": "owner"}
    admin.post("/organization/users", json=person).raise_for_status()
    context = chrome.new_context(base_url=stack.url, viewport={"width": 1440, "height": 900}, reduced_motion="reduce")
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    page.goto("/console")
    page.get_by_label("Email").fill(EMAIL)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/console/overview")
    page.close()
    yield context
    context.close()


@pytest.fixture
def page(signed_in: BrowserContext, stack: DemoStack) -> Iterator[Page]:
    """A tab; whatever its console says in red, and each call of another origin, fails the test."""
    page = signed_in.new_page()
    with watched(page, stack.url):
        yield page
    page.close()


@pytest.fixture
def home(key: Key) -> str:
    """The URL of the project."""
    return f"/console/projects/{key.project_id}"
