"""Every page, at 360 and at 1440 px, light and dark: accessible, no error, nothing of another origin.

TUNEWAY_SCREENSHOTS=directory keeps a picture of each.
"""

import os
from pathlib import Path

import pytest
from playwright.sync_api import Page

from tests.browser.watching import accessible, fits

SCREENSHOTS = os.environ.get("TUNEWAY_SCREENSHOTS")
ORGANIZATION = [
    "overview",
    "overview?range=7d&group_by=model",
    "report",
    "projects",
    "budgets",
    "budgets/holders",
    "prices?history=all",
    "providers",
    "routes",
    "routes/new",
    "account",
    "people",
    "admin-keys",
    "webhooks",
    "audit-log",
    "audit-log?event_type=user.added&from=2026-01-01T10:00",
    "settings",
    "sign-in/refused?code=not_invited",
    "settings?changed=true",
]
PROJECT = [
    "",
    "report",
    "keys",
    "budgets",
    "limits",
    "retention",
    "exchanges",
    "exchanges?outcome=refused&from=2026-01-01T10:00&metadata=team%3Dsupport",
    "exchanges?cache_hit=true",
    "review",
    "chat",
    "compare",
    "fine-tuning",
    "fine-tuning/new",
    "fine-tuning/new?step=data&goal=x",
    "models",
    "models/view?model=starter",
    "models/compare",
    "timeline",
    "datasets",
    "datasets/new",
    "datasets/import",
    "examples",
    "judges",
    "judges/new",
    "judges/new?type=rule",
    "guidance",
    "guidance?model=starter&from=2026-01-01T10:00",
    "judges/new?type=rule&rule=regex&rule=json_schema&rule=personal_data&rule=language",
    "evals",
    "evals/new",
    "people",
]
PAGES = [f"/console/{each}" for each in ORGANIZATION] + [f"{{home}}/{each}".rstrip("/") for each in PROJECT]


@pytest.mark.parametrize("url", PAGES)
def test_every_page(page: Page, home: str, url: str) -> None:
    answer = page.goto(url.format(home=home))
    assert answer is not None
    assert answer.status == 200
    for theme in ("light", "dark"):
        page.emulate_media(color_scheme=theme)
        for width in (360, 1440):
            page.set_viewport_size({"width": width, "height": 900})
            fits(page)
            accessible(page)
            keep(page, url, theme, width)


def keep(page: Page, url: str, theme: str, width: int) -> None:
    if SCREENSHOTS:
        name = url.replace("{home}", "project").replace("/console/", "").replace("/", "-")
        page.screenshot(path=Path(SCREENSHOTS) / f"{name}-{width}-{theme}.png", full_page=True)
