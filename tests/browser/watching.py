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


WIDE = """() => {
    const limit = document.documentElement.clientWidth;
    const clips = (each) => each !== document.body && (getComputedStyle(each).overflowX !== "visible" || clips(each.parentElement));
    const right = (each) => Math.round(each.getBoundingClientRect().right);
    const beyond = [...document.querySelectorAll("body *")].filter((each) => right(each) > limit && !clips(each.parentElement));
    return [document.documentElement.scrollWidth - limit, beyond.slice(0, 8).map((each) => `${right(each)}: ${each.outerHTML.slice(0, 120)}`)];
}"""
"""How much wider the page is than the window, and what reaches beyond it (its right edge and its beginning)."""


def fits(page: Page) -> None:
    """Nothing makes the page wider than the window."""
    wide, beyond = page.evaluate(WIDE)
    assert wide <= 0, f"the page is {wide} px too wide: {beyond}"
