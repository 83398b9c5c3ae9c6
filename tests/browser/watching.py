"""What no page may do."""

from collections.abc import Iterator
from contextlib import contextmanager

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import ConsoleMessage, Page, Request

SERIOUS = ("serious", "critical")


@contextmanager
def watched(page: Page, origin: str) -> Iterator[list[str]]:
    """At the end: no error in the console, no exception of a script, nothing asked of another origin.

    What a test expects to go wrong it takes out of the list.
    """
    wrong: list[str] = []

    def said(message: ConsoleMessage) -> None:
        if message.type == "error":
            wrong.append(f"console: {message.text} ({message.location.get('url')})")

    def asked(request: Request) -> None:
        if not request.url.startswith((f"{origin}/", "data:", "blob:")):
            wrong.append(f"request: {request.url}")

    page.on("console", said)
    page.on("pageerror", lambda error: wrong.append(f"exception: {error}"))
    page.on("request", asked)
    yield wrong
    assert wrong == []


def accessible(page: Page) -> None:
    """axe-core finds nothing serious."""
    found = Axe().run(page).response["violations"]
    serious = [each for each in found if each["impact"] in SERIOUS]
    told = [f"{each['id']}: {each['help']}: {[node['html'] for node in each['nodes']][:3]}" for each in serious]
    assert told == []


def fits(page: Page) -> None:
    """Nothing makes the page wider than the window."""
    wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wide <= 0, f"the page is {wide} px too wide"
