"""What the menu offers."""

from dataclasses import dataclass
from typing import Any

from litestar import Request


@dataclass(frozen=True, slots=True)
class Item:
    text: str
    url: str
    here: bool


@dataclass(frozen=True, slots=True)
class Section:
    title: str
    items: list[Item]


PROJECT = {
    "Traffic": {
        "Overview": "",
        "Exchanges": "exchanges",
        "Keys": "keys",
        "Budgets": "budgets",
        "Chat": "chat",
        "Compare": "compare",
    },
    "Quality": {
        "Review": "review",
        "Judges": "judges",
    },
    "Training": {
        "Datasets": "datasets",
        "Examples": "examples",
        "Fine-tuning": "fine-tuning",
        "Models": "models",
    },
    "Project": {
        "Members": "people",
    },
}
"""Title -> text -> the end of the URL, of pages of a project."""
ORGANIZATION = {
    "Overview": "overview",
    "Projects": "projects",
    "Budgets": "budgets",
    "Routes": "routes",
    "Providers": "providers",
    "Prices": "prices",
    "People": "people",
    "Admin keys": "admin-keys",
    "Webhooks": "webhooks",
    "Audit log": "audit-log",
    "Report": "report",
}


def sections(request: Request[Any, Any, Any], project: dict[str, Any] | None) -> list[Section]:
    """The menu of a page."""
    path = request.url.path.rstrip("/")
    found: list[Section] = []
    if project is not None:
        base = f"/console/projects/{project['id']}"
        found += [Section(title, _items(base, pages, path)) for title, pages in PROJECT.items()]
    return [*found, Section("Organization", _items("/console", ORGANIZATION, path))]


def _items(base: str, pages: dict[str, str], path: str) -> list[Item]:
    return [Item(text, url := f"{base}/{end}".rstrip("/"), _is_here(url, path)) for text, end in pages.items()]


def _is_here(url: str, path: str) -> bool:
    """A project's own URL and the list of projects are the beginning of others, too."""
    exact = url.count("/") == 3 or url == "/console/projects"
    return path == url or (not exact and path.startswith(url + "/"))
